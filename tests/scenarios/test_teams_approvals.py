"""The whole bot in Teams: a tool that a person must agree to, from the question on a card to the answer after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bot.bootstrap import StandIns, open_bot
from bot.errors import OperatorError
from bot.events import Event
from bot.texts import Texts
from bot.types import Ended
from tests.scenarios.test_teams_growing import PacedClock, Teams, connector
from tests.scripted import ScriptedAgent
from tests.teams import FakeConnector, installed
from tests.teams.activities import group_message
from tests.teams.cards import answer_to, press, words_of
from tests.world import FAST, QUICK_RUNS, FakeToolbox, settings_for

__all__ = ["connector"]  # a fixture

CHAT, GROUP = "a:1personal", "19:group@thread.v2"
IN_GROUP = {"conversation": {"conversationType": "groupChat", "isGroup": True, "id": GROUP}}
BOB = {"id": "29:1bob", "name": "Bob", "aadObjectId": "0bob-object-id"}
ANSWER = "Your ticket is open."
texts = Texts()


class Approving(Teams):
    """A Teams whose cards are pressed."""

    done: list[str]

    async def post(self, activity: dict[str, Any]) -> tuple[int, Any]:
        async with ClientSession() as session, session.post(self.address, json=activity) as response:
            return response.status, await response.json() if await response.read() else None

    def pressing(self, verb: str, *, place: str = CHAT, **changes: Any) -> dict[str, Any]:
        """What Teams sends when somebody presses this button of the newest card."""
        card_id, card = self.connector.chats.cards(place)[-1]
        return press(self.connector.url, card, verb, card_id, **changes)

    async def press(self, verb: str, *, place: str = CHAT, **changes: Any) -> tuple[int, str, Any]:
        """Press it; the answer."""
        return answer_to(*await self.post(self.pressing(verb, place=place, **changes)))

    async def card(self, place: str = CHAT, *, having: str = "May I do this?") -> list[str]:
        """The newest card, once it says this, and nothing runs."""
        async with asyncio.timeout(10):
            while not any(having in line for line in self._newest(place)) or self.bot.inbox.running:
                await asyncio.sleep(0.005)
        return self._newest(place)

    def _newest(self, place: str) -> list[str]:
        cards = self.connector.chats.cards(place)
        return words_of(cards[-1][1]) if cards else []


@asynccontextmanager
async def open_approving(
    folder: Path,
    connector: FakeConnector,
    *,
    agent: ScriptedAgent | None = None,
    **settings: Any,
) -> AsyncIterator[Approving]:
    done: list[str] = []
    toolbox = FakeToolbox()
    toolbox.add("create_ticket", lambda call, caller: done.append(caller.person.id) or "T-1", once=True, approve=True)
    agent = agent or ScriptedAgent([[["create_ticket"], ANSWER]])
    events: list[Event] = []
    agent.clock = clock = PacedClock()
    stand_ins = StandIns(
        clock=clock, agent=agent, toolbox=toolbox, inbox=FAST, runs=QUICK_RUNS, listeners=[events.append]
    )
    async with open_bot(settings_for(folder, **settings), stand_ins) as bot, TestServer(bot.app) as server:
        await bot.start()
        teams = Approving(bot, connector, agent, events, str(server.make_url("/api/messages")))
        teams.done = done
        yield teams
        await bot.stop(5.0)


@pytest.mark.invariant("I9")
async def test_approved_the_tool_runs_once_and_the_answer_follows(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        await teams.say("open a ticket")
        assert await teams.card() == ["**May I do this?**", "create_ticket", "arguments: {}", "Asked by Ann"]
        assert teams.done == []
        pressed = teams.pressing("approve")
        first = answer_to(*await teams.post(pressed))
        assert (first[1], words_of(first[2])) == ("adaptive", ["You approved this."])
        for again in ({}, {"id": "f:redelivered", "timestamp": "2026-11-21T04:00:31Z"}):
            assert answer_to(*await teams.post(pressed | again)) == first
        await teams.until(lambda chat: chat[-1] == ("message", ANSWER))
        await teams.quiet()
        assert teams.done == ["0ann-object-id"]
        assert (await teams.card(having="Approved by Ann."))[1] == "create_ticket"
        assert "actions" not in connector.chats.cards(CHAT)[-1][1]
        assert [text for _, text in teams.chat] == ["Approved by Ann.", ANSWER]
        assert teams.endings == [Ended.ANSWERED]
        assert answer_to(*await teams.post(pressed)) == first
        later = pressed | {"id": "f:later", "replyToId": "another", "timestamp": "2026-11-21T05:00:00Z"}
        assert answer_to(*await teams.post(later)) == (200, "message", texts.press_came_to("over"))
    assert all(delivery.answered < 300 for delivery in connector.deliveries)


async def test_declined_the_tool_does_not_run(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        await teams.say("open a ticket")
        await teams.card()
        _, kind, shown = await teams.press("decline")
        assert (kind, words_of(shown)) == ("adaptive", ["You declined this."])
        await teams.until(lambda chat: chat[-1] == ("message", ANSWER))
        await teams.quiet()
        assert teams.done == []
        assert (await teams.card(having="Declined by Ann."))[-1] == "Declined by Ann."


@pytest.mark.invariant("I10")
async def test_in_a_group_only_who_asked_decides(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        assert (await teams.post(group_message(connector.url, "<at>Help Bot</at> open a ticket")))[0] == 202
        await teams.card(GROUP)
        told = await teams.press("approve", place=GROUP, **IN_GROUP, **{"from": BOB})
        assert told == (200, "message", texts.press_came_to("not_yours"))
        assert teams.done == []
        assert len(connector.chats.cards(GROUP)[-1][1]["actions"]) == 2, "the question still stands"
        assert (await teams.press("approve", place=GROUP, **IN_GROUP))[1] == "adaptive"
        await teams.card(GROUP, having="Approved by Ann.")
        await teams.quiet()
        assert teams.done == ["0ann-object-id"]
        assert connector.chats.shown(GROUP)[-1] == ("message", ANSWER)


async def test_it_expires_and_says_so(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector, approval_minutes=0.05) as teams:
        await teams.say("open a ticket")
        await teams.until(lambda chat: any("May I use" in text for _, text in chat))
        pressed = teams.pressing("approve")
        await teams.card(having="Not done: nobody answered in time.")
        assert answer_to(*await teams.post(pressed)) == (200, "message", texts.press_came_to("over"))
        await teams.quiet()
        assert teams.done == []


async def test_a_word_does_the_same_as_a_button(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        await teams.say("open a ticket")
        await teams.card()
        await teams.say("approve")
        await teams.card(having="Approved by Ann.")
        await teams.quiet()
        assert teams.done == ["0ann-object-id"]


@pytest.mark.invariant("I7")
async def test_a_card_of_an_older_conversation_decides_nothing(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        await teams.say("open a ticket")
        await teams.card()
        pressed = teams.pressing("approve")
        await teams.say("start over")
        await teams.card(having="Done: new conversation.")
        await teams.quiet()
        _, kind, _ = answer_to(*await teams.post(pressed))
        assert kind == "message"
        await teams.quiet()
        assert teams.done == []


@pytest.mark.invariant("I4")
async def test_a_press_after_a_restart_goes_on(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector) as teams:
        await teams.say("open a ticket")
        await teams.card()
        agent = teams.agent
    async with open_approving(tmp_path, connector, agent=agent) as teams:
        assert (await teams.press("approve"))[1] == "adaptive"
        await teams.until(lambda chat: chat[-1] == ("message", ANSWER))
        await teams.quiet()
        assert teams.done == ["0ann-object-id"]


# -- controls -----------------------------------------------------------------------------------------------------


async def test_start_over_can_be_undone_with_a_button_once(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector, agent=ScriptedAgent()) as teams:
        await teams.say("hello there")
        await teams.until(lambda chat: chat == [("message", "answer to hello there")])
        await teams.say("start over")
        await teams.card(having="Done: new conversation.")
        pressed = teams.pressing("undo")
        assert answer_to(*await teams.post(pressed)) == (200, "message", texts.pressed())
        again = answer_to(*await teams.post(pressed | {"id": "f:redelivered"}))
        assert again == (200, "message", texts.pressed_before("undo"))
        await teams.until(lambda chat: chat[-1] == ("message", texts.undone()))
        await teams.quiet()
        await teams.say("and now")
        await teams.until(lambda chat: chat[-1] == ("message", "answer to and now"))
        assert [text for _, text in teams.chat].count(texts.undone()) == 1
        assert len(teams.agent.threads) == 1


async def test_the_welcome_offers_three_words(tmp_path: Path, connector: FakeConnector) -> None:
    async with open_approving(tmp_path, connector, agent=ScriptedAgent()) as teams:
        await teams.post(installed(connector.url))
        await teams.until(lambda chat: len(chat) == 1)
    [welcome] = connector.messages
    assert [one["value"] for one in welcome["suggestedActions"]["actions"]] == ["help", "tools", "start over"]
    assert "attachments" not in welcome


async def test_words_that_ask_for_patience_can_be_stopped(tmp_path: Path, connector: FakeConnector) -> None:
    agent = ScriptedAgent(before={"start": [OperatorError("The key is refused.", "Set it.") for _ in range(1000)]})
    async with open_approving(tmp_path, connector, agent=agent) as teams:
        await teams.say("hello there")
        assert await teams.card(having=texts.service_down()) == [texts.service_down()]
        assert (await teams.press("stop"))[1] == "message"
        await teams.until(lambda chat: chat[-1][1].startswith("Stopped."))
        await teams.quiet()
        assert teams.endings[-1] is Ended.CONFIRMED
