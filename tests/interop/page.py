"""The Agents Playground's page in a browser: what a person does there and sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import FloatRect, Locator, Page, Route, ViewportSize, expect

from bot.settings import is_loopback
from tests.interop.playground import PATIENCE
from tests.interop.servers import PLAYGROUND
from tests.web.driver import chromium

SIZE = ViewportSize(width=1280, height=640)
CONVERSATION = FloatRect(x=330, y=50, width=620, height=580)


class PlaygroundPage:
    """One tab. Opening it adds the bot to the personal chat."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    @asynccontextmanager
    async def open(cls, screenshot: Path) -> AsyncIterator[PlaygroundPage]:
        """The page, loaded. How it looked at the end goes to `screenshot`, whatever happened."""
        async with chromium() as browser:
            context = await browser.new_context(viewport=SIZE)
            context.set_default_timeout(PATIENCE * 1000)
            await context.route("**/*", _loopback_alone)
            page = await context.new_page()
            try:
                await page.goto(f"{PLAYGROUND}/")
                yield cls(page)
            finally:
                await page.screenshot(path=screenshot)
                print(f"Screenshot: {screenshot}")
                await context.close()

    # -- what a person does --------------------------------------------------------------------------------

    async def choose(self, conversation: str) -> None:
        """Such as 'Group Chat'. The first time it adds the bot."""
        await self.page.get_by_role("treeitem", name=conversation, exact=True).click()

    async def say(self, text: str, *, mentioning: str = "") -> None:
        """Type it and press Enter, behind a mention chosen from the list that @ opens."""
        await self.page.get_by_role("textbox").click()
        if mentioning:
            await self.page.keyboard.type("@")
            await self.page.locator("#typeahead-menu").get_by_text(mentioning, exact=True).click()
        await self.page.keyboard.type(text)
        await self.page.keyboard.press("Enter")

    async def picture(self, path: Path) -> None:
        """Save how the conversation looks, with nothing of the client beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path, clip=CONVERSATION, animations="disabled")

    # -- what a person sees --------------------------------------------------------------------------------

    @property
    def messages(self) -> Locator:
        """Everybody's, each with its author."""
        return self.page.locator("xpath=//div[@aria-label='Message header']/..")

    def from_bot(self, text: str) -> Locator:
        """The bot's messages with these words."""
        author = self.page.get_by_label("Message author").get_by_text("Test Bot", exact=True)
        return self.messages.filter(has=author).filter(has_text=text)

    def label(self, message: Locator) -> Locator:
        """The mark that Teams puts on an agent's words."""
        return message.get_by_text("AI generated", exact=True)

    @property
    def typing(self) -> Locator:
        """The bot's picture with three dots. Nothing names it, so it is found by its shape."""
        return self.page.locator("[role=img][aria-label='Test Bot'] + div:empty + div:empty + div:empty")

    async def sees(self, message: Locator) -> None:
        """Once, in good time."""
        await expect(message).to_have_count(1, timeout=PATIENCE * 1000)
        await expect(message).to_be_visible()


async def _loopback_alone(route: Route) -> None:
    """The page asks for its fonts elsewhere."""
    if is_loopback(urlsplit(route.request.url).hostname or ""):
        await route.continue_()
    else:
        await route.abort()
