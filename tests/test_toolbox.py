"""Every tool call becomes exactly one output, whatever the tool does."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from adapters import ToolFailed, tool
from adapters.contract import ToolClash
from adapters.function import FunctionAdapter, FunctionTool
from adapters.result import OUTPUT_LIMIT, cut
from adapters.toolbox import Toolbox
from bot.types import Caller, Json, ToolCall, ToolOutput, ToolSpec
from tests.contracts.toolbox import CALLER, PATIENCE, SECRET, ToolboxContract, call, raw

SHORT = 0.05
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def boxed(*functions: Callable[..., object], limit: int = OUTPUT_LIMIT) -> Toolbox:
    return Toolbox([FunctionAdapter([FunctionTool(function) for function in functions])], limit)


def gives(result: object) -> Toolbox:
    """A toolbox whose one tool, `give`, returns this."""

    def give() -> object:
        """Give it."""
        return result

    return boxed(give)


def raises(error: BaseException) -> Toolbox:
    """A toolbox whose tools, `sync` and `waits`, raise this."""

    def sync() -> None:
        """Raise it."""
        raise error

    async def waits() -> None:
        """Raise it after a while."""
        await asyncio.sleep(0)
        raise error

    return boxed(sync, waits)


def asserted(output: ToolOutput, asked: ToolCall, error: str | None, limit: int = OUTPUT_LIMIT) -> str:
    """What holds for every output; its text."""
    assert output.call_id == asked.id
    assert output.error == error
    assert SECRET not in output.output
    assert len(output.output.encode("utf-8")) <= limit
    assert output.output
    return output.output


class TestOfFunctions(ToolboxContract):
    """Over synchronous functions."""

    @pytest.fixture
    def toolbox(self):
        never, three = threading.Event(), threading.Barrier(3)

        def echo(text: str) -> str:
            """Give back the text."""
            return text

        def breaks() -> None:
            """Break."""
            raise OSError(SECRET)

        @tool(timeout=SHORT)
        def hangs() -> None:
            """Hang."""
            never.wait(PATIENCE)

        def meets(number: int) -> int:
            """Wait for two others."""
            three.wait(PATIENCE)
            return number

        yield boxed(echo, breaks, hangs, meets)
        never.set()
        three.abort()


class TestOfCoroutines(ToolboxContract):
    """Over asynchronous functions."""

    @pytest.fixture
    def toolbox(self):
        arrived: list[int] = []
        three = asyncio.Event()

        async def echo(text: str) -> str:
            """Give back the text."""
            return text

        async def breaks() -> None:
            """Break."""
            raise OSError(SECRET)

        @tool(timeout=SHORT)
        async def hangs() -> None:
            """Hang."""
            await asyncio.Event().wait()

        async def meets(number: int) -> int:
            """Wait for two others."""
            arrived.append(number)
            if len(arrived) == 3:
                three.set()
            await three.wait()
            return number

        return boxed(echo, breaks, hangs, meets)


class CannotTell(ToolFailed):
    def __str__(self) -> str:
        raise ValueError(SECRET)


# -- what a tool raises -------------------------------------------------------------------------------------


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("name", ["sync", "waits"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        TimeoutError(SECRET),
        SystemExit(SECRET),
        asyncio.CancelledError(SECRET),
        StopIteration(SECRET),
        GeneratorExit(SECRET),
        BaseException(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        ToolFailed(),
        ToolFailed("  "),
        CannotTell("x"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_whatever_a_tool_raises_is_one_output(name: str, error: BaseException, caplog: pytest.LogCaptureFixture):
    asked = call(name)
    said = asserted(await raises(error).call(asked, CALLER), asked, "failed")
    assert "result unknown" in said
    assert SECRET not in caplog.text
    assert f"tool {name} failed (7F3K-2Q)" in caplog.text


@pytest.mark.parametrize("name", ["sync", "waits"])
async def test_the_words_of_tool_failed_are_handed_over(name: str):
    asked = call(name)
    output = await raises(ToolFailed("Ticket 7 is closed.")).call(asked, CALLER)
    assert asserted(output, asked, "failed") == "Ticket 7 is closed."


async def test_a_log_line_names_where_it_failed_and_what_it_was_caused_by(caplog: pytest.LogCaptureFixture):
    def breaks() -> None:
        """Break."""
        try:
            {}["key"]
        except KeyError as error:
            raise RuntimeError(SECRET) from error

    await boxed(breaks).call(call("breaks"), CALLER)
    assert "builtins.RuntimeError" in caplog.text
    assert "caused by builtins.KeyError" in caplog.text
    assert "test_toolbox.py" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.invariant("I9")
async def test_a_tool_that_cancels_the_task_it_runs_in_has_failed():
    async def cancels() -> None:
        """Cancel."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    asked = call("cancels")
    asserted(await boxed(cancels).call(asked, CALLER), asked, "failed")
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


