"""The whole bot on each agent service by a changed setting only: real SDKs against local servers, and their faults."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from bot.events import ThreadOpened, TurnReleased
from bot.runs import RunLimits
from bot.threads import ThreadLimits
from tests.scenarios.services import SERVICES, WITH_RUNS, Service, When, opened_service
from tests.world import FakeToolbox, RecordingChannel, open_world


@pytest.fixture(params=SERVICES)
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Service]:
    async with opened_service(request.param, tmp_path) as service:
        yield service


def opened(tmp_path: Path, service: Service, **options: Any) -> Any:
    toolbox = options.get("toolbox")
    if toolbox is not None:
        service.tools(list(toolbox.tools))
    return open_world(tmp_path, **service.overrides, **options)


def toolbox_of(**answers: str) -> FakeToolbox:
    box = FakeToolbox()
    for name, answer in answers.items():
        box.add(name, lambda *_, answer=answer: answer)
    return box


async def test_two_tools_in_one_round_and_the_same_thread_after_a_restart(tmp_path: Path, service: Service):
    async with opened(tmp_path, service, toolbox=toolbox_of(time="noon", sum="1175")) as world:
        assert await world.ask("use time and use sum") == "time: noon\nsum: 1175"
        await world.ask("remember my code is 2208")
    async with opened(tmp_path, service) as world:
        assert "2208" in await world.ask("what is my code?")
        assert world.of(ThreadOpened) == []
    assert len(service.threads()) == 1


async def test_text_is_shown_as_it_grows_and_stays_what_is_said(tmp_path: Path, service: Service):
    channel = RecordingChannel()
    channel.streams = True
    async with opened(tmp_path, service, channel=channel, toolbox=toolbox_of(time="noon")) as world:
        assert await world.ask("use time") == "time: noon"
        before = len(channel.shown)
        said = await world.ask("good morning to all of you who read along")
        assert all(said.startswith(shown) for shown in channel.shown[before:])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["status", "cut"])
@pytest.mark.invariant("I4")
async def test_a_start_that_failed_is_made_exactly_once(tmp_path: Path, service: Service, kind: str, when: When):
    service.start_fails(kind, when, **({"status": 503} if kind == "status" else {}))
    async with opened(tmp_path, service) as world:
        await world.ask("good morning")
        [thread] = service.threads()
        assert service.questions(thread) == 1
        assert service.roles(thread) == ["user", "assistant"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.invariant("I9")
async def test_outputs_that_were_cut_off_are_given_once(tmp_path: Path, service: Service, when: When):
    toolbox = FakeToolbox()
    toolbox.add("order", lambda *_: "ordered", once=True)
    service.answer_fails("cut", when)
    async with opened(tmp_path, service, toolbox=toolbox) as world:
        assert await world.ask("use order") == "order: ordered"
        assert len(toolbox.calls) == 1


@pytest.mark.parametrize("service", WITH_RUNS, indirect=True)
@pytest.mark.parametrize(("code", "runs"), [("rate_limit_exceeded", 2), ("server_error", 2), ("invalid_prompt", 1)])
async def test_failed_runs(tmp_path: Path, service: Service, code: str, runs: int):
    service.run_fails("run_failed", code=code)
    async with opened(tmp_path, service) as world:
        said = await world.ask("good morning")
        [thread] = service.threads()
        assert service.questions(thread) == runs
        assert ("Sorry" in said) == (runs == 1)
        assert service.roles(thread).count("user") <= 1


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("run_incomplete", {"reason": "max_completion_tokens", "text": "half"}, "length limit"),
        ("run_stuck", {}, "I stopped after"),
        ("run_failed", {"code": "content_filter"}, "content filter"),
    ],
)
@pytest.mark.invariant("I5")
async def test_runs_that_end_otherwise(tmp_path: Path, service: Service, kind: str, more: dict[str, Any], words: str):
    service.run_fails(kind, **more)
    async with opened(tmp_path, service, runs=RunLimits(deadline=2, ending=5)) as world:
        assert words in await world.ask("good morning")
        assert "Sorry" not in await world.ask("good evening")


async def test_a_lost_thread_is_replaced_and_said(tmp_path: Path, service: Service):
    async with opened(tmp_path, service) as world:
        await world.ask("good morning")
        [thread] = service.threads()
        service.lose(thread)
        assert "no longer exists" in await world.ask("good evening")


@pytest.mark.invariant("I16")
async def test_a_refused_credential_parks_and_is_taken_up_again(tmp_path: Path, service: Service):
    service.open_fails("unauthorized", 3)
    async with opened(tmp_path, service) as world:
        await world.say("good morning")
        said = await world.answers(2)
        assert "is kept" in said[0]
        assert len(said) == 2
        assert all(event.cure for event in world.of(TurnReleased))


async def test_a_429_is_waited_out(tmp_path: Path, service: Service):
    service.start_fails("status", status=429, retry_after=1)
    async with opened(tmp_path, service) as world:
        await world.ask("good morning")
        assert [event.delay for event in world.of(TurnReleased)] == [1.0] or 1.0 in world.clock.slept


@pytest.mark.invariant("I12")
async def test_a_fact_told_before_a_rollover_is_known_after_it(tmp_path: Path, service: Service):
    async with opened(tmp_path, service, threads=ThreadLimits(messages=4)) as world:
        await world.ask("remember my code is 2208")
        await world.ask("good morning")
        assert "2208" in await world.ask("what is my code?")
        assert len(service.threads()) == 2
        assert world.of(ThreadOpened)[1].carried in ("summary", "messages")


@pytest.mark.invariant("I8")
async def test_after_a_stop_in_the_middle_of_a_tool_the_thread_goes_on(tmp_path: Path, service: Service):
    toolbox = FakeToolbox()
    async with opened(tmp_path, service, toolbox=toolbox_of(time="noon"), runs=RunLimits(deadline=1e9)) as world:
        toolbox = world.toolbox
        toolbox.tools["time"] = (toolbox.tools["time"][0], lambda *_: world.say("stop"))
        await world.say("use time")
        said = await world.answers(1)
        assert said[0].startswith("Stopped.")
        assert "Sorry" not in await world.ask("good evening")
        [thread] = service.threads()
        assert service.roles(thread).count("user") == 2
