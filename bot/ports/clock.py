"""The time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, so that a test can hold it."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        ...
