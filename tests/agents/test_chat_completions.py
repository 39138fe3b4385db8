"""The agent over chat completions, against the local endpoint: the contract first."""

from __future__ import annotations

import time
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.core.credentials import AccessToken
from azure.identity import CredentialUnavailableError
from openai import AsyncOpenAI

from bot.agents.azure import FixedToken
from bot.agents.chat_client import ChatClient, is_azure
from bot.agents.chat_run import MOST_ROUNDS
from bot.clock import SystemClock
from bot.errors import OperatorError, RequestRefused, RunGone, ServiceBusy, ServiceUnavailable
from bot.ports import History
from bot.runs import RunLimits
from bot.store import open_store
from bot.types import (
    Ask,
    Attachment,
    Carried,
    File,
    Finished,
    NeedsTools,
    Reply,
    Said,
    Step,
    Stopped,
    ToolOutput,
    Usage,
    Working,
)
from tests.agents.chat import ChatWorld, opened, settings_for
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
from tests.foundry import Answer, Call, Calls, Incomplete, Script
from tests.foundry import Usage as ServerUsage
from tests.llm import Asked, LLMServer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


@pytest_asyncio.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    yield store.history
    await store.close()


@pytest_asyncio.fixture
async def world(server: LLMServer, history: History) -> AsyncIterator[ChatWorld]:
    async with opened(server, history) as world:
        yield world


class TestContract(AgentContract):
    @pytest_asyncio.fixture
    async def world(self, server: LLMServer, history: History) -> AsyncIterator[ChatWorld]:
        async with opened(server, history) as world:
            yield world


async def thread(world: ChatWorld) -> str:
    return await world.agent.open_thread(Carried(), mark())


async def asked(world: ChatWorld, thread_id: str, text: str, turn: str = "1", **more: Any) -> Finished | Stopped:
    ask = Ask(mark(turn=turn), text, **{"tools": TOOLS} | more)
    return await to_the_end(world, await world.agent.start(thread_id, ask))


def reply(step: Step) -> str:
    assert isinstance(step, Finished), step
    return step.reply.text


# -- what is asked --------------------------------------------------------------------------------------------


