"""The whole bot on the classic Foundry service: the real SDK against the local Foundry, and its faults."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.agents import foundry_classic
from bot.events import RunStarted, ThreadOpened, TurnReleased
from bot.runs import RunLimits
from bot.threads import ThreadLimits
from tests.foundry import Fault, FoundryServer, Rules
from tests.world import FakeToolbox, FastClock, World, open_world, settings_for

SOON = RunLimits(ending=5.0)


@asynccontextmanager
async def opened(tmp_path: Path, server: FoundryServer, **options: Any) -> AsyncGenerator[World]:
    """A bot with the real client; its agent is found by its id."""
    clock = FastClock()
    settings = settings_for(
        tmp_path, agent_backend="foundry-classic", project_endpoint=server.endpoint, agent_id="asst_1"
    )
    agent = await foundry_classic.create(settings, clock=clock, post_seconds=5.0)
    try:
        async with open_world(tmp_path, agent=agent, clock=clock, **options) as world:
            yield world
    finally:
        await agent.close()


@pytest.fixture
async def server() -> AsyncGenerator[FoundryServer]:
    async with FoundryServer(rules=Rules()) as server:
        server.add_assistant(assistant_id="asst_1")
        yield server


async def test_two_tools_in_one_round_and_the_same_thread_after_a_restart(tmp_path: Path, server: FoundryServer):
    toolbox = FakeToolbox()
    toolbox.add("time", lambda *_: "noon")
    toolbox.add("sum", lambda *_: "1175")
    async with opened(tmp_path, server, toolbox=toolbox) as world:
        assert await world.ask("use time and use sum") == "time: noon\nsum: 1175"
        await world.ask("remember my code is 2208")
    async with opened(tmp_path, server) as world:
        assert "2208" in await world.ask("what is my code?")
        assert world.of(ThreadOpened) == []


async def test_one_reference_from_the_message_to_the_run(tmp_path: Path, server: FoundryServer):
    async with opened(tmp_path, server) as world:
        await world.ask("good morning")
        [started] = world.of(RunStarted)
        [run] = server.runs_of(started.thread)
        assert run.metadata["reference"] == started.reference


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["status", "cut"])
@pytest.mark.invariant("I4")
async def test_a_start_that_failed_is_made_exactly_once(tmp_path: Path, server: FoundryServer, kind: str, when: str):
    server.inject(Fault(kind, "POST", "/threads/*/runs", when=when, **({"status": 503} if kind == "status" else {})))
    async with opened(tmp_path, server) as world:
        await world.ask("good morning")
        [thread] = server.state.threads
        assert len(server.runs_of(thread)) == 1
        assert [m.role for m in server.messages_of(thread)] == ["user", "assistant"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.invariant("I9")
async def test_outputs_that_were_cut_off_are_given_once(tmp_path: Path, server: FoundryServer, when: str):
    toolbox = FakeToolbox()
    toolbox.add("order", lambda *_: "ordered", once=True)
    server.inject(Fault("cut", "POST", "/threads/*/runs/*/submit_tool_outputs", when=when))
    async with opened(tmp_path, server, toolbox=toolbox) as world:
        assert await world.ask("use order") == "order: ordered"
        assert len(toolbox.calls) == 1


@pytest.mark.parametrize(("code", "runs"), [("rate_limit_exceeded", 2), ("server_error", 2), ("invalid_prompt", 1)])
async def test_failed_runs(tmp_path: Path, server: FoundryServer, code: str, runs: int):
    server.inject(Fault("run_failed", code=code))
    async with opened(tmp_path, server) as world:
        said = await world.ask("good morning")
        [thread] = server.state.threads
        assert len(server.runs_of(thread)) == runs
        assert ("Sorry" in said) == (runs == 1)
        assert [m.role for m in server.messages_of(thread)].count("user") == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("run_expired"), "Sorry, I couldn't answer"),
        (Fault("run_incomplete", reason="max_completion_tokens", text="half"), "length limit"),
        (Fault("run_stuck"), "I stopped after"),
        (Fault("run_failed", code="content_filter"), "content filter"),
    ],
)
@pytest.mark.invariant("I5")
async def test_runs_that_end_otherwise(tmp_path: Path, server: FoundryServer, fault: Fault, words: str):
    server.inject(fault)
    async with opened(tmp_path, server, runs=RunLimits(deadline=30, ending=5)) as world:
        assert words in await world.ask("good morning")
        answer = await world.ask("good evening")
        assert "Sorry" not in answer


@pytest.mark.invariant("I8")
async def test_a_run_that_never_ends_makes_a_rollover(tmp_path: Path, server: FoundryServer):
    server.inject(Fault("cancel_stuck"))
    server.inject(Fault("run_stuck"))
    async with opened(tmp_path, server, runs=RunLimits(deadline=10, ending=5)) as world:
        assert "Sorry" in await world.ask("good morning")
        assert "blocked" in await world.ask("good evening")
        assert len(server.state.threads) == 2


async def test_a_lost_thread_is_replaced_and_said(tmp_path: Path, server: FoundryServer):
    async with opened(tmp_path, server) as world:
        await world.ask("good morning")
        [thread] = server.state.threads
        server.lose_thread(thread)
        assert "no longer exists" in await world.ask("good evening")


@pytest.mark.invariant("I16")
async def test_a_refused_credential_parks_and_is_taken_up_again(tmp_path: Path, server: FoundryServer):
    server.inject(Fault("unauthorized", "POST", "/threads", count=3))
    async with opened(tmp_path, server) as world:
        await world.say("good morning")
        said = await world.answers(2)
        assert "is kept" in said[0]
        assert len(said) == 2
        assert all(event.cure for event in world.of(TurnReleased))


async def test_a_429_is_waited_out(tmp_path: Path, server: FoundryServer):
    server.inject(Fault("status", "POST", "/threads/*/runs", status=429, retry_after=1))
    async with opened(tmp_path, server) as world:
        await world.ask("good morning")
        assert [event.delay for event in world.of(TurnReleased)] == [1.0]


@pytest.mark.invariant("I12")
async def test_a_fact_told_before_a_rollover_is_known_after_it(tmp_path: Path, server: FoundryServer):
    async with opened(tmp_path, server, threads=ThreadLimits(messages=4)) as world:
        await world.ask("remember my code is 2208")
        await world.ask("good morning")
        assert "2208" in await world.ask("what is my code?")
        assert len(server.state.threads) == 2
        assert [event.carried for event in world.of(ThreadOpened)] == ["nothing", "summary"]


@pytest.mark.invariant("I7")
async def test_stop_cancels_at_the_service(tmp_path: Path, server: FoundryServer):
    server.inject(Fault("run_stuck"))
    async with opened(tmp_path, server, runs=RunLimits(deadline=1e9)) as world:
        await world.say("good morning")
        await server.until(lambda: server.requests_to("GET", "/threads/*/runs/*"))
        await world.say("stop")
        assert await world.answers(1) == ["Stopped."]
        [thread] = server.state.threads
        assert [run.status for run in server.runs_of(thread)] == ["cancelled"]
        await world.ask("good evening")
