"""The rehearsal agent keeps the contract, and plays the faults it promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.agents.rehearsal import ABOUT, RehearsalAgent
from bot.clock import SystemClock
from bot.events import TurnReleased
from bot.store import open_store
from bot.texts import Texts
from tests.contracts.agent import AgentContract, World
from tests.world import World as BotWorld
from tests.world import open_world


class TestContract(AgentContract):
    @pytest_asyncio.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
        yield World(RehearsalAgent(store.history, SystemClock(), Texts()))
        await store.close()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[BotWorld]:
    async with open_world(tmp_path) as world:
        yield world


async def test_it_says_what_it_is(world: BotWorld):
    assert await world.ask("Who are you?") == ABOUT


async def test_waiting_can_be_rehearsed(world: BotWorld):
    assert await world.ask("rehearse wait 20") == "I waited, as rehearsed."
    assert sum(world.clock.slept) >= 20


@pytest.mark.invariant("I8")
async def test_stop_can_be_rehearsed(world: BotWorld):
    await world.say("rehearse wait 100000")
    await world.say("stop")
    [said] = await world.answers(1)
    assert said.startswith("Stopped.") or said == "Stopped. 1 waiting message dropped."


async def test_failures_can_be_rehearsed(world: BotWorld):
    assert "Sorry, I couldn't answer" in await world.ask("rehearse fail invalid_prompt")
    assert "content filter" in await world.ask("rehearse fail content_filter")


async def test_a_long_answer_can_be_rehearsed(world: BotWorld):
    await world.ask("rehearse long 200KB")
    assert len(world.channel.texts) > 4
    assert sum(len(text) for text in world.channel.texts) > 190 * 1024


async def test_a_busy_service_can_be_rehearsed(world: BotWorld):
    answer = await world.ask("rehearse 429")
    assert "the service was busy" in answer
    assert [event.delay for event in world.of(TurnReleased)] == [1.0]
