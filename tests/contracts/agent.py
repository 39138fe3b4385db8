"""What every `Agent` keeps, whatever stands behind it. A test module subclasses `AgentContract` and gives a `world`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bot.errors import RequestRefused, RunActive, RunGone, ThreadGone
from bot.ports import Agent
from bot.types import (
    Ask,
    Carried,
    Finished,
    Found,
    Handle,
    JsonObject,
    NeedsTools,
    RunMark,
    Said,
    Step,
    Stopped,
    ToolOutput,
    ToolSpec,
    Usage,
    Working,
)

LOOKS = 500
"""A run that has not moved after so many looks never will."""


def text_tool(name: str, argument: str) -> ToolSpec:
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return ToolSpec(name, f"Tells what is known of a {argument}.", parameters)


TOOLS = (text_tool("weather", "city"), text_tool("stock", "item"))


@dataclass(frozen=True)
class Wish:
    """A call that the agent is to make."""

    tool: str
    arguments: JsonObject = field(default_factory=dict)


OSLO, ROME = Wish("weather", {"city": "Oslo"}), Wish("weather", {"city": "Rome"})
SCREWS = Wish("stock", {"item": "screws"})


class World:
    """An agent, and what a test must be able to do around it. The words suit a scripted model; others replace them."""

    found_while_it_runs = True
    """Whether the service tells of a run that has brought nothing yet to whoever has lost its id."""
    withholds_tools = True
    """Whether the service can be told to call no tools; where not, a run that calls some is over without an answer."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools that every ask of these tests brings along."""
        return TOOLS

    def asking_for(self, *rounds: Sequence[Wish]) -> str:
        """What to say for the agent to make these calls, round by round, and then to answer with all outputs."""
        return " then ".join(" and ".join(_in_words(wish) for wish in wishes) for wishes in rounds)

    def telling(self, subject: str, value: str) -> str:
        """What to say for the thread to hold a fact."""
        return f"Remember that my {subject} is {value}."

    def asking_what(self, subject: str) -> str:
        """What to say for the agent to answer with the fact, if the thread holds it."""
        return f"What is my {subject}?"

    async def tick(self) -> None:
        """Let time go on between two looks."""

    async def leave_message(self, thread_id: str, mark: RunMark, text: str) -> bool:
        """Put the message of a turn into the thread without its run, as a service may do that fails in between.

        False where a message and its run cannot come apart.
        """
        return False

    async def lose_thread(self, thread_id: str) -> None:
        """Delete a thread behind the agent's back."""
        await self.agent.delete_thread(thread_id)

    def requests(self) -> int | None:
        """How many requests reached the service so far; None where nothing is remote."""
        return None


def _in_words(wish: Wish) -> str:
    return " ".join(["use", wish.tool, *(f"{name}={value}" for name, value in wish.arguments.items())])


def mark(turn: str = "1", attempt: str = "0") -> RunMark:
    return RunMark(turn, attempt, "7F3K-2Q")


async def until_it_waits(world: World, handle: Handle) -> Step:
    """Look until the run is over or wants tools."""
    for _ in range(LOOKS):
        step = await world.agent.look(handle)
        if not isinstance(step, Working):
            return step
        await world.tick()
    raise AssertionError(f"still {step.state} after {LOOKS} looks")


async def to_the_end(world: World, handle: Handle) -> Finished | Stopped:
    """Look, and answer every call with `<tool> of <arguments>`, until the run is over."""
    for _ in range(LOOKS):
        step = await until_it_waits(world, handle)
        if not isinstance(step, NeedsTools):
            assert isinstance(step, (Finished, Stopped))
            return step
        handle = await world.agent.answer(handle, outputs_of(step))
    raise AssertionError("rounds without end")


def outputs_of(step: NeedsTools) -> list[ToolOutput]:
    return [
        ToolOutput(call.id, f"{call.name} of {', '.join(json.loads(call.arguments).values())}") for call in step.calls
    ]


