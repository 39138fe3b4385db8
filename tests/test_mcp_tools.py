"""The tools of a server as an agent is told of them, the check of its arguments, and how they are found."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent, Tool

from adapters.contract import BadArguments
from adapters.discovery import load
from adapters.marks import ToolFailed
from adapters.mcp_file import ServerFile, ToolOptions
from adapters.mcp_result import result_of
from adapters.mcp_tool import McpTool, offered
from tests.contracts.toolbox import CALLER, SECRET, call
from tests.mcp_servers.running import HERE, until, written

FILE = ServerFile("acme", "tools/acme.mcp.toml", Path(), "acme", command="x")
ROOT = HERE.parent.parent


def tool(name: str = "find", hints: dict[str, bool] | None = None, schema: object = None, **more: Any) -> Tool:
    found = {"name": name, "inputSchema": schema or {"type": "object"}, "annotations": hints, **more}
    return Tool.model_validate(found)


def one(made: Tool, file: ServerFile = FILE) -> McpTool:
    (found,) = offered([made], file).tools.values()
    return found


def with_options(**options: ToolOptions) -> ServerFile:
    return ServerFile("acme", "tools/acme.mcp.toml", Path(), "acme", command="x", options=options)


# -- what is offered ----------------------------------------------------------------------------------------


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    ("hints", "once"),
    [
        (None, True),
        ({}, True),
        ({"readOnlyHint": True}, False),
        ({"readOnlyHint": False}, True),
        ({"destructiveHint": False}, True),
        ({"destructiveHint": True, "idempotentHint": True}, False),
        ({"idempotentHint": False}, True),
    ],
)
def test_what_may_change_something_runs_once_unless_the_file_says_otherwise(hints: dict[str, bool] | None, once: bool):
    assert one(tool(hints=hints)).spec.once is once
    for said in (True, False):
        assert one(tool(hints=hints), with_options(find=ToolOptions(once=said))).spec.once is said


def test_names_are_such_as_agents_take():
    listed = [tool("a.b/c"), tool("plain"), tool("x" * 60), tool("a_b_c")]
    offer = offered(listed, FILE)
    assert sorted(offer.tools) == ["acme_a_b_c", "acme_plain"]
    assert offer.problems == [
        "a_b_c is left out: another of its tools is named acme_a_b_c too",
        f"acme_{'x' * 60} is left out: its name is too long; set a shorter prefix",
    ]


def test_a_hidden_one_and_one_beside_the_list_is_not_offered():
    options = {"a": ToolOptions(hidden=True), "b": ToolOptions(approve=True)}
    file = ServerFile("x", "s", Path(), "", command="x", tools=frozenset("abc"), options=options)
    offer = offered([tool(name) for name in "abcd"], file)
    assert [(name, tool.spec.approve) for name, tool in offer.tools.items()] == [("b", True), ("c", False)]
    assert offer.problems == []


def test_a_name_of_the_file_that_the_server_does_not_know_is_named_with_the_nearest():
    file = ServerFile("x", "s", Path(), "", command="x", tools=frozenset(["fnid"]), options={"zzz": ToolOptions()})
    assert offered([tool("find")], file).problems == [
        "the server has no tool fnid: the nearest is find",
        "the server has no tool zzz",
    ]


def test_a_description_is_there_and_not_longer_than_agents_take():
    assert one(tool(description="x" * 5000)).spec.description == "x" * 1022 + " …"
    assert one(tool(description="  ")).spec.description == "find, a tool of acme."
    assert one(tool(title="Finds")).spec.description == "Finds"


def test_the_time_is_the_tool_s_own_or_the_file_s():
    assert one(tool()).spec.timeout == 30.0
    assert one(tool(), with_options(find=ToolOptions(timeout=2.0))).spec.timeout == 2.0


# -- arguments ----------------------------------------------------------------------------------------------

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"id": {"type": "integer"}, "note": {"type": "string"}, "in": {"$ref": "#/$defs/In"}},
    "$defs": {"In": {"enum": ["a", "b"]}},
    "required": ["id"],
}


def test_arguments_are_held_against_the_schema():
    made = one(tool(schema=SCHEMA))
    assert "$schema" not in made.spec.parameters
    assert json.loads(json.dumps(made.spec.parameters)) == made.spec.parameters
    assert made.arguments({"id": 1, "in": "a", "more": [1]}) == {"id": 1, "in": "a", "more": [1]}
    with pytest.raises(BadArguments, match=r"in: 'c' is not one of \['a', 'b'\].*The arguments are: id, note, in"):
        made.arguments({"id": 1, "in": "c"})


def test_null_for_what_was_left_out_is_left_out():
    assert one(tool(schema=SCHEMA)).arguments({"id": 1, "note": None}) == {"id": 1}
    with pytest.raises(BadArguments, match="id: None is not of type 'integer'"):
        one(tool(schema=SCHEMA)).arguments({"id": None})
    nullable = {"type": "object", "properties": {"note": {"type": ["string", "null"]}}}
    assert one(tool(schema=nullable)).arguments({"note": None}) == {"note": None}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "no such type"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.invalid/schema.json"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": []},
        {"$schema": 5, "type": "object"},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_the_check_to_the_server(schema: object):
    made = one(tool(schema=schema))
    assert isinstance(made.spec.parameters["properties"], dict)
    assert made.arguments({"a": "x"}) == {"a": "x"}


def test_a_reference_is_fetched_from_nowhere(monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **more: asked.append(given))
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert one(tool(schema=schema)).arguments({"a": "x"}) == {"a": "x"}
    assert asked == []


# -- results ------------------------------------------------------------------------------------------------


def test_data_is_told_where_there_is_no_text():
    text = TextContent(text="three")
    assert result_of(CallToolResult(content=[], structured_content={"n": 3})) == {"n": 3}
    assert result_of(CallToolResult(content=[text], structured_content={"n": 3})) == "three"
    assert result_of(CallToolResult(content=[])) is None


def test_a_failure_without_words_is_said_in_ours():
    with pytest.raises(ToolFailed, match="without a word of why"):
        result_of(CallToolResult(content=[], is_error=True))


# -- how they are found -------------------------------------------------------------------------------------


async def test_where_the_only_file_is_broken_the_other_tools_work(tmp_path: Path):
    folder = tmp_path / "mytools"
    written(folder, "broken", banana="1")
    loaded = load(folder)
    assert all(problem.startswith("mytools/broken.mcp.toml: ") for problem in loaded.problems)
    async with loaded.toolbox as toolbox:
        assert "current_time" in [spec.name for spec in toolbox.specs()]


async def test_a_file_in_a_folder_of_one_s_own_is_a_server(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "mytools"
    written(folder, "plain", command=sys.executable, args=[str(HERE / "plain.py")], prefix="")
    written(folder, "clock", command=sys.executable, args=[str(HERE / "plain.py")], prefix="p")
    written(folder, "broken", comand="x")
    written(folder, "_private", command="x")
    (folder / "mine.py").write_text(
        'from adapters import tool\n\n@tool\ndef echo() -> str:\n    """Say."""\n    return "mine"\n'
    )
    loaded = load(folder)
    broken = ["mytools/broken.mcp.toml: comand is not known: the nearest is command"]
    broken.append(
        "mytools/broken.mcp.toml: it needs either command (with args, env) or url (with auth, headers), and not both"
    )
    assert list(loaded.problems) == broken
    async with loaded.toolbox as toolbox:
        await until("there", lambda: "p_echo" in [spec.name for spec in toolbox.specs()])
        await until("there", lambda: "data" in [spec.name for spec in toolbox.specs()])
        assert (await toolbox.call(call("echo"), CALLER)).output == "mine"
        assert (await toolbox.call(call("data"), CALLER)).output == '{"open":3}'
        clash = "mytools/plain.mcp.toml: echo is left out: another tool has that name; set another prefix"
        assert list(loaded.problems) == [*broken, clash]
        assert len(loaded.problems) == 3
        assert loaded.problems[-1] == clash
        await toolbox.call(call("dies"), CALLER)
        await until("named", lambda: any("it ended" in problem for problem in loaded.problems))
        await until("back", lambda: list(loaded.problems) == [*broken, clash])
    assert SECRET not in caplog.text
    assert logging.getLogger("mcp").getEffectiveLevel() > logging.CRITICAL


def test_the_package_is_not_loaded_where_there_is_no_server(tmp_path: Path):
    code = "import sys; from adapters.discovery import load; from pathlib import Path; load(Path(sys.argv[1]));"
    code += "print(sorted(name for name in sys.modules if name in ('mcp', 'mcp_types', 'jsonschema', 'adapters.mcp')))"
    for file, found in ((None, "[]"), ("x", "['adapters.mcp', 'jsonschema', 'mcp', 'mcp_types']")):
        if file:
            written(tmp_path, file, command="x")
        ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
        assert (ran.stdout.strip(), ran.stderr) == (found, "")
