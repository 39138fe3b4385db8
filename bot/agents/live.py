"""Runs that this process reads along: their text as it grows, and how they ended, without a request for each look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from bot.errors import ThreadkeeperError
from bot.ports import Clock
from bot.types import Finished, NeedsTools, Step, Stopped, Working

log = logging.getLogger("threadkeeper.agents")

KEPT = 1_000
KEPT_SECONDS = 600.0
"""How a run ended is kept here so long, to be looked at; afterwards the service is asked."""
PACE_SECONDS = 0.1
"""Text that grows faster than this is shown in larger pieces."""
SILENCE_SECONDS = 1.0
"""A stream may be silent, while the deadline passes: it is looked at all the same."""

Grow = Callable[[str], None]
"""Takes the whole text so far."""
Read = Callable[[Grow], Coroutine[Any, Any, Step | None]]
"""Reads a run to its end; None, or an exception, where the stream broke before it."""


@dataclass(slots=True)
class _Reading:
    task: asyncio.Task[None] | None = None
    text: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Live:
    """The runs read along here, by their ids. What breaks is let go, and the run is looked at by requests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # A reading ends with its run, and runs end by their deadline: there are no more than turns in hand.
        self._readings: dict[str, _Reading] = {}
        self._ends: TTLCache[str, Step] = TTLCache(KEPT, KEPT_SECONDS)

    def follow(self, run_id: str, read: Read) -> None:
        """Read this run along in the background."""
        reading = self._readings[run_id] = _Reading()
        reading.task = asyncio.create_task(self._read(run_id, reading, read))

    async def _read(self, run_id: str, reading: _Reading, read: Read) -> None:
        def grow(text: str) -> None:
            reading.text = text
            reading.news.set()

        try:
            end = await read(grow)
            if isinstance(end, (Finished, Stopped, NeedsTools)):
                self._ends[run_id] = end
        except ThreadkeeperError as error:
            log.info("run %s: its stream broke (%s); it is looked at by requests", run_id, type(error).__name__)
        finally:
            if self._readings.get(run_id) is reading:
                del self._readings[run_id]
            reading.news.set()

    def seen(self, run_id: str) -> Step | None:
        """How the run stands, as far as it was read here; None where a request must say."""
        if run_id in self._ends:
            return self._ends[run_id]
        reading = self._readings.get(run_id)
        return Working("in_progress", text=reading.text) if reading else None

    async def changed(self, run_id: str, seconds: float) -> None:
        """Wait for more text or the end, or so many seconds where the run is not read here."""
        reading = self._readings.get(run_id)
        if reading is None:
            if run_id not in self._ends:
                await self._clock.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_SECONDS):
                await reading.news.wait()
        if reading.task is not None and not reading.task.done():
            await self._clock.sleep(PACE_SECONDS)
        reading.news.clear()

    async def let_go(self, run_id: str) -> None:
        """Read no more of this run, and forget how it stands."""
        reading = self._readings.pop(run_id, None)
        if reading is not None and reading.task is not None:
            await asyncio.sleep(0)  # cancelled before its first step, a task would not close what it was to read
            reading.task.cancel()
            await asyncio.wait({reading.task})
        self._ends.pop(run_id, None)

    async def close(self) -> None:
        """Stop reading."""
        for run_id in list(self._readings):
            await self.let_go(run_id)
