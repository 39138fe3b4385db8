"""How fast the connector may be asked. Never more in any window than Teams documents, counted as requests leave.

The figures, "estimation only": https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
They are kept for this process. A conversation is answered by one replica at a time, so its limits hold among several;
the tenant's does not, and there a 429 says when to go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass

from cachetools import TTLCache

from bot.errors import DeliveryFailed
from bot.ports import Clock

Limits = tuple[tuple[int, float], ...]
"""So many requests in so many seconds, and all of these together."""

CONVERSATION: Limits = ((7, 1.0), (8, 2.0), (60, 30.0), (1800, 3600.0))
TENANT: Limits = ((50, 1.0),)
ASIDE = 3 / 4
"""The share of every limit that typing and growing text may use up: the rest is kept for answers."""
LONGEST = 3600.0
"""Seconds after which nothing that was sent counts any more: the longest window, and the longest Retry-After."""
MOST_CONVERSATIONS, MOST_TENANTS = 5_000, 500


@dataclass(frozen=True, slots=True)
class Place:
    """Whose limits count: a one-to-one chat, a group chat or a team's channel, and the tenant it lies in."""

    tenant: str
    conversation: str


class Window:
    """What was sent to one place lately. `turn` is held by who waits for it, so that one after the other goes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sent: deque[float] = deque()
        self._closed_until = 0.0
        self.turn = asyncio.Lock()

    def wait(self, now: float, share: float = 1.0) -> float:
        """Seconds until one more request would break no limit, of which only this share may be used."""
        due = self._closed_until
        for count, window in self._limits:
            most = int(count * share)
            if len(self._sent) >= most:
                due = max(due, self._sent[-most] + window)
        return max(0.0, due - now)

    def note(self, now: float) -> None:
        """One leaves."""
        while self._sent and self._sent[0] <= now - LONGEST:
            self._sent.popleft()
        self._sent.append(now)

    def close(self, until: float) -> None:
        """Let none leave before then."""
        self._closed_until = max(self._closed_until, until)


class Pace:
    """Lets requests leave when they may: answers wait for their turn, what only shows that work goes on does not.

    Places that were not used for an hour are forgotten, which changes nothing; beyond `MOST_CONVERSATIONS` also the
    one that was used least lately.
    """

    def __init__(self, clock: Clock, conversation: Limits = CONVERSATION, tenant: Limits = TENANT) -> None:
        self._clock = clock
        self._limits = (conversation, tenant)
        self._conversations: TTLCache[str, Window] = TTLCache(MOST_CONVERSATIONS, LONGEST, clock.monotonic)
        self._tenants: TTLCache[str, Window] = TTLCache(MOST_TENANTS, LONGEST, clock.monotonic)

    async def wait(self, place: Place, patience: float) -> float:
        """Let an answer leave as soon as it may, at most `patience` seconds from now; how many it took.

        Raises:
            DeliveryFailed: that would be later. Nothing was sent.
        """
        conversation, tenant = self._windows(place)
        began = self._clock.monotonic()
        until = began + patience
        try:
            async with asyncio.timeout(patience), conversation.turn:
                await self._until_free(conversation, until)
                async with tenant.turn:  # only now: who waits for a conversation holds up no other
                    await self._until_free(tenant, until)
                    self._note(conversation, tenant)
        except TimeoutError:
            raise DeliveryFailed("too many messages wait to be sent", patience) from None
        return self._clock.monotonic() - began

    def aside(self, place: Place) -> None:
        """Let something leave that is worth no wait: now, if answers have room enough beside it.

        Raises:
            DeliveryFailed: not now. Nothing was sent.
        """
        conversation, tenant = self._windows(place)
        now = self._clock.monotonic()
        pause = max(conversation.wait(now, ASIDE), tenant.wait(now, ASIDE))
        if pause or conversation.turn.locked() or tenant.turn.locked():
            raise DeliveryFailed("room is kept for answers", pause or None)
        self._note(conversation, tenant)

    def leave_alone(self, place: Place, seconds: float) -> None:
        """Send nothing to this conversation for so long: the service asked for it."""
        self._windows(place)[0].close(self._clock.monotonic() + seconds)

    def _windows(self, place: Place) -> tuple[Window, Window]:
        conversation = _kept(self._conversations, place.conversation, self._limits[0])
        return conversation, _kept(self._tenants, place.tenant, self._limits[1])

    async def _until_free(self, window: Window, until: float) -> None:
        while (pause := window.wait(now := self._clock.monotonic())) > 0:
            if now + pause > until:
                raise DeliveryFailed("the conversation must be left alone for a while", pause)
            await self._clock.sleep(pause)

    def _note(self, *windows: Window) -> None:
        for window in windows:
            window.note(self._clock.monotonic())


def _kept(windows: MutableMapping[str, Window], key: str, limits: Limits) -> Window:
    """The place's window. Putting it back says that it was used, from which its time to be forgotten counts."""
    window = windows[key] = windows.get(key) or Window(limits)
    return window
