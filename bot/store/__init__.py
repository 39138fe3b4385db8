"""The store: one database, SQLite or PostgreSQL, behind the store ports."""

from __future__ import annotations

import sqlalchemy as sa

from bot.ports import Clock
from bot.store.database import Database
from bot.store.engine import RunnerLock, open_engine, sqlite_path, upgrade
from bot.store.feedback import SqlFeedback
from bot.store.forgetting import SqlForgetting
from bot.store.history import SqlHistory
from bot.store.inbox import SqlInbox
from bot.store.moving import SqlMoving
from bot.store.offers import SqlFileOffers
from bot.store.people import SqlPeople
from bot.store.records import SqlRecords, SqlToolCalls
from bot.store.says import SqlSays
from bot.store.threads import SqlThreads
from bot.store.usage import SqlUsage

__all__ = ["SqlStore", "open_store"]


class SqlStore:
    """The `Store` over one database. `sole` says that no other process can run turns on it."""

    def __init__(self, database: Database, lock: RunnerLock | None) -> None:
        self._database = database
        self._lock = lock
        self.sole = lock is not None
        self.inbox = SqlInbox(database)
        self.tool_calls = SqlToolCalls(database)
        self.records = SqlRecords(database)
        self.threads = SqlThreads(database)
        self.history = SqlHistory(database)
        self.usage = SqlUsage(database)
        self.people = SqlPeople(database)
        self.forgetting = SqlForgetting(database)
        self.moving = SqlMoving(database)
        self.says = SqlSays(database)
        self.offers = SqlFileOffers(database)
        self.feedback = SqlFeedback(database)

    async def ping(self) -> None:
        """See `Store.ping`."""
        async with self._database.read() as connection:
            await connection.execute(sa.select(1))

    async def fold(self) -> None:
        """See `Store.fold`."""
        await self._database.fold()

    async def close(self) -> None:
        """See `Store.close`."""
        await self._database.close()
        if self._lock is not None:
            self._lock.release()


async def open_store(url: str, clock: Clock, *, runner: bool) -> SqlStore:
    """Open the database and bring its schema up to date.

    With `runner`, an SQLite file is locked for this process; the commands beside a running bot open it without.

    Raises:
        OperatorError: it cannot be written, is in use by another bot, or is newer than this program.
    """
    path = sqlite_path(url)
    lock = None
    if path is not None and runner:
        lock = RunnerLock(path)
        lock.acquire()
    engine = open_engine(url)
    try:
        await upgrade(engine)
    except BaseException:
        await engine.dispose()
        if lock is not None:
            lock.release()
        raise
    return SqlStore(Database(engine, clock), lock)
