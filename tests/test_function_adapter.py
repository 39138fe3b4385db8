"""Python functions as tools: what the agent is told of them, what they receive, and where they run."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import sys
import threading
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from adapters import ToolContext, tool
from adapters.contract import NotATool, ToolClash
from adapters.docstring import describe
from adapters.function import FunctionAdapter, FunctionTool
from adapters.memory import MemoryRecords
from adapters.toolbox import Toolbox
from adapters.workers import AT_ONCE, LOST_PER_TOOL
from bot.types import Json, JsonObject, ToolOutput
from tests.contracts.toolbox import CALLER, PATIENCE, call, raw


def boxed(*functions: Callable[..., object]) -> Toolbox:
    return Toolbox([FunctionAdapter([FunctionTool(function) for function in functions])])


def schema(function: Callable[..., object]) -> JsonObject:
    return FunctionTool(function).spec.parameters


async def asked(function: Callable[..., object], **arguments: Json) -> ToolOutput:
    return await boxed(function).call(call(function.__name__, **arguments), CALLER)


async def received(function: Callable[..., object], **arguments: Json) -> Any:
    """What the function is called with for these arguments."""
    seen: list[dict[str, object]] = []

    @functools.wraps(function)
    def recording(**values: object) -> str:
        seen.append(values)
        return "ok"

    output = await asked(recording, **arguments)
    assert output.error is None, output.output
    return seen[0]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 0


class Line(BaseModel):
    start: Point
    title: str


class Options(TypedDict):
    loud: bool


class OldOptions(typing.TypedDict):
    loud: bool


# -- the specification --------------------------------------------------------------------------------------


@tool(timeout=7, once=True)
def book(room: str, guests: list[str], on: date, note: str | None = None, hours: int = 1) -> str:
    """Book a room
    for a day.

    It can be given back.

    Args:
        room: The room's name,
            as it stands on the door.
        guests (list): Who comes.
        hours: How long: in hours.

    Returns:
        room: not an argument.
    """
    return room


def test_the_signature_and_the_docstring_are_the_specification():
    spec = FunctionTool(book, "tools/rooms.py").spec
    assert (spec.name, spec.timeout, spec.once, spec.source) == ("book", 7, True, "tools/rooms.py")
    assert spec.description == "Book a room for a day.\nIt can be given back."
    assert spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["room", "guests", "on"],
        "properties": {
            "room": {"type": "string", "description": "The room's name, as it stands on the door."},
            "guests": {"type": "array", "items": {"type": "string"}, "description": "Who comes."},
            "on": {"type": "string", "format": "date"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "hours": {"type": "integer", "default": 1, "description": "How long: in hours."},
        },
    }


def test_a_tool_without_arguments_takes_an_empty_object():
    def ping() -> str:
        """Answer."""
        return "pong"

    assert schema(ping) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_the_decorator_only_marks():
    def plain(x: int) -> int:
        """Double."""
        return 2 * x

    assert tool(plain) is plain
    assert plain(2) == 4


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout: float):
    with pytest.raises(ValueError, match="timeout"):
        tool(timeout=timeout)


def test_no_title_is_told_but_an_argument_may_have_that_name():
    def name(title: str, line: Line, fixed: Literal["title"] = "title") -> str:
        """Name it."""
        return title

    told = schema(name)
    assert set(told["properties"]) == {"title", "line", "fixed"}
    assert set(told["$defs"]["Line"]["properties"]) == {"start", "title"}
    assert told["properties"]["fixed"] == {"type": "string", "const": "title", "default": "title"}
    assert "Title" not in json.dumps(told)


def test_arguments_may_have_names_that_pydantic_has_too():
    def odd(json: str, model_config: int, _hidden: int = 1, schema: str = "s", p0: int = 0) -> str:
        """Take odd names."""
        return json

    assert list(schema(odd)["properties"]) == ["json", "model_config", "_hidden", "schema", "p0"]


async def test_arguments_with_odd_names_arrive_under_them():
    def odd(json: str, model_config: int, _hidden: int = 1, p0: int = 0) -> str:
        """Take odd names."""
        return f"{json} {model_config} {_hidden} {p0}"

    assert (await asked(odd, json="a", model_config=2, _hidden=3, p0=4)).output == "a 2 3 4"


def test_a_docstring_without_sections_is_the_description():
    assert describe("Roll.\n\nNote: this is a sentence.") == ("Roll.\nNote: this is a sentence.", {})
    assert describe("") == ("", {})


# -- what cannot be told to an agent ------------------------------------------------------------------------


def positional(x: int, /) -> None:
    """No."""


def many(*values: int) -> None:
    """No."""


def named(**values: int) -> None:
    """No."""


def quoted(context: "'ToolContext'") -> None:  # noqa: UP037
    """No."""


def listed(contexts: list[ToolContext]) -> None:
    """No."""


def inside(contexts: dict[str, "ToolContext"]) -> None:  # noqa: UP037
    """No."""


def untyped(x) -> None:  # type: ignore[no-untyped-def]
    """No."""


def unknown(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """No."""


def missing(x: json.Nowhere) -> None:  # type: ignore[name-defined]
    """No."""


def no_form(x: threading.Lock) -> None:
    """No."""


def calls(x: Callable[[], int]) -> None:
    """No."""


def bad_pattern(x: Annotated[str, Field(pattern="[")]) -> None:
    """No."""


def yields():
    """No."""
    yield 1


def undescribed() -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (positional, "parameter x cannot be filled by name"),
        (many, "parameter values cannot be filled by name"),
        (named, "parameter values cannot be filled by name"),
        (untyped, "parameter x has no type"),
        (quoted, "parameter context has a type in quotes"),
        (listed, "a ToolContext stands within another type"),
        (inside, "within another type|cannot be told in JSON"),
        (unknown, "the type Nowhere of a parameter cannot be found"),
        (missing, "its signature cannot be read"),
        (no_form, "parameter x has a type that cannot be told in JSON"),
        (calls, "cannot be told in JSON"),
        (bad_pattern, "parameter x has a type that cannot be told in JSON"),
        (yields, "it yields"),
        (undescribed, "it has no docstring"),
        (tool(name="two words")(lambda: None), "its name must be"),
        (tool(name="é")(lambda: None), "its name must be"),
        (tool(name="x" * 65)(lambda: None), "its name must be"),
        (tool(name="newline\n")(lambda: None), "its name must be"),
        (lambda: None, "its name must be"),
    ],
)
def test_a_function_that_is_no_tool_says_why(function: Callable[..., object], problem: str):
    with pytest.raises(NotATool, match=problem):
        FunctionTool(function)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it from Python 3.12 on")
def test_a_typed_dict_of_the_wrong_module_is_named_with_the_right_one():
    def take(options: OldOptions) -> None:
        """Take."""

    with pytest.raises(NotATool, match="options: take TypedDict from typing_extensions"):
        FunctionTool(take)


def test_two_functions_of_one_name_are_refused():
    with pytest.raises(ToolClash, match="book"):
        FunctionAdapter([FunctionTool(book), FunctionTool(book)])


# -- arguments ----------------------------------------------------------------------------------------------


async def test_the_function_receives_its_types():
    def take(
        count: int,
        price: Decimal,
        on: date,
        colour: Colour,
        kind: Literal["a", "b"],
        point: Point,
        line: Line,
        points: list[Point],
        options: Options,
        maybe: Optional[int],  # noqa: UP045 - as people write it
        table: dict[str, list[int]],
        ratio: float = 0.5,
    ) -> None:
        """Take them all."""

    assert await received(
        take,
        count="3",
        price="1.10",
        on="2026-03-01",
        colour="red",
        kind="b",
        point={"x": 1},
        line={"start": {"x": 2, "y": 3}, "title": "t"},
        points=[{"x": 4}],
        options={"loud": True},
        maybe=None,
        table={"a": [1]},
    ) == {
        "count": 3,
        "price": Decimal("1.10"),
        "on": date(2026, 3, 1),
        "colour": Colour.RED,
        "kind": "b",
        "point": Point(1),
        "line": Line(start=Point(2, 3), title="t"),
        "points": [Point(4)],
        "options": {"loud": True},
        "maybe": None,
        "table": {"a": [1]},
    }


async def test_what_the_agent_leaves_out_keeps_the_function_s_own_default():
    default = object()

    def take(x: int = 1, y: Json = default) -> str:
        """Take."""
        return f"{x} {y is default}"

    assert (await asked(take)).output == "1 True"
    assert "default" not in schema(take)["properties"]["y"]


async def test_null_for_an_argument_that_takes_none_means_that_it_was_left_out():
    def take(x: int = 5, y: int | None = 6) -> str:
        """Take."""
        return f"{x} {y}"

    assert (await asked(take, x=None, y=None)).output == "5 None"


async def test_null_for_an_argument_that_is_needed_is_refused():
    output = await asked(book, room=None, guests=[], on="2026-03-01")
    assert output.error == "bad_arguments"
    assert "room:" in output.output


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"line": {"start": {"x": 1}, "title": "t"}}, ["colour"]),
        ({"colour": "green", "line": {"start": {"x": 1}, "title": "t"}}, ["colour:", "'red' or 'blue'"]),
        ({"colour": "red", "line": {"start": {"x": "much"}, "title": "t"}}, ["line.start.x:", "integer"]),
        ({"colour": "red", "line": {"start": {"x": 1}}}, ["line.title:", "required"]),
        ({"colour": "red", "line": [], "numbers": [1, "x"]}, ["line:", "numbers[1]:"]),
        (
            {"colour": "red", "line": {"start": {"x": 1}, "title": "t"}, "color": "red"},
            ["color: there is no such argument", "colour, line, numbers"],
        ),
        ({f"extra{number}": 1 for number in range(50)}, ["colour", "and 47 more"]),
    ],
)
async def test_a_wrong_argument_is_named_with_what_was_expected(arguments: JsonObject, named: list[str]):
    called: list[str] = []

    def draw(colour: Colour, line: Line, numbers: list[int] | None = None) -> None:
        """Draw."""
        called.append(colour)

    output = await asked(draw, **arguments)
    assert output.error == "bad_arguments"
    assert output.output.startswith("draw was not called: ")
    for words in named:
        assert words in output.output
    assert called == []


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
async def test_a_number_that_is_none_is_refused(number: str):
    def take(x: float) -> None:
        """Take."""

    output = await boxed(take).call(raw("take", f'{{"x": {number}}}'), CALLER)
    assert output.error == "bad_arguments"


# -- the context --------------------------------------------------------------------------------------------


def whole(context: ToolContext, x: int) -> str:
    """Tell."""
    return f"{context.person.id} {context.tenant} {context.channel} {context.reference} {context.key} {x}"


def optional(x: int, context: ToolContext | None = None) -> str:
    """Tell."""
    return whole(context, x) if context else "nobody"


def last(x: int, *, who: Annotated[ToolContext, "who asks"]) -> str:
    """Tell."""
    return whole(who, x)


@pytest.mark.parametrize("function", [whole, optional, last])
async def test_the_context_is_filled_in_and_hidden(function: Callable[..., object]):
    assert list(schema(function)["properties"]) == ["x"]
    output = await asked(function, x=1)
    assert output.output == "ada tenant test 7F3K-2Q turn-1:call-1 1"


@pytest.mark.parametrize("function", [whole, optional])
async def test_the_agent_cannot_give_the_context(function: Callable[..., object]):
    output = await asked(function, x=1, context={"person": {"id": "grace"}})
    assert output.error == "bad_arguments"
    assert "context: there is no such argument" in output.output


# -- where it runs ------------------------------------------------------------------------------------------


async def test_a_sync_function_does_not_block_the_loop():
    started, release = threading.Event(), threading.Event()

    def blocks() -> bool:
        """Block."""
        started.set()
        return release.wait(PATIENCE)

    task = asyncio.create_task(asked(blocks))
    assert await asyncio.to_thread(started.wait, PATIENCE)
    release.set()  # the loop reaches this line only if the function does not hold it
    assert (await task).output == "true"


@pytest.mark.invariant("I9")
async def test_ten_sync_calls_of_one_tool_run_together_each_under_its_own_id():
    barrier = threading.Barrier(10)

    def meet(number: int) -> int:
        """Wait for nine others."""
        barrier.wait(PATIENCE)
        return number

    toolbox = boxed(meet)
    calls = [call("meet", number=number) for number in range(10)]
    outputs = await asyncio.gather(*(toolbox.call(each, CALLER) for each in calls))
    assert [(o.call_id, o.output, o.error) for o in outputs] == [(c.id, str(n), None) for n, c in enumerate(calls)]


@pytest.mark.invariant("I9")
async def test_a_tool_that_hangs_becomes_busy_the_others_work_and_it_recovers():
    release = threading.Event()

    @tool(timeout=0.05)
    def hangs() -> str:
        """Hang."""
        release.wait(PATIENCE)
        return "done"

    def works() -> str:
        """Work."""
        return "works"

    toolbox = boxed(hangs, works)
    lost = await asyncio.gather(*(toolbox.call(call("hangs"), CALLER) for _ in range(LOST_PER_TOOL)))
    assert [output.error for output in lost] == ["timeout"] * LOST_PER_TOOL
    busy = await toolbox.call(call("hangs"), CALLER)
    assert (busy.call_id, busy.error) == (call("hangs").id, "busy")
    assert "was not called" in busy.output
    assert (await toolbox.call(call("works"), CALLER)).output == "works"
    release.set()
    async with asyncio.timeout(PATIENCE):
        while (output := await toolbox.call(call("hangs"), CALLER)).error:
            pass
    assert output.output == "done"


@pytest.mark.invariant("I9")
async def test_more_calls_than_threads_are_all_answered():
    def count(number: int) -> int:
        """Count."""
        return number

    toolbox = boxed(count)
    outputs = await asyncio.gather(*(toolbox.call(call("count", number=n), CALLER) for n in range(5 * AT_ONCE)))
    assert [output.output for output in outputs] == [str(n) for n in range(5 * AT_ONCE)]


async def test_a_thread_that_hangs_does_not_keep_the_process():
    release, daemon = threading.Event(), []

    @tool(timeout=0.05)
    def hangs() -> None:
        """Hang."""
        daemon.append(threading.current_thread().daemon)
        release.wait(PATIENCE)

    assert (await asked(hangs)).error == "timeout"
    release.set()
    assert daemon == [True]


REQUEST = contextvars.ContextVar("REQUEST", default="none")


async def test_context_variables_reach_the_function():
    def sync() -> str:
        """Tell."""
        return REQUEST.get()

    async def waits() -> str:
        """Tell."""
        return REQUEST.get()

    token = REQUEST.set("seven")
    try:
        assert [(await asked(function)).output for function in (sync, waits)] == ["seven", "seven"]
    finally:
        REQUEST.reset(token)


async def test_a_function_is_awaited_however_it_is_wrapped():
    async def inner(x: int) -> int:
        """Add one."""
        return x + 1

    @functools.wraps(inner)
    def wrapped(x: int) -> object:
        return inner(x)

    class Adder:
        """Add one."""

        __name__ = "adder"

        async def __call__(self, x: int) -> int:
            return x + 1

    for function in (inner, wrapped, Adder(), Plain().method):
        assert (await asked(function, x=1)).output == "2"


async def test_a_coroutine_from_a_plain_def_is_a_failure_and_is_closed(caplog: pytest.LogCaptureFixture):
    made: list[Any] = []

    async def inner() -> str:
        return "done"

    def forgets() -> object:
        """Forget to await."""
        made.append(inner())
        return made[0]

    output = await asked(forgets)
    assert (output.error, "coroutine" in output.output) == ("failed", False)
    assert "forgets returned a coroutine: write it as async def and await it" in caplog.text
    assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED


@pytest.mark.parametrize("member", ["records", "own", "earlier", "http"])
async def test_a_plain_def_does_not_begin_what_it_cannot_await(member: str, caplog: pytest.LogCaptureFixture):
    def keeps(context: ToolContext) -> str:
        """Keep it."""
        match member:
            case "earlier":
                return f"kept {context.earlier()}"
            case "http":
                return f"kept {context.http}"
            case _:
                return f"kept {getattr(context, member).put('a', 'b', 1)}"

    output = await asked(keeps)
    assert (output.error, "kept" in output.output) == ("failed", False)
    words = f"keeps uses context.{member} in a plain def: write it as async def and await it"
    assert words in caplog.text


async def test_a_wrapped_async_def_has_its_whole_context():
    async def inner(context: ToolContext) -> str:
        """Look."""
        await context.records.put("a", "b", 1)
        return f"{len(await context.earlier())} {await context.records.get('a', 'b')} {context.http.closed}"

    @functools.wraps(inner)
    def wrapped(**given: Any) -> object:
        return inner(**given)

    adapter = FunctionAdapter([FunctionTool(wrapped)])
    async with Toolbox([adapter]) as toolbox:
        caller = replace(CALLER, records=MemoryRecords())
        assert (await toolbox.call(call("inner"), caller)).output == "0 1 False"


class Plain:
    def method(self, x: int) -> int:
        """Add one."""
        return x + 1


def test_a_mapping_is_told_as_an_object():
    def take(values: Mapping[str, int]) -> None:
        """Take."""

    assert schema(take)["properties"]["values"]["type"] == "object"
