"""What the person and the agent are told, after a stop, of the tools that were called for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.runs import RunLimits
from bot.store.tables import tool_calls
from bot.texts import Texts
from bot.types import Stopped
from tests.scripted import WORKING, ScriptedAgent
from tests.test_approvals import toolbox as asking
from tests.world import GRACE, FakeToolbox, World, group, open_world

FOR_EVER = RunLimits(deadline=1e9)
HANGING = [WORKING] * 10_000

pytestmark = pytest.mark.invariant("I8")


def ordering() -> FakeToolbox:
    box = FakeToolbox()
    box.add("order", lambda *_: "ordered", once=True)
    return box


async def called(agent: ScriptedAgent, run: int = 0) -> None:
    """Wait until the tools of a run were called, and their outputs taken."""
    async with asyncio.timeout(10):
        while len(agent.runs) <= run or not agent.runs[run].outputs:
            await asyncio.sleep(0.001)


async def told(world: World, agent: ScriptedAgent) -> str | None:
    """What the agent is told beside the next question."""
    await world.ask("another")
    return agent.runs[-1].ask.note


async def test_both_are_told_once(tmp_path: Path):
    agent = ScriptedAgent([[["order"], *HANGING]])
    async with open_world(tmp_path, agent=agent, toolbox=ordering(), runs=FOR_EVER) as world:
        await world.say("question")
        await called(agent)
        assert await world.ask("stop") == "Stopped. Already done: order."
        assert await told(world, agent) == Texts().withdrawn(["order"])
        assert await told(world, agent) is None


async def test_a_new_conversation_is_not_told_of_the_old_one(tmp_path: Path):
    agent = ScriptedAgent([[["order"], *HANGING], HANGING])
    async with open_world(tmp_path, agent=agent, toolbox=ordering(), runs=FOR_EVER) as world:
        await world.say("question")
        await called(agent)
        await world.ask("start over")
        await world.say("harmless")
        async with asyncio.timeout(10):
            while len(agent.runs) < 2:
                await asyncio.sleep(0.001)
        assert await world.ask("stop") == "Stopped."
        assert await told(world, agent) == Texts().withdrawn([])


async def test_a_declined_call_was_not_made(tmp_path: Path):
    done: list[str] = []
    agent = ScriptedAgent([[["order"], *HANGING]])
    async with open_world(tmp_path, agent=agent, toolbox=asking(done), runs=FOR_EVER) as world:
        await world.say("order it")
        await world.answers(1, ended=False)
        await world.bot.inbox.idle()
        await world.say("decline")
        await called(agent)
        await world.say("stop")
        assert (await world.answers(2))[1] == "Stopped."
        assert await told(world, agent) == Texts().withdrawn([])
        assert done == []


async def test_a_call_that_was_cut_off_may_have_acted(tmp_path: Path):
    agent = ScriptedAgent([[["order"], *HANGING]])
    async with open_world(tmp_path, agent=agent, toolbox=ordering(), runs=FOR_EVER) as world:
        await world.say("question")
        await called(agent)
        left = sa.update(tool_calls).values(state="started", output=None)  # as a process does that dies in the call
        await world.bot.store._database.write(lambda connection: connection.execute(left))  # type: ignore[attr-defined]
        assert await world.ask("stop") == f"Stopped. {Texts().effect_unknown(['order'])}"
        assert await told(world, agent) == Texts().withdrawn(["order"])


async def test_an_operator_has_an_earlier_question_asked_again(tmp_path: Path):
    agent = ScriptedAgent([[Stopped("failed", "nope")], ["fine"], [["order"], *HANGING]])
    async with open_world(tmp_path, agent=agent, toolbox=ordering(), runs=FOR_EVER) as world:
        first = await world.say("first")
        await world.answers(1)
        await world.ask("second")
        assert await world.bot.store.records.again(first.turn)
        world.bot.inbox.nudge()
        await called(agent, 2)
        assert await world.ask("stop") == "Stopped. Already done: order."
        assert await told(world, agent) == Texts().withdrawn(["order"])


async def test_what_others_had_asked_with_it_is_asked_with_that_said(tmp_path: Path):
    """In a group that shares a thread, who says "stop" speaks for themselves."""
    agent, place = ScriptedAgent([HANGING, [["order"], *HANGING], ["well"]]), group()
    async with open_world(tmp_path, agent=agent, toolbox=ordering(), runs=FOR_EVER, group_threads="shared") as world:
        await world.say("wait", conversation=place)
        async with asyncio.timeout(10):
            while not agent.runs or not agent.runs[0].looks:
                await asyncio.sleep(0.001)
        await world.say("pizza", conversation=place)
        await world.say("a large one", conversation=place, person=GRACE)
        agent.runs[0].script[:] = ["I waited"]
        await called(agent, 1)
        await world.say("stop", conversation=place)
        await world.answers(3)
        assert agent.runs[2].ask.text == "Grace: a large one"
        assert agent.runs[2].ask.note == Texts().withdrawn(["order"])
