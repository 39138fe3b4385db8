"""Limits around a toolbox: nobody honest meets them, and who does holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.limits import LONGEST_WAIT, MOST_PEOPLE, Limited, Pace, Slots
from bot.types import Caller, Person, ToolCall, ToolOutput, ToolSpec
from tests.contracts.toolbox import CALLER, PATIENCE, ToolboxContract, call
from tests.test_toolbox import TestOfCoroutines
from tests.world import FakeToolbox, FastClock, open_world

WHO = (CALLER.channel, CALLER.tenant, "ada")


def of(person: str) -> Caller:
    return replace(CALLER, person=Person(person, person))


def limited(toolbox: FakeToolbox, per_minute: int = 0, at_once: int = 32) -> tuple[Limited, FastClock]:
    clock = FastClock()
    return Limited(toolbox, per_minute, at_once=at_once, monotonic=clock.monotonic, sleep=clock.sleep), clock


def having(name: str, answer: Callable[[ToolCall, Caller], Any] = lambda call, _: "done", **spec: Any) -> FakeToolbox:
    toolbox = FakeToolbox()
    toolbox.add(name, answer)
    toolbox.tools[name] = (replace(toolbox.tools[name][0], **spec), answer)
    return toolbox


class TestWithinLimits(ToolboxContract):
    """All that holds of a toolbox holds of one within limits."""

    @pytest.fixture
    def toolbox(self) -> Limited:
        return Limited(TestOfCoroutines.toolbox.__wrapped__(TestOfCoroutines()), 240)  # type: ignore[attr-defined]


async def test_a_person_is_slowed_down_and_then_told_and_others_are_not():
    toolbox = having("dig")
    tools, clock = limited(toolbox, 6)  # one in ten seconds, six at once
    outputs = [await tools.call(call("dig", number=n), of("ada")) for n in range(6)]
    assert [output.error for output in outputs] == [None] * 6
    assert clock.slept == []
    slowed = await tools.call(call("dig"), of("ada"))
    assert (slowed.error, [round(seconds, 1) for seconds in clock.slept]) == (None, [10.0])
    tools._pace.reserve(WHO, LONGEST_WAIT)  # pyright: ignore[reportOptionalMemberAccess]
    refused, other = await tools.call(call("dig"), of("ada")), await tools.call(call("dig"), of("grace"))
    assert (refused.error, other.error) == ("limited", None)
    assert "6 times within a minute" in refused.output
    assert "Say so" in refused.output
    assert len(toolbox.calls) == 8
    clock.advance(30)
    assert (await tools.call(call("dig"), of("ada"))).error is None


async def test_it_waits_at_most_half_of_the_tools_own_timeout():
    tools, clock = limited(having("dig", timeout=4.0), 6)
    for n in range(6):
        await tools.call(call("dig", number=n), of("ada"))
    assert (await tools.call(call("dig"), of("ada"))).error == "limited"
    clock.advance(8.1)
    assert (await tools.call(call("dig"), of("ada"))).error is None
    assert [round(seconds) for seconds in clock.slept] == [2]


async def test_zero_is_without_limit():
    toolbox = having("dig")
    tools, clock = limited(toolbox, 0)
    outputs = await asyncio.gather(*(tools.call(call("dig", number=n), CALLER) for n in range(1000)))
    assert {output.error for output in outputs} == {None}
    assert clock.slept == []


async def test_a_slow_tool_is_busy_for_those_who_come_after_and_no_other_tool_is():
    go = asyncio.Event()

    async def slow(_: ToolCall, __: Caller) -> str:
        await go.wait()
        return "at last"

    toolbox = having("slow", slow, at_once=2, timeout=0.5)
    toolbox.add("quick", lambda *_: "at once")
    tools, _ = limited(toolbox)
    running = [asyncio.create_task(tools.call(call("slow", number=n), of(f"p{n}"))) for n in range(2)]
    async with asyncio.timeout(PATIENCE):
        while len(toolbox.calls) < 2:
            await asyncio.sleep(0)
        late = await tools.call(call("slow"), of("late"))
        assert (late.error, "2 calls of it are running" in late.output) == ("busy", True)
        assert (await tools.call(call("quick"), of("late"))).output == "at once"
        waiting = asyncio.create_task(tools.call(call("slow", number=9), of("next")))
        await asyncio.sleep(0)
        go.set()
        assert {task.output for task in await asyncio.gather(*running, waiting)} == {"at last"}
    assert len(tools._slots) == 0


async def test_one_that_is_cancelled_gives_its_place_back():
    toolbox = having("slow", lambda *_: asyncio.Event().wait(), at_once=1, timeout=PATIENCE)
    tools, _ = limited(toolbox)
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            tasks = [asyncio.create_task(tools.call(call("slow", number=n), CALLER)) for n in range(2)]
            while len(toolbox.calls) < 1:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            toolbox.calls.clear()
    assert len(tools._slots) == 0


async def test_a_tool_that_there_is_not_is_answered_as_before():
    tools, _ = limited(having("dig"), 6)
    assert await tools.call(call("fly"), CALLER) == ToolOutput(call("fly").id, "There is no tool fly.", "unknown_tool")


def test_the_rest_is_the_toolbox_own():
    toolbox = having("dig", approve=True)
    tools, _ = limited(toolbox)
    assert tools.specs() == toolbox.specs()
    assert tools.approval(call("dig")) == toolbox.approval(call("dig"))


@given(st.integers(1, 300), st.lists(st.floats(0, 40), max_size=200))
def test_in_no_minute_are_there_more_than_twice_as_many(per_minute: int, gaps: list[float]):
    now = 0.0
    pace = Pace(per_minute, lambda: now)
    made: list[float] = []
    for gap in gaps:
        now += gap
        wait = pace.reserve(("c", "t", "ada"), LONGEST_WAIT)
        assert wait >= 0
        if wait <= LONGEST_WAIT:
            made.append(now + wait)
    assert made == sorted(made)
    for start in made:
        assert sum(start <= at < start + 60 for at in made) <= 2 * per_minute


@given(st.integers(1, 50), st.lists(st.floats(0.0, 5.0), max_size=100))
def test_who_keeps_the_pace_never_waits(per_minute: int, more: list[float]):
    now = 0.0
    pace = Pace(per_minute, lambda: now)
    for extra in more:
        now += 60 / per_minute + extra + 1e-6
        assert pace.reserve(("c", "t", "ada"), LONGEST_WAIT) == 0


@pytest.mark.invariant("I14")
def test_what_is_remembered_of_people_is_bounded():
    now = 0.0
    pace = Pace(60, lambda: now)
    most = 0
    for number in range(20_000):
        now += 0.001
        pace.reserve(("c", "t", f"p{number}"), LONGEST_WAIT)
        most = max(most, len(pace))
    assert most <= 4000  # those of the last seconds, and as many that have not been looked through yet
    for number in range(3 * MOST_PEOPLE):
        pace.reserve(("c", "t", f"q{number}"), LONGEST_WAIT)
        most = max(most, len(pace))
    assert most <= MOST_PEOPLE


async def test_of_a_name_that_nobody_uses_nothing_is_kept():
    slots = Slots()
    for number in range(100):
        async with slots.one(f"tool{number}", 1, 1.0):
            assert len(slots) == 1
    assert len(slots) == 0


@pytest.mark.invariant("I3")
async def test_in_a_turn_the_agent_is_told_and_other_lanes_go_on(tmp_path: Any):
    toolbox = having("dig")
    async with open_world(tmp_path, toolbox=toolbox, tool_calls_per_minute=1) as world:
        world.clock.sleep = _never(world.clock)  # whoever waited would wait for ever
        told = await world.ask("use dig use dig use dig")
        assert told.count("dig: done") == 1
        assert told.count("dig was not called") == 2
        assert await world.ask("use dig", conversation=None, person=Person("grace", "Grace")) == "dig: done"
        rows = await world.bot.store.tool_audit.calls(60.0, "dig", 10)
        assert sorted(str(row.error) for row in rows) == ["None", "None", "limited", "limited"]


def _never(clock: FastClock) -> Callable[[float], Any]:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.001)

    return sleep


def test_a_specification_may_say_how_many_at_once():
    assert ToolSpec("a", "b", {}, at_once=3).at_once == 3
