"""The new client against the local Foundry: the contract in each form of the service, and what it asks and finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.agents import response
from bot.agents.foundry import NO_TOOLS
from bot.agents.response import CANCELLED_OUTPUT
from bot.errors import OperatorError, RequestRefused, RunActive, ServiceUnavailable, ThreadGone
from bot.types import Ask, Carried, Finished, Found, Handle, NeedsTools, Reply, Said, Stopped, Usage
from tests.agents.new_foundry import (
    CONVERSATIONS,
    ITEMS,
    RESPONSES,
    FoundryWorld,
    Make,
    StreamingWorld,
    opened_agents,
    opened_server,
    strikes,
)
from tests.contracts.agent import (
    OSLO,
    ROME,
    SCREWS,
    TOOLS,
    AgentContract,
    mark,
    outputs_of,
    to_the_end,
    until_it_waits,
    waiting,
)
from tests.foundry import Answer, Call, Calls, Fault, FoundryServer, Incomplete, ManualClock, Script
from tests.foundry import Usage as ServerUsage


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(server_clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with opened_server(server_clock) as server:
        yield server


@pytest_asyncio.fixture
async def make(server: FoundryServer) -> AsyncIterator[Make]:
    async with opened_agents(server) as make:
        yield make


@pytest_asyncio.fixture
async def world(make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
    return FoundryWorld(await make(), server, server_clock)


class TestContract(AgentContract):
    """As documented: background responses, whose input joins the conversation at the end."""

    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        return FoundryWorld(await make(), server, server_clock)


class TestContractWhereInputJoinsAtOnce(TestContract):
    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        server.switches.input_joins = "start"
        server.switches.needs_input = True
        return FoundryWorld(await make(), server, server_clock)


class TestContractWithoutBackground(TestContract):
    """The foreground fallback: every response is read as a stream."""

    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
        server.switches.background = False
        return StreamingWorld(await make(), server, server_clock)


class TestContractStreamed(TestContract):
    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
        return StreamingWorld(await make(), server, server_clock)


class TestContractWhereNothingCanBeCancelled(TestContract):
    """As the SDK's own tests have found the service."""

    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        server.switches.broken = ["cancel"]
        return FoundryWorld(await make(), server, server_clock)


# -- what is sent ---------------------------------------------------------------------------------------------


async def test_a_turn_is_one_request_with_everything_in_it(world: FoundryWorld, server: FoundryServer):
    thread = await world.opened()
    await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS, note="Be brief."))
    [post] = server.requests_to("POST", RESPONSES)
    assert post.body == {
        "agent_reference": {"type": "agent_reference", "name": "keeper"},
        "background": True,
        "conversation": thread,
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning"}]},
        ],
        "metadata": mark().metadata(),
        "store": True,
        "truncation": "auto",
    }


async def test_a_note_is_no_entry_of_the_history(world: FoundryWorld):
    thread = await world.opened()
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS, note="Be brief.")))
    assert [said.role for said in await world.agent.history(thread, 10)] == ["user", "assistant"]


async def test_a_version_is_named_where_the_setting_names_one(make: Make, server: FoundryServer):
    server.add_agent("keeper", model="newer")
    agent = await make(agent_name="keeper:1")
    await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    [post] = server.requests_to("POST", RESPONSES)
    assert post.body["agent_reference"] == {"type": "agent_reference", "name": "keeper", "version": "1"}
    assert agent.project == f"{server.endpoint}#keeper", "a new version moves no thread"


async def test_what_a_new_conversation_does_not_take_at_once_comes_after(world: FoundryWorld, server: FoundryServer):
    carried = tuple(Said("user" if n % 2 else "assistant", f"entry {n}") for n in range(40))
    thread = await world.agent.open_thread(Carried(messages=carried), mark())
    [post] = server.requests_to("POST", CONVERSATIONS)
    assert post.body["metadata"] == mark().metadata()
    assert len(post.body["items"]) == 20
    assert [len(more.body["items"]) for more in server.requests_to("POST", ITEMS)] == [20, 1]
    assert await world.agent.history(thread, 40) == list(carried)


