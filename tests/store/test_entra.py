"""The database asked in as the app's identity: a token a connection, renewed, and what is said where there is none."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from sqlalchemy.engine import make_url

from bot.bootstrap import open_beside
from bot.clock import SystemClock
from bot.errors import OperatorError, ServiceUnavailable
from bot.settings import load
from bot.store import SqlStore, entra, open_store
from bot.store.engine import open_engine
from bot.store.entra import EntraPassword
from tests.databases import execute
from tests.postgres import CURE, binaries, private_server

HOUR = 3600.0


class Entra:
    """The directory: hands out one token after the other, or fails."""

    def __init__(self, *tokens: str, lasts: float = HOUR) -> None:
        self.tokens = [*tokens]
        self.lasts = lasts
        self.fault: Exception | None = None
        self.asked: list[tuple[str, ...]] = []
        self.made = 0
        self.open = 0

    def __call__(self) -> Any:
        self.made += 1
        self.open += 1
        return Identity(self)


class Identity:
    """A credential; like the real ones it keeps a token while it is young."""

    def __init__(self, directory: Entra) -> None:
        self._directory = directory

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        directory = self._directory
        directory.asked.append(scopes)
        if directory.fault is not None:
            raise directory.fault
        token = directory.tokens.pop(0) if len(directory.tokens) > 1 else directory.tokens[0]
        return AccessToken(token, int(time.time() + directory.lasts))

    async def close(self) -> None:
        self._directory.open -= 1


class Server:
    """A PostgreSQL that lets a role in by its password, in clear words, as Azure's does by a token."""

    def __init__(self, url: str) -> None:
        self._admin = make_url(url)
        self.role = f"bot_{uuid.uuid4().hex[:8]}"
        self.url = self._admin.set(username=self.role, database=self.role).render_as_string(hide_password=False)

    async def open(self) -> None:
        engine = open_engine(self._admin.render_as_string(hide_password=False))
        async with engine.connect() as connection:
            file = Path((await connection.execute(sa.text("SHOW hba_file"))).scalar_one())
        await engine.dispose()
        await asyncio.to_thread(_put_before, file, f"local all {self.role} password\n")
        await self.say(f"CREATE ROLE {self.role} LOGIN", f"CREATE DATABASE {self.role} OWNER {self.role}")
        await self.say("SELECT pg_reload_conf()")

    async def takes(self, token: str) -> None:
        await self.say(f"ALTER ROLE {self.role} PASSWORD '{token}'")

    async def say(self, *statements: str) -> None:
        for statement in statements:
            await execute(self._admin, statement)


