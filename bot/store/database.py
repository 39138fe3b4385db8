"""One open database: its engine, its shared writes, its time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.errors import LostLease, OperatorError, ServiceUnavailable
from bot.ports import Clock
from bot.store.commit import GroupCommit, Operation, T
from bot.store.engine import writing_engine
from bot.store.tables import SECONDS, inbox
from bot.store.writers import KeptWriter, ThreadWriter

FOLDING_TRIES, FOLDING_PAUSE, FOLDING_WAIT = 10, 0.05, 100
BUSY_WAIT = 10_000
"""Milliseconds, as SQLite counts them; seconds for the pause."""

UNREACHABLE = (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError)
FAULTS_OF_OURS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError)
"""What a database says of a wrong statement; all else it says of itself, a planned stop and a deadlock too."""


class Database:
    """What the table modules work with. Failures to reach it are raised as `ServiceUnavailable`."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self.engine = engine
        self.postgresql = engine.dialect.name == "postgresql"
        # the clock is asked at each execution, so that statements may be built once
        self._now: sa.ColumnElement[float] = sa.bindparam("time_now", callable_=clock.now, type_=SECONDS)
        self.writer = KeptWriter(engine) if self.postgresql else ThreadWriter(writing_engine(engine))
        self._commit = GroupCommit(self.writer)
        # PostgreSQL shows each statement what is committed by then, in a transaction too: two round trips less without
        apart = {"isolation_level": "AUTOCOMMIT"} if self.postgresql else {"begin": "BEGIN"}
        self._readers = engine.execution_options(**apart)

    def now(self) -> sa.ColumnElement[float]:
        """The time: the database's own where replicas share it, for their clocks differ; else this process's."""
        if self.postgresql:
            return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), SECONDS)
        return self._now

    async def write(self, operation: Operation[T]) -> T:
        """Run a write operation in a shared transaction."""
        try:
            return await self._commit.write(operation)
        except FAULTS_OF_OURS:
            raise
        except OperatorError as error:  # at the start it stops the bot; later it is an outage, and ends without us
            raise ServiceUnavailable(str(error)) from None
        except UNREACHABLE as error:
            raise ServiceUnavailable(f"The database did not take a write ({type(error).__name__}).") from error

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for reading."""
        try:
            async with self._readers.connect() as connection:
                yield connection
        except FAULTS_OF_OURS:
            raise
        except OperatorError as error:
            raise ServiceUnavailable(str(error)) from None
        except UNREACHABLE as error:
            raise ServiceUnavailable(f"The database did not answer ({type(error).__name__}).") from error

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that ignores a row whose key is there already."""
        if self.postgresql:
            return postgresql.insert(table).on_conflict_do_nothing()
        return sqlite.insert(table).on_conflict_do_nothing()

    async def fold(self) -> None:
        """Fold SQLite's log into its file and empty it: what was erased in the file still stands in the log."""
        if self.postgresql:
            return
        try:
            async with self.engine.execution_options(begin="").connect() as connection:
                # it is no hurry: a short wait here, the long one is for writes
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={FOLDING_WAIT}")
                for _ in range(FOLDING_TRIES):
                    folded = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                    if not folded.scalar():  # 1: someone reads just now
                        break
                    await asyncio.sleep(FOLDING_PAUSE)
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_WAIT}")
        except UNREACHABLE as error:
            raise ServiceUnavailable(f"The database could not fold its log ({type(error).__name__}).") from error

    async def close(self) -> None:
        """Finish the writes that were begun and close every connection."""
        await self._commit.close()
        await self.engine.dispose()


Row = Any
"""A row of a query; its columns are attributes."""

RUNNING = sa.text("state = 'running'")

BY_TURN: sa.ColumnElement[int] = sa.bindparam("by_turn", type_=sa.Integer)
BY_OWNER: sa.ColumnElement[str] = sa.bindparam("by_owner", type_=sa.Text)
HELD = sa.and_(inbox.c.id == BY_TURN, inbox.c.owner == BY_OWNER, RUNNING)
"""Of a turn's row: the owner holds it."""

_HOLD = sa.select(inbox.c.id).where(HELD).with_for_update()


def must_hold(connection: sa.Connection, turn: int, owner: str) -> None:
    """Raise `LostLease` unless the owner holds the turn; on PostgreSQL the row is locked until the commit."""
    if connection.execute(_HOLD, {"by_turn": turn, "by_owner": owner}).first() is None:
        raise LostLease(f"turn {turn}")