# -- time ---------------------------------------------------------------------------------------------------


@pytest.mark.invariant("I9")
async def test_a_tool_that_swallows_its_cancellation_does_not_keep_the_caller():
    release = asyncio.Event()
    ended = asyncio.Event()

    @tool(timeout=SHORT)
    async def stubborn() -> None:
        """Stay."""
        try:
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()
            ended.set()
            raise RuntimeError(SECRET) from None

    asked = call("stubborn")
    async with asyncio.timeout(PATIENCE):
        said = asserted(await boxed(stubborn).call(asked, CALLER), asked, "timeout")
        release.set()
        await ended.wait()
    assert "0.05 s" in said


async def test_a_real_cancellation_reaches_the_tool():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        """Wait."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(boxed(waits).call(call("waits"), CALLER))
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await cancelled.wait()


@pytest.mark.invariant("I9")
async def test_a_late_failure_of_an_abandoned_call_disturbs_nobody(caplog: pytest.LogCaptureFixture):
    release, ended = threading.Event(), threading.Event()

    @tool(timeout=SHORT)
    def late() -> None:
        """Come late."""
        release.wait(PATIENCE)
        ended.set()
        raise SystemExit(SECRET)

    asked = call("late")
    asserted(await boxed(late).call(asked, CALLER), asked, "timeout")
    release.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE)
    assert SECRET not in caplog.text


# -- what a tool returns ------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int
    y: float


class Ticket(BaseModel):
    number: int
    opened: datetime


MORNING = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "text"),
        ("", "The result is an empty text."),
        (None, "Done; there is no result."),
        (0, "0"),
        (False, "false"),
        ([], "[]"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        (b"bytes", '"bytes"'),
        ({1}, "[1]"),
        ((1, 2), "[1,2]"),
        (Point(1, 0.5), '{"x":1,"y":0.5}'),
        (Ticket(number=7, opened=MORNING), '{"number":7,"opened":"2026-03-01T09:30:00Z"}'),
        ([Ticket(number=7, opened=MORNING)], '[{"number":7,"opened":"2026-03-01T09:30:00Z"}]'),
        (MORNING, '"2026-03-01T09:30:00Z"'),
        (Decimal("1.10"), '"1.10"'),
        (math.nan, '"NaN"'),
        ([math.inf, -math.inf], '["Infinity","-Infinity"]'),
        ({1: "one"}, '{"1":"one"}'),
        ("NUL \0 and half a pair \ud800", "NUL \ufffd and half a pair \ufffd"),
    ],
    ids=repr,
)
async def test_a_result_becomes_text(result: object, said: str):
    asked = call("give")
    assert asserted(await gives(result).call(asked, CALLER), asked, None) == said


def _endless() -> Any:
    while True:
        yield 1


def _knotted() -> list[Any]:
    knot: list[Any] = []
    knot.append(knot)
    return knot


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    "result",
    [object(), b"\xff\xfe", _knotted(), {"inner": object()}, threading.Lock(), lambda: 1, _endless()],
    ids=["object", "bytes", "knot", "inner object", "lock", "function", "generator"],
)
async def test_a_result_without_a_json_form_is_one_output(result: object):
    asked = call("give")
    said = asserted(await gives(result).call(asked, CALLER), asked, "not_json")
    assert "result unknown" in said


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("piece", ["word ", "line\n", "é", "🎉", "x"])
async def test_a_result_that_is_too_large_is_cut_with_a_note(piece: str):
    asked = call("give")
    text = piece * 20_000
    said = asserted(await gives(text).call(asked, CALLER), asked, None)
    kept, note = said.rsplit("\n", 1)
    assert text.startswith(kept)
    assert kept.endswith(piece.strip()[-1])
    assert len(kept) > 1_000
    assert str(len(text.encode())) in note
    assert f"first {len(kept.encode())};" in note


async def test_a_result_of_just_the_bound_is_not_cut():
    asked = call("give")
    assert asserted(await gives("x" * OUTPUT_LIMIT).call(asked, CALLER), asked, None) == "x" * OUTPUT_LIMIT


@given(st.text(), st.integers(200, 2_000), st.integers(1, 400))
def test_a_cut_text_is_within_its_bound(text: str, limit: int, times: int):
    said = cut(text * times, limit)
    assert len(said.encode("utf-8")) <= limit


@pytest.mark.invariant("I9")
async def test_the_words_of_a_failure_are_bounded_too():
    asked = call("sync")
    asserted(await raises(ToolFailed("words " * 20_000)).call(asked, CALLER), asked, "failed")
    many = call("sync", **{f"argument_{number}": 1 for number in range(10_000)})
    asserted(await raises(ToolFailed()).call(many, CALLER), many, "bad_arguments")


@pytest.mark.invariant("I9")
@given(
    JSON
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.sets(st.integers())
    | st.complex_numbers()
    | st.builds(Point, st.integers(), st.floats())
)
async def test_any_result_is_one_output(result: object):
    asked = call("give")
    output = await gives(result).call(asked, CALLER)
    asserted(output, asked, output.error)
    assert output.error in (None, "not_json")
    if output.error is None and not isinstance(result, str) and result is not None:
        json.loads(output.output)


# -- what the agent sends -----------------------------------------------------------------------------------


def typed(number: int, text: str = "", flag: bool = False, points: list[Point] | None = None, free: Json = None) -> str:
    """Take several kinds."""
    return f"{number} {text} {flag} {points} {free}"


@pytest.mark.invariant("I9")
@given(st.text())
async def test_any_text_as_arguments_is_one_output(text: str):
    asked = raw("typed", text)
    output = await boxed(typed).call(asked, CALLER)
    asserted(output, asked, "bad_arguments")


@pytest.mark.invariant("I9")
@given(st.dictionaries(st.sampled_from(["number", "text", "flag", "points", "free"]) | st.text(), JSON) | JSON)
async def test_any_json_as_arguments_is_one_output(arguments: Json):
    asked = raw("typed", json.dumps(arguments))
    output = await boxed(typed).call(asked, CALLER)
    asserted(output, asked, output.error)
    assert output.error in (None, "bad_arguments")


@pytest.mark.invariant("I9")
@given(st.text(min_size=1))
async def test_any_name_that_is_none_is_one_output(name: str):
    asked = call(f"{name}!")
    said = asserted(await boxed(typed).call(asked, CALLER), asked, "unknown_tool")
    assert "typed" in said


@pytest.mark.parametrize("nothing", ["", "  ", "{}", "null"])
async def test_no_arguments_are_sent_in_many_ways(nothing: str):
    asked = raw("give", nothing)
    assert asserted(await gives("given").call(asked, CALLER), asked, None) == "given"


# -- several adapters ---------------------------------------------------------------------------------------


class Recorder:
    """An adapter that is no function: it records what it is called with, and when it was opened and closed."""

    def __init__(self, *names: str, source: str = "recorder") -> None:
        self.names = names
        self.source = source
        self.seen: list[ToolCall] = []
        self.log: list[str] = []

    def specs(self) -> list[ToolSpec]:
        return [ToolSpec(n, "Record.", {"type": "object", "properties": {}}, source=self.source) for n in self.names]

    async def call(self, call: ToolCall, caller: Caller) -> object:
        self.seen.append(call)
        return caller.reference

    async def __aenter__(self) -> Self:
        self.log.append("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.log.append("closed")


async def test_each_call_goes_to_the_adapter_that_has_the_tool():
    first, second = Recorder("b", "d"), Recorder("c", "a")
    async with Toolbox([first, second]) as toolbox:
        assert [spec.name for spec in toolbox.specs()] == ["a", "b", "c", "d"]
        assert (await toolbox.call(call("a", x=1), CALLER)).output == CALLER.reference
        await toolbox.call(raw("b", ""), CALLER)
    assert [each.arguments for each in second.seen] == ['{"x": 1}']
    assert [each.arguments for each in first.seen] == ["{}"]
    assert first.log == second.log == ["opened", "closed"]


async def test_a_toolbox_is_entered_once():
    async with Toolbox([]) as toolbox:
        with pytest.raises(RuntimeError):
            await toolbox.__aenter__()


def test_two_tools_of_one_name_are_refused_with_both_sources():
    with pytest.raises(ToolClash, match=r"named a: one in here, one in there"):
        Toolbox([Recorder("a", source="here"), Recorder("a", source="there")])


async def test_a_name_that_appears_only_when_opened_is_checked_too():
    late = Recorder("a", source="late")
    late.names = ()
    toolbox = Toolbox([Recorder("a", source="early"), late])
    late.names = ("a",)
    with pytest.raises(ToolClash):
        await toolbox.__aenter__()
    assert late.log == ["opened", "closed"]