async def waiting(world: World, thread_id: str, at: RunMark, *rounds: Sequence[Wish]) -> tuple[Handle, NeedsTools]:
    """A run that waits for tools."""
    ask = Ask(at, world.asking_for(*(rounds or ([OSLO],))), world.tools())
    handle = await world.agent.start(thread_id, ask)
    step = await until_it_waits(world, handle)
    assert isinstance(step, NeedsTools)
    return handle, step


async def said_by_agent(world: World, thread_id: str, at: RunMark, text: str) -> str:
    """The answer to a message."""
    step = await to_the_end(world, await world.agent.start(thread_id, Ask(at, text, world.tools())))
    assert isinstance(step, Finished)
    return step.reply.text


class AgentContract:
    """Subclass it, and give a fixture `world`."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    async def thread(self, world: World, carried: Carried | None = None) -> str:
        return await world.agent.open_thread(carried or Carried(), mark())

    # -- a run ----------------------------------------------------------------------------------------------

    async def test_a_message_is_answered(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        step = await to_the_end(world, handle)
        assert isinstance(step, Finished)
        assert step.reply.text
        assert not step.reply.cut
        assert isinstance(step.usage, Usage)
        assert 0 <= step.usage.last_prompt <= step.usage.prompt

    async def test_an_ended_run_says_the_same_again(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        assert await to_the_end(world, handle) == await world.agent.look(handle)

    @pytest.mark.invariant("I9")
    async def test_calls_of_one_round_come_together(self, world: World):
        thread = await self.thread(world)
        handle, step = await waiting(world, thread, mark(), [OSLO, ROME])
        assert [call.name for call in step.calls] == ["weather", "weather"]
        assert [json.loads(call.arguments) for call in step.calls] == [OSLO.arguments, ROME.arguments]
        assert len({call.id for call in step.calls}) == 2
        end = await to_the_end(world, await world.agent.answer(handle, outputs_of(step)))
        assert isinstance(end, Finished)
        assert "weather of Oslo" in end.reply.text
        assert "weather of Rome" in end.reply.text

    @pytest.mark.invariant("I9")
    async def test_a_waiting_run_shows_the_same_calls_again(self, world: World):
        """A turn that is taken up again must know its calls by their ids."""
        thread = await self.thread(world)
        handle, step = await waiting(world, thread, mark(), [OSLO, ROME])
        again = await world.agent.look(handle)
        assert isinstance(again, NeedsTools)
        assert again.calls == step.calls

    @pytest.mark.invariant("I9")
    async def test_rounds_follow_each_other(self, world: World):
        thread = await self.thread(world)
        handle, first = await waiting(world, thread, mark(), [OSLO], [SCREWS])
        handle = await world.agent.answer(handle, outputs_of(first))
        second = await until_it_waits(world, handle)
        assert isinstance(second, NeedsTools)
        assert [call.name for call in second.calls] == ["stock"]
        assert second.calls[0].id != first.calls[0].id
        end = await to_the_end(world, await world.agent.answer(handle, outputs_of(second)))
        assert isinstance(end, Finished)
        assert "stock of screws" in end.reply.text
        assert end.usage.last_prompt <= end.usage.prompt

    @pytest.mark.invariant("I9")
    async def test_a_round_is_answered_once(self, world: World):
        thread = await self.thread(world)
        handle, step = await waiting(world, thread, mark())
        await to_the_end(world, await world.agent.answer(handle, outputs_of(step)))
        with pytest.raises(RequestRefused):
            await world.agent.answer(handle, outputs_of(step))

    async def test_without_tools_none_is_called(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), world.asking_for([OSLO]), None))
        assert isinstance(await until_it_waits(world, handle), Finished if world.withholds_tools else Stopped)
        assert await said_by_agent(world, thread, mark(turn="2"), "Good morning")

    async def test_an_unknown_run_is_gone(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), "Good morning"))
        await to_the_end(world, handle)
        with pytest.raises(RunGone):
            await world.agent.look(Handle(thread, handle.run_id + "x"))

    # -- what is found again --------------------------------------------------------------------------------

    @pytest.mark.invariant("I4")
    async def test_nothing_is_found_of_a_turn_that_did_nothing(self, world: World):
        thread = await self.thread(world)
        assert await world.agent.find(thread, mark()) == Found()

    @pytest.mark.invariant("I4")
    async def test_a_run_is_found_by_its_mark(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        if world.found_while_it_runs:
            assert (await world.agent.find(thread, mark())).handle == handle
        await to_the_end(world, handle)
        assert (await world.agent.find(thread, mark())).handle == handle, "a run that has ended is found too"

    @pytest.mark.invariant("I4")
    async def test_turns_and_attempts_are_told_apart(self, world: World):
        thread = await self.thread(world)
        first = await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        await to_the_end(world, first)
        assert await world.agent.find(thread, mark(attempt="1")) == Found()
        assert await world.agent.find(thread, mark(turn="2")) == Found()
        second = await world.agent.start(thread, Ask(mark(attempt="1"), "Good morning", world.tools(), held=True))
        await to_the_end(world, second)
        assert first != second
        assert (await world.agent.find(thread, mark())).handle == first
        assert (await world.agent.find(thread, mark(attempt="1"))).handle == second

    @pytest.mark.invariant("I4")
    async def test_a_message_without_its_run_is_found(self, world: World):
        thread = await self.thread(world)
        if not await world.leave_message(thread, mark(), world.telling("code", "K77")):
            return
        assert await world.agent.find(thread, mark()) == Found(message=True)
        assert await world.agent.find(thread, mark(turn="2")) == Found()
        await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Good morning", world.tools(), held=True)))
        assert [said.role for said in await world.agent.history(thread, 10)] == ["user", "assistant"]

    @pytest.mark.invariant("I4")
    async def test_a_run_that_waits_for_tools_is_found_and_goes_on(self, world: World):
        thread = await self.thread(world)
        await waiting(world, thread, mark(), [OSLO, ROME])
        handle = (await world.agent.find(thread, mark())).handle
        assert handle is not None
        assert isinstance(await to_the_end(world, handle), Finished)

    async def test_a_message_that_the_thread_holds_is_not_added_again(self, world: World):
        thread = await self.thread(world)
        handle, _ = await waiting(world, thread, mark())
        await world.agent.cancel(handle)
        await to_the_end(world, handle)
        await to_the_end(
            world,
            await world.agent.start(thread, Ask(mark(attempt="1"), world.asking_for([OSLO]), world.tools(), held=True)),
        )
        assert [said.role for said in await world.agent.history(thread, 10)] == ["user", "assistant"]

    # -- one run at a time ----------------------------------------------------------------------------------

    @pytest.mark.invariant("I8")
    async def test_a_second_run_is_refused_and_adds_nothing(self, world: World):
        thread = await self.thread(world)
        handle, _ = await waiting(world, thread, mark())
        before = await world.agent.history(thread, 10)
        with pytest.raises(RunActive):
            await world.agent.start(thread, Ask(mark(turn="2"), "And now?", world.tools()))
        assert await world.agent.history(thread, 10) == before
        assert await world.agent.find(thread, mark(turn="2")) == Found()
        assert await world.agent.active(thread) == handle

    @pytest.mark.invariant("I8")
    async def test_no_run_is_active_before_and_after(self, world: World):
        thread = await self.thread(world)
        assert await world.agent.active(thread) is None
        await said_by_agent(world, thread, mark(), "Good morning")
        assert await world.agent.active(thread) is None

    @pytest.mark.invariant("I8")
    async def test_cancelling_ends_a_run_and_leaves_the_thread_usable(self, world: World):
        thread = await self.thread(world)
        handle, step = await waiting(world, thread, mark(), [OSLO, ROME])
        await world.agent.cancel(handle)
        await world.agent.cancel(handle)
        assert isinstance(await until_it_waits(world, handle), Stopped)
        assert await world.agent.active(thread) is None
        with pytest.raises(RequestRefused):
            await world.agent.answer(handle, outputs_of(step))
        assert await said_by_agent(world, thread, mark(turn="2"), "Good morning")

    @pytest.mark.invariant("I8")
    async def test_cancelling_a_finished_run_changes_nothing(self, world: World):
        thread = await self.thread(world)
        handle = await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        end = await to_the_end(world, handle)
        await world.agent.cancel(handle)
        assert await world.agent.look(handle) == end

    # -- threads --------------------------------------------------------------------------------------------

    async def test_a_thread_remembers(self, world: World):
        thread = await self.thread(world)
        await said_by_agent(world, thread, mark(), world.telling("code", "K77"))
        assert "K77" in await said_by_agent(world, thread, mark(turn="2"), world.asking_what("code"))

    @pytest.mark.invariant("I10")
    async def test_threads_know_nothing_of_each_other(self, world: World):
        one, other = await self.thread(world), await self.thread(world)
        assert one != other
        await said_by_agent(world, one, mark(), world.telling("code", "K77"))
        assert "K77" not in await said_by_agent(world, other, mark(turn="2"), world.asking_what("code"))

    @pytest.mark.invariant("I12")
    async def test_a_summary_is_carried(self, world: World):
        thread = await self.thread(world, Carried(summary="my code is K77"))
        assert "K77" in await said_by_agent(world, thread, mark(), world.asking_what("code"))

    @pytest.mark.invariant("I12")
    async def test_messages_are_carried(self, world: World):
        carried = (Said("user", world.telling("code", "K77")), Said("assistant", "I will."))
        thread = await self.thread(world, Carried(messages=carried))
        assert tuple(await world.agent.history(thread, 2)) == carried
        assert "K77" in await said_by_agent(world, thread, mark(), world.asking_what("code"))

    async def test_a_thread_that_carries_nothing_is_empty(self, world: World):
        assert await world.agent.history(await self.thread(world), 10) == []

    async def test_opening_a_thread_is_one_request(self, world: World):
        before = world.requests()
        await self.thread(world, Carried(messages=(Said("user", "one"), Said("assistant", "two"))))
        after = world.requests()
        assert after is None or after - (before or 0) == 1

    async def test_history_is_the_last_entries_oldest_first(self, world: World):
        thread = await self.thread(world)
        for number in range(3):
            await said_by_agent(world, thread, mark(turn=str(number)), f"Message {number}")
        whole = await world.agent.history(thread, 100)
        assert [said.role for said in whole] == ["user", "assistant"] * 3
        assert [said.text for said in whole if said.role == "user"] == [f"Message {number}" for number in range(3)]
        assert await world.agent.history(thread, 3) == whole[-3:]
        assert await world.agent.history(thread, 0) == []

    async def test_a_lost_thread_is_gone_for_whoever_needs_it(self, world: World):
        thread = await self.thread(world)
        await world.lose_thread(thread)
        with pytest.raises(ThreadGone):
            await world.agent.start(thread, Ask(mark(), "Good morning", world.tools()))
        with pytest.raises(ThreadGone):
            await world.agent.find(thread, mark())
        with pytest.raises(ThreadGone):
            await world.agent.history(thread, 10)

    async def test_deleting_twice_is_no_failure(self, world: World):
        thread = await self.thread(world)
        await world.agent.delete_thread(thread)
        await world.agent.delete_thread(thread)
        with pytest.raises(ThreadGone):
            await world.agent.history(thread, 10)

    async def test_it_says_what_it_is(self, world: World):
        assert world.agent.backend
        assert world.agent.project
        assert world.agent.start_timeout >= 0
