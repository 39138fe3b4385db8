"""Several replicas on one PostgreSQL: they share nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.inbox import InboxLimits
from bot.runs import RunLimits
from tests.databases import postgresql_database
from tests.failpoints import Failpoints, Killed
from tests.scripted import WORKING, ScriptedAgent
from tests.world import GRACE, RecordingChannel, World, message, open_world
from tests.world import Person as Someone

REPLICAS = InboxLimits(lease=3.0, heartbeat=0.1, sweep=0.05, backoff=0.01)
ENDLESS = RunLimits(deadline=1e12)


@pytest.fixture
async def url(postgresql: str) -> AsyncGenerator[str]:
    async with postgresql_database(postgresql) as url:
        yield url


@asynccontextmanager
async def replica(url: str, **options) -> AsyncGenerator[World]:
    options = {"inbox": REPLICAS, "grace": 0.0} | options
    async with open_world(Path("/nowhere"), database_url=url, **options) as world:
        yield world


async def running(agent: ScriptedAgent) -> None:
    async with asyncio.timeout(10):
        while not agent.runs or not agent.runs[-1].looks:
            await asyncio.sleep(0.005)


@pytest.mark.invariant("I2")
@pytest.mark.invariant("I3")
async def test_two_replicas_answer_each_message_once_and_in_order(url: str):
    agent, channel = ScriptedAgent(first_look=0.0), RecordingChannel()
    people = [Someone(f"p{n}") for n in range(15)]
    async with replica(url, agent=agent, channel=channel) as one, replica(url, agent=agent, channel=channel) as two:
        said = [message(f"{n}", person=person) for n in range(4) for person in people]
        for each in said:  # delivered at both, as after a time-out
            await asyncio.gather(one.bot.accept(each), two.bot.accept(each))
        await one.quiet(30)
    answers: dict[str, list[str]] = {}
    for address, part in channel.sent:
        answers.setdefault(address["to"], []).append(part.text.removeprefix("answer to "))
    assert len(answers) == 15
    for texts in answers.values():
        assert [word for text in texts for word in text.split("\n\n")] == ["0", "1", "2", "3"]


@pytest.mark.invariant("I7")
async def test_start_over_at_one_replica_ends_the_run_at_the_other(url: str):
    agent, channel = ScriptedAgent([[WORKING] * 1_000_000]), RecordingChannel()
    async with replica(url, agent=agent, channel=channel, runs=ENDLESS) as one:
        await one.say("question")
        await running(agent)
        async with replica(url, agent=agent, channel=channel, runs=ENDLESS) as two:
            await two.say("waiting")
            await two.say("start over")
            [said] = await one.answers(1)
            assert said.startswith("I stopped one answer and dropped 1 message.")
            assert agent.cancelled == ["r1"]


@pytest.mark.invariant("I8")
async def test_stop_reaches_the_run_wherever_it_is(url: str):
    agent, channel = ScriptedAgent([[WORKING] * 1_000_000]), RecordingChannel()
    async with replica(url, agent=agent, channel=channel, runs=ENDLESS) as one:
        await one.say("question")
        await running(agent)
        async with replica(url, agent=agent, channel=channel, runs=ENDLESS) as two:
            await two.say("stop")
            assert await two.answers(1) == ["Stopped."]
            assert agent.cancelled == ["r1"]


@pytest.mark.invariant("I4")
async def test_a_dead_replica_s_turns_are_taken_over_within_its_lease(url: str):
    agent, channel = ScriptedAgent([["answer"]], first_look=0.0), RecordingChannel()
    points = Failpoints(kill_at=0)
    tapped = points.tap(agent, "agent", {"look"})
    async with replica(url, agent=tapped, channel=channel) as one:
        with pytest.raises(Killed):
            await _dies(one)
    async with replica(url, agent=agent, channel=channel) as two:
        await two.say("behind it")
        said = await two.answers(2)
        assert said == ["answer", "answer to behind it"]
        assert [run.ask.text for run in agent.runs] == ["question", "behind it"]


async def _dies(world: World) -> None:
    await world.say("question")
    async with asyncio.timeout(10):
        while not world.bot.inbox.running:
            await asyncio.sleep(0.001)
        while world.bot.inbox.running:
            await asyncio.sleep(0.001)
    raise Killed


async def test_a_message_accepted_by_a_stopping_replica_is_answered_by_the_other(url: str):
    agent, channel = ScriptedAgent(), RecordingChannel()
    async with replica(url, agent=agent, channel=channel) as one, replica(url, agent=agent, channel=channel) as two:
        await one.bot.stop(1.0)
        await one.say("question")
        await one.say("and hers", person=GRACE)
        assert sorted(await two.answers(2)) == ["answer to and hers", "answer to question"]
