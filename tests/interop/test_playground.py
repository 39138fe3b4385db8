"""The Microsoft 365 Agents Playground, in its Teams mode, seen in a headless Chromium, talks to the bot."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Page, Route, expect

from tests.processes import served
from tests.web.driver import chromium

HERE = Path(__file__).resolve().parent
PLAYGROUND = "http://127.0.0.1:56150"
WELCOME = "an AI assistant. I can be wrong"
QUIET = {"TEAMSAPPTESTER_BROWSER": "none", "APPLICATION_INSIGHTS_NO_STATSBEAT": "1"}


@dataclass
class Teams:
    """What a person does in the Playground, and what its page shows."""

    session: aiohttp.ClientSession
    page: Page
    config: dict[str, Any]

    async def say(self, conversation: str, text: str, *, mention: bool = False) -> None:
        bot = self.config["bot"]
        words = f"<at>{bot['name']}</at> {text}" if mention else text
        mentions = [{"mentioned": {"id": bot["id"], "name": bot["name"]}, "text": f"<at>{bot['name']}</at>"}]
        body = {"from": {"id": self.config["currentUser"]["id"]}, "text": words, "textFormat": "plain"}
        url = f"{PLAYGROUND}/_conversation/v1/conversations/{conversation}/messages"
        async with self.session.post(url, json=body | {"mentions": mentions if mention else []}) as response:
            assert response.status == 200, await response.text()

    async def shows(self, text: str) -> None:
        await expect(self.page.get_by_text(text).first).to_be_visible(timeout=20_000)


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def playground(folder: Path, bot: str) -> AsyncGenerator[aiohttp.ClientSession]:
    """The Playground's server, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        str(HERE / "node_modules" / ".bin" / "agentsplayground"),
        *("start", "-e", f"{bot}/api/messages", "-c", "msteams", "-p", "56150", "--disable-telemetry"),
        cwd=folder,
        env=os.environ | QUIET,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(120):
            while not await answers(session, f"{PLAYGROUND}/_debug/ping"):
                assert process.returncode is None, "the Playground ended"
                await asyncio.sleep(0.1)
            yield session
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def loopback_alone(route: Route) -> None:
    await (route.continue_() if route.request.url.startswith(PLAYGROUND) else route.abort())


async def test_a_person_installs_the_bot_and_talks_to_it(tmp_path: Path) -> None:
    async with served(tmp_path) as bot, playground(tmp_path, bot.address) as session, chromium() as browser:
        page = await browser.new_page(viewport={"width": 1600, "height": 1200})
        await page.route("**/*", loopback_alone)
        await page.goto(PLAYGROUND)
        async with session.get(f"{PLAYGROUND}/_internal/v1/config") as response:
            teams = Teams(session, page, (await response.json())["config"])
        personal, group = teams.config["personalChat"]["id"], teams.config["groupChats"][0]["id"]

        await teams.shows(WELCOME)
        assert (await page.inner_text("body")).count("message 201 Hi, I'm") == 1, "once, says the Playground's log"

        await teams.say(personal, "calculate 25 * 47")
        await teams.shows("calculate: 1175")
        await teams.shows("AI generated")
        await teams.say(personal, "remember my code is 2208")
        await teams.shows("I'll remember: my code is 2208")
        await teams.say(personal, "what is my code?")
        await teams.shows("You told me: my code is 2208")
        await teams.say(personal, "start over")
        await teams.shows("new conversation")

        await page.get_by_text("Group Chat", exact=True).first.click()
        await teams.say(group, "calculate 2 * 3")
        await teams.say(group, "calculate 3 * 5", mention=True)
        await teams.shows("calculate: 15")
        assert await page.get_by_text("calculate: 6", exact=True).count() == 0
        await page.screenshot(path=tmp_path / "group.png")
        kept = os.environ.get("THREADKEEPER_SCREENSHOTS")
        if kept:
            shutil.copy(tmp_path / "group.png", kept)
