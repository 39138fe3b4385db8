"""The page on the real bot: what the README promises, seen in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.processes import served
from tests.web.driver import PageDriver, chromium

pytestmark = pytest.mark.browser


async def test_what_the_readme_promises(tmp_path: Path):
    bots = served(tmp_path, fresh=True)
    async with chromium() as browser, bots as bot, PageDriver.open(browser, bot.address) as page:
        await page.say("What's the current time in Tokyo and calculate 25 * 47?")
        await expect(page.answers.last).to_contain_text("1175")
        await expect(page.answers.last).to_contain_text("Asia/Tokyo")
        await expect(page.tools).to_have_count(2)
        await page.say("remember my code is 2208")
        await expect(page.answers.last).to_contain_text("I'll remember")
        bot.kill()
        await bot.process.wait()
        port = bot.address.rsplit(":", 1)[1]
        async with served(tmp_path, PORT=port):
            await page.say("what is my code?")
            await expect(page.answers.last).to_contain_text("You told me: my code is 2208", timeout=20_000)
            await page.click("Start over")
            await expect(page.notices.last).to_contain_text("new conversation")
            await page.say("what is my code?")
            await expect(page.answers.last).to_contain_text("rehearsal agent")
            await page.click("Undo")
            await expect(page.notices.last).to_contain_text("earlier conversation")
            await page.say("rehearse wait 60")
            await expect(page.typing).to_be_visible()
            await page.click("Stop")
            await expect(page.notices.last).to_contain_text("Stopped.")
            await expect(page.typing).to_be_hidden()
        assert not page.foreign
