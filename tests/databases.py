"""A fresh database for a test, on each engine we support."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.postgres import CURE, binaries, private_server


@pytest.fixture(scope="session")
def postgresql() -> Generator[str]:
    """The address of a PostgreSQL: TEST_DATABASE_URL, else a private one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
    elif binaries() is None:
        pytest.skip(f"no PostgreSQL ({CURE})")
    else:
        with private_server() as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[str]:
    """The address of an empty database of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
        return
    server = make_url(request.getfixturevalue("postgresql"))
    name = f"t_{uuid.uuid4().hex}"
    await execute(server, f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(server: sa.URL, statement: str) -> None:
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(statement))
    await engine.dispose()
