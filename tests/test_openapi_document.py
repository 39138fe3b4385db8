"""A document and its toml: what is read, how it is told to an agent, and what cannot be used, named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.openapi import Described, read_pair
from adapters.openapi_check import Misfit, conform
from adapters.openapi_document import BadDocument, read_document
from adapters.openapi_inputs import MOST_SCHEMA
from adapters.openapi_options import BadOptions, read_options
from adapters.openapi_schema import Converter, shortened
from bot.types import Json, JsonObject, ToolSpec
from tests.contracts.toolbox import SECRET
from tests.openapi_service import body, document, operation, parameter, write_pair

GITHUB = Path(__file__).parent / "documents" / "github.openapi.json"
ADDRESS = 'address = "https://api.example.com"\n'


def read(folder: Path, described: dict[str, Any] | str, toml: str = 'operations = ["do"]\n') -> Described:
    file, options = write_pair(folder, described, ADDRESS + toml)
    return read_pair(file, options, "t/test.openapi.json", {"KEY": "x"})


def spec_of(folder: Path, one: dict[str, Any], toml: str = 'operations = ["do"]\n', **more: Any) -> ToolSpec:
    (tool,) = read(folder, document({"/x": {"get": one}}, **more), toml).tools
    return tool.spec


def converted(schema: Json, **schemas: Json) -> JsonObject:
    """A schema as an agent is told of it."""
    root = document({"/x": {"get": operation()}}, components={"schemas": schemas})
    return Converter(read_document(json.dumps(root).encode(), is_json=True)).convert(schema)


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


# -- documents ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_json", "problem"),
    [
        (b'{"openapi": "3.1.0", "paths": {', True, "it is no JSON at line 1"),
        (b"\xff", True, "it is no JSON"),
        (b'{"a": NaN}', True, "it is no JSON"),
        (b"[" * 100_000, True, "it is no JSON"),
        (b"[]", True, "it is no OpenAPI 3.0 or 3.1"),
        (b'{"swagger": "2.0"}', True, "it is Swagger 2.0: convert it to OpenAPI 3"),
        (b'{"openapi": "4.0.0"}', True, "it is no OpenAPI 3.0 or 3.1"),
        (b'{"openapi": "3.0.3", "paths": {}}', True, "it has no operations"),
        (b"openapi: 3.0.3\npaths:\n  - [", False, "it is no YAML at line 4"),
        (b"a: !!python/object/apply:os.system [ls]", False, "it is no YAML at line 1"),
        (b"a: &a [*a]", False, "it is no YAML"),
        (b"\x00\x01", False, "it is no YAML"),
    ],
)
def test_what_is_no_document_is_refused(text: bytes, is_json: bool, problem: str):
    with pytest.raises(BadDocument, match=f"^{re.escape(problem)}"):
        read_document(text, is_json=is_json)


def test_yaml_is_read_as_json_would_be(tmp_path: Path):
    text = """
openapi: 3.0.3
info: {title: T, version: 1.0, x-date: 2020-01-01}
x-shared: &page
  {name: page, in: query, schema: {type: string, enum: [on, off, yes, no, 010, 1e3, null, true, 2020-01-01]}}
paths:
  /x:
    get:
      operationId: do
      parameters: [*page]
      responses: {200: {description: y}}
