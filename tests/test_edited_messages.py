"""An edited or deleted message, from its acceptance to what the person sees."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.runs import RunLimits
from bot.texts import Texts
from bot.types import Change, Message, Revision, Stopped
from tests.scripted import WORKING, ScriptedAgent
from tests.world import World, message, open_world


def revised(of: str, change: Change, text: str = "") -> Message:
    return replace(message(text, id=f"{of}/{change}"), revises=Revision(of, change))


async def _blocked(world: World, agent: ScriptedAgent) -> None:
    async with asyncio.timeout(5):
        while not agent.runs or not agent.runs[-1].looks:
            await asyncio.sleep(0.001)


@pytest.mark.invariant("I8")
async def test_a_deleted_question_stops_its_answer(tmp_path: Path) -> None:
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question", id="x")
        await _blocked(world, agent)
        await world.bot.accept(revised("x", Change.DELETED))
        assert await world.answers(1) == ["Stopped."]
        assert agent.cancelled == ["r1"]
        await world.ask("another")
        assert agent.runs[-1].ask.note == Texts().withdrawn([])


@pytest.mark.invariant("I8")
async def test_a_deleted_retry_stops_its_answer(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], [WORKING] * 10_000, ["well"]])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        assert "Sorry" in await world.ask("question")
        await world.say("retry", id="x")
        async with asyncio.timeout(5):
            while len(agent.runs) < 2 or not agent.runs[-1].looks:
                await asyncio.sleep(0.001)
        await world.bot.accept(revised("x", Change.DELETED))
        assert (await world.answers(2))[1] == "Stopped."
        assert agent.cancelled == ["r2"]
        assert await world.ask("retry") == "well", "the question itself was not deleted"


async def test_a_deleted_question_that_waits_is_never_asked(tmp_path: Path) -> None:
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question", id="w")
        await _blocked(world, agent)
        await world.say("waits", id="x")
        await world.bot.accept(revised("x", Change.DELETED))
        await world.bot.accept(revised("w", Change.DELETED))
        assert await world.answers(1) == ["Stopped."]
        assert [run.ask.text for run in agent.runs] == ["question"]


async def test_an_answer_that_was_given_already_stands(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.say("question", id="x")
        await world.answers(1)
        await world.bot.accept(revised("x", Change.DELETED))
        await world.quiet()
        assert world.channel.texts == ["answer to question"]


@pytest.mark.invariant("I5")
async def test_an_edit_that_came_too_late_is_said(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.say("question", id="x")
        await world.answers(1)
        await world.bot.accept(revised("x", Change.EDITED, "another question"))
        assert await world.answers(2) == ["answer to question", Texts().edited_too_late()]


async def test_an_edit_is_asked_where_the_setting_says_so(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent(), edited_messages="redo") as world:
        await world.say("question", id="x")
        await world.answers(1)
        await world.bot.accept(revised("x", Change.EDITED, "another question"))
        assert (await world.answers(2))[1] == "answer to another question"


@pytest.mark.invariant("I8")
async def test_an_edit_stops_the_answer_to_the_first_words(tmp_path: Path) -> None:
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9), edited_messages="redo") as world:
        await world.say("question", id="x")
        await _blocked(world, agent)
        await world.bot.accept(revised("x", Change.EDITED, "another question"))
        assert await world.answers(1) == ["answer to another question"]
        assert agent.cancelled == ["r1"]


async def test_what_was_never_said_to_the_bot_leaves_no_trace(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        for change in Change:
            await world.bot.accept(revised("x", change, "between people"))
        await world.quiet()
        assert (world.channel.texts, world.events) == ([], [])
