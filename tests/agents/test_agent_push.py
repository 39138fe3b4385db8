"""The definition of an agent at its service, through the real SDKs: comparing, pushing, and a start that asks first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.agents import classic_definition, foundry, foundry_classic, foundry_definition
from bot.agents.foundry import FoundryAgent
from bot.clock import SystemClock
from bot.errors import OperatorError, ServiceUnavailable, SettingsError
from bot.ports import Definition, KeepsTools
from bot.settings import Settings, load
from bot.types import Ask, Carried, ToolSpec, ToolStanding
from tests.contracts.agent import mark
from tests.foundry import Fault, FoundryServer

VERSIONS = "/agents/keeper/versions"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "Tell the weather.", SCHEMA)
CLOCK = ToolSpec("clock", "Tell the time.", {"type": "object", "properties": {}})
TOOLS = [CLOCK, WEATHER]
FILE = """
model = "gpt-4o"
instructions = "Be kind."
description = "Answers."
temperature = 0.2
[[tools]]
type = "file_search"
vector_store_ids = ["vs_1"]
"""


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FoundryServer]:
    async with FoundryServer() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


Open = Callable[..., Awaitable[Definition]]


def settings_for(server: FoundryServer, file: Path, backend: str, **more: Any) -> Settings:
    given = {"agent_name": "keeper", "agent_file": file, "model_deployment_name": "gpt-4o"} | more
    return load(None, agent_backend=backend, project_endpoint=server.endpoint, **given)


@pytest_asyncio.fixture
async def opened(server: FoundryServer, file: Path) -> AsyncIterator[Open]:
    made: list[Definition] = []

    async def open_one(backend: str, **more: Any) -> Definition:
        module: Any = foundry_definition if backend == "foundry" else classic_definition
        made.append(await module.create(settings_for(server, file, backend, **more), clock=SystemClock()))
        return made[-1]

    yield open_one
    for definition in made:
        await definition.close()


def asked(server: FoundryServer) -> list[str]:
    """What was asked since the last time, and forget it."""
    found = [record.method for record in server.requests]
    server.requests.clear()
    return found


# -- both -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["foundry", "foundry-classic"])
async def test_push_makes_it_and_again_does_nothing(backend: str, opened: Open, server: FoundryServer) -> None:
    definition = await opened(backend)
    before = await definition.compare(TOOLS)
    assert before.at_service is None
    assert {tool.standing for tool in before.tools} == {"missing"}
    assert asked(server) == ["GET"]
    compared, made = await definition.push(TOOLS)
    assert made is not None
    assert (made.name, made.model, made.instructions, made.description) == ("keeper", "gpt-4o", "Be kind.", "Answers.")
    told = ["model", "description", "temperature", "instructions", "tool clock", "tool weather", "tool file_search"]
    assert [one.what for one in compared.differences] == told
    assert compared.differences == before.differences
    assert asked(server) == ["GET", "POST"]
    again, nothing = await definition.push(TOOLS)
    assert (again.differences, nothing) == ((), None)
    assert {tool.standing for tool in again.tools} == {"in step"}
    assert (await definition.compare(list(reversed(TOOLS)))).differences == ()
    assert asked(server) == ["GET", "GET"]


@pytest.mark.parametrize("backend", ["foundry", "foundry-classic"])
async def test_push_changes_what_differs_and_leaves_the_rest(
    backend: str, opened: Open, server: FoundryServer, file: Path
) -> None:
    await (await opened(backend)).push(TOOLS)
    write(file, 'instructions = "Be brief."\n')
    definition = await opened(backend)
    compared, made = await definition.push([replace(WEATHER, description="The weather."), replace(CLOCK, name="now")])
    changes = ["~ instructions", "~ tool weather", "+ tool now", "- tool clock"]
    assert [str(one) for one in compared.differences] == changes
    assert made is not None
    assert (made.model, made.description, made.instructions) == ("gpt-4o", "Answers.", "Be brief.")
    assert ToolStanding("file_search", "left alone") in compared.tools
    body = _held(server, backend)
    assert body["temperature"] == 0.2
    assert [tool["type"] for tool in body["tools"]] == ["function", "function", "file_search"]
    assert "vs_1" in str(body)


def _held(server: FoundryServer, backend: str) -> dict[str, Any]:
    if backend == "foundry":
        return server.project.agents["keeper"].latest.definition
    (assistant,) = server.state.assistants.values()
    return assistant.body()


@pytest.mark.parametrize("backend", ["foundry", "foundry-classic"])
async def test_a_service_that_fails_is_no_agent_that_is_missing(
    backend: str, opened: Open, server: FoundryServer
) -> None:
    definition = await opened(backend)
    server.inject(Fault("status", status=503))
    with pytest.raises(ServiceUnavailable):
        await definition.push(TOOLS)
    server.inject(Fault("permission_denied"))
    with pytest.raises(OperatorError, match="Foundry User"):
        await definition.push(TOOLS)
    assert "POST" not in asked(server)


@pytest.mark.parametrize("backend", ["foundry", "foundry-classic"])
async def test_a_push_whose_answer_is_lost_is_found_done(backend: str, opened: Open, server: FoundryServer) -> None:
    definition = await opened(backend)
    server.inject(Fault("cut", method="POST", when="after"))
    with pytest.raises(ServiceUnavailable):
        await definition.push(TOOLS)
    assert await definition.push(TOOLS) == (await definition.compare(TOOLS), None)


@pytest.mark.parametrize("backend", ["foundry", "foundry-classic"])
async def test_a_file_with_problems_is_refused(backend: str, opened: Open, file: Path, server: FoundryServer) -> None:
    write(file, "top_p = 7\ntemperature = 7\n")
    with pytest.raises(SettingsError) as caught:
        await opened(backend)
    assert len(caught.value.problems) == 2


# -- versions -------------------------------------------------------------------------------------------------


async def test_each_push_is_a_version_as_the_sdk_writes_it(opened: Open, server: FoundryServer) -> None:
    await (await opened("foundry")).push(TOOLS)
    _, made = await (await opened("foundry")).push([WEATHER])
    assert made is not None
    assert (made.version, made.id) == ("2", "keeper:2")
    body = server.requests_to("POST", VERSIONS)[-1].body
    function = {"type": "function", "name": "weather", "description": "Tell the weather.", "parameters": SCHEMA}
    assert body == {
        "definition": {
            "kind": "prompt",
            "model": "gpt-4o",
            "instructions": "Be kind.",
            "temperature": 0.2,
            "tools": [function | {"strict": False}, {"type": "file_search", "vector_store_ids": ["vs_1"]}],
        },
        "description": "Answers.",
    }


async def test_a_version_keeps_what_the_file_does_not_know(opened: Open, server: FoundryServer) -> None:
    kept = {"rai_config": {"rai_policy_name": "strict"}, "reasoning": {"effort": "low"}}
    server.add_agent("keeper", instructions="Old.", **kept)
    server.project.agents["keeper"].latest.metadata["owner"] = "ada"
    await (await opened("foundry")).push(TOOLS)
    latest = server.project.agents["keeper"].latest
    assert kept.items() <= latest.definition.items()
    assert (latest.version, latest.metadata) == ("2", {"owner": "ada"})


async def test_a_strict_function_is_ours_in_another_form(opened: Open, server: FoundryServer) -> None:
    tool = {"type": "function", "name": "weather", "description": WEATHER.description, "parameters": SCHEMA}
    server.add_agent("keeper", tools=[tool | {"strict": True}])
    compared = await (await opened("foundry")).compare([WEATHER])
    assert ToolStanding("weather", "differs") in compared.tools
    server.add_agent("keeper", tools=[tool])
    compared = await (await opened("foundry")).compare([WEATHER])
    assert ToolStanding("weather", "in step") in compared.tools


async def test_a_named_version_is_told_of(opened: Open, server: FoundryServer) -> None:
    definition = await opened("foundry", agent_name="keeper:1")
    _, made = await definition.push(TOOLS)
    assert made is not None
    compared, made = await definition.push([WEATHER])
    assert made is not None
    assert (made.version, "goes on with that one" in compared.note) == ("2", True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"agent_name": "my_keeper"}, ("AGENT_NAME 'my_keeper'", "hyphens")),
        ({"model_deployment_name": "", "agent_file": None}, ("No model is named", "MODEL_DEPLOYMENT_NAME")),
    ],
)
async def test_what_cannot_be_is_not_tried(
    more: dict[str, Any], words: tuple[str, ...], opened: Open, server: FoundryServer, file: Path
) -> None:
    if "agent_file" in more:
        write(file, 'instructions = "Be kind."\n')
        more = {"model_deployment_name": ""}
    definition = await opened("foundry", **more)
    with pytest.raises(OperatorError) as caught:
        await definition.push(TOOLS)
    assert [word for word in words if word not in str(caught.value)] == []
    assert asked(server) == ["GET"]


async def test_a_refused_tool_is_named(opened: Open, server: FoundryServer) -> None:
    definition = await opened("foundry")
    with pytest.raises(OperatorError, match=r"400 invalid_payload definition\.tools\[1\], tool my weather"):
        await definition.push([CLOCK, replace(WEATHER, name="my weather")])


async def test_a_workflow_is_not_overwritten(opened: Open, server: FoundryServer) -> None:
    server.add_agent("keeper", kind="workflow")
    definition = await opened("foundry")
    with pytest.raises(OperatorError, match="kind workflow"):
        await definition.push(TOOLS)
    assert asked(server) == ["GET"]


# -- the classic service --------------------------------------------------------------------------------------


async def test_the_agent_of_an_id_is_changed_in_place(opened: Open, server: FoundryServer) -> None:
    server.add_assistant(assistant_id="asst_1", name="theirs", tools=[{"type": "code_interpreter"}])
    compared, made = await (await opened("foundry-classic", agent_id="asst_1")).push([WEATHER])
    assert made is not None
    assert (made.id, made.name, compared.at_service and compared.at_service.id) == ("asst_1", "theirs", "asst_1")
    assert [str(one) for one in compared.differences][-1] == "- tool code_interpreter"
    body = server.state.assistants["asst_1"].body()
    assert body["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": WEATHER.description, "parameters": SCHEMA}},
        {"type": "file_search"},
    ]
    assert body["tool_resources"] == {"file_search": {"vector_store_ids": ["vs_1"]}}
    assert len(server.state.assistants) == 1


async def test_an_id_that_is_not_there_is_named(opened: Open) -> None:
    with pytest.raises(OperatorError, match="AGENT_ID"):
        await (await opened("foundry-classic", agent_id="asst_none")).push(TOOLS)


async def test_a_refused_change_is_an_operators(opened: Open, server: FoundryServer) -> None:
    server.add_assistant(assistant_id="asst_1")
    server.inject(Fault("status", method="POST", status=400, code="invalid_model"))
    with pytest.raises(OperatorError, match="400 invalid_model"):
        await (await opened("foundry-classic", agent_id="asst_1")).push(TOOLS)


async def test_serving_finds_the_agent_that_was_pushed(opened: Open, server: FoundryServer, file: Path) -> None:
    """The file's model goes before MODEL_DEPLOYMENT_NAME for both."""
    own = {"model_deployment_name": "gpt-other"}
    _, made = await (await opened("foundry-classic", **own)).push(TOOLS)
    assert made is not None
    settings = settings_for(server, file, "foundry-classic", **own)
    agent = await foundry_classic.create(settings, clock=SystemClock())
    try:
        await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    finally:
        await agent.close()
    assert list(server.state.assistants) == [made.id]


