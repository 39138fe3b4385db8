"""What a turn may do, for how long, and what happens when it may not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.bootstrap import entry_of
from bot.clock import SystemClock
from bot.errors import OperatorError, ServiceUnavailable
from bot.events import LeaseLost, TurnStarted, Unexpected
from bot.runs import RunLimits
from bot.store import open_store
from tests.scripted import WORKING, ScriptedAgent
from tests.world import FAST, FastClock, message, open_world


@pytest.mark.invariant("I7")
async def test_a_turn_that_lost_its_lease_says_nothing(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e12)) as world:
        accepted = await world.say("question")
        async with asyncio.timeout(5):
            while not agent.runs:
                await asyncio.sleep(0.001)
        beside = await open_store(world.bot.settings.database_url, SystemClock(), runner=False)
        await beside.inbox.requeue(everything=True)
        [stolen] = await beside.inbox.claim("another replica", 1, 60.0)
        assert stolen.turn == accepted.turn
        await world.bot.inbox.renew()
        await world.bot.inbox.idle()
        assert world.channel.texts == []
        assert len(world.of(LeaseLost)) == 1
        await beside.close()


@pytest.mark.invariant("I7")
async def test_a_word_from_another_replica_stops_the_answer_before_it_is_sent(tmp_path: Path):
    agent = ScriptedAgent([["old"], ["new"]])
    async with open_world(tmp_path, agent=agent, start=False) as world:
        beside = await open_store(world.bot.settings.database_url, SystemClock(), runner=False)
        look = agent.look

        async def look_late(handle):
            step = await look(handle)
            if agent.look is look_late:
                agent.look = look
                over = entry_of(message("start over"), world.bot.settings)
                await beside.inbox.put(over, 600.0)
            return step

        agent.look = look_late
        await world.say("question")
        await world.bot.start()
        [said] = await world.answers(1)
        assert said.startswith("I stopped one answer.")
        await beside.close()


@pytest.mark.invariant("I7")
async def test_a_late_heartbeat_is_made_up_for_before_a_send(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, inbox=FAST) as world:
        look = agent.look

        async def slow_look(handle):
            world.clock.advance(60.0)
            return await look(handle)

        agent.look = slow_look
        assert await world.ask("question") == "answer to question"


@pytest.mark.invariant("I8")
async def test_a_stop_of_the_process_hands_the_run_over(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 100_000])
    clock = FastClock()
    async with open_world(tmp_path, agent=agent, grace=0.01, clock=clock, runs=RunLimits(deadline=1e12)) as world:
        await world.say("question")
        async with asyncio.timeout(5):
            while not agent.runs:
                await asyncio.sleep(0.001)
    agent.runs[0].script = ["the answer"]
    async with open_world(tmp_path, agent=agent, clock=clock, runs=RunLimits(deadline=1e12)) as world:
        assert await world.answers(1) == ["the answer"]
        assert len(agent.runs) == 1


async def test_while_it_stops_messages_are_still_accepted(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.bot.stop(1.0)
        assert (await world.say("late")).fresh
        assert "stopping" in " ".join(await world.bot.ready())
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        assert await world.answers(1) == ["answer to late"]


async def test_one_runner_at_a_time_on_an_sqlite_file(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    first = await open_store(url, SystemClock(), runner=True)
    with pytest.raises(OperatorError, match=r"already runs on .*bot\.db"):
        await open_store(url, SystemClock(), runner=True)
    beside = await open_store(url, SystemClock(), runner=False)
    await beside.ping()
    await beside.close()
    await first.close()
    again = await open_store(url, SystemClock(), runner=True)
    await again.close()


async def test_a_database_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(OperatorError, match=r"missing/bot\.db cannot be written"):
        await open_store(f"sqlite+aiosqlite:///{tmp_path}/missing/bot.db", SystemClock(), runner=True)


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    store = await open_store(url, SystemClock(), runner=True)
    async with store._database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await store.close()
    with pytest.raises(OperatorError, match="newer version"):
        await open_store(url, SystemClock(), runner=True)


@pytest.mark.invariant("I1")
async def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent(), start=False) as world:
        async with world.bot.store._database.engine.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE inbox RENAME TO gone")
        with pytest.raises(ServiceUnavailable):
            await world.say("question")
        async with world.bot.store._database.engine.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE gone RENAME TO inbox")
        assert (await world.say("question")).fresh


@pytest.mark.invariant("I6")
async def test_a_process_that_takes_its_own_turn_again_does_not_run_it_twice(tmp_path: Path):
    """It was frozen past its lease: by its own sweep the turn waits again, and it is the first to find it."""
    agent = ScriptedAgent([[WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e12)) as world:
        await world.say("question")
        async with asyncio.timeout(5):
            while not agent.runs:
                await asyncio.sleep(0.001)
        assert await world.bot.store.inbox.requeue(everything=True) == 1
        await world.say("stop nothing, just wake up")
        async with asyncio.timeout(5):
            while not world.of(LeaseLost):
                await asyncio.sleep(0.001)
        agent.runs[0].script = ["the answer"]
        assert (await world.answers(2))[0] == "the answer"
        assert [started.attempt for started in world.of(TurnStarted)] == [1, 2, 1]
        assert world.of(Unexpected) == []
        assert len(agent.runs) == 2, "one for each message"
