"""The migrations themselves: most tests begin with a copy of the tables that they made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.clock import SystemClock
from bot.store import open_store
from bot.store.engine import open_engine, upgrade
from bot.store.tables import metadata


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


async def test_a_copy_has_their_tables(database_url: str):
    store = await open_store(database_url, SystemClock(), runner=True)
    await store.close()
    engine = open_engine(database_url)
    assert await tables_of(engine) == set(metadata.tables) | {"alembic_version"}
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
