"""The bot as it is started, in Microsoft's own client: over its interface, and on its page in a browser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.interop import servers
from tests.interop.page import PlaygroundPage
from tests.interop.playground import PATIENCE, Playground

SERVICE_URL = "http://localhost:56150/_connector"
WELCOME = "Hi, I'm Threadkeeper, an AI assistant."
GROUP_WELCOME = "Hi, I'm Threadkeeper. Mention me to ask."


@pytest.fixture(scope="session", autouse=True)
def _alone() -> None:
    servers.only_loopback()


@pytest_asyncio.fixture
async def playground(tmp_path: Path) -> AsyncIterator[Playground]:
    """The client and the bot, both new. At the end, nothing between them may have failed, and the bot must stop.

    The bot stops first, so that what it is sending arrives.
    """
    bot_folder, client_folder = tmp_path / "bot", tmp_path / "playground"
    bot_folder.mkdir()
    client_folder.mkdir()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        servers.playground(client_folder, session),
        servers.bot(bot_folder, session) as bot,
        Playground.joined(session) as client,
    ):
        yield client
        code = await bot.stop()
    refused = [one for one in client.exchanged if not 200 <= one.status < 300]
    assert not refused
    assert {one.activity["serviceUrl"] for one in client.exchanged} <= {SERVICE_URL}
    assert code == 0
    assert not _complaints(bot.log)


def _complaints(log: str) -> list[str]:
    """The log's lines above "info", and what is no log line, such as a trace."""
    complaints: list[str] = []
    for line in log.splitlines():
        try:
            level = json.loads(line)["level"]
        except (ValueError, TypeError, KeyError):
            level = ""
        if level != "info":
            complaints.append(line)
    return complaints


# -- over the client's interface ------------------------------------------------------------------------------


async def test_an_installation_is_welcomed_once(playground: Playground) -> None:
    await playground.install(playground.personal)
    (welcome,) = await playground.said(playground.personal, 1)
    assert welcome.text.startswith(WELCOME)
    assert not welcome.by_agent

    # Teams tells of an installation twice, and both had been heard before this was answered.
    await playground.say(playground.personal, "status")
    _, status = await playground.said(playground.personal, 2)
    assert status.text.startswith("No thread yet")
    kinds = [one.kind for one in playground.exchanged if one.to_bot]
    assert sorted(kinds[:2]) == ["conversationUpdate", "installationUpdate"]


async def test_a_personal_message_is_answered_by_the_agent_behind_typing(playground: Playground) -> None:
    await playground.say(playground.personal, "calculate 25 * 47")
    (answer,) = await playground.said(playground.personal, 1)
    assert "1175" in answer.text
    assert answer.by_agent
    assert [shown.kind for shown in playground.shown] == ["typing", "createMessage"]


async def test_the_thread_is_remembered_until_start_over(playground: Playground) -> None:
    await playground.say(playground.personal, "remember my code is 2208")
    await playground.said(playground.personal, 1)
    await playground.say(playground.personal, "what is my code?")
    _, recalled = await playground.said(playground.personal, 2)
    assert recalled.text == "You told me: my code is 2208"

    await playground.say(playground.personal, "start over")
    *_, done = await playground.said(playground.personal, 3)
    assert done.text.startswith("Done: new conversation.")
    assert not done.by_agent
    await playground.say(playground.personal, "what is my code?")
    *_, forgotten = await playground.said(playground.personal, 4)
    assert forgotten.by_agent
    assert "2208" not in forgotten.text


async def test_stop_interrupts_an_answer(playground: Playground) -> None:
    await playground.say(playground.personal, "rehearse wait 60")
    await playground.until("typing", lambda: any(shown.kind == "typing" for shown in playground.shown))
    await playground.say(playground.personal, "stop")
    (stopped,) = await playground.said(playground.personal, 1)
    assert stopped.text == "Stopped."


async def test_in_a_group_only_a_mention_is_answered(playground: Playground) -> None:
    await playground.install(playground.group)
    (welcome,) = await playground.said(playground.group, 1)
    assert welcome.text.startswith(GROUP_WELCOME)

    await playground.overhear(playground.group, "what is 2+2?")
    heard = await playground.heard("what is 2+2?")
    assert heard.status == 200  # 202 would say that it was taken
    await playground.say(playground.group, "2+3*4", mentioning=True)
    _, answer = await playground.said(playground.group, 2)
    assert "14" in answer.text
    assert answer.by_agent
    assert not playground.messages(playground.personal)


async def test_in_a_channel_the_answer_stands_below_the_post(playground: Playground) -> None:
    await playground.say(playground.channel, "calculate 25 * 47", mentioning=True)
    asked = await playground.heard("25 * 47")
    post = asked.activity["conversation"]["id"]
    assert ";messageid=" in post

    def answers() -> list[str]:
        return [
            str(one.activity["text"])
            for one in playground.exchanged
            if not one.to_bot and one.kind == "message" and one.activity["conversation"]["id"] == post
        ]

    await playground.until("answer below the post", lambda: bool(answers()))
    assert ["1175" in answer for answer in answers()] == [True]


# -- on the client's page -------------------------------------------------------------------------------------


@pytest.mark.browser
async def test_the_page_shows_the_welcome_typing_and_labelled_answers(playground: Playground, tmp_path: Path) -> None:
    async with PlaygroundPage.open(tmp_path / "personal.png") as page:
        await page.sees(page.from_bot(WELCOME))

        await page.say("remember my code is 2208")
        await page.sees(page.label(page.from_bot("I'll remember: my code is 2208")))
        await page.say("rehearse wait 3")
        await expect(page.typing).to_be_visible(timeout=PATIENCE * 1000)
        await page.sees(page.label(page.from_bot("I waited, as rehearsed.")))
        await expect(page.typing).not_to_be_attached(timeout=PATIENCE * 1000)

        await page.say("what is my code?")
        await page.sees(page.label(page.from_bot("You told me: my code is 2208")))
        await page.say("start over")
        await page.sees(page.from_bot("Done: new conversation."))
        await expect(page.from_bot(WELCOME)).to_have_count(1)
        await expect(page.label(page.messages)).to_have_count(3)  # neither the welcome nor "Done" is the agent's
    assert len(playground.messages(playground.personal)) == 5


@pytest.mark.browser
async def test_the_page_shows_a_group_whose_mention_is_answered(playground: Playground, tmp_path: Path) -> None:
    async with PlaygroundPage.open(tmp_path / "group.png") as page:
        await page.sees(page.from_bot(WELCOME))
        await page.choose("Group Chat")
        await page.sees(page.from_bot(GROUP_WELCOME))

        await page.say("good morning, all")
        await page.sees(page.messages.filter(has_text="good morning, all"))
        await page.say(" calculate 25 * 47", mentioning="Test Bot")
        await page.sees(page.label(page.from_bot("1175")))
        await expect(page.messages).to_have_count(4)
    assert len(playground.messages(playground.group)) == 2
