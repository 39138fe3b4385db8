"""One open database: its engine, its shared writes, its time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import LostLease, OperatorError, ServiceUnavailable
from bot.ports import Clock
from bot.store.commit import GroupCommit, Operation, T
from bot.store.engine import Password, open_engine, waiting_engine, writing_engine
from bot.store.tables import SECONDS, inbox
from bot.store.writers import KeptWriter, ThreadWriter, Writer

FOLDING_TRIES, FOLDING_PAUSE, FOLDING_WAIT = 10, 0.05, 100
BUSY_WAIT = 10_000
"""Milliseconds, as SQLite counts them; seconds for the pause."""

UNREACHABLE = (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError)
FAULTS_OF_OURS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError)
"""What a database says of a wrong statement; all else it says of itself, a planned stop and a deadlock too."""


class Database:
    """What the table modules work with. Failures to reach it are raised as `ServiceUnavailable`.

    Nothing is connected before it is used. `password` is asked for each new connection to PostgreSQL.
    """

    def __init__(self, url: str, clock: Clock, password: Password | None = None) -> None:
        self.engine = open_engine(url, password)
        self.postgresql = self.engine.dialect.name == "postgresql"
        # the clock is asked at each execution, so that statements may be built once
        self._now: sa.ColumnElement[float] = sa.bindparam("time_now", callable_=clock.now, type_=SECONDS)
        self.writer: Writer = (
            KeptWriter(writing_engine(url, password)) if self.postgresql else ThreadWriter(waiting_engine(url))
        )
        self._commit = GroupCommit(self.writer)
        # PostgreSQL shows each statement what is committed by then, in a transaction too: two round trips less without
        apart = {"isolation_level": "AUTOCOMMIT"} if self.postgresql else {"begin": "BEGIN"}
        self._readers = self.engine.execution_options(**apart)

    def now(self) -> sa.ColumnElement[float]:
        """The time: the database's own where replicas share it, for their clocks differ; else this process's."""
        if self.postgresql:
            return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), SECONDS)
        return self._now

    def moment(self) -> sa.ColumnElement[float]:
        """`now`, read once for a statement: only by such a time does PostgreSQL find rows in an index."""
        return sa.select(self.now()).scalar_subquery() if self.postgresql else self._now

    async def write(self, operation: Operation[T]) -> T:
        """Run a write operation in a shared transaction."""
        with _reaching("did not take a write"):
            return await self._commit.write(operation)

    async def tidy(self, operation: Operation[T]) -> T:
        """Run a write that goes through much of the past. On PostgreSQL no other write waits for it."""
        if not self.postgresql:
            return await self.write(operation)
        with _reaching("did not take a write"):
            async with self.engine.begin() as connection:
                return await connection.run_sync(operation)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for reading."""
        with _reaching("did not answer"):
            async with self._readers.connect() as connection:
                yield connection

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that ignores a row whose key is there already."""
        return self.inserting(table).on_conflict_do_nothing()

    def inserting(self, table: sa.Table) -> Any:
        """An INSERT that may say what to do with a row whose key is there already."""
        return (postgresql if self.postgresql else sqlite).insert(table)

    async def fold(self) -> None:
        """Fold SQLite's log into its file and empty it: what was erased in the file still stands in the log."""
        if self.postgresql:
            return
        with _reaching("could not fold its log"):
            async with self.engine.execution_options(begin="").connect() as connection:
                # it is no hurry: a short wait here, the long one is for writes
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={FOLDING_WAIT}")
                for _ in range(FOLDING_TRIES):
                    folded = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                    if not folded.scalar():  # 1: someone reads just now
                        break
                    await asyncio.sleep(FOLDING_PAUSE)
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_WAIT}")

    async def close(self) -> None:
        """Finish the writes that were begun and close every connection."""
        await self._commit.close()
        await self.engine.dispose()


@contextmanager
def _reaching(failed: str) -> Generator[None]:
    try:
        yield
    except FAULTS_OF_OURS:
        raise
    except OperatorError as error:  # at the start it stops the bot; later it is an outage, and ends without us
        raise ServiceUnavailable(str(error)) from None
    except UNREACHABLE as error:
        raise ServiceUnavailable(f"The database {failed} ({type(error).__name__}).") from error


Row = Any
"""A row of a query; its columns are attributes."""

QUEUED = sa.text("state = 'queued'")
RUNNING = sa.text("state = 'running'")
KEPT = sa.text("state = 'done' AND payload IS NOT NULL")
"""Of what is over: its words are still here."""
OPEN = sa.text("(state = 'queued' OR state = 'running')")
"""Of a lane's rows. With IN, neither database looks into the small indexes of what is open, but at all there was."""

BY_TURN: sa.ColumnElement[int] = sa.bindparam("by_turn", type_=sa.Integer)
BY_OWNER: sa.ColumnElement[str] = sa.bindparam("by_owner", type_=sa.Text)
IS_RUNNING = inbox.c.state == "running"
"""As `RUNNING`, where ids are known: no literal, so that rows are found by these, and not among all that run."""
HELD = sa.and_(inbox.c.id == BY_TURN, inbox.c.owner == BY_OWNER, IS_RUNNING)
"""Of a turn's row: the owner holds it."""

_HOLD = sa.select(inbox.c.id).where(HELD).with_for_update()


def must_hold(connection: sa.Connection, turn: int, owner: str) -> None:
    """Raise `LostLease` unless the owner holds the turn; on PostgreSQL the row is locked until the commit."""
    if connection.execute(_HOLD, {"by_turn": turn, "by_owner": owner}).first() is None:
        raise LostLease(f"turn {turn}")
