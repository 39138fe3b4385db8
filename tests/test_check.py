"""`check` names each fault by its real cause, with its cure, and blames nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from bot import checks
from bot.__main__ import app
from bot.bootstrap import find_tools
from bot.channels import botframework
from bot.channels.cloud import CLOUDS, Cloud
from bot.cli import check, serve
from bot.clock import SystemClock
from bot.settings import Settings
from bot.store import open_store
from bot.types import Message, ToolSpec
from bot.web.app import create_app
from tests.databases import execute
from tests.foundry import Fault, FoundryServer
from tests.llm import LLMServer
from tests.teams import APP_ID, TENANT, FakeEntra, FakeIssuer
from tests.teams.pems import pem

SECRETS = {
    "MICROSOFT_APP_PASSWORD": "the-client-secret-8Q",
    "OPENAI_API_KEY": "sk-the-model-key-7Z",
    "SAY_API_KEY": "the-key-of-say-1234567",
    "TICKETS_TOKEN": "ghp_the_ticket_token_5T",
}
OTHER = "11111111-2222-4333-8444-555555555555"


@dataclass
class Made:
    database: bytes
    specs: list[ToolSpec]


@dataclass
class Setup:
    """A set-up in which everything is right, until a test makes one thing wrong."""

    folder: Path
    patch: pytest.MonkeyPatch
    foundry: FoundryServer
    entra: FakeEntra
    issuer: FakeIssuer
    specs: list[ToolSpec]
    stack: AsyncExitStack
    public: str = ""
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.folder / "bot.db"

    def cloud(self, **changed: Any) -> None:
        where = {"metadata_url": self.issuer.url, "authority": self.entra.authority, "ca_file": self.entra.ca_file}
        self.patch.setitem(CLOUDS, "public", Cloud(**(where | {"loopback": True} | changed)))

    def certificate(self, *, begins: float, ends: float) -> None:
        """The bot signs with this one, in place of its secret."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        file = pem(self.folder / "bot.pem", key, begins=begins, ends=ends)
        self.environ |= {"MICROSOFT_APP_CERTIFICATE": str(file), "MICROSOFT_APP_PASSWORD": ""}

    async def serve(self, **routes: Any) -> str:
        """A server that answers these paths; its address."""
        served = web.Application()
        for path, handler in routes.items():
            served.router.add_route("*", f"/{path.replace('__', '/')}", handler)
        server = TestServer(served)
        await server.start_server()
        self.stack.push_async_callback(server.close)
        return str(server.make_url("")).rstrip("/")

    async def check(self, *options: str) -> tuple[int, list[dict[str, str]]]:
        """`python -m bot check --json`, in a thread, for the services live in this loop."""
        for name, value in self.environ.items():
            self.patch.setenv(name, value)
        given = ["check", "--json", *(["--public", self.public] if self.public else []), *options]
        result = await asyncio.to_thread(CliRunner().invoke, app, given)
        assert not any(secret in result.output for secret in SECRETS.values())
        told = json.loads(result.stdout)
        assert told["ok"] is (result.exit_code == 0)
        return result.exit_code, told["checks"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The database that a start makes, and our tools, both once."""

    async def make() -> list[ToolSpec]:
        await (await open_store(f"sqlite+aiosqlite:///{file}", SystemClock(), runner=False)).close()
        toolbox, _ = find_tools(Settings(_env_file=None, tickets="off"))
        async with toolbox:
            return list(toolbox.specs())

    file = tmp_path_factory.mktemp("made") / "bot.db"
    specs = asyncio.run(make())
    return Made(file.read_bytes(), specs)


@pytest.fixture
async def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made) -> AsyncGenerator[Setup]:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    async with AsyncExitStack() as stack:
        foundry = await stack.enter_async_context(FoundryServer())
        entra, issuer = FakeEntra(tmp_path), FakeIssuer()
        for fake in (entra, issuer):
            await fake.start()
            stack.push_async_callback(fake.close)
        entra.claims = {"appid": APP_ID, "tid": TENANT}
        setup = Setup(tmp_path, monkeypatch, foundry, entra, issuer, made.specs, stack)
        setup.cloud()
        setup.environ = SECRETS | {
            "DATABASE_URL": f"sqlite+aiosqlite:///{setup.database}",
            "AGENT_BACKEND": "foundry",
            "PROJECT_ENDPOINT": foundry.endpoint,
            "AGENT_NAME": "keeper",
            "MICROSOFT_APP_ID": APP_ID,
            "MICROSOFT_APP_TENANT_ID": TENANT,
            "ALLOWED_TENANTS": TENANT,
        }
        settings = Settings(_env_file=None, **{name.lower(): value for name, value in setup.environ.items()})
        know_tools(foundry, made.specs)
        setup.public = await stack.enter_async_context(Deployed(settings))
        setup.database.write_bytes(made.database)
        yield setup


def know_tools(foundry: FoundryServer, specs: Sequence[ToolSpec]) -> None:
    """A version of the agent that has these tools."""
    functions = [
        {"type": "function", "name": s.name, "description": s.description, "parameters": s.parameters, "strict": False}
        for s in specs
    ]
    foundry.add_agent("keeper", tools=functions)


class Deployed:
    """The bot's endpoint as it is served, behind an address of its own."""

    def __init__(self, settings: Settings, *, page: bool = False) -> None:
        async def accept(_message: Message) -> Any:
            raise AssertionError("a check says nothing to the bot")

        async def ready() -> list[str]:
            return []

        self.framework = botframework.create(settings, accept=accept, emit=lambda _event: None, clock=SystemClock())
        self.server = TestServer(create_app(routes=self.framework.routes(), ready=ready, page=page))

    async def __aenter__(self) -> str:
        await self.server.start_server()
        return str(self.server.make_url("")).rstrip("/")

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()
        await self.framework.close()


async def test_a_sound_set_up_has_a_line_for_each_part(setup: Setup):
    code, found = await setup.check()
    assert [(one["subject"], one["standing"]) for one in found if one["standing"] != "ok"] == []
    assert code == 0
    assert {one["subject"] for one in found} == {
        *(checks.SETTINGS, checks.LISTS, checks.DATABASE, checks.TOOLS, checks.SERVICE, checks.CREDENTIAL),
        *(checks.AGENT, checks.KNOWN_TOOLS, checks.BOT, checks.IDS, checks.KEYS, checks.PUBLIC, checks.CLOCK),
    }


async def test_for_people_each_line_says_how_it_stands(setup: Setup):
    setup.environ["AGENT_NAME"] = "nobody"
    for name, value in setup.environ.items():
        setup.patch.setenv(name, value)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["check"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert any(line.startswith("OK ") and "database:" in line for line in lines)
    assert any(line.startswith("problem ") and "agent: There is no agent nobody" in line for line in lines)
    assert any(line.startswith("not checked ") and "public address:" in line for line in lines)


# -- one thing is wrong --------------------------------------------------------------------------------------------

Break = Callable[[Setup], Awaitable[None] | None]
FAULTS: dict[str, tuple[Break, str, str, str]] = {}
"""What makes it wrong; the subject that is blamed, words of the line, words of its cure."""


def fault(subject: str, words: str, cure: str) -> Callable[[Break], Break]:
    def keep(make: Break) -> Break:
        FAULTS[make.__name__] = (make, subject, words, cure)
        return make

    return keep


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def sets(name: str, **environ: str) -> Break:
    def make(setup: Setup) -> None:
        setup.environ |= environ

    make.__name__ = name
    return make


fault("settings", "PORT", ".env")(sets("a port that is none", PORT="70000"))
fault("settings", "MICROSOFT_APP_TENANT_ID is not set", ".env")(sets("no tenant", MICROSOFT_APP_TENANT_ID=""))
fault("allow-lists", "https://smba", "no https://")(
    sets("an address for a host", ALLOWED_SERVICE_HOSTS="https://smba.trafficmanager.net")
)
fault("allow-lists", "*.net", "alone")(sets("hosts of everybody", ALLOWED_SERVICE_HOSTS="*.net"))
fault("allow-lists", "lacks smba.trafficmanager.net", "add them: teams.example,smba")(
    sets("hosts without Teams", ALLOWED_SERVICE_HOSTS="teams.example")
)
fault("allow-lists", "contoso.com", "GUID")(sets("a tenant by its domain", ALLOWED_TENANTS="contoso.com"))
fault("allow-lists", "the bot's own tenant", "MICROSOFT_APP_TENANT_ID")(sets("another tenant", ALLOWED_TENANTS=OTHER))
fault("allow-lists", "alex@contoso.com", "object id")(sets("an admin by address", ADMINS="alex@contoso.com"))
fault("agent", "There is no agent keepr", "python -m bot agent push")(sets("a wrong agent name", AGENT_NAME="keepr"))
fault("database", "cannot be written", "folder exists")(
    sets("a folder that is not there", DATABASE_URL="sqlite+aiosqlite:////nowhere/at/all/bot.db")
)
fault("database", "does not answer", "host, the user and the password")(
    sets("no PostgreSQL", DATABASE_URL=f"postgresql+asyncpg://bot:the-client-secret-8Q@127.0.0.1:{closed_port()}/bot")
)


@fault("settings", "agent.toml", "")
def agent_toml_that_is_none(setup: Setup) -> None:
    (setup.folder / "agent.toml").write_text("model = \n")


@fault("database", "newer version", "Run that version")
def a_newer_schema(setup: Setup) -> None:
    with sqlite3.connect(setup.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@fault("database", "no SQLite database", "backup")
def a_file_that_is_no_database(setup: Setup) -> None:
    for file in setup.folder.glob("bot.db*"):
        file.write_bytes(b"not at all a database, but long enough to be read as one" * 40)


@fault("database", "stayed locked", "what else holds it")
def a_database_that_another_program_holds(setup: Setup) -> None:
    setup.patch.setattr("bot.store.inspection.BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(setup.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    setup.stack.callback(holder.close)


@fault("tools", "more/broken.py: ModuleNotFoundError at line 1", "take the file away")
def a_tool_that_does_not_import(setup: Setup) -> None:
    (setup.folder / "more").mkdir()
    (setup.folder / "more" / "broken.py").write_text("import nothing_like_it\n")
    setup.environ["TOOLS_DIR"] = str(setup.folder / "more")


@fault("tools", "WEATHER_KEY must be set", "in .env")
def a_tool_without_its_secret(setup: Setup) -> None:
    (setup.folder / "more").mkdir()
    (setup.folder / "more" / "weather.py").write_text(
        "from adapters import tool\n\n\n@tool(secrets=['WEATHER_KEY'])\n"
        'def weather(place: str) -> str:\n    """The weather at a place."""\n    return place\n'
    )
    setup.environ["TOOLS_DIR"] = str(setup.folder / "more")
    schema = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    weather = ToolSpec("weather", "The weather at a place.", schema | {"additionalProperties": False})
    know_tools(setup.foundry, [*setup.specs, weather])


@fault("agent service", "Nobody answers", "PROJECT_ENDPOINT|network")
def an_unreachable_service(setup: Setup) -> None:
    setup.environ["PROJECT_ENDPOINT"] = f"http://127.0.0.1:{closed_port()}/api/projects/p"


@fault("agent service", "certificate of 127.0.0.1 is not trusted", "SSL_CERT_FILE")
async def a_certificate_that_nobody_knows(setup: Setup) -> None:
    await over_tls(setup)


@fault("agent service", "No answer within 0.3 s", "network")
async def a_service_that_hangs(setup: Setup) -> None:
    hung = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await hung.wait()
        return web.Response()

    setup.environ["PROJECT_ENDPOINT"] = await setup.serve(api__projects__p=hang) + "/api/projects/p"
    setup.stack.callback(hung.set)
    setup.patch.setattr(checks, "SECONDS", 0.3)
    for other in ("_keys", "_tools", "_address", "_database"):
        setup.patch.setattr(checks._Looking, other, nothing)  # may be slower than that here


async def nothing(_self: object) -> list[Any]:
    return []


@fault("agent credential", "There is no token", "az login")
async def no_identity(setup: Setup) -> None:
    await over_tls(setup)
    setup.patch.setenv("SSL_CERT_FILE", setup.entra.ca_file)
    setup.patch.setenv("IDENTITY_ENDPOINT", await setup.serve(msi=no_such_identity) + "/msi")


async def no_such_identity(_request: web.Request) -> web.Response:
    return web.json_response({"error": {"code": "invalid_request", "message": "Identity not found"}}, status=400)


async def over_tls(setup: Setup) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(setup.entra.ca_file, setup.folder / "entra.key")
    server = await setup.stack.enter_async_context(FoundryServer(tls=tls))
    setup.patch.setenv("AZURE_CLIENT_ID", APP_ID)
    setup.patch.setenv("IDENTITY_ENDPOINT", setup.entra.managed_endpoint)
    setup.patch.setenv("IDENTITY_HEADER", "local")
    setup.environ["PROJECT_ENDPOINT"] = server.endpoint


@fault("agent", "does not let the bot's identity in", "Foundry User")
def a_role_that_is_missing(setup: Setup) -> None:
    setup.foundry.inject(Fault("permission_denied", "GET", "/agents/*", count=None))


@fault("agent's tools", "lacks the tool calculate", "python -m bot agent push")
def a_tool_that_the_service_lacks(setup: Setup) -> None:
    know_tools(setup.foundry, [spec for spec in setup.specs if spec.name != "calculate"])


@fault("clock", "clock is 60", "NTP")  # or a second more, on a busy machine
def a_clock_that_is_wrong(setup: Setup) -> None:
    setup.foundry.ahead = 600


@fault("bot credential", "refused the bot's credential", "the secret's value, not its id")
def a_wrong_secret(setup: Setup) -> None:
    setup.entra.refusal = (401, {"error": "invalid_client", "error_description": "AADSTS7000215: the-client-secret-8Q"})


@fault("bot credential", "certificate cannot be used", "MICROSOFT_APP_CERTIFICATE must be")
def a_bad_certificate_file(setup: Setup) -> None:
    (setup.folder / "bot.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    setup.environ |= {"MICROSOFT_APP_CERTIFICATE": str(setup.folder / "bot.pem"), "MICROSOFT_APP_PASSWORD": ""}


@fault("bot credential", "certificate ended on", "upload the new certificate")
def a_certificate_that_ended(setup: Setup) -> None:
    setup.certificate(begins=-400, ends=-1)


@fault("bot credential", "certificate holds only from", "clock")
def a_certificate_that_does_not_hold_yet(setup: Setup) -> None:
    setup.certificate(begins=1, ends=400)


@fault("bot credential", "token service failed", "network")
def no_way_to_the_token_service(setup: Setup) -> None:
    setup.cloud(authority=f"https://127.0.0.1:{closed_port()}")


@fault("app ids", f"MICROSOFT_APP_ID is {APP_ID}", "Azure Bot resource")
def a_token_of_another_app(setup: Setup) -> None:
    setup.entra.claims = {"appid": OTHER, "tid": TENANT}


@fault("app ids", f"of the tenant {OTHER}", "MICROSOFT_APP_TENANT_ID")
def a_token_of_another_tenant(setup: Setup) -> None:
    setup.entra.claims = {"appid": APP_ID, "tid": OTHER}


@fault("signing keys", "cannot answer now (503)", "MICROSOFT_CLOUD")
def keys_that_cannot_be_had(setup: Setup) -> None:
    setup.issuer.down = True


@fault("public address", "Nobody answers", "network")
def an_address_where_nobody_is(setup: Setup) -> None:
    setup.public = f"http://127.0.0.1:{closed_port()}"


@fault("public address", "is no https address", "https://YOUR-HOST")
def an_address_without_tls(setup: Setup) -> None:
    setup.public = "http://bot.contoso.com"


@fault("public address", "no Threadkeeper (/healthz: 404)", "pass every path on")
async def a_proxy_that_passes_nothing_on(setup: Setup) -> None:
    setup.public = await setup.serve()


@fault("public address", "local mode", "Set MICROSOFT_APP_ID")
async def a_deployment_without_its_settings(setup: Setup) -> None:
    setup.public = await setup.stack.enter_async_context(Deployed(Settings(_env_file=None), page=True))


@fault("public address", "got 200, and must get 401", "as it is")
async def a_proxy_that_answers_itself(setup: Setup) -> None:
    async def health(_request: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-Threadkeeper-Mode": "serving"})

    async def taken(_request: web.Request) -> web.Response:
        return web.Response()

    setup.public = await setup.serve(healthz=health, api__messages=taken)


@fault("agent backend", "ended on 2027-03-31", "AGENT_BACKEND=foundry")
def a_service_that_has_ended(setup: Setup) -> None:
    at(setup, datetime(2027, 4, 2, tzinfo=UTC))
    setup.foundry.add_assistant(assistant_id="asst_1")
    setup.environ |= {"AGENT_BACKEND": "foundry-classic", "AGENT_ID": "asst_1"}


@fault("agent", "There is no agent asst_2", "AGENT_ID")
def a_classic_agent_that_is_gone(setup: Setup) -> None:
    setup.environ |= {"AGENT_BACKEND": "foundry-classic", "AGENT_ID": "asst_2"}


@fault("agent", "has no such model", "MODEL_DEPLOYMENT_NAME")
async def a_model_that_the_server_lacks(setup: Setup) -> None:
    server = await chat(setup)
    server.inject("status", status=404, error={"message": "No such model.", "code": "model_not_found"})


@fault("agent", "does not let the bot in (401)", "OPENAI_API_KEY")
async def a_wrong_key(setup: Setup) -> None:
    (await chat(setup)).key = "another"


@fault("agent", "cannot call tools", "enable-auto-tool-choice")
async def a_model_without_tools(setup: Setup) -> None:
    server = await chat(setup)
    server.inject("status", status=400, error={"message": "model does not support tools"})


async def chat(setup: Setup) -> LLMServer:
    server = await setup.stack.enter_async_context(LLMServer())
    base = {"OPENAI_BASE_URL": server.base_url, "MODEL_DEPLOYMENT_NAME": "model"}
    setup.environ |= {"AGENT_BACKEND": "chat-completions"} | base
    return server


def at(setup: Setup, day: datetime) -> None:
    class Then(SystemClock):
        def now(self) -> float:
            return day.timestamp()

    setup.patch.setattr(check, "SystemClock", Then)


@pytest.mark.invariant("I13")
@pytest.mark.parametrize("name", FAULTS)
async def test_it_names_the_fault_and_nothing_else(setup: Setup, name: str):
    make, subject, words, cure = FAULTS[name]
    made = make(setup)
    if made is not None:
        await made
    async with asyncio.timeout(20):  # of one that hangs too
        code, found = await setup.check()
    assert code == 1
    problems = [one for one in found if one["standing"] == "problem"]
    assert [one["subject"] for one in problems] == [subject], problems
    assert words in problems[0]["words"]
    assert any(part in problems[0]["cure"] for part in cure.split("|"))


# -- worth knowing -------------------------------------------------------------------------------------------------


async def notes(setup: Setup) -> list[tuple[str, str]]:
    code, found = await setup.check()
    assert code == 0, found
    return [(one["subject"], one["words"] + one["cure"]) for one in found if one["standing"] == "note"]


async def test_an_older_schema_is_no_fault_and_stays_as_it_is(setup: Setup):
    with sqlite3.connect(setup.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    [(subject, words)] = await notes(setup)
    assert (subject, "older schema 0003" in words, "backup" in words) == ("database", True, True)
    with sqlite3.connect(setup.database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0003",)]


async def test_a_certificate_that_ends_soon_is_noted(setup: Setup):
    setup.certificate(begins=-300, ends=12.5)
    [(subject, words)] = await notes(setup)
    assert subject == "bot credential"
    assert "ends in 12 days" in words
    assert "Renew it" in words


async def test_a_variable_that_is_almost_a_setting_is_named(setup: Setup):
    setup.environ["MICROSOFT_APP_TENANTID"] = TENANT
    assert await notes(setup) == [
        (
            "settings",
            "MICROSOFT_APP_TENANTID is set, and is no setting.If MICROSOFT_APP_TENANT_ID was meant, write it so.",
        )
    ]


async def test_that_everybody_may_speak_is_told(setup: Setup):
    setup.environ["ALLOWED_TENANTS"] = ""
    [(subject, words)] = await notes(setup)
    assert (subject, "ALLOWED_TENANTS is empty" in words) == ("allow-lists", True)


async def test_the_days_of_a_service_that_ends_are_counted(setup: Setup):
    at(setup, datetime(2027, 3, 1, tzinfo=UTC))
    setup.foundry.add_assistant(assistant_id="asst_1")
    setup.environ |= {"AGENT_BACKEND": "foundry-classic", "AGENT_ID": "asst_1"}
    [(subject, words)] = await notes(setup)
    assert (subject, "ends in 30 days" in words) == ("agent backend", True)


async def test_a_clock_that_is_a_little_wrong_is_told(setup: Setup):
    setup.foundry.ahead = -120
    [(subject, words)] = await notes(setup)
    assert (subject, "120 s ahead" in words) == ("clock", True)


async def test_a_model_is_asked_one_word_with_a_tool_beside(setup: Setup):
    server = await chat(setup)
    assert await notes(setup) == []
    (asked,) = server.asked
    assert len(asked.messages) == len(asked.body["tools"]) == 1
    assert asked.body["tools"][0]["function"]["name"] in {spec.name for spec in setup.specs}


async def test_a_classic_agent_that_will_be_made_is_not_made_by_looking(setup: Setup):
    setup.environ |= {"AGENT_BACKEND": "foundry-classic", "MODEL_DEPLOYMENT_NAME": "gpt-4o"}
    told = dict(await notes(setup))
    assert "the first message makes it" in told["agent"]
    assert setup.foundry.state.assistants == {}


# -- it only looks -------------------------------------------------------------------------------------------------


async def test_it_changes_nothing_beside_a_running_bot(setup: Setup):
    running = await open_store(setup.environ["DATABASE_URL"], SystemClock(), runner=True)
    try:
        before = setup.database.read_bytes()
        code, found = await setup.check()
        assert code == 0, found
        assert setup.database.read_bytes() == before
        await running.ping()
    finally:
        await running.close()
    assert {request.method for request in setup.foundry.requests} == {"GET"}


async def test_a_database_that_is_not_there_is_not_made(setup: Setup):
    setup.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{setup.folder}/new.db"
    code, found = await setup.check()
    assert code == 0
    assert any("the first start makes it" in one["words"] for one in found)
    assert not (setup.folder / "new.db").exists()


async def test_documents_are_not_indexed_by_looking(setup: Setup):
    (setup.folder / "papers").mkdir()
    (setup.folder / "papers" / "one.md").write_text("# One\n\nA paper.\n")
    setup.environ["KNOWLEDGE_DIR"] = str(setup.folder / "papers")
    before = {file.name for file in setup.folder.iterdir()}
    _, found = await setup.check()
    assert any("lacks the tool search_knowledge" in one["words"] for one in found), found
    assert {file.name for file in setup.folder.iterdir()} == before


async def test_local_mode_asks_nothing_of_microsoft(setup: Setup):
    setup.environ = {"DATABASE_URL": setup.environ["DATABASE_URL"]}
    setup.public = ""
    code, found = await setup.check()
    assert code == 0
    assert {one["subject"] for one in found} == {"settings", "allow-lists", "database", "tools", "agent", "clock"}
    assert (setup.entra.requests, setup.issuer.requests, setup.foundry.requests) == ([], [], [])


# -- the short form ------------------------------------------------------------------------------------------------


def test_a_start_says_what_the_settings_alone_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICROSOFT_APP_TENANTID", TENANT)
    settings = Settings(_env_file=None, admins="alex@contoso.com")
    bot = SimpleNamespace(
        settings=settings, agent=SimpleNamespace(backend="rehearsal"), problems=["more/broken.py: no"]
    )
    serve._greet(bot, "http://127.0.0.1:3978")  # type: ignore[arg-type]
    said = capsys.readouterr().out.splitlines()
    assert "is running" in said[0]
    assert [line.split(":")[0] for line in said[2:]] == ["settings", "allow-lists", "Not loaded"]


def test_a_start_that_is_sound_says_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROSOFT_APP_TENANTID", raising=False)
    bot = SimpleNamespace(settings=Settings(_env_file=None), agent=SimpleNamespace(backend="rehearsal"), problems=[])
    serve._greet(bot, "http://127.0.0.1:3978")  # type: ignore[arg-type]
    assert len(capsys.readouterr().out.splitlines()) == 2


# -- PostgreSQL ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def server(setup: Setup, postgresql: str) -> AsyncGenerator[str]:
    """The set-up with a PostgreSQL database of its own; its name."""
    server, name = make_url(postgresql), f"check_{setup.folder.stat().st_ino}"
    await execute(server, f"CREATE DATABASE {name}")
    setup.environ["DATABASE_URL"] = server.set(database=name).render_as_string(hide_password=False)
    yield name
    await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def test_postgresql_empty_then_made_then_read_only(setup: Setup, server: str, postgresql: str):
    async def line() -> dict[str, str]:
        _, found = await setup.check()
        return next(one for one in found if one["subject"] == "database")

    assert "is empty" in (await line())["words"]
    await (await open_store(setup.environ["DATABASE_URL"], SystemClock(), runner=False)).close()
    assert "can be written" in (await line())["words"]
    await execute(make_url(postgresql), f"ALTER DATABASE {server} SET default_transaction_read_only = on")
    told = await line()
    assert (told["standing"], "takes no writes" in told["words"]) == ("problem", True)
    assert "server that takes writes" in told["cure"]


async def test_a_user_of_postgresql_who_may_not_write_is_named(setup: Setup, server: str, postgresql: str):
    await (await open_store(setup.environ["DATABASE_URL"], SystemClock(), runner=False)).close()
    own = make_url(setup.environ["DATABASE_URL"])
    for statement in (f"CREATE ROLE {server} LOGIN PASSWORD 'x'", f"GRANT SELECT ON alembic_version TO {server}"):
        await execute(own, statement)
    setup.environ["DATABASE_URL"] = own.set(username=server, password="x").render_as_string(hide_password=False)
    code, found = await setup.check()
    told = next(one for one in found if one["subject"] == "database")
    assert (code, "may not write" in told["words"], "write to them" in told["cure"]) == (1, True, True)
    await execute(own, f"DROP OWNED BY {server}")
    await execute(own, f"DROP ROLE {server}")


async def test_the_clock_of_postgresql_is_compared_too(setup: Setup, server: str):
    setup.patch.setattr("bot.store.inspection.time.time", lambda: datetime.now(UTC).timestamp() + 1000)
    code, found = await setup.check()
    told = next(one for one in found if one["subject"] == "clock")
    assert (code, "1000 s ahead" in told["words"]) == (1, True)
