"""`python -m tests.campaign`: break everything, count what became of every message, print the table.

Exits with 1 if anything but the two windows is not zero. `--turns 500`
makes it thousands of messages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.campaign.machines import TOOL, Postgres, Replica, Service, SlowConnector, agent_service, postgres_server
from tests.campaign.people import Crowd
from tests.campaign.replica import LEASE
from tests.campaign.scenarios import SCENARIOS, Scenario, Stage
from tests.campaign.table import printed, write
from tests.campaign.verdict import Counts, judge, unanswered
from tests.databases import execute
from tests.postgres import CURE, binaries

SETTLING = 100.0
"""Seconds within which everything accepted must be done once nothing breaks any more."""
LATE = 2.0
"""Seconds in which a late second answer would still show."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--turns", type=int, help="messages in each scenario, however long it takes")
    parser.add_argument("--seconds", type=float, help="load in each scenario (default: its own, 12 to 32)")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", help="scenarios whose name has this in it")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="keep databases, logs and traces, and say where")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    return parser.parse_args()


async def played(
    scenario: Scenario,
    database: str,
    folder: Path,
    service: Service,
    postgres: Postgres | None,
    options: argparse.Namespace,
    dice: random.Random,
) -> Counts:
    """One scenario from its first message to the verdict."""
    tools, effects = folder / "campaign_tools", folder / "effects"
    tools.mkdir(parents=True)
    (tools / "note.py").write_text(TOOL)
    url = f"sqlite+aiosqlite:///{folder / 'bot.db'}"
    if postgres is not None:
        server, name = make_url(postgres.url), f"c_{uuid.uuid4().hex}"
        await execute(server, f"CREATE DATABASE {name}")
        url = server.set(database=name).render_as_string(hide_password=False)
    variables = {
        "DATABASE_URL": url,
        "AGENT_BACKEND": "foundry-classic",
        "PROJECT_ENDPOINT": service.endpoint,
        "AGENT_ID": "asst_local",
        "TOOLS_DIR": str(tools),
        "CAMPAIGN_EFFECTS": str(effects),
        "THREAD_MAX_MESSAGES": "40",
    }
    replicas = [Replica(f"replica{n + 1}", folder, variables) for n in range(1 if postgres is None else 2)]
    connector = SlowConnector()
    await connector.start()
    counts = Counts(scenario.name, database)
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        over = asyncio.Event()
        crowd = Crowd(
            connector.url,
            lambda: [replica.address for replica in replicas],
            connector.replied,
            dice,
            scenario.people,
            scenario.pause,
            scenario.copies,
            scenario.again,
            options.turns,
        )
        stage = Stage(replicas, service, postgres, dice, over)
        await _loaded(crowd, stage, scenario, options, over)
        counts.faults = stage.faults
        await service.heal()
        await _settled(url)
        await asyncio.sleep(LATE)
        for replica in replicas:
            await replica.stop()
        return await judge(counts, url, crowd.said, connector.deliveries, replicas, stage.outages, effects)
    finally:
        for replica in replicas:
            await replica.end()
        await connector.close()


async def _loaded(
    crowd: Crowd, stage: Stage, scenario: Scenario, options: argparse.Namespace, over: asyncio.Event
) -> None:
    """People write, things break; both end, and what is down is up again."""
    seconds = None if options.turns else (options.seconds or scenario.seconds)
    writing = asyncio.create_task(crowd.write(over))
    breaking = asyncio.create_task(scenario.breaks(stage))  # type: ignore[arg-type]
    try:
        done, _ = await asyncio.wait({writing, breaking}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        over.set()
        await breaking
        await writing
    finally:
        for task in (writing, breaking):
            task.cancel()
        await asyncio.gather(writing, breaking, return_exceptions=True)


async def _settled(url: str) -> None:
    until = time.monotonic() + SETTLING
    while time.monotonic() < until:
        if not await unanswered(url):
            return
        await asyncio.sleep(0.5)


async def campaign(options: argparse.Namespace, folder: Path, seed: int) -> list[Counts]:
    kinds = ("sqlite", "postgresql") if options.database == "both" else (options.database,)
    table: list[Counts] = []
    async with agent_service() as service:
        for kind in kinds:
            with contextlib.ExitStack() as stack:
                postgres = stack.enter_context(postgres_server()) if kind == "postgresql" else None
                for number, scenario in enumerate(SCENARIOS[kind]):
                    if options.only and options.only not in scenario.name:
                        continue
                    began = time.monotonic()
                    dice = random.Random(f"{seed}/{kind}/{number}")
                    place = folder / kind / str(number)
                    counts = await played(scenario, kind, place, service, postgres, options, dice)
                    table.append(counts)
                    seconds = time.monotonic() - began
                    verdict = f"WRONG: {', '.join(counts.wrong)}" if counts.wrong else "sound"
                    print(
                        f"{kind}: {scenario.name}: {counts.accepted} messages, {seconds:.0f} s, {verdict}", flush=True
                    )
                    for finding in counts.findings:
                        print(f"    {finding}", flush=True)
    return table


def main() -> int:
    options = arguments()
    if options.database != "sqlite" and binaries() is None:
        print(f"There is no PostgreSQL here ({CURE}), or say --database sqlite.", file=sys.stderr)
        return 2
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    print(f"seed {seed}; a lease of {LEASE:.0f} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="tk-campaign-"))
    try:
        table = asyncio.run(campaign(options, folder, seed))
    finally:
        if options.keep:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(printed(table))
    if options.write:
        write(table, seed)
    late = [counts for counts in table if counts.takeovers and max(counts.takeovers) > 1.5 * LEASE]
    for counts in late:
        print(f"{counts.database}: {counts.scenario}: a turn was taken over after {max(counts.takeovers):.1f} s")
    return 1 if late or any(counts.wrong for counts in table) or not table else 0


if __name__ == "__main__":
    sys.exit(main())
