"""What of a growing text is settled: it is shown once, and nothing that was shown changes any more."""

from __future__ import annotations

from collections.abc import Callable

from bot.reply import utf16_size


class SteadyText:
    """A text that grows, as `rendered` writes it, up to `limit` bytes of UTF-16."""

    def __init__(self, rendered: Callable[[str], str], limit: int) -> None:
        self._render = rendered
        self._limit = limit
        self._read: str = ""
        self._rendered: str = ""
        self.newest: str = ""
        self.shown: str = ""

    def next(self) -> str:
        """`shown` and what more of the newest text has not changed since the last look; `shown` is for the caller.

        The newest words may still turn into something else: half a link, the first line of a table.
        """
        before = self._rendered
        if self.newest != self._read:
            self._read, self._rendered = self.newest, self._render(self.newest)
        steady = _common(before, self._rendered).rstrip()
        return steady if steady.startswith(self.shown) and utf16_size(steady) <= self._limit else self.shown


def _common(one: str, other: str) -> str:
    """How both begin."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return one[:place]
    return min(one, other, key=len)
