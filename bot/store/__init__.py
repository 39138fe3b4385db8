"""The store: one database, SQLite or PostgreSQL, behind the store ports."""

from __future__ import annotations

import sqlalchemy as sa

from bot.ports import Clock
from bot.store.approvals import SqlApprovals
from bot.store.database import Database
from bot.store.engine import Password, RunnerLock, sqlite_path, upgrade
from bot.store.feedback import SqlFeedback
from bot.store.forgetting import SqlForgetting
from bot.store.history import SqlHistory
from bot.store.inbox import SqlInbox
from bot.store.moving import SqlMoving
from bot.store.offers import SqlFileOffers
from bot.store.people import SqlPeople
from bot.store.records import SqlRecords
from bot.store.says import SqlSays
from bot.store.threads import SqlThreads
from bot.store.tool_audit import SqlToolAudit
from bot.store.tool_calls import SqlToolCalls
from bot.store.tool_files import SqlToolFiles
from bot.store.tool_records import SqlToolRecords
from bot.store.usage import SqlUsage

__all__ = ["SqlStore", "open_store"]


class SqlStore:
    """The `Store` over one database. `sole` says that no other process can run turns on it."""

    def __init__(self, database: Database, lock: RunnerLock | None, password: Password | None = None) -> None:
        self._database = database
        self._lock = lock
        self._password = password
        self.sole = lock is not None
        self.inbox = SqlInbox(database)
        self.tool_calls = SqlToolCalls(database)
        self.approvals = SqlApprovals(database)
        self.tool_audit = SqlToolAudit(database)
        self.tool_records = SqlToolRecords(database)
        self.tool_files = SqlToolFiles(database)
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
        if self._password is not None:
            await self._password.close()
        if self._lock is not None:
            self._lock.release()


async def open_store(url: str, clock: Clock, *, runner: bool, password: Password | None = None) -> SqlStore:
    """Open the database and bring its schema up to date.

    With `runner`, an SQLite file is locked for this process; the commands beside a running bot open it without.
    `password` is asked for each new connection to PostgreSQL, in the place of one in the address; it is closed here.

    Raises:
        OperatorError: it does not answer or let us in, cannot be written, is in use by another bot, or is newer
            than this program.
    """
    path = sqlite_path(url)
    lock = None
    if path is not None and runner:
        lock = RunnerLock(path)
        lock.acquire()
    database = Database(url, clock, password)
    try:
        await upgrade(database.engine)
    except BaseException:
        await database.close()
        if password is not None:
            await password.close()
        if lock is not None:
            lock.release()
        raise
    return SqlStore(database, lock, password)
