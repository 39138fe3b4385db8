"""A turn of which nothing works ends all the same, and its lane goes on: nobody waits behind it for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import DeliveryFailed, OperatorError
from bot.events import TurnEnded, TurnReleased
from bot.inbox import InboxLimits
from bot.types import Ended
from tests.scripted import ScriptedAgent
from tests.world import World, open_world

HASTY = InboxLimits(attempts=3, backoff=0.001, backoff_cap=0.002)


async def given_up(world: World) -> None:
    """Until it has failed more often than it may, and its apology too."""
    async with asyncio.timeout(10):
        while len(world.of(TurnReleased)) < HASTY.attempts + 1:
            await asyncio.sleep(0.001)


@pytest.mark.invariant("I1")
async def test_what_nobody_foresaw_ends_in_an_apology(tmp_path: Path) -> None:
    agent = ScriptedAgent([[KeyError("rounds")] * 1000, ["well"]])
    agent.before["cancel"] = [KeyError("rounds")] * 1000
    async with open_world(tmp_path, agent=agent, inbox=HASTY) as world:
        assert "Sorry" in await world.ask("question")
        assert [one.ended for one in world.of(TurnEnded)] == [Ended.DEAD]


@pytest.mark.invariant("I1", "I2")
async def test_where_not_even_the_apology_can_be_said_the_lane_goes_on(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent(), inbox=HASTY) as world:
        world.channel.failures = [KeyError("address")] * 1000
        await world.say("question")
        await world.quiet()
        assert [one.ended for one in world.of(TurnEnded)] == [Ended.DEAD]
        world.channel.failures = []
        assert await world.ask("again") == "answer to again"


@pytest.mark.invariant("I16")
async def test_an_apology_waits_for_what_an_operator_must_mend(tmp_path: Path) -> None:
    agent = ScriptedAgent([[KeyError("rounds")] * 3])
    async with open_world(tmp_path, agent=agent, inbox=replace(HASTY, park=0.001)) as world:
        world.channel.failures = [OperatorError("The secret has expired.", "Make a new one.")] * 30
        assert "Sorry" in await world.ask("question")
        assert world.channel.failures == []


@pytest.mark.invariant("I8")
async def test_stop_ends_a_turn_whose_apology_waits_to_be_said(tmp_path: Path) -> None:
    agent = ScriptedAgent([[KeyError("rounds")] * 1000])
    async with open_world(tmp_path, agent=agent, inbox=HASTY) as world:
        world.channel.failures = [DeliveryFailed("not now")] * 100_000
        await world.say("question")
        await given_up(world)
        await world.say("stop")
        world.channel.failures = []
        await world.quiet()
        assert [one.ended for one in world.of(TurnEnded)] == [Ended.STOPPED, Ended.CONFIRMED]
        assert [text.split(".")[0] for text in world.channel.texts] == ["Stopped"]
