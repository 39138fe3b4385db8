"""Where write transactions run: SQLite's in one visit to a thread, PostgreSQL's on one connection that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")


class Writer(Protocol):
    """Runs write transactions, one at a time."""

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run the work in a transaction; committed when this returns. It may be run again if nothing was committed."""
        ...

    async def close(self) -> None:
        """Let go of the connection; a later write takes another."""
        ...


class ThreadWriter:
    """SQLite: the thread is visited once a transaction, where aiosqlite goes to and fro for each statement."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._thread: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Writer.run`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def _transaction(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """See `Writer.close`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self.engine.dispose)
            thread.shutdown(wait=False)


class KeptWriter:
    """PostgreSQL: one connection is kept, neither asked before a transaction if it is there nor reset behind it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._kept: AsyncConnection | None = None

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Writer.run`."""
        connection, result = await self._worked(work)
        try:
            await connection.commit()
        except BaseException:
            await self.close()
            raise
        return result

    async def _worked(self, work: Callable[[sa.Connection], T]) -> tuple[AsyncConnection, T]:
        """The work done and not yet committed."""
        kept = self._kept is not None
        self._kept = connection = self._kept or await self.engine.connect()
        try:
            return connection, await connection.run_sync(work)
        except BaseException as error:
            broken = _broken(error)
            await (self._undo(connection) if isinstance(error, exc.IntegrityError) else self.close())
            if not (kept and broken):
                raise
        return await self._worked(work)  # it had broken while it lay idle: nothing is committed, a new one may do

    async def _undo(self, connection: AsyncConnection) -> None:
        """A row was there already; the connection, and what it has planned, is as good as before."""
        try:
            await connection.rollback()
        except BaseException as error:
            await self.close()
            if not isinstance(error, (exc.DBAPIError, OSError)):
                raise

    async def close(self) -> None:
        """See `Writer.close`."""
        connection, self._kept = self._kept, None
        if connection is not None:
            with suppress(exc.DBAPIError, OSError):  # one that broke cannot be rolled back, nor need be
                await connection.close()


def _broken(error: BaseException) -> bool:
    """If it was the connection that failed, and not the statement."""
    return isinstance(error, OSError) or (isinstance(error, exc.DBAPIError) and error.connection_invalidated)