async def test_an_agent_that_serving_makes_is_that_of_the_file(server: FoundryServer, file: Path) -> None:
    settings = settings_for(server, file, "foundry-classic")
    agent = await foundry_classic.create(settings, clock=SystemClock())
    try:
        await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    finally:
        await agent.close()
    (assistant,) = server.state.assistants.values()
    body = assistant.body()
    assert (body["instructions"], body["description"], body["temperature"]) == ("Be kind.", "Answers.", 0.2)
    assert body["tool_resources"] == {"file_search": {"vector_store_ids": ["vs_1"]}}


# -- a start asks first ---------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def agent(server: FoundryServer, file: Path) -> AsyncIterator[FoundryAgent]:
    agent = await foundry.create(settings_for(server, file, "foundry"), clock=SystemClock())
    yield agent
    await agent.close()


async def test_what_the_service_lacks_is_named(agent: FoundryAgent, opened: Open, server: FoundryServer) -> None:
    assert isinstance(agent, KeepsTools)
    assert await agent.mismatch(TOOLS) == ["there is no agent keeper in the project of PROJECT_ENDPOINT"]
    server.add_agent("keeper")
    assert await agent.mismatch(TOOLS) == ["the agent keeper lacks the tools clock, weather"]
    assert await agent.mismatch([]) == []
    await (await opened("foundry")).push([CLOCK, replace(WEATHER, description="The weather.")])
    assert await agent.mismatch(TOOLS) == ["the agent keeper has another form of the tool weather"]
    await (await opened("foundry")).push(TOOLS)
    assert await agent.mismatch(TOOLS) == []


