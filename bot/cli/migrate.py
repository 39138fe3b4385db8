"""migrate: every conversation to the agent that is set now."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from bot import settings as environment
from bot.cli.run import Unusable, err, out, run
from bot.moving import Moved, Moving, Outcome, open_moving
from bot.texts import plural
from bot.types import Lane

GIVE_UP_AFTER = 5
"""So many in a row that cannot be read are a service that is away, not conversations that are."""
PROBLEMS = (Outcome.UNREACHABLE, Outcome.BUSY)


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read what there is, and change nothing.")] = False,
) -> None:
    """Move every conversation to the agent that is set now. Run it again for what was busy or cut off."""
    run(_migrate(dry_run))


async def _migrate(dry_run: bool) -> None:
    settings = environment.load()
    async with open_moving(settings) as moving:
        lanes = [lane async for lane in moving.lanes()]
        if not lanes:
            out.print(f"Every conversation lies with {moving.agent.backend} already.")
            return
        done = await _moved(moving, lanes, dry_run)
        _report(done, moving.agent.backend, dry_run)
    if any(one.outcome in PROBLEMS for one in done):
        raise Unusable("Some were left. Run the command again; a conversation also moves when its person writes.")


async def _moved(moving: Moving, lanes: list[Lane], dry_run: bool) -> list[Moved]:
    done: list[Moved] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("Reading" if dry_run else "Moving", total=len(lanes))
        for lane in lanes:
            done.append(await moving.move(lane, dry=dry_run))
            progress.advance(task)
            last = done[-GIVE_UP_AFTER:]
            if len(last) == GIVE_UP_AFTER and all(one.outcome is Outcome.UNREACHABLE for one in last):
                break
    return done


def _report(done: list[Moved], backend: str, dry_run: bool) -> None:
    counts = Counter(one.outcome for one in done)
    title = f"To {backend}, if it were done" if dry_run else f"To {backend}"
    table = Table("conversations", "messages carried", "", title=title)
    for outcome in Outcome:
        if counts[outcome]:
            carried = sum(one.entries for one in done if one.outcome is outcome)
            table.add_row(str(counts[outcome]), str(carried or ""), outcome)
    out.print(table)
    for problem, count in Counter(one.problem for one in done if one.problem).most_common(5):
        out.print(f"{plural(count, 'conversation')}: {problem}", markup=False, soft_wrap=True)