@pytest.mark.parametrize("streamed", [False, True])
async def test_without_tools_the_model_is_told_and_calls_are_closed(
    make: Make, server: FoundryServer, server_clock: ManualClock, streamed: bool
):
    world = (StreamingWorld if streamed else FoundryWorld)(await make(), server, server_clock)
    thread = await world.opened()
    handle = await world.agent.start(thread, Ask(mark(), world.asking_for([OSLO, ROME]), None))
    [post] = server.requests_to("POST", RESPONSES)
    assert [item["role"] for item in post.body["input"]] == ["developer", "user"]
    assert post.body["input"][0]["content"] == [{"type": "input_text", "text": NO_TOOLS}]
    assert post.body["metadata"] == mark().metadata() | {"tools": "none"}
    assert await until_it_waits(world, handle) == Stopped("completed", "called_tools")
    assert outputs_in(server, thread) == [CANCELLED_OUTPUT] * 2
    assert await world.agent.active(thread) is None


async def test_a_long_history_comes_in_pages(world: FoundryWorld, server: FoundryServer):
    thread = await world.opened()
    said = [Said("user" if n % 2 else "assistant", f"entry {n}") for n in range(150)]
    for first in range(0, 150, 20):
        await leave(server, thread, [response.entry(one) for one in said[first : first + 20]])
    assert await world.agent.history(thread, 120) == said[30:]
    assert len(server.requests_to("GET", ITEMS)) == 2


async def test_more_calls_than_one_request_takes_are_closed(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Calls([Call("weather", {"city": str(n)}) for n in range(45)]), "Good."])
    handle = await world.started()
    assert isinstance(await until_it_waits(world, handle), NeedsTools)
    await world.agent.cancel(handle)
    assert len(outputs_in(server, handle.thread_id)) == 45
    assert len(server.requests_to("POST", ITEMS)) == 3
    assert await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "Good evening", TOOLS))


def outputs_in(server: FoundryServer, thread: str) -> list[str]:
    return [item.content["output"] for item in server.items_of(thread) if item.type == "function_call_output"]


