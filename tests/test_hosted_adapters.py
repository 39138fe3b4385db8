"""Adapters of other packages: found by their entry point, kept from harming others, and held to the contract."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters import Adapter, ToolContext, ToolFailed, tool
from adapters.discovery import load
from adapters.hosted import GROUP
from adapters.openapi import OpenApiAdapter, read_pair
from adapters.testing import AdapterContract, ToolContract, called
from tests.acme.acme_graphql import GraphQL
from tests.acme.service import graphql
from tests.contracts.toolbox import CALLER, SECRET, ToolboxContract, call
from tests.openapi_service import Waits, body, document, operation, serving, write_pair
from tests.packages import Install, installer

GRAPHQL = (Path(__file__).parent / "acme" / "acme_graphql.py").read_text(encoding="utf-8")
SHORT = "1"
BROKEN = """
from adapters import ToolSpec

SCHEMA = {"type": "object", "properties": {}}

class Fine:
    def __init__(self, environ): ...
    def specs(self): return [ToolSpec("fine", "Say it.", SCHEMA), *self.more]
    more = []
    async def call(self, call, caller): return "fine"
    async def __aenter__(self): return self
    async def __aexit__(self, *_): ...

class NoDoor(Fine):
    async def __aenter__(self): raise OSError("hunter2")

class Shuts(Fine):
    async def __aexit__(self, *_): raise OSError("hunter2")

class Odd(Fine):
    more = [ToolSpec("a b", "Do.", SCHEMA), ToolSpec("mute", "", SCHEMA), ToolSpec("fine", "Again.", SCHEMA),
            ToolSpec("flat", "Do.", {}), ToolSpec("soon", "Do.", SCHEMA, timeout=0), "no spec",
            ToolSpec("set", "Do.", SCHEMA | {"x": {1}})]

class Takes(Fine):
    more = [ToolSpec("calculate", "Mine.", SCHEMA)]

class Mute(Fine):
    def specs(self): raise OSError("hunter2")

def raises(environ): raise OSError("hunter2")
def exits(environ): raise SystemExit(1)
def none(environ): return object()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    return installer(tmp_path, monkeypatch)


# -- the contract, as it is published, over every kind of adapter -------------------------------------------


class TestGraphQL(AdapterContract):
    works = ("echo", {"text": "hello"})
    refused = ("echo", {"text": 7})
    breaks = ("breaks", {})
    hangs = ("hangs", {})
    untold = SECRET

    @asynccontextmanager
    async def adapter(self) -> AsyncGenerator[Adapter]:
        async with graphql(SECRET) as service:
            yield GraphQL({"ACME_GRAPHQL_URL": service.address, "ACME_GRAPHQL_TIMEOUT": SHORT})


class TestADocument(AdapterContract):
    works = ("echo", {"text": "hello"})
    refused = ("echo", {"text": 7, "more": 1})
    breaks = ("breaks", {})
    untold = SECRET

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def adapter(self) -> AsyncGenerator[Adapter]:
        async def answer(request: web.BaseRequest) -> web.Response:
            if request.path.endswith("breaks"):
                return web.json_response({"message": SECRET}, status=500)
            given: dict[str, Any] = json.loads(await request.read())
            return web.json_response(given["text"])

        wants = {"properties": {"text": {"type": "string"}}, "required": ["text"]}
        described = document(
            {
                "/echo": {"post": operation(operationId="echo", requestBody=body(wants))},
                "/breaks": {"post": operation(operationId="breaks")},
            }
        )
        async with serving(answer) as service:
            toml = f'address = "{service.address}"\nallow_private = true\noperations = ["echo", "breaks"]\n'
            found = read_pair(*write_pair(self.folder, described, toml), "test.openapi.json", {})
            yield OpenApiAdapter(found.tools, found.options, {}, Waits())


class TestAFunction(ToolContract):
    works = ("book", {"room": "Ada"})
    refused = ("book", {"room": 7})
    breaks = ("book", {"room": "cellar"})
    untold = SECRET
    secrets = {"ROOMS_KEY": "k"}  # noqa: RUF012

    @staticmethod
    @tool(name="book", secrets=["ROOMS_KEY"])
    async def function(room: str, context: ToolContext) -> str:
        """Book a room."""
        await context.records.put("rooms", room, context.person.id)
        if room == "cellar":
            raise OSError(SECRET)
        return f"{room} for {await context.records.get('rooms', room)} with {context.secret('ROOMS_KEY')}"


class TestOfAGraphQLService(ToolboxContract):
    """The contract of a toolbox, over the adapter as it is found among the installed packages."""

    @pytest.fixture
    async def toolbox(self, install: Install):
        install("acme", {"graphql": "acme_graphql:GraphQL"}, GROUP, acme_graphql=GRAPHQL)
        async with graphql(SECRET) as service:
            environ = {"ACME_GRAPHQL_URL": service.address, "ACME_GRAPHQL_TIMEOUT": "1"}
            loaded = load(environ=environ)
            async with loaded.toolbox as toolbox:
                yield toolbox


def holds(contract: type[AdapterContract]) -> list[str]:
    """The checks of a contract that fail."""
    failed: list[str] = []
    for name in (name for name in dir(contract) if name.startswith("test_")):
        try:
            getattr(contract(), name)()
        except AssertionError:
            failed.append(name)
    return failed