async def test_the_version_that_is_named_is_asked(server: FoundryServer, file: Path) -> None:
    server.add_agent("keeper")
    settings = settings_for(server, file, "foundry", agent_name="keeper:1")
    agent = await foundry.create(settings, clock=SystemClock())
    try:
        assert await agent.mismatch([CLOCK]) == ["the agent keeper, version 1, lacks the tool clock"]
        del server.project.agents["keeper"]
        assert await agent.mismatch([CLOCK]) == [
            "there is no agent keeper, version 1 in the project of PROJECT_ENDPOINT"
        ]
    finally:
        await agent.close()


async def test_a_workflow_is_not_asked_for_tools(agent: FoundryAgent, server: FoundryServer) -> None:
    server.add_agent("keeper", kind="workflow")
    assert await agent.mismatch(TOOLS) == []


@pytest.mark.invariant("I16")
async def test_what_could_not_be_asked_is_asked_by_the_first_run(
    agent: FoundryAgent, opened: Open, server: FoundryServer
) -> None:
    server.add_agent("keeper")
    server.inject(Fault("status", status=503))
    with pytest.raises(ServiceUnavailable):
        await agent.mismatch(TOOLS)
    thread = await agent.open_thread(Carried(), mark())
    with pytest.raises(OperatorError) as caught:
        await agent.start(thread, Ask(mark(), "Good morning"))
    assert caught.value.problem == "The agent keeper lacks the tools clock, weather."
    assert caught.value.cure == "Run: python -m bot agent push"
    with pytest.raises(OperatorError):
        await agent.start(thread, Ask(mark(), "Good morning"))
    await (await opened("foundry")).push(TOOLS)
    server.requests.clear()
    await agent.start(thread, Ask(mark(), "Good morning"))
    assert len(server.requests_to("GET", "/agents/keeper")) == 1


async def test_a_start_that_was_answered_costs_a_run_nothing(
    agent: FoundryAgent, opened: Open, server: FoundryServer
) -> None:
    await (await opened("foundry")).push(TOOLS)
    assert await agent.mismatch(TOOLS) == []
    server.requests.clear()
    await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    assert server.requests_to("GET", "/agents/**") == []
