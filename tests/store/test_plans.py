"""How the databases find the rows of a write: by key, however many rows there are besides.

PostgreSQL keeps the plans of the writing connection, also those that it made while there was nothing: so they are
looked at on an empty database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from bot.clock import SystemClock
from bot.store import SqlStore, open_store
from bot.store.writers import KeptWriter, ThreadWriter
from bot.threads import thread_key
from bot.types import Act, Change, Feedback, Saying
from tests.databases import postgresql_database
from tests.scripted import WORKING, ScriptedAgent
from tests.test_approvals import ANSWER, toolbox
from tests.test_edited_messages import revised
from tests.world import ADA, GRACE, group, message, open_world

WALKED = {"inbox_queued", "inbox_running", "inbox_kept", "tool_files", "tool_audit_words", "CONSTANT"}
"""What may be gone through: what is open now, and what is kept for hours, or where an admin wants it so."""
SWEEPS = re.compile(r"(\.|_)at < ")
"""What is done once an hour to all that is old enough."""


def listen(store: SqlStore) -> dict[str, Any]:
    """The write statements from now on, each with parameters it had."""
    writer = store._database.writer
    assert isinstance(writer, (KeptWriter, ThreadWriter))
    told: dict[str, Any] = {}

    def ran(_connection: object, _cursor: object, statement: str, given: Any, _context: object, many: bool) -> None:
        if not statement.startswith("BEGIN") and not SWEEPS.search(statement):
            told.setdefault(statement, given[0] if many else given)

    event.listen(getattr(writer.engine, "sync_engine", writer.engine), "before_cursor_execute", ran)
    return told


async def lived(folder: Path, **options: Any) -> dict[str, Any]:
    """What is written while people ask, approve, wait in line, think again, start over, stop and leave."""
    agent = ScriptedAgent([[["order"], ANSWER], ["hello"], [WORKING] * 10_000])
    async with open_world(folder, agent=agent, toolbox=toolbox(), **options) as world:
        told = listen(world.bot.store)
        await world.say("order it")
        await world.answers(1, ended=False)
        await world.say("approve")
        await world.answers(2)
        await world.ask("start over")
        await world.ask("undo")
        await world.ask("good morning", id="x")
        await world.say("good morning", id="x")
        for change in (Change.EDITED, Change.DELETED):
            await world.bot.accept(revised("x", change, "good evening"))
        for words in ("slow", "and this", "and that", "stop"):
            await world.say(words)
        await world.quiet()
        await world.ask("hello", person=GRACE)
        await world.ask("forget me now", person=GRACE)
        lane = thread_key(message("x").conversation, ADA, "person")
        store = world.bot.store
        await store.forgetting.reset([lane], Act("cli", "reset", "Ada"), 600.0)
        await store.forgetting.reset_some(Act("cli", "reset", "everyone", at=1e12), 600.0, "")
        await store.feedback.put(Feedback(group(), ADA, "d9", "like"), "test:group", below=True)
        await store.feedback.put(Feedback(group(), ADA, "d9", "dislike"), "test:group", below=True)
        await store.says.put(Saying("k1", (await store.people.find("ada"))[0], lane, "hello", "cli"))
        await store.inbox.renew("nobody", [1, 2], 30.0)
        await store.records.again(1)
        await store.records.drop(1)
    return told


def kept_plan(connection: sa.Connection, statement: str) -> list[str]:
    """PostgreSQL: what it would do whatever the parameters are, by scans."""
    count = max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    connection.exec_driver_sql(f"PREPARE asked AS {statement}")
    told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE asked{values}").scalar_one()
    connection.exec_driver_sql("DEALLOCATE asked")
    return [found for node in nodes(told[0]["Plan"]) if (found := scan(node))]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def scan(node: dict[str, Any]) -> str | None:
    """What goes through rows that are not asked for by key; None of anything else."""
    kind, by = node["Node Type"], node.get("Index Cond", "")
    through = node.get("Index Name") or node.get("Relation Name")
    by_key = " = " in by or kind in ("Bitmap Heap Scan", "Subquery Scan")
    if kind in ("Hash Join", "Merge Join") or (kind.endswith("Scan") and not by_key and through not in WALKED):
        return f"{kind} {through} {by}"
    return None


async def test_postgresql(tmp_path: Path, postgresql: str) -> None:
    async with postgresql_database(postgresql) as url:
        told = await lived(tmp_path, database_url=url)
    async with postgresql_database(postgresql) as url:
        store = await open_store(url, SystemClock(), runner=True)
        found = {}
        for statement in told:
            found[statement] = await store._database.write(lambda c, s=statement: kept_plan(c, s))
        await store.close()
    assert len(told) > 40
    assert {statement: scans for statement, scans in found.items() if scans} == {}


async def test_sqlite(tmp_path: Path) -> None:
    told = await lived(tmp_path)
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    found: dict[str, list[str]] = {}
    async with store._database.read() as connection:
        for statement, given in told.items():
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            steps = [step[3] for step in plan]
            found[statement] = [step for step in steps if step.startswith("SCAN") and not WALKED & set(step.split())]
            found[statement] += [step for step in steps if step.startswith("SEARCH") and "=" not in step]
    await store.close()
    assert len(told) > 40
    assert {statement: scans for statement, scans in found.items() if scans} == {}
