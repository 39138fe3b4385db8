"""The answers that grow now in one-to-one chats of Teams: one stream in a chat, and none left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bot.channels.teams_chat import TeamsChat
from bot.channels.teams_stream import TeamsStream
from bot.errors import Interrupted, LostLease
from bot.events import Emit
from bot.ports import Clock, Show
from bot.texts import Texts
from bot.types import Part

LINGER = 5.0
"""Seconds in which words that come after a failure still take the place of "Thinking…"."""
CLOSING = 5.0
"""Seconds that the end of the process may take to end them."""


class TeamsStreams:
    """The streams that are open. `key` is who sees one: a person in a chat."""

    def __init__(self, clock: Clock, emit: Emit, texts: Texts, limit: int) -> None:
        self._clock = clock
        self._emit = emit
        self._texts = texts
        self._limit = limit
        self._open: dict[tuple[str, str], TeamsStream] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def shown(self, key: tuple[str, str], chat: TeamsChat) -> AsyncGenerator[Show]:
        """One is open until its message comes; if the block ends before that, it is brought to an end."""
        stream = TeamsStream(chat, self._clock, self._emit, self._texts, self._limit, self._open.get(key))
        self._open[key] = stream
        kept, pause = False, LINGER
        try:
            yield stream.show
        except Interrupted:
            kept = True
            raise
        except (LostLease, asyncio.CancelledError):
            pause = 0.0  # the words will come from elsewhere
            raise
        finally:
            self._close(key, stream, kept=kept, pause=pause)

    def progress(self, key: tuple[str, str], words: str) -> None:
        """What is being done, where an answer is to grow."""
        if key in self._open:
            self._open[key].doing = words

    async def send(self, key: tuple[str, str], chat: TeamsChat, part: Part) -> str:
        """Deliver it: as the end of the stream where one is open, else as a message. See `TeamsStream.finish`."""
        stream = self._open.get(key)
        if stream is None:
            return await chat.post(part)
        if part.asks is not None or (part.text and not chat.rendered(part)):  # a card, which no stream can become
            await stream.give_way()
            return await chat.post(part)
        return await stream.finish(part)

    async def close(self) -> None:
        """End at once what still lingers."""
        for stream in self._open.values():
            stream.hurry()
        if not self._closing:
            return
        _, late = await asyncio.wait(self._closing, timeout=CLOSING)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _close(self, key: tuple[str, str], stream: TeamsStream, *, kept: bool, pause: float) -> None:
        async def closed() -> None:
            try:
                await stream.close(kept=kept, linger=pause, words=self._texts.broke_off())
            finally:
                if self._open.get(key) is stream:
                    del self._open[key]

        task = asyncio.create_task(closed(), name="stream-end")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