def test_the_contract_fails_for_one_that_breaks_it():
    class Bad(ToolContract):
        works = ("function", {"text": "a"})
        refused = ("function", {"text": "b"})
        breaks = ("function", {"text": "c"})
        hangs = ("function", {"text": "d"})
        untold = "told"

        @staticmethod
        def function(text: str) -> str:
            """Give another each time."""
            if text == "c":
                raise ToolFailed("told")
            return f"{text}{len(seen.append(text) or seen)}"  # type: ignore[func-returns-value]

    seen: list[str] = []
    assert holds(Bad) == [
        "test_a_call_has_one_output_under_its_own_id",
        "test_a_call_that_hangs_is_given_up_and_others_go_on",
        "test_a_failure_is_an_output_that_gives_nothing_away",
        "test_arguments_that_do_not_fit_are_refused",
    ]


# -- found among the packages -------------------------------------------------------------------------------


async def test_a_package_s_adapter_is_found_by_its_entry_point_and_answers(install: Install):
    install("acme", {"graphql": "acme_graphql:GraphQL"}, GROUP, acme_graphql=GRAPHQL)
    async with graphql(SECRET) as service:
        loaded = load(environ={"ACME_GRAPHQL_URL": service.address})
        async with loaded.toolbox as toolbox:
            assert list(loaded.problems) == []
            specs = {spec.name: spec for spec in toolbox.specs()}
            assert specs["echo"].source == "package acme, entry point graphql"
            assert (specs["rename"].once, specs["rename"].approve) == (True, True)
            assert toolbox.approval(call("rename", title="new")) == {"title": "new"}
            assert (await toolbox.call(call("rename", title="new"), CALLER)).output == '{"title":"new"}'
            assert service.asked == [("rename", {"title": "new"})]


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ("raises", "OSError at line"),
        ("exits", "SystemExit"),
        ("none", "what it makes is no adapter: it lacks specs, call, __aenter__, __aexit__"),
        ("missing", "AttributeError: module 'acme_broken' has no attribute 'missing'"),
        ("Mute", "OSError"),
    ],
)
def test_one_that_cannot_be_made_is_named_and_the_others_load(install: Install, made: str, problem: str):
    install("acme", {"bad": f"acme_broken:{made}", "good": "acme_broken:Fine"}, GROUP, acme_broken=BROKEN)
    loaded = load()
    assert "fine" in [spec.name for spec in loaded.toolbox.specs()]
    (told,) = loaded.problems
    assert told.startswith(f"package acme, entry point bad: {problem.split(' at ')[0]}")
    assert SECRET not in told


async def test_one_that_cannot_be_opened_is_named_and_the_others_answer(install: Install, caplog: Any):
    install("acme", {"bad": "acme_broken:NoDoor"}, GROUP, acme_broken=BROKEN)
    loaded = load()
    async with loaded.toolbox as toolbox:
        assert "fine" not in [spec.name for spec in toolbox.specs()]
        assert list(loaded.problems) == ["package acme, entry point bad: it could not be opened: OSError"]
        assert (await toolbox.call(call("calculate", expression="6 * 7"), CALLER)).output == "42"
    assert SECRET not in caplog.text


async def test_one_that_cannot_be_closed_keeps_nobody_from_ending(install: Install, caplog: Any):
    install("acme", {"bad": "acme_broken:Shuts"}, GROUP, acme_broken=BROKEN)
    caplog.set_level(logging.WARNING)
    async with load().toolbox:
        pass
    assert "it could not be closed: OSError" in caplog.text


def test_tools_that_agents_would_refuse_are_left_out_and_named(install: Install):
    install("acme", {"odd": "acme_broken:Odd"}, GROUP, acme_broken=BROKEN)
    loaded = load()
    assert "fine" in [spec.name for spec in loaded.toolbox.specs()]
    assert [problem.removeprefix("package acme, entry point odd: ") for problem in loaded.problems] == [
        "a b is left out: its name must be 1 to 64 letters, digits, _ or -",
        "mute is left out: it has no description",
        "fine is left out: it has two of that name",
        'flat is left out: its parameters must be a JSON schema with "type": "object" and "properties"',
        "soon is left out: its timeout must be above 0 seconds",
        "a tool is left out: its specification is no ToolSpec",
        "set is left out: its parameters are no JSON",
    ]


async def test_of_two_tools_with_one_name_neither_is_offered_and_both_sides_are_named(install: Install):
    install("acme", {"takes": "acme_broken:Takes"}, GROUP, acme_broken=BROKEN)
    loaded = load()
    assert list(loaded.problems) == [
        "calculate is left out: tools/calculator.py and package acme, entry point takes each have a tool of that name; "
        "rename one"
    ]
    async with loaded.toolbox as toolbox:
        names = [spec.name for spec in toolbox.specs()]
        assert ("calculate" in names, "fine" in names) == (False, True)
        assert (await toolbox.call(call("calculate"), CALLER)).error == "unknown_tool"


def test_a_tool_is_called_as_the_bot_calls_it():
    assert called(TestAFunction.function, {"room": "Ada"}).error == "not_set_up"
    outcome = called(TestAFunction.function, {"room": "Ada"}, secrets={"ROOMS_KEY": "k"})
    assert (outcome.text, outcome.error) == ("Ada for ada with k", None)