"""
    (tool,) = read(tmp_path, text).tools
    enum = tool.spec.parameters["properties"]["page"]["enum"]
    assert enum == ["on", "off", "yes", "no", 10, 1000.0, None, True, "2020-01-01"]


@pytest.mark.parametrize("grows", ["properties: {a: *, b: *, c: *, d: *, e: *, f: *}", "anyOf: [*, *, *, *, *, *, {}]"])
def test_aliases_that_grow_without_end_are_cut(tmp_path: Path, grows: str):
    lines = ["a0: &a0 {type: object, properties: {x: {type: string}}}"]
    lines += [f"a{n}: &a{n} {{title: t{n}, {grows.replace('*', f'*a{n - 1}')}}}" for n in range(1, 30)]
    text = "openapi: 3.1.0\npaths:\n  /x:\n    post:\n      operationId: do\n      requestBody:\n"
    text += "        content: {application/json: {schema: *a29}}\n"
    (tool,) = read(tmp_path, "x-all:\n  " + "\n  ".join(lines) + "\n" + text).tools
    assert len(json.dumps(tool.spec.parameters)) <= MOST_SCHEMA


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("#/components/schemas/None", "leads nowhere"),
        ("other.yaml#/x", "it refers to another file; bundle them into one"),
        ("#/components/schemas/Circle", "a reference leads in a circle"),
    ],
)
def test_an_operation_whose_reference_fails_is_left_out_and_the_others_are_there(
    tmp_path: Path, reference: str, problem: str
):
    broken = operation(operationId="broken", parameters=[parameter("a", kind={"$ref": reference})])
    described = document(
        {"/x": {"get": operation()}, "/y": {"get": broken}},
        components={"schemas": {"Circle": ref("Circle2"), "Circle2": ref("Circle")}},
    )
    found = read(tmp_path, described, 'operations = ["do", "broken"]\n')
    assert [tool.spec.name for tool in found.tools] == ["do"]
    assert [problem in one and one.startswith("broken is no tool: ") for one in found.problems] == [True]


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (
            operation(requestBody=body({}, "multipart/form-data")),
            "its body is multipart/form-data, which is not supported",
        ),
        (operation(parameters=[parameter("Host", "header")]), "its header 'Host' is not one that a tool may set"),
        (operation(parameters=[parameter("a\nb", "header")]), "is not one that a tool may set"),
        (operation(parameters=[parameter("a", "body")]), "is in body, which is not supported"),
    ],
)
def test_an_operation_that_has_no_form_here_is_named(tmp_path: Path, one: dict[str, Any], problem: str):
    found = read(tmp_path, document({"/x": {"post": one}}))
    assert found.tools == []
    assert problem in found.problems[0]


def test_a_path_with_a_part_that_nobody_fills_is_named(tmp_path: Path):
    found = read(tmp_path, document({"/x/{id}": {"get": operation()}}))
    assert found.problems == ["do is no tool: its path has {id}, of which it says nothing"]


# -- which operations, and what they are told ---------------------------------------------------------------

SEVERAL = document(
    {
        "/items": {"get": operation(operationId="items/list", tags=["Items"]), "post": operation(tags=["Items"])},
        "/other": {"get": {"summary": "No id."}, "delete": operation(operationId="other/delete")},
    }
)


@pytest.mark.parametrize(
    ("operations", "names"),
    [
        ('"items/list"', ["items_list"]),
        ('"Items"', ["items_list", "do"]),
        ('"GET /other"', ["get_other"]),
        ('"other/delete", "Items", "do"', ["items_list", "do", "other_delete"]),
    ],
)
def test_operations_are_named_by_id_tag_or_path(tmp_path: Path, operations: str, names: list[str]):
    found = read(tmp_path, SEVERAL, f"operations = [{operations}]\n")
    assert ([tool.spec.name for tool in found.tools], found.problems) == (names, [])


def test_where_none_is_named_it_is_said_what_there_is(tmp_path: Path):
    with pytest.raises(BadOptions) as caught:
        read(tmp_path, SEVERAL, "")
    told = "operations names none; there are 4 operations: items/list, do, GET /other, other/delete; tags: Items (2)"
    assert caught.value.problems == [told]


def test_a_name_that_fits_none_is_told_with_the_nearest(tmp_path: Path):
    found = read(tmp_path, SEVERAL, 'operations = ["do", "item/list", "zzz"]\n')
    assert [tool.spec.name for tool in found.tools] == ["do"]
    assert found.problems[0] == "operations: item/list is not known: the nearest is items/list"
    assert found.problems[1].startswith("operations: zzz is not known: there are ")


def test_more_operations_than_an_agent_takes_are_refused(tmp_path: Path):
    many = document({f"/x{n}": {"get": operation(operationId=f"a{n}", tags=["All"])} for n in range(129)})
    with pytest.raises(BadOptions, match="names 129, and an agent takes at most 128 tools"):
        read(tmp_path, many, 'operations = ["All"]\n')


@pytest.mark.parametrize("method", ["get", "head", "post", "put", "patch", "delete"])
def test_what_changes_something_is_once_and_asks(tmp_path: Path, method: str):
    changes = method not in ("get", "head")
    (tool,) = read(tmp_path, document({"/x": {method: operation()}})).tools
    assert (tool.spec.once, tool.spec.approve) == (changes, changes)
    other = str(not changes).lower()
    toml = f'operations = ["do"]\n[operation.do]\nonce = {other}\napprove = {other}\n'
    (tool,) = read(tmp_path, document({"/x": {method: operation()}}), toml).tools
    assert (tool.spec.once, tool.spec.approve) == (not changes, not changes)


def test_options_go_for_all_or_for_one(tmp_path: Path):
    toml = (
        'operations = ["Items", "GET /other"]\ntimeout = 5\n[operation."GET /other"]\ntimeout = 60.5\nname = "other"\n'
    )
    tools = read(tmp_path, SEVERAL, toml).tools
    assert [(tool.spec.name, tool.spec.timeout) for tool in tools] == [("items_list", 5), ("do", 5), ("other", 60.5)]
    assert tools[2].spec.source == "t/test.openapi.json, GET /other"


def test_a_long_id_keeps_its_difference(tmp_path: Path):
    ids = ["a" * 70 + "1", "a" * 70 + "2"]
    described = document({f"/{id_}": {"get": operation(operationId=id_)} for id_ in ids})
    names = [tool.spec.name for tool in read(tmp_path, described, f"operations = {json.dumps(ids)}\n").tools]
    assert len(set(names)) == 2
    assert [len(name) for name in names] == [64, 64]


def test_a_description_is_what_the_document_says_in_bounds(tmp_path: Path):
    assert spec_of(tmp_path, operation(description="More\n\nof it.")).description == "Do it. More of it."
    assert spec_of(tmp_path, {"operationId": "do"}).description == "GET /x of Test"
    long = spec_of(tmp_path, operation(description="A sentence. " * 500, deprecated=True)).description
    assert long.startswith("Deprecated. Do it. A sentence.")
    assert len(long) <= 1000
    assert long.endswith("A sentence.")


# -- the toml -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("adress = 1", "adress is not known: the nearest is address"),
        ("operation.do.tmeout = 1", "operation.do.tmeout is not known: the nearest is timeout"),
        ('auth = {type = "bearer", env = "A", enw = "B"}', "auth.enw is not known: the nearest is env"),
        ('auth = {type = "bearer", token = "hunter2"}', "auth.token: a secret never stands in this file"),
        ('auth = {type = "bearer", env = "hunter2"}', "auth.env is no name of an environment variable in capitals"),
        ('auth = {type = "basic", password = "hunter2"}', "auth.password: a secret never stands in this file"),
        (
            'auth = {type = "hunter2"}',
            "auth: type must be one of none, api_key, bearer, basic, oauth_client_credentials",
        ),
        ('auth = {env = "KEY"}', "auth: type must be one of"),
        ('auth = {type = "bearer"}', "auth.env is missing"),
        ('auth = {type = "api_key", env = "A", name = "x", in = "body"}', "auth.in: Input should be 'header', 'query'"),
        ('auth = {type = "basic", env = "A"}', "auth: name the user, by user or by user_env"),
        ('auth = {type = "oauth_client_credentials", env = "A", token_address = "http://x"}', "auth: name the client"),
        (
            'auth = {type = "oauth_client_credentials", env = "A", client_id = "b", token_address = "http://x"}',
            "auth.token_address: must begin with https",
        ),
        ("timeout = 0", "timeout: Input should be greater than 0"),
        ('timeout = "5"', "timeout: Input should be a valid number"),
        ("allow_private = 1", "allow_private: Input should be a valid boolean"),
        ('operations = "all"', "operations: Input should be a valid list"),
        ("max_result = 1000000", "max_result: Input should be less than or equal to 16384"),
        ('operation.do.name = "two words"', "operation.do.name: String should match pattern"),
        ("x = [", "it is no TOML: "),
    ],
)
def test_a_toml_that_cannot_be_used_says_why_and_repeats_no_value(toml: str, problem: str):
    with pytest.raises(BadOptions) as caught:
        read_options(ADDRESS + toml)
    assert any(one.startswith(problem) for one in caught.value.problems), caught.value.problems
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[operation.dont]\n", "operation.dont is not known: the nearest is do"),
        ("[operation.do.hidden]\npag = 1\n", "operation.do.hidden.pag is not known: the nearest is page"),
        ('[operation.do.hidden]\npage = "one"\n', "operation.do.hidden: page: it must be a whole number"),
        ("[operation.do.hidden]\nany = 2020-01-01\n", "operation.do.hidden: no JSON"),
        ('[auth]\ntype = "bearer"\nenv = "LOST"\n', "auth: LOST must be set in the environment or in .env"),
    ],
)
def test_options_are_held_against_the_document(tmp_path: Path, toml: str, problem: str):
    described = document(
        {"/x": {"get": operation(parameters=[parameter("page", kind="integer"), parameter("any", kind={})])}}
    )
    with pytest.raises(BadOptions) as caught:
        read(tmp_path, described, 'operations = ["do"]\n' + toml)
    assert caught.value.problems[0].startswith(problem)


def test_the_toml_of_the_documentation_is_one():
    told = (Path(__file__).parent.parent / "docs" / "tools.md").read_text(encoding="utf-8")
    example = re.search(r"## An OpenAPI document.*?```toml\n(.*?)```", told, re.DOTALL)
    assert example is not None
    options = read_options(example[1])
    assert options.operation["createTicket"].hidden == {"tenant": "acme"}
    keys = {"allow_private", "timeout", "max_result", "idempotency", "once", "approve"}
    assert {key for key in keys if f"`{key}`" in told} == keys


# -- schemas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": ["integer", "null"], "format": "int64"}, {"type": ["integer", "null"], "format": "int64"}),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"properties": {"a": {"const": 1}}}, {"type": "object", "properties": {"a": {"const": 1}}}),
        ({"type": "object", "additionalProperties": {"type": "string"}},) * 2,
        ({"type": "object", "additionalProperties": True}, {"type": "object"}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"anyOf": [{"type": "string"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"oneOf": [{"type": "string"}]}, {"type": "string"}),
        ({"type": "object", "anyOf": [{"required": ["a"]}]}, {"type": "object"}),
        (
            {"type": "string", "default": "x", "example": "y", "xml": {}, "x-more": 1},
            {"type": "string", "default": "x"},
        ),
        ({"title": "The thing", "type": "string"}, {"type": "string", "description": "The thing"}),
        (True, {}),
        ({}, {}),
        (ref("A"), {"type": "string", "description": "of A"}),
        ({**ref("A"), "description": "here"}, {"type": "string", "description": "here"}),
        (
            {"allOf": [ref("B"), {"required": ["b"], "properties": {"c": {}}}], "description": "both"},
            {
                "type": "object",
                "description": "both",
                "properties": {"c": {}, "b": {"type": "string"}},
                "required": ["b"],
            },
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"description": "A."}}}]},
            {"type": "object", "properties": {"a": {"type": "string", "description": "A."}}},
        ),
        (
            {
                "type": "object",
                "required": ["id", "a"],
                "properties": {"id": {"readOnly": True}, "a": {"writeOnly": True}},
            },
            {"type": "object", "required": ["a"], "properties": {"a": {}}},
        ),
        ({"enum": list(range(300))}, {}),
    ],
)
def test_a_schema_is_told_in_a_form_that_services_take(schema: Json, told: JsonObject):
    a, b = {"type": "string", "description": "of A"}, {"type": "object", "properties": {"b": {"type": "string"}}}
    assert converted(schema, A=a, B=b) == told


def test_what_holds_itself_is_cut_where_it_begins_again():
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": ref("Node")}},
    }
    made = converted(ref("Node"), Node=node)
    again = made["properties"]["children"]["items"]
    assert again == {"type": "object", "description": again["description"]}
    assert "Deeper parts are not told here" in again["description"]
    assert conform(made, {"children": [{"name": "a", "children": [{"anything": 1}]}]}, "x")


def test_a_converter_tells_no_more_than_its_bound():
    schema: JsonObject = {"type": "string"}
    for number in range(5):
        schema = {"anyOf": [{"type": "array", "minItems": n, "items": schema} for n in range(5)], "title": f"t{number}"}
    read = read_document(json.dumps(document({"/x": {"get": operation()}})).encode(), is_json=True)
    assert len(walked(Converter(read, nodes=1000).convert(schema))) > 500
    assert len(walked(Converter(read, nodes=50).convert(schema))) < 150


def test_what_is_its_own_part_is_read_once():
    made = converted(ref("A"), A={"allOf": [ref("A"), ref("B")]}, B={"allOf": [ref("A")], "properties": {"b": {}}})
    assert made == {"type": "object", "properties": {"b": {}}}


def test_inputs_of_one_name_are_told_apart_by_their_place(tmp_path: Path):
    inputs = [parameter("id", place) for place in ("header", "query", "path")]
    one = operation(
        parameters=inputs, requestBody=body({"properties": {"id": {}, "body_id": {}, "filter[a]": {}, "é": {}}})
    )
    (tool,) = read(tmp_path, document({"/x/{id}": {"post": one}})).tools
    names = ["id", "query_id", "header_id", "body_id", "body_body_id", "filter_a", "body"]
    assert list(tool.spec.parameters["properties"]) == names
    assert tool.spec.parameters["required"] == ["id"]


SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, True, ref("A"), ref("B"), {"type": "string"}, {"type": ["integer", "null"]}, {"enum": [1, "a"]}]
    )
    | st.dictionaries(st.sampled_from(["type", "enum", "properties", "items", "anyOf", "$ref", "required"]), st.text()),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", None, 1]),
            "properties": st.dictionaries(st.text(max_size=3), inner, max_size=3),
            "items": inner,
            "allOf": st.lists(inner, max_size=3),
            "oneOf": st.lists(inner, max_size=3),
            "additionalProperties": inner,
            "required": st.lists(st.text(max_size=3), max_size=2),
        },
    ),
    max_leaves=10,
)


def walked(schema: Json) -> list[JsonObject]:
    """Every schema within."""
    found = [schema]
    for key in ("properties", "items", "anyOf", "additionalProperties"):
        inner = schema.get(key, [])
        inner = list(inner.values()) if key == "properties" and inner else inner if isinstance(inner, list) else [inner]
        found += [one for part in inner if isinstance(part, dict) for one in walked(part)]
    return found


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "object", "additionalProperties": ref("Tree")},
        {"type": "object", "additionalProperties": {"type": "array", "items": ref("Tree")}},
        {"type": "array", "items": {"type": "object", "additionalProperties": ref("Tree")}},
        {"allOf": [{"additionalProperties": ref("Tree")}], "type": "object"},
    ],
)
def test_a_map_that_holds_itself_is_cut(tree: Json):
    made = converted(ref("Tree"), Tree=tree)
    assert len(walked(made)) < 12
    assert "additionalProperties" in json.dumps(made)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_whatever_a_schema_is_what_is_told_is_whole_and_bounded(schema: Json, a: Json, b: Json):
    try:
        made = converted(schema, A=a, B=b)
    except BadDocument:
        return
    assert json.loads(json.dumps(made)) == made
    for one in walked(made):
        assert not {"$ref", "allOf", "oneOf", "nullable"} & set(one)
        kinds = one.get("type", [])
        assert "array" not in kinds or "items" in one
        assert set(one.get("required", [])) <= set(one.get("properties", {}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, JSON)
def test_whatever_is_sent_it_fits_or_is_refused_and_what_fitted_fits_again(schema: Json, value: Json):
    try:
        made = converted(schema, A={"type": "number"}, B={"properties": {"x": ref("A")}})
        bent = conform(made, value, "x")
    except (BadDocument, Misfit):
        return
    assert conform(made, bent, "x") == bent


@given(st.text(), st.integers(20, 200))
def test_words_are_shortened_to_one_line_of_their_bound(words: str, most: int):
    short = shortened(words, most)
    assert len(short) <= most
    assert " ".join(short.split()) == short


# -- a real one ---------------------------------------------------------------------------------------------


def github(tmp_path: Path, *names: str) -> dict[str, ToolSpec]:
    options = tmp_path / "github.openapi.toml"
    options.write_text(f'address = "https://api.github.com"\noperations = {json.dumps(names)}\n')
    found = read_pair(GITHUB, options, "github.openapi.json", {})
    assert found.problems == []
    return {tool.spec.name: tool.spec for tool in found.tools}


def test_github_s_own_document_becomes_tools(tmp_path: Path):
    raw = json.loads(GITHUB.read_text())
    names = [one["operationId"] for path in raw["paths"].values() for one in path.values()]
    specs = github(tmp_path, *names)
    assert len(specs) == len(names) == 14
    for spec in specs.values():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spec.name)
        assert 0 < len(spec.description) <= 1000
        assert len(json.dumps(spec.parameters)) <= MOST_SCHEMA
        assert "$ref" not in json.dumps(spec.parameters)
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in spec.parameters["properties"])


def test_an_issue_is_created_with_what_github_says(tmp_path: Path):
    spec = github(tmp_path, "issues/create")["issues_create"]
    fields = spec.parameters["properties"]
    assert (spec.once, spec.approve, spec.source) == (
        True,
        True,
        "github.openapi.json, POST /repos/{owner}/{repo}/issues",
    )
    assert spec.parameters["required"] == ["owner", "repo", "title"]
    assert fields["title"]["anyOf"] == [{"type": "string"}, {"type": "integer"}]
    assert fields["milestone"]["anyOf"][0] == {"type": "string"}
    arguments = {"owner": "a", "repo": "b", "title": "It is broken", "labels": ["bug", {"name": "new"}]}
    assert conform(spec.parameters, arguments, "") == arguments
