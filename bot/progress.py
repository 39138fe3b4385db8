"""A few words about a tool that works, shown while the person waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot.ports import Clock
from bot.texts import one_line
from bot.types import storable

LONGEST = 80
"""Characters; what is longer is cut."""
PACE = 1.0
"""Seconds between two. Of what comes faster, the last is shown."""


class Progress:
    """Takes words from anywhere, a thread too, at any rate, and shows them in a line, one at a time."""

    def __init__(self, show: Callable[[str], None], clock: Clock) -> None:
        """Made in the event loop, in which `show` is called; it must not block, and what it raises is dropped."""
        self._show = show
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._next: str | None = None
        self._not_before = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, words: str) -> None:
        """Show them, soon. Never fails."""
        try:
            line = shown(str(words))
            if line:
                self._loop.call_soon_threadsafe(self._take, line)
        except Exception:  # words that cannot be told, or a loop that has ended: a tool does not fail for that
            return

    def _take(self, line: str) -> None:
        self._next = line
        if self._timer is None:
            self._timer = self._loop.call_later(max(0.0, self._not_before - self._clock.monotonic()), self._say)

    def _say(self) -> None:
        self._timer = None
        line, self._next = self._next, None
        if line is None:
            return
        self._not_before = self._clock.monotonic() + PACE
        try:
            self._show(line)
        except Exception:
            return


def shown(words: str) -> str:
    """The words in one line, cut where it is long."""
    line = one_line(storable(words[: 4 * LONGEST]))
    line = "".join(c for c in line if c.isprintable())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
