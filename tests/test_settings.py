"""The environment: every problem at once, each with its variable and its cure; and the lists that people read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import SecretStr

from adapters import discovery
from bot import settings as environment
from bot.__main__ import app
from bot.errors import SettingsError
from bot.settings import Settings, is_loopback
from bot.types import Caller, Person, ToolCall

ROOT = Path(__file__).parent.parent
APP = "11111111-2222-3333-4444-555555555555"
ENTRA = {"microsoft_app_id": APP, "microsoft_app_password": "s3cret", "microsoft_app_tenant_id": "tenant"}
ENDPOINT = "https://name.services.ai.azure.com/api/projects/p"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine sets is no part of the test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)


def load(**values: Any) -> Settings:
    return environment.load(env_file=None, **values)


def problems(**values: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**values)
    return caught.value.problems


def default_text(name: str) -> str:
    """A default as it is written in a file."""
    default = Settings.model_fields[name].default
    match default:
        case SecretStr():
            return default.get_secret_value()
        case tuple():
            return ",".join(default)
        case None:
            return ""
        case _:
            return str(default)


# -- problems -------------------------------------------------------------------------------------------------


def test_nothing_set_is_the_local_mode() -> None:
    settings = load()
    assert settings.local
    assert settings.host == "127.0.0.1"
    assert settings.agent_backend == "rehearsal"


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = {
        "PORT": "http",
        "DATABASE_URL": "mysql://db",
        "AGENT_BACKEND": "oracle",
        "PROJECT_ENDPOINT": "name.services.ai.azure.com",
        "MICROSOFT_APP_TYPE": "Multi",
        "GROUP_THREADS": "all",
        "THREAD_MAX_MESSAGES": "1",
        "RUN_DEADLINE_SECONDS": "0",
        "TOOLS_DIR": str(tmp_path / "none"),
        "HOST": "0.0.0.0",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    found = problems()
    assert sorted(re.split(r"[: ]", problem)[0] for problem in found) == sorted(wrong)


@pytest.mark.parametrize(
    ("values", "variable", "cure"),
    [
        ({"database_url": "sqlite:///x.db"}, "DATABASE_URL", "sqlite+aiosqlite:///threadkeeper.db"),
        ({"project_endpoint": "http://example.org"}, "PROJECT_ENDPOINT", "https://NAME.services.ai.azure.com"),
        ({"tools_dir": "/nowhere/at/all"}, "TOOLS_DIR", "make it, or unset"),
        ({"agent_backend": "oracle"}, "AGENT_BACKEND", "'foundry-classic'"),
        ({"openai_base_url": "api.openai.com/v1"}, "OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"),
        ({"openai_base_url": "https://me:k3y@host/v1"}, "OPENAI_BASE_URL", "OPENAI_API_KEY"),
        ({"openai_base_url": "https://n.openai.azure.com/openai?api-version=1"}, "OPENAI_BASE_URL", "/openai/v1"),
        ({"model_context_tokens": 100}, "MODEL_CONTEXT_TOKENS", "2000"),
        ({"port": 70_000}, "PORT", "65535"),
        ({"teams_sensitivity_label": "Confidential"}, "TEAMS_SENSITIVITY_LABEL", "a GUID"),
        ({"teams_markdown": "html"}, "TEAMS_MARKDOWN", "'extended'"),
        ({"thread_idle_days": 0}, "THREAD_IDLE_DAYS", "is 0: give more than 0 (unset it is 30)"),
        ({"port": "abc"}, "PORT", "PORT is abc: give a whole number (unset it is 3978)."),
        ({"teams_receive_all": "perhaps"}, "TEAMS_RECEIVE_ALL", "give true or false"),
        ({"tickets": "paper"}, "TICKETS", "'jira'"),
        ({"microsoft_app_id": "APP_ID"}, "MICROSOFT_APP_ID", "such as 11111111-"),
        ({"agent_backend": "foundry", "agent_name": "a", "project_endpoint": "http://x"}, "PROJECT_ENDPOINT", "https"),
        ({"microsoft_app_id": "APP_ID", "host": "0.0.0.0"}, "MICROSOFT_APP_ID", "the app's id"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(values: dict[str, Any], variable: str, cure: str) -> None:
    (problem,) = problems(**values)
    assert re.match(rf"{variable}(:| is) ", problem)
    assert cure in problem


def test_a_broken_variable_does_not_hide_what_others_say_together() -> None:
    found = problems(port="x", agent_backend="foundry-classic")
    assert [problem.split()[0].strip(":") for problem in found] == ["PORT", "PROJECT_ENDPOINT", "AGENT_ID"]


# -- who may speak --------------------------------------------------------------------------------------------


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "bot.example.org", ""])
def test_without_an_app_id_only_loopback_is_listened_on(host: str) -> None:
    (problem,) = problems(host=host)
    assert problem.startswith("HOST ")
    assert "MICROSOFT_APP_ID" in problem
    assert "HOST=127.0.0.1" in problem


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_credentials(host: str) -> None:
    assert load(host=host).local


@pytest.mark.parametrize(
    ("host", "means_this_machine"),
    [("[::1]", True), ("localhost.example.org", False), ("127.0.0.1.example.org", False), ("2130706433", False)],
)
def test_loopback_is_recognised_by_what_it_is(host: str, means_this_machine: bool) -> None:
    assert is_loopback(host) is means_this_machine


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_with_credentials_any_address_may_be_listened_on(host: str) -> None:
    assert not load(host=host, **ENTRA).local


@pytest.mark.parametrize(
    ("kind", "given", "missing"),
    [
        ("SingleTenant", set[str](), {"MICROSOFT_APP_PASSWORD", "MICROSOFT_APP_TENANT_ID"}),
        ("SingleTenant", {"microsoft_app_password"}, {"MICROSOFT_APP_TENANT_ID"}),
        ("SingleTenant", {"microsoft_app_password", "microsoft_app_tenant_id"}, set[str]()),
        ("UserAssignedMSI", set[str](), {"MICROSOFT_APP_TENANT_ID"}),
        ("UserAssignedMSI", {"microsoft_app_tenant_id"}, set[str]()),
        ("MultiTenant", set[str](), {"MICROSOFT_APP_PASSWORD"}),
        ("MultiTenant", {"microsoft_app_password"}, set[str]()),
    ],
)
def test_each_app_type_needs_its_own_credential(kind: str, given: set[str], missing: set[str]) -> None:
    values = {"microsoft_app_id": APP, "microsoft_app_type": kind} | {name: ENTRA[name] for name in given}
    found = problems(**values) if missing else []
    assert {problem.split()[0] for problem in found} == missing
    if not missing:
        assert load(**values).microsoft_app_type == kind


@pytest.mark.invariant("I11")
def test_no_hosts_at_all_is_a_mistake_and_not_all_hosts() -> None:
    (problem,) = problems(allowed_service_hosts=(), **ENTRA)
    assert problem.startswith("ALLOWED_SERVICE_HOSTS ")
    assert "smba.trafficmanager.net" in problem


# -- the agent ------------------------------------------------------------------------------------------------


def test_foundry_needs_a_project_and_an_agent() -> None:
    found = problems(agent_backend="foundry-classic")
    assert [problem.split()[0] for problem in found] == ["PROJECT_ENDPOINT", "AGENT_ID"]
    assert "https://NAME.services.ai.azure.com/api/projects/PROJECT" in found[0]
    assert "MODEL_DEPLOYMENT_NAME" in found[1]


@pytest.mark.parametrize("agent", [{"agent_id": "asst_1"}, {"model_deployment_name": "gpt"}])
def test_an_agent_is_named_or_made(agent: dict[str, str]) -> None:
    settings = load(agent_backend="foundry-classic", project_endpoint=f"{ENDPOINT}/", **agent)
    assert settings.project_endpoint == ENDPOINT


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8000/api/projects/p", "http://localhost/api/projects/p"])
def test_a_foundry_on_this_machine_needs_no_certificate(endpoint: str) -> None:
    assert load(project_endpoint=endpoint).project_endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["http://example.org/p", "ftp://example.org", "https://", "example.org"])
def test_a_token_never_goes_out_in_the_clear(endpoint: str) -> None:
    (problem,) = problems(project_endpoint=endpoint)
    assert problem.startswith("PROJECT_ENDPOINT: must be the https address")


def test_a_foundry_agent_is_named() -> None:
    found = problems(agent_backend="foundry", agent_name="")
    assert [problem.split()[0] for problem in found] == ["PROJECT_ENDPOINT", "AGENT_NAME"]
    assert load(agent_backend="foundry", project_endpoint=ENDPOINT).agent_name == "threadkeeper"


def test_a_model_needs_an_address_and_a_name() -> None:
    found = problems(agent_backend="chat-completions")
    assert [problem.split()[0] for problem in found] == ["OPENAI_BASE_URL", "MODEL_DEPLOYMENT_NAME"]
    assert "https://NAME.openai.azure.com/openai/v1" in found[0]


@pytest.mark.parametrize(
    "address",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:11434/v1",
        "http://ollama:11434/v1",
        "http://10.1.2.3/v1",
        "http://model.internal/v1",
    ],
)
def test_a_model_is_asked_over_https_or_nearby(address: str) -> None:
    assert load(openai_base_url=f"{address}/chat/completions").openai_base_url == address
    assert load(openai_base_url=f"{address}/").openai_base_url == address


@pytest.mark.parametrize("address", ["http://api.openai.com/v1", "http://8.8.8.8/v1", "ftp://ollama/v1", "https://"])
def test_words_to_a_model_never_go_out_in_the_clear(address: str) -> None:
    (problem,) = problems(openai_base_url=address)
    assert problem.startswith("OPENAI_BASE_URL: must be the address")


# -- how values are written -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["a, b", "a,b", "a b", " a ,, b "])
def test_a_list_is_one_variable(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_TENANTS", written)
    assert load().allowed_tenants == ("a", "b")


def test_nothing_is_deleted_while_it_can_go_on() -> None:
    (problem,) = problems(retention_days=29)
    assert problem.startswith("RETENTION_DAYS is 29, less than THREAD_IDLE_DAYS (30)")
    assert load(retention_days=0).retention_days == 0
    assert load(retention_days=30).retention_days == 30


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert load().port == 3978


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=4000\nBOT_NAME=File\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "5000")
    settings = environment.load(env_file=tmp_path / ".env")
    assert (settings.port, settings.bot_name) == (5000, "File")


@pytest.mark.invariant("I13")
def test_a_secret_is_never_shown() -> None:
    settings = load(**ENTRA)
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.invariant("I13")
def test_no_problem_repeats_a_secret() -> None:
    found = problems(**ENTRA, port="x", database_url="postgres://user:hunter2@db/bot")
    assert len(found) == 2
    assert not [problem for problem in found if "hunter2" in problem or "s3cret" in problem]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:///threadkeeper.db",
        "postgresql+asyncpg://bot:s3cret@host/db",
        "postgresql+asyncpg://host/db",
        "postgresql+asyncpg://bot@host/db?ssl=disable",
        "postgresql+asyncpg://bot@host/db?password=s3cret",
    ],
)
def test_a_database_by_identity_has_a_user_and_no_password(url: str) -> None:
    (problem,) = problems(database_url=url, database_auth="entra")
    assert "DATABASE_AUTH is entra" in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize("url", ["postgresql+asyncpg://bot@host/db", "postgresql+asyncpg://bot@/db?host=/run/pg"])
def test_a_database_by_identity(url: str) -> None:
    assert load(database_url=url, database_auth="entra").database_auth == "entra"


# -- what people read -----------------------------------------------------------------------------------------


def test_the_example_lists_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert listed == {name.upper(): default_text(name) for name in Settings.model_fields}
    assert environment.load(env_file=ROOT / ".env.example") == load()


def test_the_readme_has_a_line_for_every_setting_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? *\| (.+) \|$", readme, re.MULTILINE)
    assert {name: default for name, default, _ in rows} == {n.upper(): default_text(n) for n in Settings.model_fields}
    assert len(rows) == len(Settings.model_fields), "a setting has two lines"


def readme_blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def test_the_readme_sets_what_there_is_to_set(tmp_path: Path) -> None:
    blocks = readme_blocks("sh")
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / ".env").write_text(block, encoding="utf-8")
        environment.load(env_file=tmp_path / ".env")
        assert {line.split("=")[0] for line in block.splitlines()} <= {name.upper() for name in Settings.model_fields}


async def test_the_readmes_tool_is_one(tmp_path: Path) -> None:
    (block,) = readme_blocks("python")
    (tmp_path / "dice.py").write_text(block, encoding="utf-8")
    loaded = discovery.load(tmp_path)
    assert loaded.problems == []
    (spec,) = [spec for spec in loaded.toolbox.specs() if spec.name == "roll"]
    assert spec.description == "Roll one die."
    async with loaded.toolbox:
        caller = Caller(Person("ada"), "tenant", "test", "7F3K-2Q", "1/1/0")
        answer = await loaded.toolbox.call(ToolCall("call", "roll", '{"sides": 20}'), caller)
    assert answer.error is None
    assert 1 <= int(answer.output) <= 20


def test_the_readme_names_the_commands_there_are() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `python -m bot ([a-z ]+?)(?: [A-Z]+)?` \|", readme, re.MULTILINE))
    group = typer.main.get_command(app)
    there = {" ".join(words) for words in _commands(group)}
    assert named == there


def _commands(command: Any, *way: str) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", None)
    return [way] if below is None else [one for name, sub in below.items() for one in _commands(sub, *way, name)]
