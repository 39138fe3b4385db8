"""The migrations themselves: most tests begin with a copy of the tables that they made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.clock import SystemClock
from bot.store import engine as engine_module
from bot.store import open_store
from bot.store.engine import open_engine, upgrade
from bot.store.tables import metadata
from tests.databases import postgresql_database


def differences(connection: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def tables_of(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names()))


async def test_they_make_the_tables_that_the_statements_use(empty_database_url: str):
    engine = open_engine(empty_database_url)
    assert await tables_of(engine) == set()
    await upgrade(engine)
    await upgrade(engine)  # as at each start
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_a_slow_start_does_not_lose_its_connection(postgresql: str, monkeypatch: pytest.MonkeyPatch):
    """A transaction may pause for seconds only, and the migrations are loaded within one."""
    asked = sa.text("SHOW idle_in_transaction_session_timeout")
    seen: list[str] = []
    monkeypatch.setattr(engine_module, "_upgrade", lambda connection: seen.append(connection.scalar(asked)))
    async with postgresql_database(postgresql, tables=False) as url:
        engine = open_engine(url)
        await upgrade(engine)
        async with engine.connect() as connection:
            seen.append(await connection.scalar(asked))
        await engine.dispose()
    assert seen == ["0", "3s"]


async def test_a_copy_has_their_tables(database_url: str):
    store = await open_store(database_url, SystemClock(), runner=True)
    await store.close()
    engine = open_engine(database_url)
    assert await tables_of(engine) == set(metadata.tables) | {"alembic_version"}
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
