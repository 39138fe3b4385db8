"""What people see in Microsoft's own client: text that grows, sources, thumbs, mentions, questions on cards."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from bot.bootstrap import Bot
from tests.interop import servers
from tests.interop.page import PlaygroundPage
from tests.interop.playground import PATIENCE, Playground
from tests.interop.staged import TICKET, Desk, cited, staged, ticketing
from tests.scripted import ScriptedAgent

pytestmark = pytest.mark.browser

WELCOME = "Hi, I'm Ada"
SOON = PATIENCE * 1000


@pytest.fixture(scope="session", autouse=True)
def _alone() -> None:
    servers.only_loopback()


@dataclass
class Stage:
    """The bot, what it works with, and the client's own records."""

    bot: Bot
    agent: ScriptedAgent
    desk: Desk
    client: Playground


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """All of it new. At the end, nothing may have failed between client and bot that the client can do."""
    client_folder = tmp_path / "playground"
    client_folder.mkdir()
    agent, desk = ScriptedAgent(), Desk()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        servers.playground(client_folder, session),
        staged(tmp_path, agent, desk) as bot,
        Playground.joined(session) as client,
    ):
        yield Stage(bot, agent, desk, client)
    failed = [one for one in client.exchanged if not 200 <= one.status < 300]
    assert [one.status for one in failed if one.status != 501] == []  # it deletes nothing, and says so


def shot(name: str, folder: Path) -> Path:
    """Where to save how it looked: beside the documentation, where that is asked for."""
    return Path(os.environ.get("SCREENSHOTS") or folder) / f"teams-{name}.png"


async def test_a_welcome_offers_words_to_say(stage: Stage, tmp_path: Path) -> None:
    async with PlaygroundPage.open(tmp_path / "end.png") as page:
        await page.sees(page.from_bot(WELCOME))
        for word in ("help", "tools", "start over"):
            await expect(page.page.get_by_role("button", name=word, exact=True)).to_be_visible(timeout=SOON)
        await page.picture(shot("welcome", tmp_path))
        await page.page.get_by_role("button", name="help", exact=True).click()
        await page.sees(page.from_bot("Just ask."))


async def test_an_answer_grows_and_has_its_label_sources_and_thumbs(stage: Stage, tmp_path: Path) -> None:
    stage.agent.scripts = [cited()]
    async with PlaygroundPage.open(tmp_path / "end.png") as page:
        await page.sees(page.from_bot(WELCOME))
        await page.say("What may I book for my journey?")
        await page.sees(page.from_bot("The travel policy"))
        await expect(page.from_bot("seven days ahead")).to_have_count(0)  # it grows
        await page.picture(shot("streaming", tmp_path))
        answer = page.from_bot("seven days ahead")
        await page.sees(page.label(answer))
        await expect(answer.get_by_role("button", name="1", exact=True)).to_be_visible()
        await answer.get_by_role("button", name="2", exact=True).hover()
        await expect(page.page.get_by_text("How to book", exact=True)).to_be_visible(timeout=SOON)
        await page.picture(shot("citation", tmp_path))
        await page.page.get_by_role("textbox").hover()
        await page.page.get_by_label("Feedback Button").get_by_role("button", name="Like", exact=True).click()
        await page.page.get_by_role("button", name="Submit").click()
        await stage.client.until("feedback", lambda: any(one.kind == "invoke" for one in stage.client.exchanged))
    [kept] = await stage.bot.store.feedback.within(3600.0)
    assert kept.reaction == "like"  # this client does not say of which answer
    assert [shown.text for shown in stage.client.messages(stage.client.personal)][1:] == ["Thinking…"]  # which grew


async def test_a_question_is_approved_on_its_card(stage: Stage, tmp_path: Path) -> None:
    stage.agent.scripts = [ticketing()]
    async with PlaygroundPage.open(tmp_path / "end.png") as page:
        await page.sees(page.from_bot(WELCOME))
        await page.say("Please tell the help desk.")
        await page.sees(page.from_bot("The printer on floor 2 is on fire"))
        assert stage.desk.called == 0
        await page.picture(shot("approval", tmp_path))
        await page.page.get_by_role("button", name="Approve", exact=True).click()
        await page.sees(page.from_bot("Approved by Alex Wilber."))
        await page.sees(page.label(page.from_bot(TICKET.replace("**", ""))))
        await expect(page.page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
        await page.picture(shot("approved", tmp_path))
    assert stage.desk.called == 1


async def test_start_over_is_undone_with_a_button(stage: Stage, tmp_path: Path) -> None:
    async with PlaygroundPage.open(tmp_path / "end.png") as page:
        await page.sees(page.from_bot(WELCOME))
        await page.say("good morning")
        await page.sees(page.label(page.from_bot("answer to good morning")))
        await page.say("start over")
        await page.sees(page.from_bot("Done: new conversation."))
        await page.picture(shot("undo", tmp_path))
        await page.page.get_by_role("button", name="Undo", exact=True).click()
        await page.sees(page.from_bot("Done: we are back in the earlier conversation."))


async def test_in_a_group_a_mention_is_answered(stage: Stage, tmp_path: Path) -> None:
    stage.agent.scripts = [["The next one leaves at 9:12."]]
    async with PlaygroundPage.open(tmp_path / "end.png") as page:
        await page.sees(page.from_bot(WELCOME))
        await page.choose("Group Chat")
        await page.sees(page.from_bot("Mention me to ask."))
        await page.say("Shall we take the train?")
        await page.say(" when does the train leave?", mentioning="Test Bot")
        await page.sees(page.label(page.from_bot("9:12")))
        await page.picture(shot("group", tmp_path))
    assert len(stage.agent.runs) == 1
