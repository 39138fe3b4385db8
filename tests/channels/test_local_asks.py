"""Questions and controls of the local channel over HTTP."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient

from bot.types import Asked, Control, Decision, Part
from tests.channels.test_local import ADDRESS, ALEX, bot, client, events
from tests.web.local_bot import LocalBot

__all__ = ["bot", "client"]  # fixtures

ASKED = Asked("appr-1", "create_ticket", {"title": "secret words"}, "Alex")


async def test_a_question_and_what_became_of_it_are_told(bot: LocalBot, client: TestClient) -> None:
    decided = Asked(ASKED.approval, ASKED.tool, ASKED.arguments, ASKED.asker, "_Approved by Alex._")
    async with client.get("/local/events", params=ALEX) as response:
        delivered = await bot.channel.send(ADDRESS, Part("May I?", asks=ASKED))
        await bot.channel.update(ADDRESS, delivered, Part("May I? Yes.", asks=decided))
        await bot.channel.send(ADDRESS, Part("Done.", controls=(Control.UNDO, Control.START_OVER)))
        question, answer, done = [data for _, _, data in await events(response, 3)]
    assert question["asks"] == {"approval": "appr-1", "tool": "create_ticket", "asker": "Alex", "outcome": ""}
    assert (answer["id"], answer["asks"]["outcome"]) == (delivered, "_Approved by Alex._")
    assert done["controls"] == ["undo", "start_over"]


@pytest.mark.parametrize("decision", list(Decision))
async def test_a_press_is_a_message_that_decides(bot: LocalBot, client: TestClient, decision: Decision) -> None:
    bot.decisions["alex"] = decision
    pressed = {**ALEX, "id": "press-0001", "text": "approve", "decides": "appr-1"}
    for fresh in (True, False):
        async with client.post("/local/messages", json=pressed) as response:
            assert response.status == 202
            came = await response.json()
        assert (came["fresh"], came["decision"]) == (fresh, decision)
        assert came["told"]
    [said] = bot.accepted
    assert (said.text, said.decides, said.person.id) == ("approve", "appr-1", "alex")


async def test_a_press_is_not_shown_as_words(bot: LocalBot, client: TestClient) -> None:
    bot.decisions["alex"] = Decision.APPROVED
    async with client.get("/local/events", params=ALEX) as response:
        for more in ({"text": "approve", "decides": "appr-1"}, {"text": "status"}):
            async with client.post("/local/messages", json={**ALEX, **more}) as answered:
                assert "told" in await answered.json() or "decides" not in more
        [(_, kind, data)] = await events(response, 1)
    assert (kind, data["text"], len(bot.accepted)) == ("said", "status", 2)


@pytest.mark.parametrize("given", [7, "", "x" * 201, "a b", ["appr-1"], "<x>"])
async def test_what_is_no_id_of_an_approval_is_refused(bot: LocalBot, client: TestClient, given: object) -> None:
    async with client.post("/local/messages", json={**ALEX, "text": "approve", "decides": given}) as response:
        assert (response.status, await response.json()) == (400, {"error": "decides must be the id of an approval."})
    assert bot.accepted == []
