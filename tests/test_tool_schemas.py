"""What services refuse of a tool, each named with its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.bootstrap import find_tools
from bot.cli.schemas import STRICT_DEPTH, STRICT_PROPERTIES, not_strict, refused, undescribed
from bot.cli.tool_check import _problems
from bot.types import ToolSpec
from tests.test_masking import JSON
from tests.world import settings_for

STRICT = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"], "description": "A."}, "b": {"$ref": "#/$defs/B"}},
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {"B": {"type": "array", "items": {"type": "integer"}, "description": "Numbers."}},
}
GOOD = ToolSpec("good", "Good.", STRICT)


def having(**properties: Any) -> ToolSpec:
    return replace(GOOD, parameters={"type": "object", "properties": properties})


def test_a_good_one_passes_even_in_strict_mode():
    assert (refused(GOOD), not_strict(GOOD), undescribed(GOOD)) == ([], [], [])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (replace(GOOD, name="näme"), "letters, digits"),
        (replace(GOOD, name="n" * 65), "1 to 64"),
        (replace(GOOD, description=" "), "no description"),
        (replace(GOOD, description="x" * 1025), "has 1025 characters"),
        (replace(GOOD, parameters={"type": "array", "items": {}}), "must be a schema of type object"),
        (replace(GOOD, parameters={"type": "object"}), "with its properties"),
        (replace(GOOD, parameters={**STRICT, "anyOf": [{}]}), "anyOf may not stand at the top"),
        (having(a={"type": "text"}), "parameters.a: 'text' is no type"),
        (having(a={"items": {"type": "array"}}), "parameters.a.items: a list must say what it holds"),
        (having(a={"enum": []}), "parameters.a: enum must be a list"),
        (having(a={"$ref": "#/$defs/No"}), "'#/$defs/No' leads nowhere"),
        (having(a={"$ref": "https://example.com/schema"}), "leads nowhere within the schema"),
        (replace(GOOD, parameters={**STRICT, "required": ["a", "z"]}), "z is required, but there is no such field"),
        (having(a={"description": "x" * 40_000}), "are a lot for one tool"),
    ],
)
def test_what_is_refused(spec: ToolSpec, words: str):
    (problem,) = refused(spec)
    assert words in problem


def deep(levels: int) -> dict[str, Any]:
    below = deep(levels - 1) if levels > 1 else {"type": "string"}
    return {"type": "object", "properties": {"a": below}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({**STRICT, "additionalProperties": True}, "parameters: additionalProperties must be false"),
        ({**STRICT, "required": ["a"]}, "every field is required, and b is not"),
        ({**STRICT, "$defs": {"B": {"type": "string", "minLength": 1}}}, "minLength is not known in strict mode"),
        ({**STRICT, "$defs": {"B": {"oneOf": [{"type": "string"}]}}}, "oneOf is not known"),
        (deep(STRICT_DEPTH + 1), f"{STRICT_DEPTH + 1} levels deep"),
        (
            {
                "type": "object",
                "properties": {f"p{n}": {"type": "string"} for n in range(STRICT_PROPERTIES + 1)},
                "required": [f"p{n}" for n in range(STRICT_PROPERTIES + 1)],
                "additionalProperties": False,
            },
            f"{STRICT_PROPERTIES + 1} fields",
        ),
    ],
)
def test_what_strict_mode_refuses_beside_that(parameters: dict[str, Any], words: str):
    spec = replace(GOOD, parameters=parameters)
    assert refused(spec) == []
    (problem,) = not_strict(spec)
    assert words in problem
    assert not_strict(replace(GOOD, parameters=deep(STRICT_DEPTH))) == []


def test_too_many_tools():
    (problem,) = _problems([replace(GOOD, name=f"t{n}") for n in range(129)], {}, strict=False, told=())
    assert "129 tools, and a service takes 128" in problem


def test_arguments_of_which_nothing_is_told():
    assert undescribed(having(a={"type": "string"}, b={"enum": ["x"]}, c={"description": "C."})) == ["a"]


@given(JSON, st.text(), st.text())
def test_any_schema_is_looked_at(schema: Any, name: str, description: str):
    spec = ToolSpec(name, description, {"type": "object", "properties": {"a": schema}, "$defs": schema})
    for check in (refused, not_strict, undescribed):
        assert all(isinstance(line, str) for line in check(spec))


async def test_what_is_shipped_is_refused_by_nobody(tmp_path: Any):
    toolbox, _ = find_tools(settings_for(tmp_path))
    assert {spec.name: refused(spec) + undescribed(spec) for spec in toolbox.specs() if refused(spec)} == {}
