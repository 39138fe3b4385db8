"""What a message costs: its row and its claim go to disk with one commit, a saved step and the end with one each."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import event

from bot.clock import SystemClock
from bot.events import TurnEnded
from bot.inbox import Inbox, InboxLimits
from bot.lease import Turn
from bot.store import SqlStore, open_store
from bot.store.writers import ThreadWriter
from bot.threads import thread_key
from bot.types import Ended, Ending, Entry
from tests.world import ADA, message


class Once:
    """A handler that saves a step and ends."""

    async def run(self, turn: Turn) -> Ending:
        await turn.save(run={"run": "r1"})
        return Ending(Ended.ANSWERED, turn.steps)

    async def give_up(self, turn: Turn, error: str) -> Ending:
        raise AssertionError(error)


def transactions(store: SqlStore) -> list[list[str]]:
    """The kinds of statement in each write transaction from now on."""
    writer = store._database.writer
    assert isinstance(writer, ThreadWriter)
    told: list[list[str]] = [[]]

    def ran(_connection, _cursor, statement: str, *_rest) -> None:
        if not statement.startswith("BEGIN"):
            told[-1].append(statement.split()[0])

    event.listen(writer.engine, "before_cursor_execute", ran)
    event.listen(writer.engine, "commit", lambda _connection: told.append([]))
    return told


async def test_a_message_and_its_claim_share_a_commit_and_each_later_write_is_one_statement(tmp_path: Path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    over = asyncio.Event()
    inbox = Inbox(store, SystemClock(), lambda e: over.set() if isinstance(e, TurnEnded) else None, "a", InboxLimits())
    await inbox.start(Once())
    try:
        lane = thread_key(message("x").conversation, ADA, "person")
        await inbox.accept(Entry(message("the first, which makes the lane"), lane))
        await asyncio.wait_for(over.wait(), 10)
        over.clear()
        await asyncio.sleep(0.5)  # until the inbox has seen that nothing is left to do
        told = transactions(store)
        await inbox.accept(Entry(message("hello"), lane))
        await asyncio.wait_for(over.wait(), 10)
    finally:
        await inbox.stop(1.0)
        await store.close()
    wrote = [[statement for statement in each if statement != "SELECT"] for each in told]
    assert [each for each in wrote if each] == [["INSERT", "UPDATE"], ["UPDATE"], ["UPDATE"]]
