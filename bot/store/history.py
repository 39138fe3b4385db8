"""Threads that lie in our own database, for agents whose service keeps none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot.errors import RunActive, ThreadGone
from bot.store.database import Database
from bot.store.tables import agent_entries, agent_runs, agent_threads
from bot.types import Json, JsonObject, Kept, RunMark, Said

SAID = ("user", "assistant")
"""The roles whose entries are history; the others are for the model alone."""


class SqlHistory:
    """The `History` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_thread(self, thread_id: str, entries: Sequence[Said]) -> None:
        """See `History.create_thread`."""

        def operation(connection: sa.Connection) -> None:
            connection.execute(sa.insert(agent_threads).values(id=thread_id, created_at=self._database.now()))
            for entry in entries:
                _append(connection, thread_id, Kept(entry.role, entry.text))

        await self._database.write(operation)

    async def thread_exists(self, thread_id: str) -> bool:
        """See `History.thread_exists`."""
        async with self._database.read() as connection:
            return await connection.run_sync(_exists, thread_id)

    async def start_run(
        self, thread_id: str, run_id: str, mark: RunMark, text: str | None, state: Json, *, added: Sequence[Kept] = ()
    ) -> None:
        """See `History.start_run`."""
        entries = added if text is None else [Kept("user", text), *added]

        def operation(connection: sa.Connection) -> None:
            if not _exists(connection, thread_id):
                raise ThreadGone(thread_id)
            if connection.scalar(_active(thread_id)) is not None:
                raise RunActive(thread_id)
            connection.execute(
                sa.insert(agent_runs).values(
                    id=run_id,
                    thread_id=thread_id,
                    turn=mark.turn,
                    attempt=mark.attempt,
                    state=state,
                    ended=False,
                    created_at=self._database.now(),
                )
            )
            for entry in entries:
                _append(connection, thread_id, entry)

        await self._database.write(operation)

    async def run(self, run_id: str) -> JsonObject | None:
        """See `History.run`."""
        async with self._database.read() as connection:
            return await connection.scalar(sa.select(agent_runs.c.state).where(agent_runs.c.id == run_id))

    async def find_run(self, thread_id: str, mark: RunMark) -> str | None:
        """See `History.find_run`."""
        query = sa.select(agent_runs.c.id).where(
            agent_runs.c.thread_id == thread_id,
            agent_runs.c.turn == mark.turn,
            agent_runs.c.attempt == mark.attempt,
        )
        async with self._database.read() as connection:
            if not await connection.run_sync(_exists, thread_id):
                raise ThreadGone(thread_id)
            return await connection.scalar(query)

    async def active_run(self, thread_id: str) -> str | None:
        """See `History.active_run`."""
        async with self._database.read() as connection:
            return await connection.scalar(_active(thread_id))

    async def save_run(self, run_id: str, state: Json, *, ended: bool, answer: str | None = None) -> None:
        """See `History.save_run`."""

        def operation(connection: sa.Connection) -> None:
            thread_id = connection.scalar(
                sa.update(agent_runs)
                .where(agent_runs.c.id == run_id, agent_runs.c.ended == sa.false())
                .values(state=state, ended=ended)
                .returning(agent_runs.c.thread_id)
            )
            if answer is not None and thread_id is not None:
                _append(connection, thread_id, Kept("assistant", answer))

        await self._database.write(operation)

    async def advance(
        self, run_id: str, before: JsonObject, state: JsonObject, *, ended: bool, added: Sequence[Kept] = ()
    ) -> bool:
        """See `History.advance`."""
        # Two processes may be at the same run for a moment, when a lease has passed on: one of them is too late.
        current = sa.select(agent_runs.c.thread_id, agent_runs.c.state).where(
            agent_runs.c.id == run_id, agent_runs.c.ended == sa.false()
        )

        def operation(connection: sa.Connection) -> bool:
            row = connection.execute(current.with_for_update()).first()
            if row is None or row.state != before:
                return False
            connection.execute(sa.update(agent_runs).where(agent_runs.c.id == run_id).values(state=state, ended=ended))
            for entry in added:
                _append(connection, row.thread_id, entry)
            return True

        return await self._database.write(operation)

    async def last_run(self, thread_id: str) -> JsonObject | None:
        """See `History.last_run`."""
        query = (
            sa.select(agent_runs.c.state)
            .where(agent_runs.c.thread_id == thread_id)
            .order_by(agent_runs.c.created_at.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def kept(self, thread_id: str, limit: int, files: int) -> list[Kept]:
        """See `History.kept`."""
        newest_files = (
            sa.select(agent_entries.c.id)
            .where(agent_entries.c.thread_id == thread_id, agent_entries.c.role == "file")
            .order_by(agent_entries.c.id.desc())
            .limit(files)
        )
        query = (
            sa.select(agent_entries.c.role, agent_entries.c.text, agent_entries.c.item)
            .where(
                agent_entries.c.thread_id == thread_id,
                (agent_entries.c.role != "file") | agent_entries.c.id.in_(newest_files),
            )
            .order_by(agent_entries.c.id.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            if not await connection.run_sync(_exists, thread_id):
                raise ThreadGone(thread_id)
            newest_first = [Kept(row.role, row.text, row.item) for row in await connection.execute(query)]
        return newest_first[::-1]

    async def entries(self, thread_id: str, limit: int) -> list[Said]:
        """See `History.entries`."""
        query = (
            sa.select(agent_entries.c.role, agent_entries.c.text)
            .where(agent_entries.c.thread_id == thread_id, agent_entries.c.role.in_(SAID))
            .order_by(agent_entries.c.id.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            if not await connection.run_sync(_exists, thread_id):
                raise ThreadGone(thread_id)
            newest_first = [Said(row.role, row.text) for row in await connection.execute(query)]
        return newest_first[::-1]

    async def delete_thread(self, thread_id: str) -> None:
        """See `History.delete_thread`."""

        def operation(connection: sa.Connection) -> None:
            for table, column in (
                (agent_runs, agent_runs.c.thread_id),
                (agent_entries, agent_entries.c.thread_id),
                (agent_threads, agent_threads.c.id),
            ):
                connection.execute(sa.delete(table).where(column == thread_id))

        await self._database.write(operation)


def _active(thread_id: str) -> Any:
    return sa.select(agent_runs.c.id).where(agent_runs.c.thread_id == thread_id, agent_runs.c.ended == sa.false())


def _exists(connection: sa.Connection, thread_id: str) -> bool:
    found = connection.scalar(sa.select(agent_threads.c.id).where(agent_threads.c.id == thread_id))
    return found is not None


def _append(connection: sa.Connection, thread_id: str, entry: Kept) -> None:
    item = {} if entry.item is None else {"item": entry.item}
    connection.execute(sa.insert(agent_entries).values(thread_id=thread_id, role=entry.role, text=entry.text, **item))
