"""Calls of a described service, over real HTTP: what is sent, what is sent again, and what the agent is told."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.types import Caller, Json, Person
from tests.contracts.toolbox import CALLER, SECRET, ToolboxContract, call, raw
from tests.openapi_service import (
    Handler,
    body,
    document,
    hangs_up,
    offered,
    operation,
    parameter,
    says,
    serving,
)

GET = document({"/items": {"get": operation(parameters=[parameter("page", kind="integer"), parameter("q")])}})
POST = document({"/items": {"post": operation(requestBody=body({"properties": {"name": {"type": "string"}}}))}})
DELETE = document({"/items": {"delete": operation()}})
PUT = document({"/items": {"put": operation(requestBody=body({"properties": {"name": {"type": "string"}}}))}})


class TestOfADescribedService(ToolboxContract):
    """The contract, over a service."""

    @pytest.fixture
    async def toolbox(self, tmp_path: Path):
        arrived: list[int] = []
        three, never = asyncio.Event(), asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.Response:
            given: dict[str, Any] = json.loads(await request.read() or b"{}")
            match request.path:
                case "/api/echo":
                    return web.json_response(given["text"])
                case "/api/breaks":
                    return web.json_response({"message": SECRET}, status=500, headers={"X": SECRET})
                case "/api/hangs":
                    await never.wait()
                case _:
                    arrived.append(given["number"])
                    if len(arrived) == 3:
                        three.set()
                    await three.wait()
            return web.json_response(given["number"])

        def post(name: str, **properties: str) -> dict[str, Any]:
            schema = {"properties": {k: {"type": v} for k, v in properties.items()}, "required": list(properties)}
            return {
                "post": operation(
                    operationId=name, tags=["all"], **({"requestBody": body(schema)} if properties else {})
                )
            }

        described = document(
            {"/echo": post("echo", text="string"), "/meets": post("meets", number="integer")}
            | {"/breaks": post("breaks"), "/hangs": post("hangs")}
        )
        async with serving(answer) as service:
            toml = 'operations = ["all"]\n[operation.hangs]\ntimeout = 0.05\n'
            async with offered(tmp_path, service, described, toml) as made:
                yield made.toolbox
                never.set()
                three.set()


async def output_of(
    tmp_path: Path, described: dict[str, Any], answer: Handler, toml: str = "", **arguments: Json
) -> str:
    """What the agent is told after one answer."""
    async with serving(answer) as service, offered(tmp_path, service, described, toml) as made:
        return (await made.toolbox.call(call("do", **arguments), CALLER)).output


# -- what is sent -------------------------------------------------------------------------------------------


async def sent(tmp_path: Path, described: dict[str, Any], toml: str = "", **arguments: Json) -> Any:
    """The one request of a call."""
    async with serving() as service, offered(tmp_path, service, described, toml) as made:
        output = await made.toolbox.call(call("do", **arguments), CALLER)
        assert output.error is None, output.output
        (asked,) = service.asked
        return asked


STYLES: list[tuple[dict[str, Any], Json, str]] = [
    ({}, [1, 2], "x=1&x=2"),
    ({"explode": False}, [1, 2], "x=1,2"),
    ({"style": "spaceDelimited", "explode": False}, ["a", "b"], "x=a%20b"),
    ({"style": "pipeDelimited", "explode": False}, ["a", "b"], "x=a%7Cb"),
    ({}, {"a": 1, "b": "c d"}, "a=1&b=c%20d"),
    ({"explode": False}, {"a": 1, "b": 2}, "x=a,1,b,2"),
    ({"style": "deepObject"}, {"a": 1, "b": {"c": 2}}, "x[a]=1&x[b][c]=2"),
    ({"style": "deepObject"}, {"a": [1, 2], "b": [{"c": 3}]}, "x[a][]=1&x[a][]=2&x[b][0][c]=3"),
    ({}, "a&b=c d/é", "x=a%26b%3Dc%20d%2F%C3%A9"),
    ({}, True, "x=true"),
    ({}, 1.5, "x=1.5"),
    ({"explode": False}, [], ""),
]


@pytest.mark.parametrize(("style", "value", "query"), STYLES, ids=lambda one: str(one)[:30])
async def test_a_query_parameter_is_written_in_its_style(
    tmp_path: Path, style: dict[str, Any], value: Json, query: str
):
    described = document({"/items": {"get": operation(parameters=[parameter("x", kind={}, **style)])}})
    asked = await sent(tmp_path, described, x=value)
    assert asked.target == "/api/items" + (f"?{query}" if query else "")


@pytest.mark.parametrize(
    ("style", "value", "path"),
    [
        ({}, ["a", "b/c"], "/api/items/a,b%2Fc/x"),
        ({}, {"a": 1, "b": 2}, "/api/items/a,1,b,2/x"),
        ({"explode": True}, {"a": 1, "b": 2}, "/api/items/a=1,b=2/x"),
        ({"style": "label"}, "5", "/api/items/.5/x"),
        ({"style": "matrix", "explode": True}, [3, 4], "/api/items/;id=3;id=4/x"),
        ({}, "é?#%", "/api/items/%C3%A9%3F%23%25/x"),
    ],
)
async def test_a_path_parameter_is_written_in_its_style(tmp_path: Path, style: dict[str, Any], value: Json, path: str):
    described = document({"/items/{id}/x": {"get": operation(parameters=[parameter("id", "path", {}, **style)])}})
    assert (await sent(tmp_path, described, id=value)).target == path


async def test_headers_cookies_and_parameters_of_json_are_sent(tmp_path: Path):
    inputs = [
        parameter("X-Trace", "header"),
        parameter("session", "cookie"),
        {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
        parameter("Authorization", "header"),  # ignored, as OpenAPI says
    ]
    described = document({"/items": {"get": operation(parameters=inputs)}})
    asked = await sent(tmp_path, described, **{"X-Trace": "a,b", "session": "s;t", "filter": {"a": [1]}})
    assert asked.target == "/api/items?filter=%7B%22a%22%3A%5B1%5D%7D"
    assert (asked.headers["X-Trace"], asked.headers["Cookie"]) == ("a,b", "session=s%3Bt")


async def test_a_body_is_flat_for_the_agent_and_whole_for_the_service(tmp_path: Path):
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Base"},
            {"properties": {"tags": {"type": "array"}}, "required": ["tags"]},
        ]
    }
    base = {"properties": {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string"}}, "required": ["id"]}
    described = document(
        {"/items/{name}": {"patch": operation(parameters=[parameter("name", "path")], requestBody=body(schema))}},
        components={"schemas": {"Base": base}},
    )
    asked = await sent(tmp_path, described, name="in the path", body_name="in the body", tags=["a"])
    assert asked.target == "/api/items/in%20the%20path"
    assert json.loads(asked.body) == {"name": "in the body", "tags": ["a"]}
    assert asked.headers["Content-Type"] == "application/json"


async def test_a_form_is_sent_as_one(tmp_path: Path):
    schema = {"properties": {"name": {"type": "string"}, "expand": {"type": "array"}, "meta": {"type": "object"}}}
    deep = {"style": "deepObject", "explode": True}
    media = "application/x-www-form-urlencoded"
    described = document(
        {"/items": {"post": operation(requestBody=body(schema, media, encoding={"expand": deep, "meta": deep}))}}
    )
    asked = await sent(tmp_path, described, name="a b&c", expand=["x", "y"], meta={"k": "v"})
    assert asked.body == b"name=a%20b%26c&expand[]=x&expand[]=y&meta[k]=v"
    assert asked.headers["Content-Type"] == media


async def test_a_body_that_has_no_fields_is_one_argument(tmp_path: Path):
    described = document(
        {"/items": {"put": operation(requestBody=body({"type": "array", "items": {"type": "integer"}}))}}
    )
    assert (await sent(tmp_path, described, body=[1, "2"])).body == b"[1,2]"


async def test_a_body_that_need_not_be_is_not_sent(tmp_path: Path):
    request = {**body({"properties": {"a": {"type": "string"}}, "required": ["a"]}), "required": False}
    described = document({"/items": {"post": operation(requestBody=request)}})
    asked = await sent(tmp_path, described)
    assert (asked.body, "Content-Type" in asked.headers) == (b"", False)


async def test_hidden_arguments_are_sent_and_not_told(tmp_path: Path):
    toml = '[operation.do]\nhidden = { q = "mine" }\nname = "look"\ndescription = "Look."\n'
    async with serving() as service, offered(tmp_path, service, GET, toml) as made:
        (spec,) = made.toolbox.specs()
        assert (spec.name, spec.description, list(spec.parameters["properties"])) == ("look", "Look.", ["page"])
        assert (await made.toolbox.call(call("look", page=2), CALLER)).error is None
        assert (await made.toolbox.call(call("look", q="theirs"), CALLER)).error == "bad_arguments"
    assert service.targets == ["GET /api/items?page=2&q=mine"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"page": "two"}, "page: it must be a whole number"),
        ({"page": [1]}, "page: it must be a whole number"),
        ({"q": {"a": 1}}, "q: it must be a text"),
        ({"z": 1}, "z: there is no such argument; the arguments are: page, q"),
    ],
)
async def test_what_does_not_fit_is_told_and_not_sent(tmp_path: Path, arguments: dict[str, Json], told: str):
    async with serving() as service, offered(tmp_path, service, GET) as made:
        output = await made.toolbox.call(call("do", **arguments), CALLER)
    assert (output.error, told in output.output, service.asked) == ("bad_arguments", True, [])


async def test_what_is_plainly_meant_is_taken(tmp_path: Path):
    assert (await sent(tmp_path, GET, page="2", q=7)).target == "/api/items?page=2&q=7"
    assert (await sent(tmp_path, GET, page=None, q=None)).target == "/api/items"


@pytest.mark.parametrize("value", ["..", ".", "../x", "a/../b", "..\\x", "%2e%2e", "%252e%252e/x", "", "a/./b", " .. "])
async def test_a_value_does_not_leave_its_part_of_the_path(tmp_path: Path, value: str):
    described = document({"/items/{id}/x": {"get": operation(parameters=[parameter("id", "path")])}})
    async with serving() as service, offered(tmp_path, service, described) as made:
        output = await made.toolbox.call(call("do", id=value), CALLER)
    assert (output.error, service.asked) == ("bad_arguments", [])


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "é", "\0"])
async def test_a_header_stays_one_line(tmp_path: Path, value: str):
    described = document({"/items": {"get": operation(parameters=[parameter("X-A", "header")])}})
    async with serving() as service, offered(tmp_path, service, described) as made:
        output = await made.toolbox.call(call("do", **{"X-A": value}), CALLER)
    assert (output.error, service.asked) == ("bad_arguments", [])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVERY_PLACE = document(
    {
        "/items/{id}/{more}": {
            "post": operation(
                parameters=[
                    parameter("id", "path", {}),
                    parameter("more", "path", "string"),
                    parameter("q", "query", {}),
                    parameter("deep", "query", {}, style="deepObject"),
                    parameter("X-A", "header", {}),
                    parameter("c", "cookie", {}),
                ],
                requestBody=body({"properties": {"a": {}, "b": {"type": "array", "items": {"type": "integer"}}}}),
            )
        }
    }
)
NAMES = st.sampled_from(["id", "more", "q", "deep", "X-A", "c", "a", "b", "else"])


@pytest.mark.invariant("I9")
async def test_whatever_the_arguments_are_there_is_one_output_and_the_path_keeps_its_parts(tmp_path: Path):
    async with serving() as service, offered(tmp_path, service, EVERY_PLACE) as made:
        loop = asyncio.get_running_loop()

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.fixed_dictionaries({"id": ANYTHING, "more": ANYTHING | st.text()}), st.dictionaries(NAMES, ANYTHING))
        def law(needed: dict[str, Any], others: dict[str, Any]) -> None:
            asked = call("do", **(others | needed))
            service.asked.clear()
            output = asyncio.run_coroutine_threadsafe(made.toolbox.call(asked, CALLER), loop).result(30)
            assert output.call_id == asked.id
            assert output.error in (None, "bad_arguments")
            assert len(service.asked) == (output.error is None)
            for one in service.asked:
                path = one.target.partition("?")[0]
                assert path.count("/") == 4
                assert path.startswith("/api/items/")
                assert not {".", ".."} & {part.strip() for part in unquote(unquote(path)).split("/")}
                parse_qsl(one.target.partition("?")[2], strict_parsing="?" in one.target, keep_blank_values=True)

        await asyncio.to_thread(law)


@pytest.mark.parametrize(
    "arguments", ['{"page": NaN}', '{"page": 1e999}', '{"q": "\\ud800"}', '{"q": "\\u0000"}', "null"]
)
async def test_odd_json_is_one_output(tmp_path: Path, arguments: str):
    async with serving() as service, offered(tmp_path, service, GET) as made:
        assert (await made.toolbox.call(raw("do", arguments), CALLER)).error in (None, "bad_arguments")


# -- what comes back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says({"a": 1, "ä": "ö"}), '{"a": 1, "ä": "ö"}'),
        (says([{"a": 1}, {"a": 2}]), '[{"a": 1},\n{"a": 2}]'),
        (says("plain"), "plain"),
        (says(status=204), "Done (204 No Content); there is no result."),
        (says(b"\x89PNG", Content_Type="image/png"), "Done; the answer is a file of 4 bytes (image/png), which"),
        (says(b"{broken", Content_Type="application/json"), "{broken"),
        (says(b"\xe9", Content_Type="text/plain; charset=latin-1"), "é"),
        (says(b"\xff", Content_Type="text/plain; charset=nonsense"), "\ufffd"),
        (says(b"[" * 100_000, Content_Type="application/json"), "[["),
    ],
)
async def test_an_answer_is_text_for_the_agent(tmp_path: Path, answer: Handler, told: str):
    assert (await output_of(tmp_path, GET, answer)).startswith(told)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says([1], Link='<https://x/items?page=3&per=5>; rel="next", <x>; rel="last"'), "call again with page=3."),
        (says([1], Link='<https://x/items?page=1>; rel="prev"'), ""),
        (says({"next": "https://x/items?page=4&key=hunter2"}), "call again with page=4."),
        (
            says({"meta": {"next_cursor": "abc"}}),
            'There is more: meta.next_cursor is "abc". Arguments that page: page.',
        ),
        (says({"_links": {"next": {"href": "/items?page=9"}}}), "call again with page=9."),
        (says({"has_more": True}), "There is more. Arguments that page: page."),
        (says({"isLast": False}), "There is more. Arguments that page: page."),
        (says({"next": None, "has_more": False}), ""),
    ],
)
async def test_a_next_page_is_told_in_the_first_line(tmp_path: Path, answer: Handler, told: str):
    first = (await output_of(tmp_path, GET, answer)).split("\n")[0]
    assert told in first
    assert first.startswith("[There is more") is bool(told)
    assert SECRET not in first or not told.endswith("page=4.")


async def test_a_large_answer_is_cut_and_keeps_its_hint(tmp_path: Path):
    items = [{"id": number, "text": "word " * 20} for number in range(1000)]
    toml = "max_result = 2000\n"
    told = await output_of(tmp_path, GET, says(items, Link='<x?page=2>; rel="next"'), toml)
    assert told.startswith("[There is more: call again with page=2.]\n[{")
    assert len(told.encode()) <= 2000
    assert "[cut: the result has" in told


async def test_an_endless_answer_is_read_to_a_bound(tmp_path: Path):
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"line\n" * 10_000)
        except (ConnectionError, OSError):
            return response

    told = await output_of(tmp_path, GET, endless)
    assert told.startswith("[The answer was longer than is read; ask for less.]\nline\n")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            says({"title": "Bad", "detail": "name is taken"}, 409),
            "refused this: 409 Conflict. It says: Bad; name is taken",
        ),
        (says({"detail": [{"loc": ["body", "a"], "msg": "required"}]}, 422), "It says: body.a: required"),
        (says({"error": {"message": "no such item", "param": "id"}}, 404), "404 Not Found. It says: id: no such item"),
        (says({"errorMessages": [], "errors": {"summary": "is needed"}}, 400), "It says: summary: is needed"),
        (says({"x": 1}, 400), 'It says: {"x": 1}'),
        (says("no\n\x1b[31mway", 400), "It says: no [31mway"),
        (says(b"<html>trace</html>", 404, Content_Type="text/html"), "refused this: 404 Not Found."),
        (says({"message": "x" * 5000}, 400), "x…"),
        (
            says({"message": "not yours"}, 403),
            f"the reference {CALLER.reference}; trying again does not help. It says: not",
        ),
        (says({"message": "rate"}, 429, Retry_After="60"), "try again in 60 s. It says: rate"),
        (says(status=303, Location="/other"), "points elsewhere, which is not followed; result unknown"),
    ],
)
async def test_a_refusal_is_told_in_the_service_s_words(tmp_path: Path, answer: Handler, told: str):
    async with serving(answer) as service, offered(tmp_path, service, POST) as made:
        output = await made.toolbox.call(call("do", name="a"), CALLER)
    assert output.error == "failed"
    assert told in output.output
    assert len(output.output) < 900
    assert len(service.asked) == 1


@pytest.mark.invariant("I13")
async def test_a_secret_reaches_neither_the_agent_nor_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    toml = '[auth]\ntype = "api_key"\nenv = "KEY"\nname = "key"\nin = "query"\n'

    async def repeats(request: web.BaseRequest) -> web.Response:
        told = f"{request.query['key']} is wrong, see {request.url}"
        return web.json_response({"message": told}, status=int(request.query["q"]))

    async with serving(repeats) as service, offered(tmp_path, service, GET, toml, {"KEY": SECRET}) as made:
        for code in (200, 400, 401, 403, 404, 418, 500):
            output = await made.toolbox.call(call("do", q=str(code)), CALLER)
            assert SECRET not in output.output
    assert f"key={SECRET}" in service.targets[0]
    assert SECRET not in caplog.text
    assert f"the service answered 401; see its [auth] ({CALLER.reference})" in caplog.text


# -- what is sent again -------------------------------------------------------------------------------------

ONCE = "[operation.do]\nonce = true\n"
NOT_ONCE = "[operation.do]\nonce = false\n"


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    ("described", "toml", "answers", "tries", "waits"),
    [
        (GET, "", [says(status=503), says(status=502), says({})], 3, [0.5, 1.5]),
        (GET, "", [hangs_up, says({})], 2, [0.5]),
        (GET, "", [says(status=500)], 3, [0.5, 1.5]),
        (GET, "", [says(status=429, Retry_After="2"), says({})], 2, [2.0]),
        (GET, "", [says(status=429, Retry_After="2")], 2, [2.0]),
        (GET, "", [says(status=429, Retry_After="6"), says({})], 1, []),
        (GET, "", [says(status=429), says({})], 1, []),
        (GET, "", [says(status=503, Retry_After="60"), says({})], 1, []),
        (GET, "", [says(status=501), says({})], 1, []),
        (GET, "", [says(status=404), says({})], 1, []),
        (GET, ONCE, [says(status=503), says({})], 1, []),
        (GET, ONCE, [hangs_up, says({})], 1, []),
        (POST, "", [says(status=503), says({})], 1, []),
        (POST, NOT_ONCE, [says(status=503), says({})], 1, []),
        (POST, NOT_ONCE, [hangs_up, says({})], 1, []),
        (DELETE, "", [says(status=503), says({})], 1, []),
        (DELETE, "", [hangs_up, says({})], 1, []),
        (PUT, "", [hangs_up, says({})], 1, []),
        (PUT, NOT_ONCE, [hangs_up, says({})], 2, [0.5]),
        (DELETE, NOT_ONCE, [says(status=504), says({})], 2, [0.5]),
    ],
)
async def test_only_what_may_be_sent_again_is(
    tmp_path: Path, described: dict[str, Any], toml: str, answers: list[Handler], tries: int, waits: list[float]
):
    async with serving(*answers) as service, offered(tmp_path, service, described, toml) as made:
        await made.toolbox.call(call("do"), CALLER)
        assert len(service.asked) == tries
        assert made.waits.seconds == waits


async def test_a_connection_that_was_kept_open_and_ended_is_not_a_second_call(tmp_path: Path):
    answers = [says({}), hangs_up, says({})]
    async with serving(*answers) as service, offered(tmp_path, service, DELETE) as made:
        assert (await made.toolbox.call(call("do"), CALLER)).error is None
        output = await made.toolbox.call(call("do"), CALLER)
    assert (output.error, len(service.asked)) == ("failed", 2)
    assert "result unknown" in output.output


async def test_a_service_that_is_not_there_was_not_called(tmp_path: Path):
    async with serving() as service:
        pass
    async with offered(tmp_path, service, POST) as made:
        output = await made.toolbox.call(call("do", name="a"), CALLER)
    assert output.output.startswith("do was not called: the service could not be reached")


@pytest.mark.parametrize(("toml", "sent_with"), [("idempotency = true\n", "turn-1:call-1"), ("", None)])
async def test_a_service_that_knows_keys_is_sent_the_call_s(tmp_path: Path, toml: str, sent_with: str | None):
    assert (await sent(tmp_path, POST, toml)).headers.get("Idempotency-Key") == sent_with
    assert "Idempotency-Key" not in (await sent(tmp_path, PUT, toml)).headers


async def test_a_key_that_the_document_asks_for_is_not_the_agent_s_to_fill(tmp_path: Path):
    one = operation(parameters=[parameter("idempotency-key", "header", required=True)])
    described = document({"/items": {"post": one}})
    async with serving() as service, offered(tmp_path, service, described, "idempotency = true\n") as made:
        assert made.tools[0].spec.parameters["properties"] == {}
        assert (await made.toolbox.call(call("do"), CALLER)).error is None
    assert service.asked[0].headers["Idempotency-Key"] == CALLER.key


async def test_a_number_without_end_is_not_sent(tmp_path: Path):
    described = document({"/items": {"get": operation(parameters=[parameter("a", kind={})])}})
    async with serving() as service, offered(tmp_path, service, described) as made:
        output = await made.toolbox.call(raw("do", '{"a": {"b": [1e999]}}'), CALLER)
    assert (output.error, service.asked) == ("bad_arguments", [])


async def test_a_key_that_no_header_takes_is_told_by_its_hash(tmp_path: Path):
    odd = Caller(Person("ada"), "t", "c", "r", "turn\n1")
    async with serving() as service, offered(tmp_path, service, POST, "idempotency = true\n") as made:
        await made.toolbox.call(call("do"), odd)
        await made.toolbox.call(call("do"), odd)
    first, second = (one.headers["Idempotency-Key"] for one in service.asked)
    assert first == second
    assert len(first) == 64


# -- redirects ----------------------------------------------------------------------------------------------


async def test_a_redirect_of_a_get_is_followed_on_the_host(tmp_path: Path):
    answers = [says(status=302, Location="/api/other?x=1"), says({"here": 1})]
    async with serving(*answers) as service, offered(tmp_path, service, GET) as made:
        assert (await made.toolbox.call(call("do"), CALLER)).output == '{"here": 1}'
    assert service.targets == ["GET /api/items", "GET /api/other?x=1"]


@pytest.mark.invariant("I11")
async def test_a_redirect_to_another_host_is_not_followed(tmp_path: Path):
    async with (
        serving() as other,
        serving(says(status=302, Location=f"{other.address}/x?sig={SECRET}")) as service,
        offered(tmp_path, service, GET) as made,
    ):
        output = await made.toolbox.call(call("do"), CALLER)
    assert (output.error, other.asked) == ("failed", [])
    assert "302 Found and points elsewhere" in output.output
    assert SECRET not in output.output


async def test_redirects_in_a_circle_end(tmp_path: Path):
    async with serving(says(status=302, Location="/api/items")) as service, offered(tmp_path, service, GET) as made:
        assert (await made.toolbox.call(call("do"), CALLER)).error == "failed"
    assert len(service.asked) == 6
