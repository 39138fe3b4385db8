"""The chat page in a real browser, driven by what a person sees and does."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, FilePayload, Locator, Page, Request, ViewportSize, async_playwright, expect

from bot.settings import is_loopback

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_NAMES = {"alex": "Alex", "sam": "Sam", "personal": "Personal", "team": "Team"}
_GIVE = """(input, [kind, files, text]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name, { type }));
  }
  if (text) data.setData("text/plain", text);
  const options = { bubbles: true, cancelable: true };
  if (kind === "paste") input.dispatchEvent(new ClipboardEvent(kind, { ...options, clipboardData: data }));
  else {
    input.dispatchEvent(new DragEvent("dragover", { ...options, dataTransfer: data }));
    input.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: data }));
  }
}"""
PHONE = ViewportSize(width=390, height=780)
DESKTOP = ViewportSize(width=1180, height=780)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium of this machine; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("There is no Chromium here; `apt-get install chromium` brings it.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


def address_of(server: TestServer) -> str:
    """Where a browser finds it."""
    return str(server.make_url("/")).rstrip("/")


class PageDriver:
    """One tab on the chat page. `problems` collects what the console complained of, `foreign` who else was asked."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.problems: list[str] = []
        self.foreign: list[str] = []
        page.on("request", self._note_request)
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        browser: Browser,
        address: str,
        *,
        scheme: Literal["light", "dark"] = "light",
        size: ViewportSize = DESKTOP,
    ) -> AsyncIterator[PageDriver]:
        """The page, loaded and joined to its conversation."""
        context = await browser.new_context(color_scheme=scheme, viewport=size)
        try:
            driver = cls(await context.new_page(), address)
            await driver.go()
            yield driver
        finally:
            await context.close()

    def _note_request(self, request: Request) -> None:
        if not is_loopback(urlsplit(request.url).hostname or ""):
            self.foreign.append(request.url)

    async def go(self, place: str = "") -> None:
        """Load the page; `place` is such as `#sam/team`."""
        await self.page.goto(f"{self.address}/{place}")
        await expect(self.page.locator("#thread")).to_contain_text("hread")

    # -- what a person does --------------------------------------------------------------------------------

    async def say(self, text: str) -> None:
        """Type it and press Enter."""
        await self.input.fill(text)
        await self.input.press("Enter")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def click(self, button: str) -> None:
        """The page's own button, where a message has one of the same name below it."""
        await self.page.get_by_role("button", name=button, exact=True).first.click()

    async def choose(self, name: str) -> None:
        """Choose a person or a conversation with the mouse."""
        await self.page.get_by_label(_NAMES[name], exact=True).check()

    async def attach(self, *files: FilePayload) -> None:
        """Choose these files in the dialog that the attach button opens."""
        await self.page.get_by_label("Files", exact=True).set_input_files(files)

    async def give(self, event: str, *files: FilePayload, text: str = "") -> None:
        """Drop or paste files (and words) over the input."""
        given = [(file["name"], file["mimeType"], b64encode(file["buffer"]).decode()) for file in files]
        await self.input.evaluate(_GIVE, [event, given, text])

    async def screenshot(self, path: Path) -> None:
        await self.page.screenshot(path=path)

    # -- what a person sees --------------------------------------------------------------------------------

    @property
    def input(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    @property
    def mine(self) -> Locator:
        return self.page.locator(".entry.mine .words")

    @property
    def answers(self) -> Locator:
        """What the agent said."""
        return self.page.locator("#log .entry.theirs:not(.notice):not(.other) .words")

    @property
    def growing(self) -> Locator:
        """Answers that are being written."""
        return self.page.locator("#growing .words")

    @property
    def sources(self) -> Locator:
        return self.page.locator(".sources li")

    @property
    def chips(self) -> Locator:
        """What goes along with the next message."""
        return self.page.locator("#chips li")

    @property
    def refusal(self) -> Locator:
        return self.page.locator("#refusal")

    @property
    def notices(self) -> Locator:
        """What the bot itself said."""
        return self.page.locator(".entry.notice .words")

    @property
    def tools(self) -> Locator:
        return self.page.locator(".tool")

    @property
    def typing(self) -> Locator:
        return self.page.locator("#typing")

    @property
    def run(self) -> Locator:
        return self.page.locator("#run")

    @property
    def thread(self) -> Locator:
        return self.page.locator("#thread")

    @property
    def connection(self) -> Locator:
        return self.page.locator("#connection")
