"""`python -m tests.killable`: the bot as `serve` runs it, which kills itself, once, at the named point (KILL_AT)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot import settings as environment
from bot.bootstrap import StandIns, open_bot
from bot.cli.serve import listen
from bot.clock import SystemClock
from bot.inbox import InboxLimits
from bot.store import open_store
from tests.failpoints import Failpoints, Overlay

LEASE = 2.0
"""Longer than a send to a file may take, so a test need not wait long for the lease of the dead."""


class Deadly(Failpoints):
    """Failpoints that are real: SIGKILL, by its own hand."""

    def point(self, name: str) -> None:
        if name == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)


def tapped(store: Any, points: Failpoints) -> Any:
    """The store, with points around the writes of a turn."""
    return Overlay(
        store,
        inbox=points.tap(store.inbox, "inbox"),
        tool_calls=points.tap(store.tool_calls, "tool_calls"),
    )


class FileChannel:
    """A `Channel` whose chat is a file, which no kill takes back."""

    name = "local"
    limit = 80 * 1024
    send_timeout = 1.0
    shows = frozenset()

    def __init__(self, file: Path) -> None:
        self._file = file

    def dialect(self, text: str) -> str:
        return text

    @asynccontextmanager
    async def working(self, _address: Any) -> AsyncGenerator[None]:
        yield

    async def send(self, _address: Any, part: Any) -> str:
        with self._file.open("a") as chat:
            chat.write(f"{part.text!r}\n")
        return "shown"


async def serve() -> None:
    """Run until the kill, or SIGTERM."""
    settings = environment.load(env_file=None)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    points = Deadly()
    channel = points.tap(FileChannel(Path(os.environ["CHAT"])), "channel", {"send"})
    limits = InboxLimits(lease=LEASE, heartbeat=0.2, sweep=0.1)
    store = await open_store(settings.database_url, SystemClock(), runner=True)
    try:
        given = StandIns(store=tapped(store, points), channels={"local": channel}, inbox=limits)
        async with open_bot(settings, given) as bot:
            runner, address = await listen(bot)
            await bot.start()
            print(address, flush=True)
            await stop.wait()
            await bot.stop()
            await runner.cleanup()
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(serve())