def _put_before(file: Path, line: str) -> None:
    file.write_text(line + file.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(scope="module")
def private() -> Any:
    """A server of our own: its rules of who is let in are changed here."""
    if binaries() is None:
        pytest.skip(f"no PostgreSQL ({CURE})")
    with private_server() as url:
        yield url


@pytest.fixture
async def server(private: str) -> Server:
    found = Server(private)
    await found.open()
    return found


async def opened(server: Server, directory: Entra) -> SqlStore:
    return await open_store(server.url, SystemClock(), runner=True, password=EntraPassword("public", directory))


async def dropped_connections(store: SqlStore) -> None:
    await store._database.engine.dispose()


async def test_the_token_opens_the_database_and_is_asked_for_once(server: Server) -> None:
    await server.takes("first")
    directory = Entra("first")
    store = await opened(server, directory)
    await store.ping()
    await dropped_connections(store)
    await store.ping()
    await store.close()
    assert directory.asked == [("https://ossrdbms-aad.database.windows.net/.default",)]
    assert directory.open == 0


async def test_a_token_near_its_end_is_renewed_for_the_next_connection(server: Server) -> None:
    await server.takes("first")
    directory = Entra("first", "second", lasts=200)
    store = await opened(server, directory)
    await server.takes("second")
    await store.ping()  # an open connection outlives its token
    assert len(directory.asked) == 1
    await dropped_connections(store)
    await store.ping()
    await store.close()
    assert len(directory.asked) == 2


@pytest.mark.invariant("I13")
async def test_a_token_that_is_refused_is_dropped_and_another_one_asked_for(server: Server) -> None:
    await server.takes("first")
    directory = Entra("first", "second")
    store = await opened(server, directory)
    await server.takes("second")
    await dropped_connections(store)
    with pytest.raises(ServiceUnavailable, match="does not let the app's identity in") as caught:
        await store.ping()
    await store.ping()
    assert (directory.made, directory.open) == (2, 1), "the refused one is let go of at once"
    await store.close()
    assert directory.open == 0
    assert "first" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


@pytest.mark.invariant("I13")
async def test_at_the_start_a_refusal_ends_with_its_cure(server: Server) -> None:
    await server.takes("right")
    directory = Entra("wrong-4711")
    with pytest.raises(OperatorError) as caught:
        await opened(server, directory)
    assert "principal of the server" in caught.value.cure
    assert "wrong-4711" not in str(caught.value)
    assert directory.open == 0


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (CredentialUnavailableError("no identity of client-swordfish"), "AZURE_CLIENT_ID"),
        (ClientAuthenticationError("refused client-swordfish"), "az login"),
        (ServiceRequestError("cannot reach client-swordfish"), "none came"),
    ],
)
async def test_without_a_token_the_start_says_what_to_do(fault: Exception, says: str) -> None:
    directory = Entra("never")
    directory.fault = fault
    password = EntraPassword("public", directory)
    with pytest.raises(OperatorError) as caught:
        await open_store("postgresql+asyncpg://bot@127.0.0.1:1/bot", SystemClock(), runner=True, password=password)
    assert says in str(caught.value)
    assert "swordfish" not in str(caught.value)


async def test_a_token_service_that_fails_for_a_while_is_an_outage_and_no_more(server: Server) -> None:
    await server.takes("first")
    directory = Entra("first", lasts=200)
    store = await opened(server, directory)
    directory.fault = ServiceRequestError("down")
    await dropped_connections(store)
    with pytest.raises(ServiceUnavailable, match="none came"):
        await store.ping()
    directory.fault = CredentialUnavailableError("gone")
    with pytest.raises(ServiceUnavailable, match="AZURE_CLIENT_ID"):
        await store.ping()
    with pytest.raises(ServiceUnavailable, match="AZURE_CLIENT_ID"):
        await store._database.write(lambda _connection: None)
    directory.fault = None
    await store.ping()
    await store._database.write(lambda _connection: None)
    await store.close()


def test_each_cloud_has_its_own_scope() -> None:
    assert set(entra.SCOPES) == {"public", "usgov", "china"}
    assert repr(EntraPassword("china", Entra("secret"))) == "EntraPassword()"


async def test_the_identity_that_is_named_is_used_directly() -> None:
    named = entra.credential({"AZURE_CLIENT_ID": "id"})
    assert isinstance(named, ManagedIdentityCredential)
    other = entra.credential({"AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "secret"})
    assert isinstance(other, DefaultAzureCredential)
    await named.close()
    await other.close()


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("postgresql+asyncpg://bot@name.postgres.database.azure.com/bot", True),
        ("postgresql+asyncpg://bot@127.0.0.1/bot", False),
        ("postgresql+asyncpg://bot@/bot?host=/run/pg", False),
    ],
)
async def test_a_token_goes_to_a_server_that_has_shown_who_it_is(
    url: str, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(url, EntraPassword("public", Entra("x")))
    seen: list[dict[str, Any]] = []

    def connect(*_: Any, **options: Any) -> None:
        seen.append(options)
        raise ConnectionRefusedError

    monkeypatch.setattr(engine.dialect, "connect", connect)
    with pytest.raises(ConnectionRefusedError):
        await engine.connect()
    await engine.dispose()
    context = seen[0].get("ssl")
    assert (context is not None) is checked
    if context is not None:
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"


async def test_the_setting_reaches_the_store(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Entra("first")
    await server.takes("first")
    monkeypatch.setattr(entra.EntraPassword.__init__, "__defaults__", (directory,))
    store = await open_beside(load(env_file=None, database_url=server.url, database_auth="entra"))
    await store.ping()
    await store.close()
    assert len(directory.asked) == 1
