"""Time that a test holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class HeldClock:
    """The port `Clock`: stands still until `advance`."""

    def __init__(self) -> None:
        self._start = time.time()
        self._passed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self._passed + seconds, future)
        self._sleepers.append(sleeper)
        self._changed.set()
        try:
            await future
        finally:
            self._sleepers.remove(sleeper)

    @property
    def sleeping(self) -> list[float]:
        """For how long the sleepers still sleep."""
        return sorted(due - self._passed for due, _ in self._sleepers)

    async def until_asleep(self) -> None:
        """Wait until somebody sleeps."""
        while not self._sleepers:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 5)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds
        for due, future in list(self._sleepers):
            if due <= self._passed and not future.done():
                future.set_result(None)

    async def through(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; where it waits, time passes."""
        task = asyncio.ensure_future(work)
        while not task.done():
            asleep = asyncio.ensure_future(self.until_asleep())
            await asyncio.wait({task, asleep}, return_when=asyncio.FIRST_COMPLETED)
            asleep.cancel()
            if not task.done():
                self.advance(max(self.sleeping[0], 1e-6))
                await asyncio.sleep(0)
        return task.result()
