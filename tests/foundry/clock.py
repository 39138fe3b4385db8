"""The server's time: the real one, or one that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time as _time
from typing import Protocol


class Clock(Protocol):
    """What the server asks of time."""

    def time(self) -> float:
        """Seconds since 1970."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock."""
        ...


class RealClock:
    """The machine's own time."""

    def time(self) -> float:
        return _time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """Time that stands still until a test calls `advance`."""

    def __init__(self, start: float = 1_795_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._fell_asleep = asyncio.Event()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._now

    @property
    def sleepers(self) -> int:
        """How many are waiting, slow requests above all."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        self._fell_asleep.set()
        await future

    async def until_asleep(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until as many are asleep. Raises TimeoutError after `timeout` seconds of real time."""
        async with asyncio.timeout(timeout):
            while self.sleepers < count:
                self._fell_asleep.clear()
                await self._fell_asleep.wait()

    def advance(self, seconds: float) -> None:
        """Move time on and wake whoever has slept long enough."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
