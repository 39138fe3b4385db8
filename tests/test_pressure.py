"""Too much at once, and what could not be answered: said aloud, and in an operator's hands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.errors import ServiceBusy
from bot.types import Stopped
from tests.processes import command, messages, served
from tests.scripted import WORKING, ScriptedAgent
from tests.world import GRACE, open_world

FAILED = Stopped("failed", "invalid_prompt")


@pytest.mark.invariant("I5")
async def test_beyond_ten_waiting_messages_the_next_is_refused_aloud(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, start=False) as world:
        for number in range(14):
            assert (await world.say(f"q{number}")).fresh
        await world.say("hers", person=GRACE)
        await world.bot.start()
        said = await world.answers(3)
        assert sum("were waiting, so I didn't take what came after" in text for text in said) == 1
        assert "answer to " + "\n\n".join(f"q{number}" for number in range(10)) in said
        assert "answer to hers" in said


@pytest.mark.invariant("I3")
async def test_a_busy_service_holds_up_nobody_else_and_says_the_place_in_the_line(tmp_path: Path):
    agent = ScriptedAgent(before={"start": [ServiceBusy("429", retry_after=40.0)]})
    async with open_world(tmp_path, agent=agent) as world:
        await world.say("question")
        [said] = await world.answers(1, ended=False)
        assert said == "Many are asking: you're number 1, about 40 seconds."
        await world.say("hers", person=GRACE)
        assert (await world.answers(2, ended=False))[1] == "answer to hers"


async def test_an_unanswered_turn_can_be_taken_up_again_or_dropped(tmp_path: Path):
    agent = ScriptedAgent([[FAILED], [FAILED]])
    async with open_world(tmp_path, agent=agent) as world:
        first = await world.say("one")
        await world.answers(1)
        second = await world.say("two")
        await world.answers(2)
        records = world.bot.store.records
        assert [turn["id"] for turn in await records.attention()] == [first.turn, second.turn]
        assert await records.drop(first.turn)
        assert not await records.drop(first.turn)
        assert not await records.again(first.turn)
        assert await records.again(second.turn)
        assert (await world.answers(3))[2] == "answer to two"
        assert await records.attention() == []
        assert not await records.again(second.turn)


async def test_a_turn_that_runs_is_not_dropped(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 50 + ["answer"]])
    async with open_world(tmp_path, agent=agent) as world:
        accepted = await world.say("question")
        async with asyncio.timeout(5):
            while not agent.runs:
                await asyncio.sleep(0.001)
        assert not await world.bot.store.records.drop(accepted.turn)
        assert await world.answers(1) == ["answer"]


async def test_the_inbox_commands_work_beside_a_running_bot(tmp_path: Path):
    async with served(tmp_path) as bot:
        told = await bot.say("rehearse fail invalid_prompt")
        reference = told["reference"]
        await bot.shows(f"Reference {reference}")
        code, out, _ = await command(tmp_path, "inbox", "list")
        assert (code, reference in out, "apology" in out) == (0, True, True)
        code, out, err = await command(tmp_path, "inbox", "retry", reference)
        assert (code, "is taken up again" in out) == (0, True), err
        async with asyncio.timeout(20):
            while str(messages(await bot.state())).count(f"Reference {reference}") < 2:
                await asyncio.sleep(0.1)
        code, out, err = await command(tmp_path, "inbox", "drop", reference.lower())
        assert (code, "is dropped" in out) == (0, True), err
        code, _, err = await command(tmp_path, "inbox", "drop", reference)
        assert (code, "inbox list" in err) == (2, True)
