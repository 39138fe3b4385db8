"""The whole bot in a one-to-one chat of Teams: from POST /api/messages to what the person sees as an answer grows."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bot.bootstrap import Bot, StandIns, open_bot
from bot.events import Event, TurnEnded
from bot.texts import Texts
from bot.types import Ended, Stopped, Working
from tests.scripted import ScriptedAgent
from tests.teams import FakeConnector, message
from tests.teams.streams import stream_info
from tests.world import FAST, QUICK_RUNS, FakeToolbox, settings_for

CHAT = "a:1personal"
PACE = 10.0
_ids = itertools.count(1)


class PacedClock:
    """Time that goes ten times as fast."""

    def now(self) -> float:
        return time.time() * PACE

    def monotonic(self) -> float:
        return time.monotonic() * PACE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / PACE)


@dataclass
class Teams:
    """A person's Teams, and the bot behind it."""

    bot: Bot
    connector: FakeConnector
    agent: ScriptedAgent
    events: list[Event]
    address: str

    async def say(self, text: str) -> None:
        activity = message(self.connector.url, text, id=f"17{next(_ids):011}")
        async with ClientSession() as session, session.post(self.address, json=activity) as response:
            assert response.status == 202

    @property
    def chat(self) -> list[tuple[str, str]]:
        return self.connector.chats.shown(CHAT)

    async def until(self, true: Callable[[list[tuple[str, str]]], bool]) -> None:
        """Wait until the chat looks so."""
        async with asyncio.timeout(30):
            while not true(self.chat):
                await asyncio.sleep(0.005)

    async def quiet(self) -> None:
        """Wait until every turn and every stream has ended."""
        async with asyncio.timeout(30):
            while (
                self.bot.inbox.running
                or await self.bot.store.records.unfinished()
                or any(one.get_name() == "stream-end" for one in asyncio.all_tasks())
            ):
                await asyncio.sleep(0.005)

    @property
    def endings(self) -> list[Ended]:
        return [event.ended for event in self.events if isinstance(event, TurnEnded)]


@asynccontextmanager
async def open_teams(
    folder: Path, agent: ScriptedAgent, connector: FakeConnector, *, grace: float = 5.0
) -> AsyncIterator[Teams]:
    events: list[Event] = []
    agent.clock = clock = PacedClock()
    stand_ins = StandIns(
        clock=clock, agent=agent, toolbox=FakeToolbox(), inbox=FAST, runs=QUICK_RUNS, listeners=[events.append]
    )
    async with open_bot(settings_for(folder), stand_ins) as bot, TestServer(bot.app) as server:
        await bot.start()
        try:
            yield Teams(bot, connector, agent, events, str(server.make_url("/api/messages")))
        finally:
            await bot.stop(grace)


@pytest.fixture
async def connector() -> AsyncIterator[FakeConnector]:
    fake = FakeConnector(PacedClock().monotonic)
    await fake.start()
    yield fake
    await fake.close()


def growing(text: str, looks: int) -> list[Working]:
    """A run whose text grows to this in so many looks."""
    words = text.split()
    return [Working("in_progress", text=" ".join(words[: 1 + len(words) * n // looks])) for n in range(looks)]


LONG = " ".join(f"word{number}" for number in range(40))


@pytest.mark.invariant("I5")
async def test_an_answer_grows_into_its_message(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent([[*growing(LONG, 16), f"{LONG} and the end"]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("tell me")
        await teams.until(lambda chat: chat == [("informative", Texts().thinking())])
        await teams.until(lambda chat: chat[0][0] == "streaming")
        await teams.quiet()
        assert teams.chat == [("message", f"{LONG} and the end")]
        assert teams.endings == [Ended.ANSWERED]
    assert all(delivery.answered < 300 for delivery in connector.deliveries)
    times = [delivery.at for delivery in connector.deliveries if stream_info(delivery.activity)]
    assert len(times) > 3
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))


@pytest.mark.invariant("I8")
async def test_stop_in_teams_is_the_word_stop(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent([[*growing(LONG, 16), *[Working("in_progress")] * 1000]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("tell me")
        await teams.until(lambda chat: chat != [] and chat[0][0] == "streaming")
        connector.chats.stop(CHAT)
        stood = teams.chat[0]
        await teams.until(lambda chat: len(chat) == 2)
        await teams.quiet()
        assert teams.chat == [stood, ("message", "Stopped.")]
        assert teams.endings == [Ended.STOPPED, Ended.CONFIRMED]
        assert agent.cancelled == ["r1"]
        await teams.say("and now")
        await teams.until(lambda chat: len(chat) == 3 and chat[2][0] == "message")
        assert teams.chat[2] == ("message", "answer to and now")


@pytest.mark.invariant("I5")
async def test_the_word_stop_keeps_what_grew(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent([[*growing(LONG, 16), *[Working("in_progress")] * 1000]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("tell me")
        await teams.until(lambda chat: chat != [] and chat[0][0] == "streaming")
        await teams.say("stop")
        await teams.quiet()
        (first, grew), said = sorted(teams.chat, key=lambda one: one[1] == "Stopped.")
        assert (first, said) == ("message", ("message", "Stopped."))
        assert LONG.startswith(grew)


@pytest.mark.invariant("I5")
async def test_an_apology_takes_the_place_of_thinking(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent([[*[Working("in_progress")] * 3, Stopped("failed", "broken")]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("tell me")
        await teams.until(lambda chat: chat == [("informative", Texts().thinking())])
        await teams.quiet()
        [(state, said)] = teams.chat
        assert (state, said.startswith("Sorry, I couldn't answer.")) == ("message", True)
        assert teams.endings == [Ended.APOLOGY]


@pytest.mark.invariant("I6")
async def test_a_turn_that_is_handed_over_leaves_nothing_behind(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent([[*growing(LONG, 16), *[Working("in_progress")] * 20, f"{LONG} and the end"]])
    async with open_teams(tmp_path, agent, connector, grace=0.01) as teams:
        await teams.say("tell me")
        await teams.until(lambda chat: chat != [] and chat[0][0] == "streaming")
    assert connector.chats.shown(CHAT) == []
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.quiet()
        assert teams.chat == [("message", f"{LONG} and the end")]
    assert len(agent.runs) == 1
