"""agent.toml, and an agent's definition beside it: what is read, and what counts as a difference."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.agents import agent_file
from bot.agents.agent_file import AgentFile
from bot.agents.classic_form import flat, in_classic_words, written
from bot.agents.comparing import Wanted, differences, function_of, mismatched, same_tool, standings, wanted
from bot.errors import SettingsError
from bot.settings import Settings, load
from bot.types import ToolSpec, ToolStanding

ROOT = Path(__file__).parent.parent.parent

WHOLE = """
model = "gpt-4o"
instructions = '''
  You are {BOT_NAME}.
Be brief.
'''
description = ""
temperature = 1
top_p = 0.5

[[tools]]
type = "code_interpreter"

[[tools]]
type = "mcp"
server_label = "docs"
"""


def settings(file: Path, **more: Any) -> Settings:
    return load(None, agent_file=file, **more)


def problems_of(text: str) -> list[str]:
    problems, _ = agent_file.parse(text)
    return problems


# -- the file -------------------------------------------------------------------------------------------------


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(WHOLE, encoding="utf-8")
    found = agent_file.read(settings(path, bot_name="Ada"))
    assert found.instructions == "You are Ada.\nBe brief."
    assert found.fields["description"] == ""
    assert (found.fields["temperature"], found.fields["top_p"]) == (1, 0.5)
    assert found.tools is not None
    assert [agent_file.name_of(tool) for tool in found.tools] == ["code_interpreter", "mcp docs"]
    assert agent_file.applied(settings(path)).model_deployment_name == "gpt-4o"


def test_no_file_under_the_default_name_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert agent_file.read(load(None)) == AgentFile()
    assert agent_file.applied(load(None, model_deployment_name="gpt")).model_deployment_name == "gpt"
    assert agent_file.read(load(None)).instructions == ""


def test_the_setting_goes_before_the_files_instructions(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert agent_file.instructed(settings(path, bot_name="Ada")).agent_instructions == "You are Ada.\nBe brief."
    assert agent_file.instructed(settings(path, agent_instructions="Sing.")).agent_instructions == "Sing."


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"AGENT_FILE: .*own\.toml is not a file; make it"):
        settings(tmp_path / "own.toml")


def test_the_file_that_is_shipped_can_be_used() -> None:
    found = agent_file.read(settings(ROOT / "agent.toml", bot_name="Ada"))
    assert agent_file.BOT_NAME not in found.instructions


def test_what_the_shipped_file_has_as_a_comment_can_be_used_too() -> None:
    text = (ROOT / "agent.toml").read_text(encoding="utf-8")
    for key in ("model =", "description =", "temperature =", "top_p =", "[[tools]]", "type =", "vector_store_ids ="):
        text = text.replace(f"# {key}", key)
    problems, found = agent_file.parse(text)
    assert problems == []
    assert found.fields.keys() == {"model", "instructions", "description", "temperature", "top_p"}
    assert [tool["type"] for tool in found.tools or ()] == ["code_interpreter", "file_search"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = gpt-4o", ("line 1", "quotes")),
        ('instrutions = "x"', ("instrutions is not known", "is instructions meant?")),
        ('colour = "x"', ("colour is not known", "there are model, instructions")),
        ("model = 4", ("model must be a text", "quotes")),
        ('instructions = " "', ("instructions is empty",)),
        (f'description = "{"x" * 513}"', ("description has 513 characters", "512")),
        ('temperature = "0.2"', ("temperature must be a number from 0 to 2", "without quotes")),
        ("temperature = true", ("temperature must be a number",)),
        ("top_p = 1.1", ("top_p must be a number from 0 to 1",)),
        ("top_p = nan", ("top_p must be a number",)),
        ('tools = ["code_interpreter"]', ("tools must be tables", "[[tools]]")),
        ('[tools]\ntype = "mcp"', ("tools must be tables",)),
        ('[[tools]]\nkind = "mcp"', ("number 1", "no type")),
        ('[[tools]]\ntype = "code_interpeter"', ("number 1", "is code_interpreter meant?")),
        ('[[tools]]\ntype = "function"\nname = "x"', ("functions come from the folder tools/",)),
        ('[[tools]]\ntype = "mcp"\ntemperature = 0.2', ("temperature does not belong", "above the first [[tools]]")),
        ('[[tools]]\ntype = "mcp"\nauthorization = "s3cret"', ("secret", "project_connection_id")),
        ('[[tools]]\ntype = "mcp"\n[[tools]]\ntype = "mcp"', ("number 2", "mcp stands there twice")),
    ],
)
def test_each_problem_is_named_with_its_cure(text: str, words: tuple[str, ...]) -> None:
    (problem,) = problems_of(text)
    assert [word for word in words if word not in problem] == []
    assert "s3cret" not in problem


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('modle = "x"\ntop_p = 3\n[[tools]]\nname = "x"\n', encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        agent_file.read(settings(path))
    assert len(caught.value.problems) == 3
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(b'model = "\xff"')
    with pytest.raises(SettingsError, match="not UTF-8"):
        agent_file.read(settings(path))
    known = settings(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        agent_file.read(known)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    problems, found = agent_file.parse(text)
    assert problems or isinstance(found, AgentFile)


# -- comparing ------------------------------------------------------------------------------------------------

names = st.text(st.characters(categories=["Ll"], include_characters="_"), min_size=1, max_size=6)
leaves = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "boolean"])},
    optional={"description": st.text(max_size=8), "default": st.one_of(st.none(), st.integers()), "title": names},
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=2)}),
    ),
    max_leaves=5,
)


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, schemas, max_size=3))
    required = [name for name in properties if draw(st.booleans())]
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


specs = st.builds(ToolSpec, names, st.text(max_size=20), parameters())
tool_lists = st.lists(specs, max_size=3, unique_by=lambda spec: spec.name)
service_tools = st.sampled_from(
    [
        None,
        (),
        ({"type": "code_interpreter"},),
        ({"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f_1"]}}, {"type": "mcp"}),
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, {"type": "openapi", "openapi": {"name": "crm"}}),
    ]
)
fields = st.fixed_dictionaries(
    {"model": st.just("gpt-4o")},
    optional={
        "instructions": names,
        "description": st.text(max_size=5),
        "temperature": st.floats(0, 2),
        "top_p": st.one_of(st.just(1), st.floats(0, 1)),
    },
)
files = st.builds(AgentFile, fields, service_tools)


def filled_in(value: Any, *, named: bool = False) -> Any:
    """What a service may make of what it was sent: nothing less, and defaults besides. `named`: its keys are names."""
    match value:
        case dict():
            filled = {key: filled_in(one, named=key == "properties") for key, one in value.items()}
            return filled if named else filled | {"filled_in": None}
        case list():
            return [filled_in(one) for one in value]
        case _:
            return value


@given(files, tool_lists, st.booleans())
def test_what_was_pushed_differs_in_nothing(file: AgentFile, tools: list[ToolSpec], strict: bool) -> None:
    want = wanted(file, "", tools, strict=strict or None).for_new()
    held = want.fields | {"kind": "prompt", "tools": [filled_in(tool) for tool in want.tools([])]}
    assert differences(want, held) == ()
    assert {tool.standing for tool in standings(want, held)} <= {"in step"}
    assert mismatched(want.functions, held["tools"]) == ([], [])


@given(files, tool_lists)
def test_so_in_the_words_of_the_classic_service(file: AgentFile, tools: list[ToolSpec]) -> None:
    service = None if file.tools is None else tuple(in_classic_words(tool) for tool in file.tools)
    want = wanted(AgentFile(file.fields, service), "", tools).for_new()
    held = want.fields | {"id": "asst_1", "tool_resources": {}, "temperature": 1.0} | want.fields
    held |= written(want.tools([]), None)
    assert differences(want, flat(held)) == ()


@given(specs, st.data())
def test_every_change_of_a_schema_is_seen(spec: ToolSpec, data: st.DataObject) -> None:
    ours = function_of(spec)
    theirs = copy.deepcopy(ours)
    schema: dict[str, Any] = theirs["parameters"]
    properties: dict[str, Any] = schema["properties"]
    ways = ["more", "required", "description"] + (["less", "type"] if properties else [])
    match data.draw(st.sampled_from(ways)):
        case "more":
            properties["another1"] = {"type": "string"}
        case "less":
            properties.pop(data.draw(st.sampled_from(sorted(properties))))
        case "type":
            properties[data.draw(st.sampled_from(sorted(properties)))] = {"type": "null"}
        case "required":
            schema["required"] = [*schema.get("required", []), "another1"]
        case _:
            theirs["description"] += " And more."
    assert not same_tool(ours, theirs)
    assert not same_tool(theirs, ours)
    want = Wanted({}, (ours,))
    (difference,) = differences(want, {"tools": [theirs]})
    assert str(difference) == f"~ tool {spec.name}"
    assert standings(want, {"tools": [theirs]}) == (ToolStanding(spec.name, "differs"),)


def test_what_the_file_does_not_name_is_left_alone() -> None:
    held = {"model": "gpt-5", "instructions": "Be kind.", "temperature": 0.3, "tools": [{"type": "file_search"}]}
    assert differences(wanted(AgentFile(), "", []), held) == ()
    assert standings(wanted(AgentFile(), "", []), held) == (ToolStanding("file_search", "left alone"),)


def test_an_empty_list_of_tools_removes_them() -> None:
    held = {"tools": [{"type": "file_search"}, {"type": "mcp", "server_label": "a", "authorization": "s3cret"}]}
    found = differences(wanted(AgentFile(tools=()), "", []), held)
    assert [str(one) for one in found] == ["- tool file_search", "- tool mcp a"]
    assert "s3cret" not in str([one.lines for one in found])


def test_a_function_that_nobody_answers_is_removed() -> None:
    held = {"tools": [{"type": "function", "name": "old", "parameters": {}}]}
    want = wanted(AgentFile(), "", [])
    assert [str(one) for one in differences(want, held)] == ["- tool old"]
    assert standings(want, held) == (ToolStanding("old", "unknown"),)


def test_lines_show_what_changes() -> None:
    want = wanted(AgentFile({"instructions": "One.\nTwo.\nThree.", "temperature": 0.2}), "gpt-5", [])
    found = differences(
        want, {"model": "gpt-4o", "instructions": "One.\r\n2.\r\nThree.\r\n", "temperature": 0.2000000003}
    )
    assert [str(one) for one in found] == ["~ model", "~ instructions"]
    assert found[0].lines == ("@@ -1 +1 @@", "-gpt-4o", "+gpt-5")
    assert found[1].lines[1:] == (" One.", "-2.", "+Two.", " Three.")