async def test_an_answer_is_one_request_and_a_round_of_tools_one_more(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    assert reply(await asked(world, one, "Good morning")) == "You said: Good morning"
    assert len(server.asked) == 1
    step = await asked(world, one, world.asking_for([OSLO, ROME]), turn="2")
    assert reply(step) == "weather: weather of Oslo\nweather: weather of Rome"
    assert len(server.asked) == 3


async def test_the_model_is_given_the_conversation_and_the_tools(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    await asked(world, one, "Good morning")
    await asked(world, one, world.asking_for([OSLO]), turn="2", note="The first question is withdrawn.")
    await asked(world, one, "And now?", turn="3")
    first, second, third, fourth = server.asked
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert "an AI assistant in a chat" in first.messages[0]["content"]
    assert first.body["model"] == "model"
    assert [tool["function"]["name"] for tool in first.body["tools"]] == ["weather", "stock"]
    assert "stream" not in first.body
    assert "tool_choice" not in first.body
    assert [message["role"] for message in third.messages[-2:]] == ["assistant", "tool"]
    assert [("withdrawn" in request.messages[0]["content"]) for request in server.asked] == [False, True, True, False]
    assert len(fourth.messages) == len(third.messages) + 2
    assert len(second.messages) == 4


async def test_the_instructions_are_the_settings(server: LLMServer, history: History):
    async with opened(server, history, agent_instructions="Speak like a pirate.") as world:
        await asked(world, await thread(world), "Hello")
    assert server.asked[0].messages[0] == {"role": "system", "content": "Speak like a pirate."}


async def test_without_the_setting_they_are_those_of_agent_toml(server: LLMServer, history: History, tmp_path: Path):
    (tmp_path / "own.toml").write_text('instructions = "You are {BOT_NAME}, a pirate."', encoding="utf-8")
    async with opened(server, history, agent_file=tmp_path / "own.toml", bot_name="Jim") as world:
        await asked(world, await thread(world), "Hello")
    assert server.asked[0].messages[0] == {"role": "system", "content": "You are Jim, a pirate."}


async def test_without_tools_none_are_offered(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    for turn, tools in (("1", None), ("2", ())):
        await asked(world, one, world.asking_for([OSLO]), turn=turn, tools=tools)
    assert [request.body.keys() & {"tools", "tool_choice"} for request in server.asked] == [set(), set()]


async def test_only_words_are_history(world: ChatWorld):
    one = await thread(world)
    await asked(world, one, world.asking_for([OSLO], [SCREWS]))
    assert [said.role for said in await world.agent.history(one, 10)] == ["user", "assistant"]


async def test_it_names_its_server_and_its_model(world: ChatWorld, server: LLMServer):
    assert world.agent.project == f"{server.base_url}#model"
    assert world.agent.takes.fits(Attachment("a.png", "image/png", 5 * 1024 * 1024))
    assert world.agent.takes.fits(Attachment("a.csv", "text/csv; charset=utf-8", 10))
    assert not world.agent.takes.fits(Attachment("a.pdf", "application/pdf", 10))


# -- files ----------------------------------------------------------------------------------------------------


PNG = b"\x89PNG..."


def images_of(request: Asked) -> int:
    return sum(
        part["type"] == "image_url"
        for message in request.messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )


async def test_text_files_are_read_and_images_shown(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    files = (File("a.csv", "text/csv", b"x,y\n1,2"), File("b.png", "image/png", PNG))
    await asked(world, one, "Look", files=files)
    words, image = server.asked[0].messages[-1]["content"]
    assert words["text"] == "Look\n\nAttached file a.csv:\n\nx,y\n1,2\n\n(Attached image: b.png)"
    assert image["image_url"]["url"] == f"data:image/png;base64,{b64encode(PNG).decode()}"
    assert (await world.agent.history(one, 1))[0].role == "assistant"
    assert (await world.agent.history(one, 2))[0] == Said("user", "Look")


async def test_the_newest_images_are_shown_and_all_are_named(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    for number in range(5):
        await asked(world, one, "Look", turn=str(number), files=(File(f"{number}.png", "image/png", PNG),))
    assert [images_of(request) for request in server.asked] == [1, 2, 3, 3, 3]
    words = str(server.asked[-1].messages)
    assert all(f"{number}.png" in words for number in range(5))


async def test_a_model_that_does_not_see_is_told_the_names(world: ChatWorld, server: LLMServer):
    server.sees = False
    one = await thread(world)
    step = await asked(world, one, world.asking_for([OSLO]), files=(File("b.png", "image/png", PNG),))
    assert reply(step) == "weather: weather of Oslo"
    assert [images_of(request) for request in server.asked] == [1, 0, 0]
    assert "b.png" in str(server.asked[-1].messages)


# -- rounds and calls -----------------------------------------------------------------------------------------


async def test_after_many_rounds_an_honest_answer_is_asked_for(world: ChatWorld, server: LLMServer):
    server.model = lambda sight: Calls([Call("weather", {"city": "Oslo"})]) if sight.tools else Answer("I know half.")
    step = await asked(world, await thread(world), "Go on and on")
    assert reply(step) == "I know half."
    assert len(server.asked) == MOST_ROUNDS + 1
    assert [request.body.get("tool_choice") for request in server.asked] == [None] * MOST_ROUNDS + ["none"]
    assert "no more tools" in server.asked[-1].messages[0]["content"]
    assert "no more tools" not in server.asked[-2].messages[0]["content"]
    assert RunLimits().rounds > MOST_ROUNDS


async def test_calls_that_were_forbidden_are_not_made(world: ChatWorld, server: LLMServer):
    server.model = lambda sight: Calls([Call("weather", {"city": "Oslo"})], text="Wait.")
    one = await thread(world)
    assert reply(await asked(world, one, "Hello", tools=None)) == "Wait."
    server.model = lambda sight: Calls([Call("weather", {"city": "Oslo"})])
    assert await asked(world, one, "Hello", turn="2", tools=None) == Stopped("failed", "no_text")


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("stream", [False, True])
async def test_calls_without_ids_are_given_some(world: ChatWorld, server: LLMServer, stream: bool):
    server.ids = False
    one = await thread(world)
    ask = Ask(mark(), world.asking_for([OSLO, ROME], [SCREWS]), TOOLS, stream=stream)
    step = await to_the_end(world, await world.agent.start(one, ask))
    assert reply(step) == "weather: weather of Oslo\nweather: weather of Rome\nstock: stock of screws"


@pytest.mark.invariant("I9")
async def test_ids_that_come_again_are_replaced(world: ChatWorld, server: LLMServer):
    call = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    server.extra = {"tool_calls": [call, call]}
    handle, first = await waiting(world, await thread(world), mark())
    second = await until_it_waits(world, await world.agent.answer(handle, outputs_of(first)))
    assert isinstance(second, NeedsTools)
    ids = [one.id for one in (*first.calls, *second.calls)]
    assert len(set(ids)) == 4
    assert ids[0] == "call_0"


async def test_arguments_that_are_no_json_are_passed_on(world: ChatWorld, server: LLMServer):
    server.model = Script([Calls([Call("weather", raw='{"city": Os')]), "Sorry."])
    handle, step = await waiting(world, await thread(world), mark())
    assert step.calls[0].arguments == '{"city": Os'
    await world.agent.answer(handle, [ToolOutput(step.calls[0].id, "no JSON", "arguments")])
    assert reply(await until_it_waits(world, handle)) == "Sorry."
    assert server.asked[1].messages[-2]["tool_calls"][0]["function"]["arguments"] == '{"city": Os'


@pytest.mark.invariant("I9")
async def test_outputs_may_be_given_again(world: ChatWorld, server: LLMServer):
    handle, step = await waiting(world, await thread(world), mark(), [OSLO], [SCREWS])
    assert await world.agent.answer(handle, outputs_of(step), again=True) == handle
    assert await world.agent.answer(handle, outputs_of(step), again=True) == handle
    assert isinstance(await until_it_waits(world, handle), NeedsTools)
    assert await world.agent.answer(handle, outputs_of(step), again=True) == handle
    assert "stock of screws" in reply(await to_the_end(world, handle))
    assert len(server.asked) == 3


@pytest.mark.invariant("I9")
async def test_outputs_of_other_calls_are_refused(world: ChatWorld):
    handle, step = await waiting(world, await thread(world), mark(), [OSLO, ROME])
    right = outputs_of(step)
    for wrong in (right[:1], [*right, ToolOutput("other", "x")], [right[0], right[0]], [right[0], right[0], right[1]]):
        with pytest.raises(RequestRefused):
            await world.agent.answer(handle, wrong)
    assert "weather of Rome" in reply(await to_the_end(world, handle))


@pytest.mark.invariant("I8")
async def test_a_cancelled_round_leaves_no_call_open(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    handle, step = await waiting(world, one, mark(), [OSLO, ROME])
    await world.agent.cancel(handle)
    assert await world.agent.look(handle) == Stopped("cancelled")
    with pytest.raises(RequestRefused):
        await world.agent.answer(handle, outputs_of(step), again=True)
    assert reply(await asked(world, one, "Good morning", turn="2")) == "You said: Good morning"
    closed = [message["content"] for message in server.asked[-1].messages if message["role"] == "tool"]
    assert len(closed) == 2
    assert all("given up" in words for words in closed)


@pytest.mark.invariant("I8")
async def test_cancelling_ends_the_request(world: ChatWorld, server: LLMServer):
    held = server.inject("hold")
    one = await thread(world)
    handle = await world.agent.start(one, Ask(mark(), "Good morning", TOOLS))
    await server.until_asked(1)
    await world.agent.cancel(handle)
    held.release.set()
    assert await world.agent.look(handle) == Stopped("cancelled")
    assert reply(await asked(world, one, "Hello?", turn="2")) == "You said: Good morning / Hello?"


# -- streams --------------------------------------------------------------------------------------------------


async def test_a_stream_is_one_request(world: ChatWorld, server: LLMServer):
    handle = await world.agent.start(await thread(world), Ask(mark(), "Tell me everything", TOOLS, stream=True))
    assert reply(await until_it_waits(world, handle)) == "You said: Tell me everything"
    assert server.asked[0].body["stream_options"] == {"include_usage": True}
    assert len(server.asked) == 1


async def test_a_stream_shows_its_text_before_the_end(world: ChatWorld, server: LLMServer):
    pause = server.inject("stream_pause", pieces=3)
    handle = await world.agent.start(await thread(world), Ask(mark(), "Tell me everything", TOOLS, stream=True))
    for _ in range(20):
        step = await world.agent.look(handle)
        assert isinstance(step, Working)
        if step.text:
            break
        await world.agent.changed(handle, 0.0)
    assert "You said: Tell me everything".startswith(step.text)
    assert step.text
    pause.release.set()
    assert reply(await until_it_waits(world, handle)) == "You said: Tell me everything"


async def test_a_stream_brings_calls_and_counts(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    ask = Ask(mark(), world.asking_for([OSLO, ROME]), TOOLS, stream=True)
    streamed = await to_the_end(world, await world.agent.start(one, ask))
    plain = await asked(world, await thread(world), world.asking_for([OSLO, ROME]))
    assert streamed == plain
    assert [request.streamed for request in server.asked] == [True, True, False, False]


@pytest.mark.parametrize("kind", ["stream_cut", "stream_ended", "stream_garbled", "stream_error"])
async def test_a_stream_that_breaks_is_asked_for_in_one_piece(world: ChatWorld, server: LLMServer, kind: Any):
    server.inject(kind, pieces=2)
    one = await thread(world)
    handle = await world.agent.start(one, Ask(mark(), "Tell me everything", TOOLS, stream=True))
    assert reply(await until_it_waits(world, handle)) == "You said: Tell me everything"
    assert [request.streamed for request in server.asked] == [True, False]
    assert [said.text for said in await world.agent.history(one, 9)] == [
        "Tell me everything",
        "You said: Tell me everything",
    ]


async def test_a_stream_that_falls_silent_is_asked_for_in_one_piece(server: LLMServer):
    pause = server.inject("stream_pause", pieces=3)
    settings = settings_for(server)
    async with AsyncOpenAI(base_url=settings.openai_base_url, api_key="none", max_retries=0) as client:
        body = {"model": "model", "messages": [{"role": "user", "content": "Tell me everything"}]}
        grown: list[str] = []
        answer = await ChatClient(client, None, 30.0, stall=0.05).complete(body, grown.append)
    pause.release.set()
    assert answer.text == "You said: Tell me everything"
    assert answer.text.startswith(grown[-1])
    assert [request.streamed for request in server.asked] == [True, False]


async def test_a_server_that_counts_in_no_stream_is_asked_once(world: ChatWorld, server: LLMServer):
    server.counts = False
    one = await thread(world)
    for turn in "12":
        assert reply(await asked(world, one, "Hello", turn=turn, stream=True))
    assert ["stream_options" in request.body for request in server.asked] == [True, False, False]
    assert all(request.streamed for request in server.asked)


async def test_a_server_that_does_not_stream_is_asked_once(world: ChatWorld, server: LLMServer):
    server.streams = False
    one = await thread(world)
    for turn in "12":
        assert reply(await asked(world, one, "Hello", turn=turn, stream=True))
    assert [request.streamed for request in server.asked] == [True, True, False, False]


async def test_a_server_that_takes_no_notice_of_streaming_is_understood(world: ChatWorld, server: LLMServer):
    server.one_piece = True
    one = await thread(world)
    for turn in "12":
        assert reply(await asked(world, one, "Hello", turn=turn, stream=True))
    assert [request.streamed for request in server.asked] == [True, False]


async def test_a_request_that_is_refused_says_nothing_about_streams(world: ChatWorld, server: LLMServer):
    server.inject("status", status=400, count=3)
    one = await thread(world)
    assert await asked(world, one, "Hello", stream=True) == Stopped("failed", "refused_400")
    assert reply(await asked(world, one, "Hello", turn="2", stream=True))
    assert [request.streamed for request in server.asked] == [True, True, False, True]


# -- the window -----------------------------------------------------------------------------------------------


async def test_what_does_not_fit_is_left_out_from_the_beginning(server: LLMServer, history: History):
    async with opened(server, history, model_context_tokens=2_000) as world:
        one = await thread(world)
        for turn in range(8):
            await asked(world, one, f"{turn} " + "word " * 400, turn=str(turn))
    last = server.asked[-1].messages
    assert [last[0]["role"], last[1]["role"]] == ["system", "user"]
    assert last[-1]["content"].startswith("7 ")
    assert len(last) < 8
    assert len(await history.entries(one, 99)) == 16


@pytest.mark.invariant("I12")
async def test_a_carried_summary_is_never_left_out(server: LLMServer, history: History):
    async with opened(server, history, model_context_tokens=2_000) as world:
        one = await world.agent.open_thread(Carried(summary="my code is K77"), mark())
        for turn in range(8):
            await asked(world, one, "word " * 400, turn=str(turn))
        assert "K77" in reply(await asked(world, one, "What is my code?", turn="9"))


async def test_a_server_that_says_too_long_is_asked_with_half(world: ChatWorld, server: LLMServer):
    one = await thread(world)
    for turn in range(6):
        await asked(world, one, f"{turn} " + "word " * 100, turn=str(turn))
    server.context = len(str(server.asked[-1].messages)) // 4
    step = await asked(world, one, "6 " + "word " * 100, turn="6")
    assert reply(step)
    full, half = server.asked[-2:]
    assert len(half.messages) < len(full.messages)
    assert half.messages[-1] == full.messages[-1]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_too_long_in_itself_is_said_so(world: ChatWorld, server: LLMServer, stream: bool):
    server.context = 500
    one = await thread(world)
    assert await asked(world, one, "word " * 1000, stream=stream) == Stopped("failed", "context_too_long")
    assert len(server.asked) == 2
    assert reply(await asked(world, one, "Hello", turn="2")), "the thread goes on without it"


async def test_estimates_learn_from_the_server(server: LLMServer, history: History):
    server.model = lambda sight: Answer("Yes.", ServerUsage(sight.usage("").prompt * 3, 1))
    async with opened(server, history) as world:
        one = await thread(world)
        await asked(world, one, "word " * 400)
    async with opened(server, history) as world:
        await asked(world, one, "word " * 400, turn="2")
        state = await history.last_run(one)
    assert state is not None
    assert 2 < state["scale"] < 4


async def test_tokens_are_summed_over_rounds(world: ChatWorld, server: LLMServer):
    server.model = Script(
        [Calls([Call("weather", {"city": "Oslo"})], ServerUsage(100, 10)), Answer("Rain.", ServerUsage(150, 5))]
    )
    step = await asked(world, await thread(world), "Weather?")
    assert isinstance(step, Finished)
    assert step.usage == Usage(250, 15, 150)


async def test_tokens_are_estimated_where_none_are_told(world: ChatWorld, server: LLMServer):
    server.usage = False
    step = await asked(world, await thread(world), "word " * 400)
    assert isinstance(step, Finished)
    assert 500 < step.usage.last_prompt == step.usage.prompt < 1_000
    assert step.usage.completion > 400


# -- how an answer ends ---------------------------------------------------------------------------------------


async def test_an_answer_at_its_limit_is_cut(world: ChatWorld, server: LLMServer):
    server.model = Script([Incomplete("max_tokens", "And so")])
    step = await asked(world, await thread(world), "Tell me")
    assert isinstance(step, Finished)
    assert step.reply == Reply("And so", cut=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_an_answer(world: ChatWorld, server: LLMServer, stream: bool):
    server.model = Script([Answer("I'd rather not.", refused=True)])
    assert reply(await asked(world, await thread(world), "Do evil", stream=stream)) == "I'd rather not."


async def test_a_filtered_answer_is_none(world: ChatWorld, server: LLMServer):
    server.model = Script([Incomplete("content_filter", "Here is how")])
    one = await thread(world)
    assert await asked(world, one, "Tell me") == Stopped("failed", "content_filter")
    assert await world.agent.history(one, 9) == [Said("user", "Tell me")]


FILTERED = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "code": "content_filter",
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_filtered_question_does_not_stop_the_next(world: ChatWorld, server: LLMServer, stream: bool):
    server.inject("status", status=400, error=FILTERED)
    one = await thread(world)
    assert await asked(world, one, "Something bad", stream=stream) == Stopped("failed", "content_filter")
    assert len(server.asked) == 1
    assert reply(await asked(world, one, "Hello", turn="2")) == "You said: Hello"
    assert "Something bad" not in str(server.asked[-1].messages)


# -- failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}, ServiceBusy),
        ({"kind": "status", "status": 408}, ServiceUnavailable),
        ({"kind": "status", "status": 500}, ServiceUnavailable),
        ({"kind": "status", "status": 503, "headers": {"retry-after-ms": "7000"}}, ServiceUnavailable),
        ({"kind": "cut"}, ServiceUnavailable),
        ({"kind": "malformed"}, ServiceUnavailable),
        ({"kind": "html"}, ServiceUnavailable),
        ({"kind": "status", "status": 401}, OperatorError),
        ({"kind": "status", "status": 403}, OperatorError),
        ({"kind": "status", "status": 404}, OperatorError),
        ({"kind": "status", "status": 302, "headers": {"Location": "https://elsewhere.example/v1"}}, OperatorError),
        ({"kind": "status", "status": 429, "error": {"code": "insufficient_quota", "message": "x"}}, OperatorError),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_told_once_and_the_next_look_asks_again(
    world: ChatWorld, server: LLMServer, fault: dict[str, Any], failure: type[Exception], stream: bool
):
    server.inject(**fault)
    one = await thread(world)
    handle = await world.agent.start(one, Ask(mark(), "Good morning", TOOLS, stream=stream))
    with pytest.raises(failure) as caught:
        await until_it_waits(world, handle)
    assert type(caught.value) is failure
    assert caught.value.__context__ is None
    if "headers" in fault and isinstance(caught.value, ServiceUnavailable):
        assert caught.value.retry_after == 7
    assert len(server.asked) == 1
    assert reply(await until_it_waits(world, handle)) == "You said: Good morning"
    assert len(server.asked) == 2
    assert len(await world.agent.history(one, 9)) == 2


@pytest.mark.parametrize(
    ("status", "words", "setting"),
    [
        (401, "Incorrect API key", "OPENAI_API_KEY"),
        (404, "model 'x' not found, try pulling it first", "MODEL_DEPLOYMENT_NAME"),
        (400, "registry.ollama.ai/library/gemma does not support tools", "MODEL_DEPLOYMENT_NAME"),
        (307, "moved", "OPENAI_BASE_URL"),
    ],
)
async def test_an_operator_is_told_the_setting(
    world: ChatWorld, server: LLMServer, status: int, words: str, setting: str
):
    server.inject("status", status=status, error={"message": words})
    handle = await world.agent.start(await thread(world), Ask(mark(), "Good morning", TOOLS))
    with pytest.raises(OperatorError, match=setting) as caught:
        await until_it_waits(world, handle)
    assert words not in str(caught.value)


async def test_a_server_that_is_not_there_is_not_there(world: ChatWorld, server: LLMServer):
    await server.stop()
    handle = await world.agent.start(await thread(world), Ask(mark(), "Good morning", TOOLS, stream=True))
    for _ in range(5):
        with pytest.raises(ServiceUnavailable):
            await until_it_waits(world, handle)
    await server.start()
    assert reply(await until_it_waits(world, handle))


async def test_a_failure_that_comes_quickly_is_told_by_the_look_that_asked(world: ChatWorld, server: LLMServer):
    """Else every second look would be good, and a run would never be given back for its service is down."""
    server.inject("status", status=500, count=None)
    handle = await world.agent.start(await thread(world), Ask(mark(), "Good morning", TOOLS))
    with pytest.raises(ServiceUnavailable):
        await until_it_waits(world, handle)
    for _ in range(3):
        with pytest.raises(ServiceUnavailable):
            await world.agent.look(handle)


@pytest.mark.invariant("I13")
async def test_no_key_and_no_words_of_the_server_are_told(server: LLMServer, tmp_path: Path):
    server.key = "sk-right"
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}", SystemClock(), runner=True)
    async with opened(server, store.history, openai_api_key="sk-wr0ng-s3cret") as world:
        one = await thread(world)
        handle = await world.agent.start(one, Ask(mark(), "Good morning", TOOLS))
        with pytest.raises(OperatorError) as caught:
            await until_it_waits(world, handle)
        server.key = ""
        server.inject("status", status=400, error={"message": "bad sk-wr0ng-s3cret", "code": "sk-wr0ng-s3cret"})
        assert isinstance(await until_it_waits(world, handle), Stopped)
        assert server.asked[0].headers["Authorization"] == "Bearer sk-wr0ng-s3cret"
    await store.close()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert not any(b"s3cret" in data for data in contents(tmp_path))


def contents(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


# -- lives ----------------------------------------------------------------------------------------------------


@pytest.mark.invariant("I4")
async def test_a_request_that_was_cut_off_by_the_end_of_the_process_is_made_again(server: LLMServer, history: History):
    held = server.inject("hold")
    async with opened(server, history) as world:
        one = await thread(world)
        ask = Ask(mark(), world.asking_for([OSLO]), TOOLS, note="Hurry.", stream=True)
        handle = await world.agent.start(one, ask)
        await server.until_asked(1)
    held.release.set()
    async with opened(server, history) as world:
        assert (await world.agent.find(one, mark())).handle == handle
        assert reply(await to_the_end(world, handle)) == "weather: weather of Oslo"
    first, second, third = server.asked
    assert first.body == second.body
    assert third.streamed
    assert "Hurry." in third.messages[0]["content"]


@pytest.mark.invariant("I4")
async def test_a_run_goes_on_from_its_last_round(server: LLMServer, history: History):
    async with opened(server, history) as world:
        one = await thread(world)
        handle, step = await waiting(world, one, mark(), [OSLO], [SCREWS])
    async with opened(server, history) as world:
        assert await world.agent.look(handle) == step
        await world.agent.answer(handle, outputs_of(step))
    async with opened(server, history) as world:
        assert await world.agent.answer(handle, outputs_of(step), again=True) == handle
        assert "stock of screws" in reply(await to_the_end(world, handle))
    async with opened(server, history) as world:
        assert "stock of screws" in reply(await world.agent.look(handle))


@pytest.mark.invariant("I7")
async def test_of_two_lives_at_once_one_writes(server: LLMServer, history: History):
    """The lease has passed on while a process was frozen: what it was told afterwards is too late."""
    held = server.inject("hold")
    async with opened(server, history) as frozen, opened(server, history) as other:
        one = await thread(frozen)
        handle = await frozen.agent.start(one, Ask(mark(), "Good morning", TOOLS))
        await server.until_asked(1)
        assert reply(await until_it_waits(other, handle))
        held.release.set()
        assert reply(await until_it_waits(frozen, handle))
        assert len(await frozen.agent.history(one, 9)) == 2


async def test_a_round_that_another_life_has_answered_is_looked_up(server: LLMServer, history: History):
    async with opened(server, history) as here, opened(server, history) as other:
        handle, step = await waiting(here, await thread(here), mark())
        assert reply(await to_the_end(other, handle))
        assert await here.agent.look(handle) == step
        with pytest.raises(RequestRefused):
            await here.agent.answer(handle, outputs_of(step))
        assert reply(await here.agent.look(handle))


async def test_a_thread_may_be_deleted_under_a_run(world: ChatWorld, server: LLMServer):
    held = server.inject("hold")
    one = await thread(world)
    handle = await world.agent.start(one, Ask(mark(), "Good morning", TOOLS))
    await server.until_asked(1)
    await world.agent.delete_thread(one)
    held.release.set()
    with pytest.raises(RunGone):
        await until_it_waits(world, handle)


# -- Azure ----------------------------------------------------------------------------------------------------


class Credential(FixedToken):
    """Gives tokens for what it was asked, or fails as the chain of credentials does."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.scopes: list[str] = []
        self.closed = False

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        if self.failure is not None:
            raise self.failure
        return AccessToken("t0ken", int(time.time()) + 3600)

    async def close(self) -> None:
        self.closed = True


async def test_azure_without_a_key_takes_the_identity_s_token(server: LLMServer, history: History):
    credential = Credential()
    async with opened(server, history, credential=credential) as world:
        one = await thread(world)
        for turn in "12":
            assert reply(await asked(world, one, "Hello", turn=turn))
    assert server.asked[1].headers["Authorization"] == "Bearer t0ken"
    assert set(credential.scopes) == {"https://cognitiveservices.azure.com/.default"}
    assert len(credential.scopes) == 1, "a token is kept"
    assert credential.closed


async def test_no_token_is_for_an_operator(server: LLMServer, history: History):
    credential = Credential(CredentialUnavailableError(message="tried everything"))
    async with opened(server, history, credential=credential) as world:
        handle = await world.agent.start(await thread(world), Ask(mark(), "Hello"))
        with pytest.raises(OperatorError, match="az login") as caught:
            await until_it_waits(world, handle)
    assert "tried everything" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("address", "azure"),
    [
        ("https://name.openai.azure.com/openai/v1", True),
        ("https://NAME.services.ai.azure.com/openai/v1", True),
        ("https://name.cognitiveservices.azure.com/openai/v1", True),
        ("http://name.openai.azure.com/openai/v1", False),
        ("https://openai.azure.com.example.org/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_a_token_goes_to_azure_alone(address: str, azure: bool):
    assert is_azure(address) is azure
