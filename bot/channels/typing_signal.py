"""The typing indicator: shown at once and again, until the answer or the failure ends it.

The SDK's ShowTypingMiddleware goes on for the life of the process when a turn raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from bot.channels.in_flight import InFlight
from bot.errors import DeliveryRefused, OperatorError, ServiceUnavailable
from bot.events import Emit, Unexpected
from bot.ports import Clock

PERIOD = 3.0
"""Clients show it for 3 s and want no more than one in 3 s (activity specification, A6000 and A6001)."""
LAST_WORD = 1.0
"""Seconds that a signal on its way may take, so that it does not come after the answer."""


class TypingSignals:
    """The indicators that are on. `key` is who sees one: a person in a conversation."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._on: dict[tuple[str, str], list[TypingSignal]] = {}

    @asynccontextmanager
    async def shown(self, key: tuple[str, str], show: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
        """One is on until the block ends, however it ends."""
        signal = TypingSignal(show, self._clock, self._emit)
        signals = self._on.setdefault(key, [])
        signals.append(signal)
        try:
            yield
        finally:
            signals.remove(signal)
            if not signals:
                self._on.pop(key, None)
            await signal.stop()

    async def end(self, key: tuple[str, str]) -> None:
        """The answer comes: no signal may come after it."""
        for signal in list(self._on.get(key, ())):
            await signal.stop()


class TypingSignal:
    """One conversation's indicator. It delays nothing, and none of its failures goes anywhere."""

    def __init__(self, show: Callable[[], Awaitable[None]], clock: Clock, emit: Emit) -> None:
        self._show = show
        self._clock = clock
        self._emit = emit
        self._in_flight = InFlight()
        self._task = asyncio.create_task(self._run(), name="typing")

    async def stop(self) -> None:
        """End it, letting a signal that is on its way arrive first. May be called again."""
        try:
            await self._in_flight.over(LAST_WORD)
        finally:
            self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while (pause := await self._beat()) is not None:
            await self._clock.sleep(pause)

    async def _beat(self) -> float | None:
        """Show it once; how long until the next, None if there must be none."""
        try:
            with self._in_flight:
                await self._show()
        except (DeliveryRefused, OperatorError):
            return None
        except ServiceUnavailable as fault:
            return max(PERIOD, fault.retry_after or 0.0)
        except Exception as fault:
            self._emit(Unexpected(reference="", lane="", where="typing", error=type(fault).__name__))
            return None
        return PERIOD
