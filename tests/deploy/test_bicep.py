"""What `azd up` makes: each file parses, each name leads somewhere, and the app gets settings that the bot reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot import settings as environment
from bot.settings import Settings
from bot.web.app import create_app
from tests.deploy.bicep import (
    INFRA,
    Declaration,
    File,
    Node,
    descendants,
    each,
    files,
    members,
    parsed,
    properties,
    referred,
    text,
)

ROOT = INFRA.parent
MAIN = parsed(INFRA / "main.bicep")
APP = parsed(INFRA / "modules" / "app.bicep")
NOT_SETTINGS = {"AZURE_CLIENT_ID": "azure-identity reads it"}
FOR_OTHERS = {
    "AZURE_LOCATION",
    "AZURE_RESOURCE_GROUP",
    "AZURE_CONTAINER_REGISTRY_ENDPOINT",
    "BOT_ENDPOINT",
    "BOT_HANDLE",
}
"""Outputs that are no settings: azd reads some, people the others."""

each_file = pytest.mark.parametrize("file", files(), ids=lambda file: file.path.name)


def module(declaration: Declaration) -> File:
    return parsed((INFRA / declaration.target).resolve())


def settings_of_the_app() -> dict[str, Node]:
    """The variables of the container that are no secrets: name to what they get in main.bicep or app.bicep."""
    given = properties(properties(MAIN.of("module")["app"].body)["params"])["settings"]
    return properties(given) | properties(APP.of("var")["fixed"].node.named_children[-1])


def secrets_of_the_app() -> set[str]:
    """The variables that come from the vault."""
    vault = parsed(INFRA / "modules" / "vault.bicep")
    listed = each(vault.of("output")["secretNames"].node, "string_content")
    return {text(name).upper().replace("-", "_") for name in listed}


# -- the files by themselves --------------------------------------------------------------------------------------


@each_file
def test_a_file_is_bicep(file: File) -> None:
    assert not file.root.has_error, [text(node) for node in descendants(file.root) if node.type == "ERROR"]
    names = [one.name for one in file.declarations if one.kind != "output"]
    assert sorted(names) == sorted(set(names))


@each_file
def test_each_name_leads_somewhere_and_each_declaration_is_used(file: File) -> None:
    declared = {one.name for one in file.declarations if one.kind != "output"}
    used: set[str] = set()
    for one in file.declarations:
        for child in one.node.named_children[1:]:
            used |= referred(child)
    assert used - declared == set(), "a name that nothing declares"
    unused = {one.name for one in file.declarations if one.kind in ("param", "var")} - used
    assert unused == set(), "declared, and used nowhere"


@each_file
def test_a_resource_has_a_released_api(file: File) -> None:
    for one in file.of("resource").values():
        assert re.fullmatch(r"Microsoft\.[A-Za-z]+(/[A-Za-z]+)+@\d{4}-\d\d-\d\d", one.target), one.target


@each_file
def test_secrets_go_to_secrets_alone(file: File) -> None:
    secure = {name for name, one in file.of("param").items() if "secure" in one.decorators}
    assert secure == {name for name in file.of("param") if re.search(r"password|secret(?!N)|key", name, re.IGNORECASE)}
    assert not [one.name for one in file.of("param").values() if "secure" in one.decorators and _has_words(one)]
    for one in file.of("module").values():
        taking = {name for name, param in module(one).of("param").items() if "secure" in param.decorators}
        for name, value in properties(properties(one.body)["params"]).items():
            assert bool(referred(value) & secure) is (name in taking), f"{one.name}.{name}"
    for one in file.of("output").values():  # whether there is one may be said, not what it is
        bare = [node for node in descendants(one.node) if node.type == "identifier" and text(node) in secure]
        assert all(text(node.parent.parent).startswith("empty(") for node in bare if node.parent and node.parent.parent)


def _has_words(param: Declaration) -> bool:
    """Whether a parameter's default is anything but an empty string."""
    return param.optional and text(param.node.named_children[-1]) != "''"


# -- main and its modules -----------------------------------------------------------------------------------------


def test_every_module_is_used() -> None:
    used = {module(one).path for one in MAIN.of("module").values()}
    assert used == {file.path for file in files()} - {MAIN.path}


@pytest.mark.parametrize("name", sorted(MAIN.of("module")))
def test_a_module_gets_what_it_asks_for_and_gives_what_is_taken(name: str) -> None:
    called = MAIN.of("module")[name]
    asked = module(called).of("param")
    given = set(properties(properties(called.body)["params"]))
    assert given - set(asked) == set(), "nobody asks for it"
    assert {param for param, one in asked.items() if not one.optional} - given == set(), "it is missing"
    chains = {chain for one in MAIN.declarations for chain in members(one.node)}
    taken = {chain.split(".")[2] for chain in chains if re.fullmatch(rf"{name}\.outputs\.\w+", chain)}
    assert taken <= set(module(called).of("output"))
    assert set(module(called).of("output")) == taken, "an output that nobody takes"


def test_the_parameters_are_described_and_few() -> None:
    params = MAIN.of("param")
    assert [name for name, one in params.items() if "description" not in one.decorators] == []
    assert {name for name, one in params.items() if not one.optional} == {"environmentName", "location"}


def test_azd_gives_parameters_that_there_are_and_all_that_must_be() -> None:
    given: dict[str, Any] = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    params = MAIN.of("param")
    assert set(given) <= set(params)
    assert {name for name, one in params.items() if not one.optional} <= set(given)
    for name, one in given.items():
        assert re.fullmatch(r"\$\{[A-Z_]+(=[A-Za-z]*)?\}", one["value"]), name
        assert ("=" in one["value"]) is params[name].optional, f"{name}: without a value, azd would ask or fail"