async def leave(server: FoundryServer, thread: str, items: list[dict[str, Any]]) -> None:
    """Add items behind the client's back."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session,
        session.post(f"{server.endpoint}/openai/v1/conversations/{thread}/items", json={"items": items}) as answer,
    ):
        assert answer.status == 200


# -- where the service wants it otherwise ---------------------------------------------------------------------


@pytest.mark.parametrize("needed", [False, True])
async def test_a_response_without_input(world: FoundryWorld, server: FoundryServer, needed: bool):
    """The conversation holds the message, since an earlier attempt brought it; it is not added again."""
    server.switches.input_joins, server.switches.needs_input = "start", needed
    server.inject(Fault("run_failed"))
    handle = await world.started()
    assert await to_the_end(world, handle) == Stopped("failed", "server_error")
    for attempt in ("1", "2"):
        server.inject(Fault("run_failed"))
        again = Ask(mark(attempt=attempt), "Good morning", TOOLS, held=True)
        await to_the_end(world, await world.agent.start(handle.thread_id, again))
    inputs = [post.body.get("input", "none") for post in server.requests_to("POST", RESPONSES)[1:]]
    assert inputs == (["none", "", ""] if needed else ["none", "none"]), "what the service wants is asked once"
    assert [said.role for said in await world.agent.history(handle.thread_id, 10)] == ["user"]


async def test_no_background_is_learnt_once(world: FoundryWorld, server: FoundryServer, server_clock: ManualClock):
    server.switches.background = False
    streaming = StreamingWorld(world.agent, server, server_clock)
    for turn in ("1", "2"):
        handle = await world.agent.start(await world.opened(), Ask(mark(turn), "Good morning", TOOLS))
        assert isinstance(await to_the_end(streaming, handle), Finished)
    forms = [post.body["background"] for post in server.requests_to("POST", RESPONSES)]
    assert forms == [True, False, False]


# -- one response at a time -----------------------------------------------------------------------------------


@pytest.mark.invariant("I8")
async def test_a_locked_conversation_has_a_run_that_nobody_can_name(world: FoundryWorld, server: FoundryServer):
    handle = await world.started()
    with pytest.raises(RunActive):
        await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))
    assert await world.agent.active(handle.thread_id) is None, "its items are not there yet"
    await to_the_end(world, handle)
    assert await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))


@pytest.mark.invariant("I8")
async def test_an_unanswered_call_holds_the_conversation_and_is_named(
    world: FoundryWorld, server: FoundryServer, make: Make
):
    handle, _ = await waiting(world, await world.opened(), mark(), [OSLO, ROME])
    other = await make()
    with pytest.raises(RunActive):
        await other.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))
    assert await other.active(handle.thread_id) == handle
    await other.cancel(handle)
    assert await other.active(handle.thread_id) is None
    assert outputs_in(server, handle.thread_id) == [CANCELLED_OUTPUT] * 2
    assert await other.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))


@pytest.mark.parametrize("looks", [0, 1])
@pytest.mark.invariant("I8")
async def test_calls_that_come_after_the_cancel_are_closed(world: FoundryWorld, server: FoundryServer, looks: int):
    """Where none can be cancelled, a response goes on, and its calls would hold the conversation."""
    server.switches.broken = ["cancel"]
    handle = await world.started(world.asking_for([OSLO]))
    for _ in range(looks):
        await world.agent.look(handle)
    await world.agent.cancel(handle)
    assert await until_it_waits(world, handle) == Stopped("cancelled")
    assert await world.agent.look(handle) == Stopped("cancelled")
    assert outputs_in(server, handle.thread_id) == [CANCELLED_OUTPUT]
    assert await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))


# -- what is found again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("joins", ["end", "start"])
@pytest.mark.invariant("I9")
async def test_outputs_that_were_taken_are_not_given_again(
    world: FoundryWorld, server: FoundryServer, make: Make, joins: Any
):
    server.switches.input_joins = joins
    thread = await world.opened()
    await to_the_end(world, await world.agent.start(thread, Ask(mark(turn="0"), "Warm up", TOOLS)))
    handle, step = await waiting(world, thread, mark(), [OSLO, ROME])
    server.inject(Fault("cut", method="POST", path=RESPONSES, when="after"))
    with pytest.raises(ServiceUnavailable):
        await world.agent.answer(handle, outputs_of(step))
    second = server.responses_of(thread)[-1]
    server.rules.queue = server.rules.work = 0
    other = await make()
    assert await other.look(handle) == step, "the response says the same for ever"
    await world.agent.look(Handle(thread, second.id))
    adopted = await other.answer(handle, outputs_of(step), again=True)
    assert adopted == Handle(thread, second.id)
    assert isinstance(await to_the_end(world, adopted), Finished)
    assert len(server.requests_to("POST", RESPONSES)) == 3


@pytest.mark.invariant("I9")
async def test_outputs_that_nothing_was_made_of_are_gone_on_with(world: FoundryWorld, server: FoundryServer):
    thread = await world.opened()
    first = await world.agent.start(thread, Ask(mark(turn="0"), "Warm up", TOOLS))
    await to_the_end(world, first)
    handle, step = await waiting(world, thread, mark())
    await leave(server, thread, [response.output(one) for one in outputs_of(step)])
    answering = await world.agent.answer(handle, outputs_of(step), again=True)
    assert answering.run_id not in (first.run_id, handle.run_id), "what came before the calls is no answer to them"
    assert "input" not in server.requests_to("POST", RESPONSES)[-1].body
    end = await to_the_end(world, answering)
    assert isinstance(end, Finished)
    assert "weather of Oslo" in end.reply.text


@pytest.mark.invariant("I9")
async def test_outputs_that_did_not_get_through_are_given(world: FoundryWorld, server: FoundryServer):
    handle, step = await waiting(world, await world.opened(), mark())
    server.inject(Fault("cut", method="POST", path=RESPONSES))
    with pytest.raises(ServiceUnavailable):
        await world.agent.answer(handle, outputs_of(step))
    end = await to_the_end(world, await world.agent.answer(handle, outputs_of(step), again=True))
    assert isinstance(end, Finished)
    assert "weather of Oslo" in end.reply.text
    with pytest.raises(RequestRefused):
        await world.agent.answer(handle, outputs_of(step))


@pytest.mark.invariant("I9")
async def test_a_round_that_is_being_answered_is_waited_for(world: FoundryWorld, server: FoundryServer, make: Make):
    handle, step = await waiting(world, await world.opened(), mark())
    answering = await world.agent.answer(handle, outputs_of(step))
    other = await make()
    with pytest.raises(RunActive):
        await other.answer(handle, outputs_of(step), again=True)
    await to_the_end(world, answering)
    assert await other.answer(handle, outputs_of(step), again=True) == answering


@pytest.mark.invariant("I4")
async def test_what_was_made_is_found_by_the_items_it_left(world: FoundryWorld, server: FoundryServer, make: Make):
    thread = await world.opened()
    for turn in range(12):
        ask = Ask(mark(str(turn)), f"Message {turn}", TOOLS)
        handle = await world.agent.start(thread, ask)
        await to_the_end(world, handle)
    before = world.requests()
    other = await make()
    assert (await other.find(thread, mark("11"))).handle == handle
    assert world.requests() - before == 11, "one page of items, and the last ten responses"
    assert await other.find(thread, mark("1")) == Found(), "it was too long ago to be lost"


# -- how a response ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (Fault("run_failed"), Stopped("failed", "server_error")),
        (
            Fault("run_failed", code="rate_limit_exceeded", message="Rate limit is exceeded. Try again in 22 seconds."),
            Stopped("failed", "rate_limit_exceeded", 22.0),
        ),
        (
            Fault("run_failed", code="rate_limit_exceeded", message="Please retry after 1500ms."),
            Stopped("failed", "rate_limit_exceeded", 1.5),
        ),
        (Fault("run_failed", code="content_filter"), Stopped("failed", "content_filter")),
        (
            Fault("run_failed", message="This model's maximum context length is 8192 tokens."),
            Stopped("failed", "context_too_long"),
        ),
        (Fault("run_incomplete"), Stopped("incomplete", "max_output_tokens")),
        (Fault("run_incomplete", reason="content_filter", text="I"), Stopped("incomplete", "content_filter")),
    ],
)
@pytest.mark.parametrize("form", [FoundryWorld, StreamingWorld])
async def test_a_response_without_an_answer(
    make: Make,
    server: FoundryServer,
    server_clock: ManualClock,
    fault: Fault,
    end: Stopped,
    form: type[FoundryWorld],
):
    world = form(await make(), server, server_clock)
    server.inject(strikes(fault, count=1))
    assert await to_the_end(world, await world.started()) == end


async def test_an_answer_that_was_cut(world: FoundryWorld):
    assert await world.answered(Incomplete(text="As far as")) == Reply("As far as", cut=True)


@pytest.mark.parametrize("form", [FoundryWorld, StreamingWorld])
async def test_tokens_are_those_of_all_rounds(
    make: Make, server: FoundryServer, server_clock: ManualClock, form: type[FoundryWorld]
):
    world = form(await make(), server, server_clock)
    rounds = [(OSLO, ServerUsage(100, 10)), (SCREWS, ServerUsage(120, 5))]
    calls = [Calls([Call(wish.tool, wish.arguments)], usage) for wish, usage in rounds]
    server.model = Script([*calls, Answer("Rain.", ServerUsage(150, 20))])
    end = await to_the_end(world, await world.started())
    assert end == Finished(Reply("Rain."), Usage(prompt=370, completion=35, last_prompt=150))


async def test_arguments_need_not_be_json(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Calls([Call("weather", raw="{Oslo")])])
    step = await until_it_waits(world, await world.started())
    assert isinstance(step, NeedsTools)
    assert [call.arguments for call in step.calls] == ["{Oslo"]


async def test_words_before_calls_are_no_answer(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Calls([Call("weather", {"city": "Oslo"})], text="One moment."), "Rain."])
    handle = await world.started()
    assert isinstance(await until_it_waits(world, handle), NeedsTools)
    end = await to_the_end(world, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "Rain."


# -- the agent ------------------------------------------------------------------------------------------------


@pytest.mark.invariant("I16")
async def test_a_missing_agent_is_no_lost_thread(world: FoundryWorld, server: FoundryServer):
    thread = await world.opened()
    server.lose_conversation(thread)
    server.project.agents.clear()
    for asked in (world.agent.start(thread, Ask(mark(), "Good morning", TOOLS)), world.agent.find(thread, mark())):
        with pytest.raises(OperatorError, match="AGENT_NAME"):
            await asked


async def test_a_conversation_that_is_there_is_not_lost(world: FoundryWorld, server: FoundryServer):
    thread = await world.opened()
    server.inject(Fault("status", status=404, method="POST", path=RESPONSES))
    with pytest.raises(ServiceUnavailable):
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    server.inject(Fault("thread_gone", method="POST", path=RESPONSES))
    with pytest.raises(ThreadGone):
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))


@pytest.mark.invariant("I16")
async def test_a_wrong_project_is_named(make: Make, server: FoundryServer):
    server.inject(Fault("status", status=404, count=None))
    agent = await make()
    with pytest.raises(OperatorError) as raised:
        await agent.open_thread(Carried(), mark())
    assert "PROJECT_ENDPOINT" in raised.value.cure


async def test_a_start_needs_no_service(server: FoundryServer, make: Make):
    await server.stop()
    agent = await make()
    assert agent.project == f"{server.endpoint}#keeper"
    with pytest.raises(ServiceUnavailable):
        await agent.start("conv_1", Ask(mark(), "Good morning"))
