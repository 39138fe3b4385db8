"""A browser for the tests of a file; a bot, its address and a tab for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser

from tests.web.driver import PageDriver, address_of, chromium
from tests.web.local_bot import LocalBot


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def bot() -> LocalBot:
    return LocalBot()


@pytest_asyncio.fixture(loop_scope="module")
async def server(bot: LocalBot) -> AsyncIterator[TestServer]:
    async with TestServer(bot.app()) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def chat(browser: Browser, server: TestServer) -> AsyncIterator[PageDriver]:
    async with PageDriver.open(browser, address_of(server)) as driver:
        yield driver
        assert not driver.problems
        assert not driver.foreign, "nothing may be asked of another machine"
