"""What a tool's mark and its context do: secrets, roles, approval, progress, and files for the person."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from adapters import Earlier, File, Image, Person, Result, ToolContext, ToolFailed, tool
from adapters.asking import LONGEST, MOST
from adapters.border import cut_json
from adapters.files import LARGEST, LONGEST_NAME, MOST_FILES
from adapters.function import FunctionAdapter, FunctionTool
from adapters.masking import MASK
from adapters.result import OUTPUT_LIMIT
from adapters.testing import called
from adapters.toolbox import Toolbox
from bot.types import Caller, Json, ToolCall, ToolOutput, ToolSpec
from tests.contracts.toolbox import CALLER, SECRET, call, raw

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def boxed(function: Callable[..., object], environ: Mapping[str, str] | None = None) -> Toolbox:
    return Toolbox([FunctionAdapter([FunctionTool(function)], environ=environ or {})])


# -- the mark -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"secrets": "CRM_TOKEN"}, "must be a list of names"),
        ({"secrets": ["sk-abc 123"]}, "must name variables"),
        ({"roles": "hr"}, "must be a list of names"),
        ({"roles": [""]}, "must be a list of names"),
        ({"approve": "yes"}, "approve must be True"),
        ({"at_once": -1}, "at_once=-1"),
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        tool(**options)


def test_options_stand_in_the_specification_and_not_in_what_the_agent_is_told():
    @tool(approve=True, roles=["hr", "hr"], hidden=True, secrets=["A", "B"], at_once=2)
    def pay(amount: int) -> None:
        """Pay."""

    spec = FunctionTool(pay).spec
    assert (spec.approve, spec.roles, spec.hidden, spec.secrets, spec.at_once) == (True, ("hr",), True, ("A", "B"), 2)
    assert list(spec.parameters["properties"]) == ["amount"]


# -- secrets ------------------------------------------------------------------------------------------------


@tool(secrets=["CRM_TOKEN"])
def who(context: ToolContext, other: str = "CRM_TOKEN") -> str:
    """Say it."""
    return context.secret(other)


def test_a_secret_comes_from_the_environment_and_only_if_it_is_named():
    assert called(who, secrets={"CRM_TOKEN": "t-1", "OTHER": "o"}).text == "t-1"
    outcome = called(who, {"other": "OTHER"}, secrets={"CRM_TOKEN": "t-1", "OTHER": "o"})
    assert outcome.error == "failed"


def test_without_its_secret_a_tool_answers_that_it_is_not_set_up():
    outcome = called(who)
    assert outcome.error == "not_set_up"
    assert outcome.text == "who was not called: it is not set up here. Say so: those who run this bot can mend it."


def test_a_context_shows_no_secret():
    @tool(secrets=["CRM_TOKEN"])
    def shows(context: ToolContext) -> str:
        """Say it."""
        return repr(context)

    assert "t-1" not in called(shows, secrets={"CRM_TOKEN": "t-1"}).text


# -- roles --------------------------------------------------------------------------------------------------


@tool(roles=["hr", "admin"])
def salaries() -> str:
    """Tell them."""
    return "a lot"


@pytest.mark.parametrize(("roles", "error"), [((), "not_allowed"), (("sales",), "not_allowed"), (("hr", "x"), None)])
def test_a_tool_with_roles_is_for_them_alone(roles: tuple[str, ...], error: str | None):
    outcome = called(salaries, roles=roles)
    assert outcome.error == error
    assert ("a lot" in outcome.text) == (error is None)
    if error:
        assert "people with the role hr or admin" in outcome.text


# -- approval -----------------------------------------------------------------------------------------------


class Card(BaseModel):
    number: SecretStr
    holder: str


@pytest.mark.parametrize(
    ("approve", "amount", "asks"),
    [
        (True, 1, True),
        (False, 1, False),
        (lambda given: given["amount"] > 100, 100, False),
        (lambda given: given["amount"] > 100, 101, True),
        (lambda given: given["currency"] == "EUR", 1, True),  # a default
        (lambda given: given["nothing"], 1, True),
        (lambda given: None, 1, True),  # only False is a no
    ],
)
def test_what_decides_about_asking(approve: Any, amount: int, asks: bool):
    @tool(approve=approve)
    def pay(amount: int, currency: str = "EUR") -> str:
        """Pay."""
        return "paid"

    shown = boxed(pay).approval(call("pay", amount=amount))
    assert shown == ({"amount": str(amount)} if asks else None)


def test_who_decides_is_given_checked_arguments_and_cannot_change_them():
    seen: list[Any] = []

    @tool(approve=lambda given: bool(seen.append(dict(given))) or given.clear() is None)  # type: ignore[attr-defined]
    def pay(amount: int) -> int:
        """Pay."""
        return amount

    outcome = called(pay, {"amount": "7"})
    assert (seen, outcome.text, outcome.asks) == ([{"amount": 7}], "7", {"amount": "7"})


def test_nobody_is_asked_about_a_call_that_cannot_be_made():
    @tool(approve=True, secrets=["CRM_TOKEN"])
    def pay(amount: int) -> None:
        """Pay."""

    assert boxed(pay).approval(call("pay", amount=1)) is None
    toolbox = boxed(pay, {"CRM_TOKEN": "x"})
    assert toolbox.approval(call("pay", amount=1)) is not None
    for asked in (call("pay", amount="much"), call("pay"), raw("pay", "{"), raw("pay", "[]"), call("nothing")):
        assert toolbox.approval(asked) is None


def test_what_is_secret_is_masked_and_what_is_long_is_cut():
    @tool(approve=True)
    def pay(card: Card, pin: SecretStr, note: str) -> None:
        """Pay."""

    given = {"card": {"number": SECRET, "holder": "Ada"}, "pin": SECRET, "note": "n" * (LONGEST + 5)}
    shown = boxed(pay).approval(call("pay", **given))
    assert shown is not None
    assert shown["pin"] == MASK
    assert shown["card"] == f'{{"number": "{MASK}", "holder": "Ada"}}'
    assert shown["note"] == "n" * LONGEST + "… (5 more characters)"


def test_many_arguments_are_counted():
    @tool(approve=True)
    def fill(**_: object) -> None: ...

    spec = ToolSpec("fill", "Fill.", {"type": "object", "properties": {}}, approve=True)
    shown = Toolbox([Answers(spec, None)]).approval(call("fill", **{f"a{n}": n for n in range(MOST + 3)}))
    assert shown is not None
    assert shown["…"] == "and 3 more"


class Answers:
    """An adapter with one tool, which gives or raises this."""

    def __init__(self, spec: ToolSpec, result: object) -> None:
        self.spec, self.result = spec, result

    def specs(self) -> list[ToolSpec]:
        return [self.spec]

    async def call(self, call: ToolCall, caller: Caller) -> object:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Decides(Answers):
    """One that also decides about asking, and fails at it."""

    def asks(self, call: ToolCall) -> bool:
        raise OSError(SECRET)


def test_an_adapter_that_fails_to_decide_lets_nothing_through(caplog: pytest.LogCaptureFixture):
    spec = ToolSpec("pay", "Pay.", {"type": "object", "properties": {}}, approve=True)
    assert Toolbox([Decides(spec, None)]).approval(call("pay", amount=1)) == {}
    assert SECRET not in caplog.text


# -- the context --------------------------------------------------------------------------------------------


def test_progress_is_shown_from_a_thread_too_and_never_fails():
    def slow(context: ToolContext) -> str:
        """Work."""
        context.progress("Reading")
        return threading.current_thread().name

    outcome = called(slow)
    assert (outcome.progress, outcome.text) == (["Reading"], "tool slow")


def test_a_tool_is_told_who_asks_and_what_was_said_before():
    async def tells(context: ToolContext) -> list[str]:
        """Tell."""
        entries = await context.earlier(1)
        return [context.person.name, context.locale, context.time_zone, *(entry.text for entry in entries)]

    person = Person("g", "Grace", "de-DE", "Europe/Berlin")
    said = [Earlier("user", "new", 2.0), Earlier("assistant", "old", 1.0)]
    assert called(tells, person=person, earlier=said).text == '["Grace","de-DE","Europe/Berlin","new"]'


async def test_the_session_is_one_for_all_keeps_no_cookies_and_is_closed():
    sessions: list[aiohttp.ClientSession] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.json_response({"cookie": request.headers.get("Cookie", "none")})
        response.set_cookie("who", "ada")
        return response

    async def ask(port: int, context: ToolContext) -> str:
        """Ask."""
        sessions.append(context.http)
        async with context.http.get(f"http://127.0.0.1:{port}/") as said:
            return str((await said.json())["cookie"])

    server = RawTestServer(answer, host="127.0.0.1")
    await server.start_server()
    async with boxed(ask) as toolbox:
        for _ in range(2):
            assert (await toolbox.call(call("ask", port=server.port), CALLER)).output == "none"
    await server.close()
    assert sessions[0] is sessions[1]
    assert sessions[0].closed


async def test_a_thread_has_no_session():
    def ask(context: ToolContext) -> str:
        """Ask."""
        return str(context.http)

    async with boxed(ask) as toolbox:
        assert (await toolbox.call(call("ask"), CALLER)).error == "failed"


# -- files --------------------------------------------------------------------------------------------------


def given_back(result: object) -> ToolOutput:
    def give() -> object:
        """Give it."""
        return result

    return asyncio.run(boxed(give).call(call("give"), CALLER))


REPORT = File("report.csv", "text/csv", b"a;b\n")
SHOWN = "[For the person, shown beside your answer: report.csv (text/csv, 4 bytes)]"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (REPORT, SHOWN),
        (Result("Two rows.", [REPORT]), f"Two rows.\n{SHOWN}"),
        (["Two rows.", REPORT], f"Two rows.\n{SHOWN}"),
        ((REPORT, {"rows": 2}, 7), f'[{{"rows":2}},7]\n{SHOWN}'),
        (Result(files=[REPORT]), SHOWN),
    ],
)
def test_a_file_goes_to_the_person_and_the_agent_is_told_its_name(result: object, said: str):
    output = given_back(result)
    assert (output.output, output.error, output.files) == (said, None, (REPORT,))


def test_a_result_without_files_is_its_value():
    assert given_back(Result({"rows": 2})).output == '{"rows":2}'
    assert given_back(Result()).output == "Done; there is no result."


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (PNG, "image.png", "image/png"),
        (b"\xff\xd8\xff\xe0", "image.jpg", "image/jpeg"),
        (b"GIF89a", "image.gif", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image.webp", "image/webp"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data: bytes, name: str, kind: str):
    assert given_back(Image(data)).files == (File(name, kind, data),)
    assert given_back(Image(data, "chart.x")).files[0].name == "chart.x"


@pytest.mark.parametrize("wrong", [Image(b"<svg/>"), File("a", "text/plain", "text")])  # type: ignore[arg-type]
def test_what_is_no_image_or_no_bytes_is_said_to_be_none(wrong: object):
    output = given_back(wrong)
    assert (output.error, output.files) == ("not_json", ())


def test_the_agent_is_told_what_the_person_does_not_get():
    large, empty = File("all.bin", "", bytes(LARGEST + 1)), File("none.txt", "", b"")
    output = given_back([large, empty, *([REPORT] * (MOST_FILES + 1))])
    assert len(output.files) == MOST_FILES
    assert f"[Not shown to the person: all.bin has {LARGEST + 1} bytes, and {LARGEST} is the most]" in output.output
    assert "[Not shown to the person: none.txt is empty]" in output.output
    assert f"report.csv would be one more than {MOST_FILES}]" in output.output


@pytest.mark.parametrize(
    ("name", "kept", "kind"),
    [
        ("../../etc/passwd", "passwd", "application/octet-stream"),
        ("C:\\temp\\a.csv", "a.csv", "text/csv"),
        ("", "file", "application/octet-stream"),
        ("a\nb\0.png", "ab.png", "image/png"),
        ("x" * 500 + ".pdf", "x" * (LONGEST_NAME - 4) + ".pdf", "application/pdf"),
    ],
)
def test_a_file_has_a_name_and_a_type_that_a_chat_can_show(name: str, kept: str, kind: str):
    (file,) = given_back(File(name, "", b"x")).files
    assert (file.name, file.content_type) == (kept, kind)


# -- what is cut --------------------------------------------------------------------------------------------


def test_a_long_list_is_cut_between_its_elements():
    rows = [{"id": number, "text": "x,]}" * 20} for number in range(1_000)]
    text, _, note = given_back(rows).output.rpartition("\n")
    kept = json.loads(text)
    assert kept == rows[: len(kept)]
    assert 100 < len(kept) < 1_000
    assert note == f"[cut: this is {len(kept)} of 1000 elements; ask for less]"


@given(JSON, st.integers(600, 3_000))
def test_what_is_cut_is_json_still_or_cut_as_text(value: Json, limit: int):
    text = json.dumps([value] * 50)
    if len(text.encode()) <= limit:
        return
    said = cut_json(text, limit)
    assert len(said.encode()) <= limit
    if said:
        json.loads(said.rpartition("\n[cut: ")[0])


# -- whatever comes -----------------------------------------------------------------------------------------

ERRORS = st.sampled_from([OSError, ToolFailed, SystemExit, KeyError, asyncio.CancelledError, StopAsyncIteration])
RESULTS = (
    JSON
    | st.binary()
    | st.builds(File, st.text(), st.text(), st.binary())
    | st.builds(Image, st.binary(), st.text())
    | st.builds(Result, JSON, st.lists(st.builds(File, st.text(), st.text(), st.binary()), max_size=3))
    | st.lists(JSON | st.builds(Image, st.just(PNG), st.text()), max_size=3)
    | st.builds(lambda kind: kind(SECRET), ERRORS.filter(lambda kind: kind is not ToolFailed))
    | st.just(object())
)


@pytest.mark.invariant("I9")
@given(RESULTS, JSON | st.dictionaries(st.text(), JSON), st.text(), st.booleans())
async def test_whatever_is_asked_and_whatever_comes_is_one_output_for_each_id(
    result: object, arguments: Json, text: str, approve: bool
):
    spec = ToolSpec("any", "Do.", {"type": "object", "properties": {}}, approve=approve)
    toolbox = Toolbox([Answers(spec, result)])
    asked = [
        ToolCall(str(number), name, words)
        for number, (name, words) in enumerate(
            [("any", json.dumps(arguments)), ("any", text), ("any", "{}"), (text, "{}")]
        )
    ]
    outputs = await asyncio.gather(*(toolbox.call(one, CALLER) for one in asked))
    assert [one.call_id for one in outputs] == ["0", "1", "2", "3"]
    for one in outputs:
        assert one.output
        assert SECRET not in one.output
        assert len(one.output.encode()) <= OUTPUT_LIMIT
    for one in asked:
        toolbox.approval(one)
