"""The whole bot in Teams: an answer with headers, sources and a lie in it, and the thumb that comes back."""

from __future__ import annotations

from pathlib import Path

from aiohttp import ClientSession

from bot.types import Citation, Finished, Reply
from tests.scenarios.test_teams_growing import CHAT, Teams, connector, open_teams  # noqa: F401
from tests.scripted import ScriptedAgent
from tests.teams import FakeConnector, invoke

BOOK = Citation("[1]", "The handbook", "https://example.org/handbook", "Leave is 30 days.")
RULES = Citation("[2]", "The rules", "https://example.org/rules")
FIRST = "# Leave\n\n<at>everyone</at> gets 30 days [1]. [https://bank.example](https://evil.example)"
SHOWN = (
    "**Leave**\n\neveryone gets 30 days [1]. https://bank.example ([https://evil.example](https://evil.example))\n\n"
)


async def judge(teams: Teams, delivered: str, reaction: str, words: str) -> None:
    value = {"actionName": "feedback", "actionValue": {"reaction": reaction, "feedback": words}}
    activity = invoke(teams.connector.url, "message/submitAction", value) | {"replyToId": delivered}
    async with ClientSession() as session, session.post(teams.address, json=activity) as response:
        assert (response.status, await response.json()) == (200, {})


async def test_an_answer_and_what_is_thought_of_it(tmp_path: Path, connector: FakeConnector) -> None:  # noqa: F811
    long = "\n\n".join([FIRST, *["word " * 400] * 25, "The rules [2] say so."])
    agent = ScriptedAgent([[Finished(Reply(long, citations=(BOOK, RULES)))]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("how much leave?")
        await teams.until(lambda chat: any("say so" in text for _, text in chat))
        await teams.quiet()
        said = [one.activity for one in connector.deliveries if one.activity.get("type") == "message"]
        assert len(said) == 2
        cited = [[one["position"] for one in activity["entities"][0]["citation"]] for activity in said]
        assert cited == [[1], [2]], "each part has the sources that it names"
        assert said[0]["text"].startswith(SHOWN)
        assert all(activity["channelData"] == {"feedbackLoop": {"type": "default"}} for activity in said)

        described = await teams.bot.store.records.describe(1)
        assert described is not None
        delivered: list[str] = described["steps"]["delivered"]
        for _ in range(2):
            await judge(teams, delivered[1], "dislike", '{"feedbackText": "The rules are older."}')
        [told] = await teams.bot.store.feedback.within(10**12)
        assert (told.turn, told.reaction, told.text) == (1, "dislike", "The rules are older.")
        assert (told.person, told.thread) == ("0ann-object-id", described["steps"]["run"]["thread"])
        async with ClientSession() as session, session.get(teams.address.replace("api/messages", "metrics")) as page:
            assert 'threadkeeper_feedback_total{channel="msteams",reaction="dislike"} 1.0' in await page.text()


async def test_what_grows_by_being_made_harmless_is_split_after_that(
    tmp_path: Path,
    connector: FakeConnector,  # noqa: F811
) -> None:
    agent = ScriptedAgent([[Finished(Reply("a < " * 9_000 + "end"))]])
    async with open_teams(tmp_path, agent, connector) as teams:
        await teams.say("compare")
        await teams.until(lambda chat: any("end" in text for _, text in chat))
        said = [text for kind, text in connector.chats.shown(CHAT) if kind == "message"]
        assert len(said) == 2
        assert all(len(text.encode("utf-16-le")) <= 80_000 for text in said)
        assert "".join(said).count("&lt;") == 9_000
