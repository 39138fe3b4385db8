"""A turn that goes on after AGENT_BACKEND or the project was changed: its run lies with a service that we left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ServiceUnavailable
from bot.events import RunStarted, ThreadOpened
from bot.runs import RunLimits
from bot.types import Stopped, ThreadReason
from tests.scripted import WORKING, ScriptedAgent
from tests.test_approvals import asked, ordering, toolbox
from tests.world import FakeToolbox, FastClock, open_world


async def left(tmp_path: Path, agent: ScriptedAgent, verb: str, box: FakeToolbox | None = None) -> FastClock:
    """A bot whose turn has come as far as this request, and that ends there; its clock, by which it is handed over."""
    patient = RunLimits(deadline=1e12)
    async with open_world(tmp_path, agent=agent, toolbox=box, grace=0.0, runs=patient) as world:
        await world.say("what is my code?")
        async with asyncio.timeout(5):
            while verb not in agent.log:
                await asyncio.sleep(0.001)
        return world.clock


def elsewhere(*scripts: list[Any]) -> ScriptedAgent:
    agent = ScriptedAgent(list(scripts), project="other")
    agent.threads["of somebody else"] = []  # no thread has the id of the first one's
    return agent


@pytest.mark.invariant("I1", "I12")
async def test_the_question_is_asked_of_the_new_service(tmp_path: Path) -> None:
    clock = await left(tmp_path, ScriptedAgent([[WORKING] * 100_000]), "look")
    new = elsewhere(["It is 1234."])
    async with open_world(tmp_path, clock=clock, agent=new) as world:
        (said,) = await world.answers(1)
        assert said.startswith("It is 1234.")
        assert "The agent behind me changed" in said
        assert [(run.ask.text, run.ask.held) for run in new.runs] == [("what is my code?", False)]
        assert [one.reason for one in world.of(ThreadOpened)] == [ThreadReason.MOVED]


@pytest.mark.invariant("I12")
async def test_what_fails_there_is_tried_again_there(tmp_path: Path) -> None:
    clock = await left(tmp_path, ScriptedAgent([[WORKING] * 100_000]), "look")
    new = elsewhere([Stopped("failed", "server_error")], ["It is 1234."])
    async with open_world(tmp_path, clock=clock, agent=new) as world:
        await world.answers(1)
        assert [(run.ask.mark.attempt, run.ask.held) for run in new.runs] == [("run-1", False), ("run-2", True)]


@pytest.mark.invariant("I9")
async def test_a_tool_that_acted_does_not_act_again(tmp_path: Path) -> None:
    box = FakeToolbox()
    box.add("pay", lambda call, caller: "paid", once=True)
    clock = await left(tmp_path, ScriptedAgent([[["pay"], *[WORKING] * 100_000]]), "answer", box)
    new = elsewhere([["pay"], "paid twice"])
    async with open_world(tmp_path, clock=clock, agent=new, toolbox=box) as world:
        (said,) = await world.answers(1)
        assert "Sorry" in said
    assert [name for name, _, _ in box.calls] == ["pay"]
    assert new.runs == []


@pytest.mark.invariant("I9")
async def test_what_a_person_agreed_to_is_done_and_told(tmp_path: Path) -> None:
    done: list[str] = []
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(done)) as world:
        await asked(world)
    new = elsewhere(["It is ordered."])
    async with open_world(tmp_path, agent=new, toolbox=toolbox(done)) as world:
        await world.say("approve")
        assert (await world.answers(1))[0].startswith("It is ordered.")
    assert len(done) == 1
    (run,) = new.runs
    assert run.ask.text == "order it"
    assert run.ask.note is not None
    assert "ordered" in run.ask.note


@pytest.mark.invariant("I8")
async def test_stop_ends_it(tmp_path: Path) -> None:
    clock = await left(tmp_path, ScriptedAgent([[WORKING] * 100_000]), "look")
    new = elsewhere()
    new.before["open"] = [ServiceUnavailable("not now")] * 1000
    async with open_world(tmp_path, clock=clock, agent=new) as world:
        await world.say("stop")
        await world.quiet()
        assert "Stopped" in world.channel.texts[-1]
        assert new.runs == []


@pytest.mark.invariant("I1")
async def test_a_model_that_is_not_reachable_is_left_for_the_rehearsal_agent(tmp_path: Path) -> None:
    """Both keep their runs in our own store, where each would take the other's for its own."""
    nobody: dict[str, Any] = {"agent_backend": "chat-completions", "openai_base_url": "http://127.0.0.1:9/v1"}
    async with open_world(tmp_path, grace=0.0, model_deployment_name="llama", **nobody) as world:
        await world.say("remember that my code is 7")
        async with asyncio.timeout(10):
            while not world.of(RunStarted):
                await asyncio.sleep(0.001)
    async with open_world(tmp_path) as world:
        assert any("I'll remember: my code is 7" in said for said in await world.answers(1))
