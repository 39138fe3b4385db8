"""A request on its way to a platform: what comes after it waits for it, but not for long."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class InFlight:
    """One request at a time: `with in_flight: await request`."""

    def __init__(self) -> None:
        self._landed = asyncio.Event()
        self._landed.set()

    def __bool__(self) -> bool:
        """Whether one is on its way."""
        return not self._landed.is_set()

    def __enter__(self) -> None:
        self._landed.clear()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._landed.set()

    async def over(self, within: float) -> None:
        """Until none is on its way, or so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._landed.wait()
