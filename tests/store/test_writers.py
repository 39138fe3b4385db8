"""Where write transactions run: what a failure leaves behind, and a connection that breaks while it lies idle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest
import sqlalchemy as sa

from bot.clock import SystemClock
from bot.errors import LostLease
from bot.store import SqlStore, open_store
from bot.store.database import Database
from bot.store.tables import people
from bot.store.writers import KeptWriter, ThreadWriter


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    store = await open_store(database_url, SystemClock(), runner=True)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def database(store: SqlStore) -> Database:
    return store._database


def add(connection: sa.Connection, name: str) -> str:
    values = {"channel": "c", "tenant": "t", "id": name, "name": name, "folded": name, "seen_at": 0.0}
    connection.execute(sa.insert(people).values(**values))
    return name


def refuse(connection: sa.Connection) -> str:
    raise LostLease("of another")


async def there(database: Database) -> list[str]:
    async with database.read() as connection:
        return list(await connection.scalars(sa.select(people.c.id).order_by(people.c.id)))


@pytest.mark.invariant("I1")
async def test_a_failure_reaches_its_caller_alone(database: Database):
    wanted = [lambda c: add(c, "a"), refuse, lambda c: add(c, "b"), lambda c: add(c, "a"), lambda c: add(c, "d")]
    outcomes = await asyncio.gather(*(database.write(one) for one in wanted), return_exceptions=True)
    assert [outcomes[0], outcomes[2], outcomes[4]] == ["a", "b", "d"]
    assert isinstance(outcomes[1], LostLease)
    assert isinstance(outcomes[3], sa.exc.IntegrityError)
    assert await there(database) == ["a", "b", "d"]


async def test_what_did_not_come_to_its_end_is_not_written(database: Database):
    def half(connection: sa.Connection) -> None:
        add(connection, "half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.write(half)
    assert await database.write(lambda connection: add(connection, "whole")) == "whole"
    assert await there(database) == ["whole"]


async def test_a_write_whose_caller_has_gone_stands(database: Database):
    writing = asyncio.create_task(database.write(lambda connection: add(connection, "a")))
    await asyncio.sleep(0)
    writing.cancel()
    await database.write(lambda connection: add(connection, "b"))
    assert await there(database) == ["a", "b"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_broke_while_idle_fails_no_write(database: Database):
    assert isinstance(database.writer, KeptWriter)
    process = await database.write(lambda connection: connection.scalar(sa.text("SELECT pg_backend_pid()")))
    async with database.read() as connection:
        await connection.execute(sa.select(sa.func.pg_terminate_backend(process)))
    assert await database.write(lambda connection: add(connection, "a")) == "a"
    assert await database.write(lambda connection: connection.scalar(sa.text("SELECT pg_backend_pid()"))) != process


async def test_writes_go_to_one_thread_which_ends_with_the_store(tmp_path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    database = store._database
    assert isinstance(database.writer, ThreadWriter)
    [first, second] = [await database.write(lambda _: threading.current_thread()) for _ in range(2)]
    assert first is second is not threading.current_thread()
    await store.close()
    await store.close()
    await asyncio.to_thread(first.join, 5)
    assert not first.is_alive()


async def test_the_writing_connection_has_the_settings_that_the_store_relies_on(tmp_path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    names = ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
    try:
        told = await store._database.write(
            lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
        )
    finally:
        await store.close()
    assert told == ["wal", 2, 1, 10_000]
