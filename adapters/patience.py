"""How long a call may take: its tool's timeout, less the time in which a person was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

STEP = 1.0
"""Seconds from one look to the next while a person is asked."""


class Patience:
    """The time of one call. `ask` is what its caller gets to ask with: meanwhile the clock stands still."""

    def __init__(self, seconds: float, ask: Callable[[str], Awaitable[bool]]) -> None:
        self._left = seconds
        self._ask = ask
        self._asking = 0

    async def ask(self, words: str) -> bool:
        """See `Caller.ask`."""
        self._asking += 1
        try:
            return await self._ask(words)
        finally:
            self._asking -= 1

    async def wait_for(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task has ended in its time."""
        clock = asyncio.get_running_loop().time
        while self._left > 0 and not task.done():
            began, stands = clock(), self._asking > 0
            await asyncio.wait({task}, timeout=min(self._left, STEP))
            if not stands:
                self._left -= clock() - began
        return task.done()