def test_azd_finds_the_service_the_image_and_the_template() -> None:
    azd: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    ((service, how),) = azd["services"].items()
    assert f"'azd-service-name': '{service}'" in APP.path.read_text(encoding="utf-8")
    assert f"${{SERVICE_{service.upper()}_IMAGE_NAME=}}" in (INFRA / "main.parameters.json").read_text(encoding="utf-8")
    assert how["host"] == "containerapp"
    assert (ROOT / how["project"] / how["docker"]["path"]).is_file()
    assert (ROOT / azd["infra"]["path"] / f"{azd['infra']['module']}.bicep") == MAIN.path
    assert "'azd-env-name'" in MAIN.path.read_text(encoding="utf-8")


def test_the_steps_name_what_azd_takes() -> None:
    given = set(re.findall(r"\$\{([A-Z_]+)", (INFRA / "main.parameters.json").read_text(encoding="utf-8")))
    rows = re.findall(
        r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", (INFRA / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert named == {name for name in given if not name.startswith("AZURE_")}


# -- and the bot --------------------------------------------------------------------------------------------------


def test_the_app_gets_variables_that_the_bot_reads() -> None:
    known = {name.upper() for name in Settings.model_fields} | set(NOT_SETTINGS)
    assert set(settings_of_the_app()) | secrets_of_the_app() <= known
    hidden = {name.upper() for name, one in Settings.model_fields.items() if "SecretStr" in str(one.annotation)}
    assert set(settings_of_the_app()).isdisjoint(hidden)
    assert secrets_of_the_app() <= hidden


def test_the_outputs_are_the_bots_settings() -> None:
    outputs = set(MAIN.of("output"))
    assert outputs >= FOR_OTHERS
    assert outputs - FOR_OTHERS <= {name.upper() for name in Settings.model_fields}
    shown, given = MAIN.of("output"), settings_of_the_app()
    for name in outputs - FOR_OTHERS:
        assert text(shown[name].node.named_children[-1]) == text(given[name]), (
            f"{name} is one thing here, another there"
        )


@pytest.mark.parametrize("own_app", [False, True])
def test_the_bot_starts_with_what_the_app_gets(own_app: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "database.outputs.url": "postgresql+asyncpg://id-bot@name.postgres.database.azure.com/threadkeeper",
        "foundry.outputs.projectEndpoint": "https://ai.services.ai.azure.com/api/projects/threadkeeper",
        "appType": "SingleTenant" if own_app else "UserAssignedMSI",
        "string(port)": "3978",
        "appId": "11111111-2222-3333-4444-555555555555",
    }
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, node in settings_of_the_app().items():
        literal = text(node).strip("'") if node.type == "string" else "x"
        monkeypatch.setenv(name, values.get(text(node), literal))
    if own_app:
        monkeypatch.setenv("MICROSOFT_APP_PASSWORD", "x" * 16)
    settings = environment.load(env_file=None)
    assert not settings.local
    assert settings.database_auth == "entra"
    assert settings.database_url.startswith("postgresql"), "several replicas do not share a file"
    assert settings.agent_backend == "foundry"


def test_the_database_is_asked_in_without_a_password() -> None:
    database = parsed(INFRA / "modules" / "database.bicep")
    source = database.path.read_text(encoding="utf-8")
    assert "passwordAuth: 'Disabled'" in source
    url = text(database.of("output")["url"].node.named_children[-1])
    assert re.fullmatch(r"'postgresql\+asyncpg://\$\{identityName\}@\$\{[\w.]+\}/\$\{[\w.]+\}'", url)


async def test_the_probes_ask_where_the_bot_answers() -> None:
    async def ready() -> list[str]:
        return []

    routes = create_app(routes=[], ready=ready, page=False).router.routes()
    served = {route.resource.canonical for route in routes if route.resource is not None}
    source = APP.path.read_text(encoding="utf-8")
    probes = dict(re.findall(r"type: '(\w+)'\s+httpGet: \{ path: '([^']+)', port: port \}", source))
    assert probes == {"Startup": "/healthz", "Liveness": "/healthz", "Readiness": "/readyz"}
    assert set(probes.values()) <= served
    assert f"var port = {Settings.model_fields['port'].default}\n" in source
    assert "'${app.outputs.address}/api/messages'" in MAIN.path.read_text(encoding="utf-8")


def test_the_bot_is_a_registration_that_can_still_be_made() -> None:
    bot = parsed(INFRA / "modules" / "bot.bicep")
    kinds = each(bot.root, "decorator")
    assert any("'SingleTenant', 'UserAssignedMSI'" in text(one) for one in kinds)
    assert "MultiTenant" not in MAIN.path.read_text(encoding="utf-8")
    names = set(re.findall(r"name: '(\w+Channel)'", bot.path.read_text(encoding="utf-8")))
    assert names == {"MsTeamsChannel", "SlackChannel"}


def test_the_roles_are_the_least_that_do() -> None:
    """Ids as Microsoft has them: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""
    known = {
        "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
        "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
        "53ca6127-db72-4e31-b599-04dc5da150b4": "Foundry User",
    }
    sources = [file.path.read_text(encoding="utf-8") for file in files()]
    found = {
        name for source in sources for name in re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", source)
    }
    assert found == set(known)
    for source in sources:
        for name, role in known.items():
            assert name not in source or role in source
