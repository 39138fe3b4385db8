"""Opening the database: SQLite with a file lock for the turn runner, or PostgreSQL; the schema brought up to date."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import event, exc
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.errors import OperatorError, ServiceUnavailable
from bot.settings import is_loopback

MIGRATION_LOCK = 0x7EAD  # an advisory lock of PostgreSQL, any number will do
MIGRATIONS = Path(__file__).parent / "migrations"
_NOT_LET_IN = ("28000", "28P01")
"""What PostgreSQL says of a name or a password that it does not take:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class Password(Protocol):
    """Where the password of each new connection comes from, if DATABASE_URL holds none."""

    async def get(self) -> str:
        """The password as it is now.

        Raises:
            OperatorError: there is none, and waiting will not mend it.
            ServiceUnavailable: there is none now.
        """
        ...

    def forget(self) -> None:
        """The database did not take it: get another the next time."""
        ...

    async def close(self) -> None:
        """Let go of what it holds open."""
        ...


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite address; None for another database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


class RunnerLock:
    """Lets one turn runner at a time use an SQLite file; the kernel frees it however the process ends.

    It is an exclusive transaction on a small SQLite file beside the database: the same lock on every platform.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> None:
        """Take it.

        Raises:
            OperatorError: another process has it, or the folder cannot be written.
        """
        try:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OperatorError(
                    f"Another Threadkeeper already runs on {self._database}.",
                    "Stop it, or give this one its own DATABASE_URL.",
                ) from None
            raise unwritable(self._database) from None
        self._connection = connection

    def release(self) -> None:
        """Give it back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def unwritable(path: Path) -> OperatorError:
    """The error for a database that cannot be written; it names the path."""
    return OperatorError(
        f"The database at {path.resolve()} cannot be written.",
        "Check that the folder exists and that this user may write to it, or change DATABASE_URL.",
    )


def unreachable(error: Exception) -> OperatorError:
    """The error for a server that does not answer, or does not take the user and the password."""
    return OperatorError(
        f"The database server does not answer, or does not let us in ({_reason(error)}).",
        "Check that it runs, and the host, the user and the password in DATABASE_URL.",
    )


def _reason(error: Exception) -> str:
    """The server's code for it, or the failure's type: the words of either may quote the address."""
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or type(error).__name__)


def open_engine(url: str, password: Password | None = None) -> AsyncEngine:
    """An engine with the settings that the store relies on. `password` is asked for each new connection."""
    if sqlite_path(url) is None:
        # a plan made while the table was empty is several times slower than one made now
        planned = {"plan_cache_mode": "force_custom_plan"}
        return _postgresql(url, password, planned, pool_size=10, pool_pre_ping=True)
    engine = create_async_engine(url, pool_size=5, connect_args={"timeout": 10})
    _settle(engine.sync_engine)
    return engine


def writing_engine(url: str, password: Password | None = None) -> AsyncEngine:
    """For a PostgreSQL, an engine whose connections plan each statement once, and find rows by key only.

    Planning took longer than finding what a write needs. What makes a plan worth keeping is that it fits a table of any
    size, also if it was made on an empty one: no table is read from end to end where an index leads to the row.
    """
    apart = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off")
    return _postgresql(url, password, {"plan_cache_mode": "force_generic_plan", **apart}, poolclass=sa.NullPool)


def _postgresql(url: str, password: Password | None, planned: dict[str, str], **pool: Any) -> AsyncEngine:
    connect: dict[str, Any] = {
        "server_settings": {
            **planned,
            # a frozen replica must not hold its locks for ever
            "idle_in_transaction_session_timeout": "3000",
            "application_name": "threadkeeper",
        },
        "timeout": 10,
    }
    if password is not None:
        connect["password"] = password.get
        if not _is_here(make_url(url)):
            connect["ssl"] = ssl.create_default_context()  # whoever gets a token can use it, so first who asks
    engine = create_async_engine(url, connect_args=connect, **pool)
    if password is not None:
        event.listen(engine.sync_engine, "do_connect", _connecting(password.forget))
    return engine


def _is_here(url: sa.URL) -> bool:
    """Whether the server is on this machine: by a unix socket's folder, or a loopback name."""
    host = str(url.query.get("host") or url.host or "")
    return host.startswith("/") or is_loopback(host)


def _connecting(forget: Callable[[], None]) -> Callable[..., Any]:
    def connect(dialect: sa.Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except Exception as error:
            if getattr(error, "sqlstate", None) not in _NOT_LET_IN:
                raise
        forget()
        raise OperatorError(
            "The database does not let the app's identity in.",
            "Make the identity a principal of the server, by the name that DATABASE_URL has as its user, and give it "
            "the database: infra/README.md says how.",
        )

    return connect


def waiting_engine(url: str) -> sa.Engine:
    """For an SQLite file, an engine that waits in the thread that it is used in."""
    # a transaction always ends in its commit or its rollback, so there is nothing to reset behind it
    connect = {"timeout": 10, "check_same_thread": False}
    path = make_url(url).set(drivername="sqlite")
    direct = sa.create_engine(path, pool_size=1, max_overflow=0, pool_reset_on_return=None, connect_args=connect)
    _settle(direct)
    return direct


def _settle(engine: sa.Engine) -> None:
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by us, see below
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # acknowledged means on disk, also when the power goes
    cursor.execute("PRAGMA secure_delete=ON")  # what was said is overwritten when it is forgotten
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # a writer that begins as a reader can fail half-way with "database is locked", whatever the timeout
    begin = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
    if begin:
        connection.exec_driver_sql(begin)


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema up to date, one process at a time.

    Raises:
        OperatorError: the database does not answer or let us in, is newer than this program, or cannot be written.
    """
    path = sqlite_path(engine.url.render_as_string(hide_password=False))
    try:
        async with engine.begin() as connection:
            if path is None:
                # loading the migrations takes longer on a busy machine than the pause that a transaction may make
                await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            await connection.run_sync(_upgrade)
    except CommandError:
        raise OperatorError(
            "The database was written by a newer version of Threadkeeper.",
            "Run that version, or another DATABASE_URL.",
        ) from None
    except ServiceUnavailable as error:
        raise OperatorError(str(error), "Start again in a while.") from None
    except (exc.ProgrammingError, exc.IntegrityError, exc.DataError):
        raise
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.OperationalError, OSError) as error:
        if path is None:
            raise unreachable(error) from None
        if not isinstance(error, (exc.OperationalError, sqlite3.OperationalError)):
            raise
        if "locked" in str(error):
            raise OperatorError(f"The database at {path} is locked.", "Stop what holds it and start again.") from None
        raise unwritable(path) from None


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
