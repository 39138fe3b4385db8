"""The whole bot on an OpenAI-compatible endpoint: the real client against the local one, and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.events import RunStarted, ThreadOpened, TurnReleased
from bot.types import ThreadReason
from tests.foundry import Answer, Call, Calls
from tests.llm import LLMServer
from tests.processes import served
from tests.world import FakeToolbox, RecordingChannel, World, open_world


@pytest.fixture
async def server() -> AsyncGenerator[LLMServer]:
    async with LLMServer() as server:
        yield server


def variables(server: LLMServer, **more: Any) -> dict[str, Any]:
    address = {"openai_base_url": server.base_url, "model_deployment_name": "model"}
    return {"agent_backend": "chat-completions"} | address | more


@asynccontextmanager
async def opened(tmp_path: Path, server: LLMServer, **options: Any) -> AsyncGenerator[World]:
    async with open_world(tmp_path, **variables(server), **options) as world:
        yield world


@pytest.mark.invariant("I4")
async def test_the_bot_as_it_is_served_calls_a_tool_and_remembers(tmp_path: Path, server: LLMServer):
    environ = {name.upper(): value for name, value in variables(server).items()}
    async with served(tmp_path, **environ) as bot:
        await bot.say("use calculate expression=25*47 and use current_time place=Tokyo")
        state = await bot.shows("1175")
        assert "Asia/Tokyo" in str(state)
        assert state["backend"] == "chat-completions"
        assert len(server.asked) == 2
        await bot.say("remember my code is 2208")
        await bot.shows("I will remember: my code is 2208")
        held = server.inject("hold")
        await bot.say("what is my code?")
        await server.until_asked(4)
        bot.kill()
        held.release.set()
    async with served(tmp_path, **environ) as bot:
        await bot.shows("I recall: my code is 2208")
        assert (await bot.state())["thread"]["id"] == state["thread"]["id"]
        assert await bot.stop() == 0
    assert [message["content"] for message in server.asked[-1].messages].count("what is my code?") == 1


async def test_two_tools_in_one_round_and_the_same_thread_after_a_restart(tmp_path: Path, server: LLMServer):
    toolbox = FakeToolbox()
    toolbox.add("time", lambda *_: "noon")
    toolbox.add("sum", lambda *_: "1175")
    async with opened(tmp_path, server, toolbox=toolbox) as world:
        assert await world.ask("use time and use sum") == "time: noon\nsum: 1175"
        await world.ask("remember my code is 2208")
    async with opened(tmp_path, server) as world:
        assert "2208" in await world.ask("what is my code?")
        assert world.of(ThreadOpened) == []


async def test_an_answer_is_shown_as_it_grows(tmp_path: Path, server: LLMServer):
    channel = RecordingChannel()
    channel.streams = True
    pause = server.inject("stream_pause", pieces=3)
    async with opened(tmp_path, server, channel=channel) as world:
        await world.say("tell me everything")
        async with asyncio.timeout(10):
            while not channel.shown:
                await asyncio.sleep(0.01)
        pause.release.set()
        assert await world.answers(1) == ["You said: tell me everything"]
    assert "You said: tell me everything".startswith(channel.shown[0])
    assert len(server.asked) == 1


@pytest.mark.invariant("I4")
async def test_a_short_failure_is_not_noticed(tmp_path: Path, server: LLMServer):
    busy = {"kind": "status", "status": 429, "headers": {"Retry-After": "9"}}
    for fault in (busy, {"kind": "status"}, {"kind": "cut"}):
        server.inject(**fault)
    async with opened(tmp_path, server) as world:
        assert await world.ask("good morning") == "You said: good morning"
        assert world.of(TurnReleased) == []
        assert max(world.clock.slept) == 9
        assert len(server.asked) == 4


@pytest.mark.invariant("I4")
async def test_a_server_that_is_down_gets_the_turn_taken_up_again_with_the_same_run(tmp_path: Path, server: LLMServer):
    fault = server.inject("status", status=503, count=None)
    async with opened(tmp_path, server) as world:
        await world.say("good morning")
        async with asyncio.timeout(10):
            while len(world.of(TurnReleased)) < 2:
                await asyncio.sleep(0.01)
        fault.count = 0
        assert "You said: good morning" in await world.answers(1)
        started = world.of(RunStarted)
        assert len(started) >= 3
        assert len({run.run for run in started}) == 1
        [said] = [m for m in server.asked[-1].messages if m["role"] == "user"]
        assert said["content"] == "good morning"


@pytest.mark.invariant("I16")
async def test_a_wrong_key_makes_turns_wait_and_names_the_cure(tmp_path: Path, server: LLMServer):
    server.key = "right"
    async with opened(tmp_path, server) as world:
        await world.say("good morning")
        async with asyncio.timeout(10):
            while not world.of(TurnReleased):
                await asyncio.sleep(0.01)
        assert any("OPENAI_API_KEY" in problem for problem in await world.bot.ready())
        server.key = ""
        assert (await world.answers(2))[1] == "You said: good morning"
        assert await world.bot.ready() == []
        assert world.of(TurnReleased)[0].cure


@pytest.mark.invariant("I8")
async def test_stop_ends_the_request(tmp_path: Path, server: LLMServer):
    server.inject("hold")
    async with opened(tmp_path, server) as world:
        await world.say("good morning")
        await server.until_asked(1)
        await world.say("stop")
        [said] = await world.answers(1)
        assert said.startswith("Stopped.")
        assert await world.ask("and now?") != said
        assert "withdrawn" in server.asked[-1].messages[0]["content"]


@pytest.mark.invariant("I12")
async def test_a_thread_moves_on_before_its_beginning_is_left_out(tmp_path: Path, server: LLMServer):
    async with opened(tmp_path, server, model_context_tokens=2_000) as world:
        await world.ask("remember my code is 2208")
        for number in range(10):
            await world.ask(f"{number} " + "word " * 80)
        assert "2208" in await world.ask("what is my code?")
        assert ThreadReason.TOKENS in [event.reason for event in world.of(ThreadOpened)]


async def test_a_filtered_question_is_said_so_and_the_next_is_answered(tmp_path: Path, server: LLMServer):
    server.inject("status", status=400, error={"code": "content_filter", "message": "filtered"})
    async with opened(tmp_path, server) as world:
        assert "content filter" in await world.ask("something bad")
        assert await world.ask("good morning") == "You said: good morning"


async def test_a_model_that_never_stops_calling_is_made_to_answer(tmp_path: Path, server: LLMServer):
    toolbox = FakeToolbox()
    toolbox.add("dig", lambda *_: "more sand")
    server.model = lambda sight: Calls([Call("dig")]) if sight.tools else Answer("Only sand so far.")
    async with opened(tmp_path, server, toolbox=toolbox) as world:
        assert await world.ask("dig for gold") == "Only sand so far."
        assert len(toolbox.calls) == 8
