"""Time for tests of agents: it stands still between waits."""

from __future__ import annotations

import asyncio


class StillClock:
    """Our own time, moved by hand; a wait lets the rest of the program run."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)
