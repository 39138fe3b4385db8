"""The bot in this process, behind the client, with an agent that does what a test tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bot.bootstrap import Bot, StandIns, open_bot
from bot.types import Caller, Citation, Finished, Reply, ToolCall, ToolOutput, ToolSpec, Usage, Working
from tests.interop.servers import BOT
from tests.scripted import ScriptedAgent
from tests.world import settings_for

ASKED = {"title": "The printer on floor 2 is on fire", "priority": "high"}
GROWING = (
    "The travel policy allows **rail in first class** for journeys of more than two hours [1], and it asks you to book "
    "at least seven days ahead [2]."
)
CITED = (
    Citation("[1]", "Travel policy 2026", "https://intranet.example.com/travel", "Rail: first class above two hours."),
    Citation("[2]", "How to book", "https://intranet.example.com/booking", "Book seven days ahead."),
)
TICKET = "Done: ticket **T-118** is open, and the help desk has been told."


class Desk:
    """One tool, which needs a person's agreement."""

    def __init__(self) -> None:
        self.called = 0

    def specs(self) -> list[ToolSpec]:
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in ASKED}}
        return [ToolSpec("create_ticket", "Open a ticket.", schema, once=True, source="test", approve=True)]

    def approval(self, call: ToolCall) -> Mapping[str, str] | None:
        return ASKED

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        self.called += 1
        return ToolOutput(call.id, "T-118")


def cited() -> list[object]:
    """A run whose text grows, and cites its sources in the end."""
    words = GROWING.split()
    grown = [Working("in_progress", text=" ".join(words[: 3 * part])) for part in range(1, 1 + len(words) // 3)]
    return [*grown, Finished(Reply(GROWING, citations=CITED), Usage(10, 5, 10))]


def ticketing() -> list[object]:
    """A run that opens a ticket."""
    return [["create_ticket"], TICKET]


@asynccontextmanager
async def staged(folder: Path, agent: ScriptedAgent, desk: Desk) -> AsyncIterator[Bot]:
    """It listens where the client looks for a bot."""
    async with open_bot(settings_for(folder, bot_name="Ada"), StandIns(agent=agent, toolbox=desk)) as bot:
        runner = web.AppRunner(bot.app)
        await runner.setup()
        where = urlsplit(BOT)
        await web.TCPSite(runner, where.hostname, where.port).start()
        await bot.start()
        try:
            yield bot
        finally:
            await bot.stop(5.0)
            await runner.cleanup()
