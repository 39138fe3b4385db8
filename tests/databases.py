"""A fresh database for a test, on each engine we support. Its tables are copied, since migrating each takes long.

What tests migrations asks for the `empty` ones. Processes of the bot, which tests start, migrate their own files.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from os import environ
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import bot.store
from bot.store.engine import open_engine, sqlite_path, upgrade
from tests.postgres import CURE, binaries, private_server

ENGINES = ("sqlite", "postgresql")
_patterns: dict[str, str] = {}
"""For a server's address the name of its database to copy."""
_untouched: set[str | None] = set()
"""Copies on a server that were not opened yet."""


class _Compiled(dict[Any, Any]):
    """Statements as they were compiled, for every engine of a kind: each test's own would compile all of them anew."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), compiled)


_compiled = _Compiled()


@sa.event.listens_for(sa.Engine, "engine_connect")
def _share_compiled(connection: sa.Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)


@pytest.fixture(scope="session")
def postgresql() -> Generator[str]:
    """The address of a PostgreSQL: TEST_DATABASE_URL, else a private one."""
    given = environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            for name in _patterns.values():
                runner.run(execute(make_url(given), f"DROP DATABASE {name} WITH (FORCE)"))
    elif binaries() is None:
        pytest.skip(f"no PostgreSQL ({CURE})")
    else:
        with private_server() as url:
            yield url


@pytest.fixture(scope="session", autouse=True)
def copied_tables(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Let `open_store` begin a new database as a copy of one that the migrations made, once a session."""
    pattern = tmp_path_factory.mktemp("tables") / "bot.db"

    async def copying(engine: AsyncEngine) -> None:
        path = sqlite_path(str(engine.url))
        if engine.url.database in _untouched:
            _untouched.remove(engine.url.database)
            return
        if path is None or path.exists() or not path.parent.is_dir():
            await upgrade(engine)
            return
        if not pattern.exists():
            await _migrated(f"sqlite+aiosqlite:///{pattern}")
        shutil.copyfile(pattern, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bot.store, "upgrade", copying)
        yield


@pytest.fixture(params=ENGINES)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[str]:
    """The address of a database of the test's own, with tables and no row."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
        return
    async with postgresql_database(request.getfixturevalue("postgresql")) as url:
        yield url


@pytest.fixture(params=ENGINES)
async def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[str]:
    """The address of a database of the test's own, with nothing in it."""
    if request.param == "sqlite":
        path = tmp_path / "bot.db"
        path.touch()
        yield f"sqlite+aiosqlite:///{path}"
        return
    async with postgresql_database(request.getfixturevalue("postgresql"), tables=False) as url:
        yield url


@asynccontextmanager
async def postgresql_database(server: str, *, tables: bool = True) -> AsyncGenerator[str]:
    """A database of its own on the server, for the block."""
    at, name = make_url(server), f"t_{uuid.uuid4().hex}"
    await execute(at, f"CREATE DATABASE {name}" + (f" TEMPLATE {await _pattern(server)}" if tables else ""))
    if tables:
        _untouched.add(name)
    yield at.set(database=name).render_as_string(hide_password=False)
    await execute(at, f"DROP DATABASE {name} WITH (FORCE)")


async def _pattern(server: str) -> str:
    if server not in _patterns:
        at, name = make_url(server), f"tables_{uuid.uuid4().hex}"
        await execute(at, f"CREATE DATABASE {name}")
        await _migrated(at.set(database=name).render_as_string(hide_password=False))
        _patterns[server] = name
    return _patterns[server]


async def _migrated(url: str) -> None:
    engine = open_engine(url)
    await upgrade(engine)
    await engine.dispose()


async def execute(server: sa.URL, statement: str) -> None:
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(statement))
    await engine.dispose()
