"""The database as it is, looked at beside a running bot: nothing is made, changed or brought up to date."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import OperatorError
from bot.findings import Finding
from bot.store.engine import MIGRATIONS, Password, open_engine, sqlite_path, unreachable, unwritable

BUSY_SECONDS = 2.0
"""How long a write of the running bot is waited for."""

_VERSION = "SELECT version_num FROM alembic_version"
_STANDING = sa.text(
    "SELECT extract(epoch FROM clock_timestamp()) AS now,"
    " current_setting('transaction_read_only') AS read_only,"
    " to_regclass('alembic_version') IS NOT NULL AS made,"
    " has_schema_privilege(current_schema(), 'CREATE') AS may_make,"
    " coalesce(has_table_privilege(to_regclass('inbox'), 'INSERT, UPDATE, DELETE'), true) AS may_write"
)


async def inspect(subject: str, url: str, password: Password | None = None) -> Finding:
    """Whether the database can be reached and written, and has the schema that this program needs.

    Raises:
        OperatorError: it cannot be reached or written, lets us not in, or is newer than this program.
    """
    path = sqlite_path(url)
    if path is not None:
        return await asyncio.to_thread(_sqlite, subject, path)
    try:
        return await _postgresql(subject, url, password)
    finally:
        if password is not None:
            await password.close()


def _sqlite(subject: str, path: Path) -> Finding:
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise unwritable(path)
    if not path.exists():
        return Finding(subject, "ok", f"{path} is not there yet; the first start makes it.")
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    try:
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")  # what a writer needs, and nothing is written
            found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
            version = connection.execute(_VERSION).fetchone() if found else None
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from None
    return _schema(subject, str(path), version[0] if version else "")


def _unusable(path: Path, error: sqlite3.DatabaseError) -> OperatorError:
    if "not a database" in str(error):
        return OperatorError(
            f"{path} is no SQLite database, or it is damaged.", "Restore it from a backup, or change DATABASE_URL."
        )
    if "locked" in str(error):
        return OperatorError(
            f"The database at {path} stayed locked for {BUSY_SECONDS:g} s.",
            "See what else holds it open for writing; the bot's own writes take milliseconds.",
        )
    return unwritable(path)


async def _postgresql(subject: str, url: str, password: Password | None) -> Finding:
    engine = open_engine(url, password)
    try:
        async with engine.connect() as connection:
            asked = time.time()
            row = (await connection.execute(_STANDING)).one()
            offset = (asked + time.time()) / 2 - float(row.now)
            version = await _version(connection, row)
    except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
        raise unreachable(error) from None
    finally:
        await engine.dispose()
    server = sa.make_url(url)
    found = _schema(subject, f"{server.database} on {server.host or 'this machine'}", version)
    return Finding(found.subject, found.standing, found.words, found.cure, offset)


async def _version(connection: AsyncConnection, row: Any) -> str:
    if row.read_only == "on":
        raise OperatorError(
            "The database takes no writes: it is a replica, or was set to read only.",
            "Name the server that takes writes in DATABASE_URL.",
        )
    if not row.may_write or (not row.made and not row.may_make):
        raise OperatorError(
            "The database's user may not write to it.",
            "Give the user of DATABASE_URL the right to make tables in its schema and to write to them.",
        )
    if not row.made:
        return ""
    return str((await connection.execute(sa.text(_VERSION))).scalar() or "")


def _schema(subject: str, where: str, version: str) -> Finding:
    """How the revision stands to ours.

    Raises:
        OperatorError: it is newer.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    newest = str(scripts.get_current_head())
    if not version:
        return Finding(subject, "ok", f"{where} is empty; the first start makes its tables.")
    if version == newest:
        return Finding(subject, "ok", f"{where} can be written, and has the schema {newest}.")
    if version in {script.revision for script in scripts.walk_revisions()}:
        return Finding(
            subject,
            "note",
            f"{where} has the older schema {version}.",
            f"The next start brings it to {newest}; make a backup before it.",
        )
    raise OperatorError(
        f"{where} was written by a newer version of Threadkeeper (schema {version}, this one knows {newest}).",
        "Run that version, or another DATABASE_URL.",
    )
