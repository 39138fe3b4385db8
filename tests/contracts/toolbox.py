"""What every `Toolbox` keeps, whatever answers its tools. A test module subclasses `ToolboxContract` and gives one."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from bot.ports import Toolbox
from bot.types import Caller, Json, Person, ToolCall

SECRET = "hunter2"  # what a failing tool has in its exception: it must never be told
CALLER = Caller(Person("ada", "Ada"), "tenant", "test", "7F3K-2Q", "turn-1:call-1")
PATIENCE = 20.0
"""Seconds after which what should have happened never will."""


def call(name: str, /, **arguments: Json) -> ToolCall:
    """A call as an agent sends it; its id tells it from every other."""
    return raw(name, json.dumps(arguments))


def raw(name: str, arguments: str) -> ToolCall:
    """A call with arguments that need not be JSON."""
    return ToolCall(f"call of {name} with {arguments[:100]}", name, arguments)


class ToolboxContract:
    """The toolbox given must hold these tools, and may hold others:

    - `echo(text: str)`: gives back the text
    - `breaks()`: fails with SECRET in whatever it says
    - `hangs()`: never answers; its time is up within a second
    - `meets(number: int)`: answers with the number once three calls of it run at the same time
    """

    @pytest.fixture
    def toolbox(self) -> Toolbox:
        raise NotImplementedError

    def test_every_tool_is_told_in_a_way_that_agents_take(self, toolbox: Toolbox):
        specs = toolbox.specs()
        assert {"echo", "breaks", "hangs", "meets"} <= {spec.name for spec in specs}
        for spec in specs:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spec.name)
            assert spec.description
            assert spec.timeout > 0
            assert spec.parameters["type"] == "object"
            assert isinstance(spec.parameters["properties"], dict)
            assert json.loads(json.dumps(spec.parameters)) == spec.parameters

    def test_names_are_unique_and_the_order_is_fixed(self, toolbox: Toolbox):
        names = [spec.name for spec in toolbox.specs()]
        assert len(set(names)) == len(names)
        assert [spec.name for spec in toolbox.specs()] == names

    @pytest.mark.invariant("I9")
    async def test_a_result_is_given_back_under_the_id_of_its_call(self, toolbox: Toolbox):
        asked = call("echo", text="hello")
        output = await toolbox.call(asked, CALLER)
        assert (output.call_id, output.output, output.error) == (asked.id, "hello", None)

    @pytest.mark.invariant("I9")
    @pytest.mark.parametrize(
        ("asked", "error"),
        [
            (call("no_such_tool"), "unknown_tool"),
            (call(""), "unknown_tool"),
            (raw("echo", "{"), "bad_arguments"),
            (raw("echo", "[1, 2]"), "bad_arguments"),
            (raw("echo", '"text"'), "bad_arguments"),
            (raw("echo", ""), "bad_arguments"),
            (raw("echo", "[" * 100_000), "bad_arguments"),
            (raw("echo", '{"text": ' + "9" * 5_000 + "}"), "bad_arguments"),
            (call("echo"), "bad_arguments"),
            (call("echo", text={"not": "text"}), "bad_arguments"),
            (call("echo", text="x", more=1), "bad_arguments"),
            (call("breaks"), "failed"),
            (call("hangs"), "timeout"),
        ],
        ids=lambda value: value if isinstance(value, str) else value.id[:40],
    )
    async def test_a_failure_is_one_output_with_the_call_s_id(self, toolbox: Toolbox, asked: ToolCall, error: str):
        output = await toolbox.call(asked, CALLER)
        assert output.call_id == asked.id
        assert output.error == error
        assert output.output
        assert SECRET not in output.output

    @pytest.mark.invariant("I9")
    @pytest.mark.parametrize("name", ["breaks", "hangs"])
    async def test_a_result_that_is_not_known_is_said_to_be_so(self, toolbox: Toolbox, name: str):
        output = await toolbox.call(call(name), CALLER)
        assert "result unknown" in output.output
        assert CALLER.reference in output.output

    async def test_a_refused_argument_is_named(self, toolbox: Toolbox):
        assert "text" in (await toolbox.call(call("echo"), CALLER)).output
        assert "more" in (await toolbox.call(call("echo", text="x", more=1), CALLER)).output

    @pytest.mark.invariant("I9")
    async def test_calls_of_one_tool_run_together_and_each_has_its_own_output(self, toolbox: Toolbox):
        calls = [call("meets", number=number) for number in range(3)]
        async with asyncio.timeout(PATIENCE):
            outputs = await asyncio.gather(*(toolbox.call(each, CALLER) for each in calls))
        assert [output.call_id for output in outputs] == [each.id for each in calls]
        assert [output.output for output in outputs] == ["0", "1", "2"]

    async def test_the_cancellation_of_the_one_who_asks_passes_through(self, toolbox: Toolbox):
        task = asyncio.create_task(toolbox.call(call("meets", number=1), CALLER))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await toolbox.call(call("echo", text="still here"), CALLER)).output == "still here"
