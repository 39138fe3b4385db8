"""Many people who write without waiting for answers, and Teams, which delivers again what was not acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from bot.channels.activities import read
from bot.store.codec import message_key
from bot.types import Message
from tests.teams import message as activity_of

POST_SECONDS = 6.0
PATIENCE = 6
"""Unanswered messages after which a person waits: the bot takes no more than ten."""
TOOL_SHARE = 0.4
"""Of the people: their messages use a tool that writes a line down. (All of theirs, since waiting ones are joined.)"""


@dataclass
class Said:
    """One message that was acknowledged."""

    token: str
    person: int
    uses_tool: bool
    key: str
    activity: dict[str, Any]
    accepted_at: float = 0.0


@dataclass
class Crowd:
    """`replied` holds the ids of messages that were answered to.

    Each message is delivered in `copies` at once; with `again`, an older one is delivered again behind it.
    """

    service_url: str
    addresses: Callable[[], Sequence[str]]
    replied: set[str]
    dice: random.Random
    people: int
    pause: float
    copies: int = 1
    again: bool = False
    most: int | None = None
    said: list[Said] = field(default_factory=list)
    posts: int = 0
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def write(self, until: asyncio.Event) -> None:
        """Everybody writes until then; each waits for the acknowledgement before the next message."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_SECONDS)) as session:
            await asyncio.gather(*(self._person(session, number, until) for number in range(self.people)))

    async def _person(self, session: aiohttp.ClientSession, number: int, until: asyncio.Event) -> None:
        mine: list[Said] = []
        while not until.is_set() and not self._enough():
            wait = self.dice.expovariate(1 / self.pause)
            try:
                async with asyncio.timeout(wait):
                    await until.wait()
                break
            except TimeoutError:
                pass
            if self._waiting(mine) >= PATIENCE:
                continue
            said = self._made(number)
            await asyncio.gather(*(self._deliver(session, said.activity) for _ in range(self.copies)))
            said.accepted_at = time.time()
            self.said.append(said)
            mine.append(said)
            if self.again:
                older = self.dice.choice(mine)
                await self._deliver(session, older.activity)

    def _waiting(self, mine: list[Said]) -> int:
        """How many of a person's messages have been written since the last that was answered to."""
        behind = itertools.takewhile(lambda said: said.activity["id"] not in self.replied, reversed(mine))
        return sum(1 for _ in behind)

    def _enough(self) -> bool:
        return self.most is not None and len(self.said) >= self.most

    def _made(self, person: int) -> Said:
        token = f"t{next(self._numbers):06d}"
        uses_tool = person < self.people * TOOL_SHARE
        text = f"use note key={token}" if uses_tool else f"{token}: good morning"
        activity = activity_of(
            self.service_url,
            text,
            id=f"id-{token}",
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
            conversation={"conversationType": "personal", "id": f"a:{person}", "tenantId": "tenant"},
        )
        activity["from"] = {"id": f"29:{person}", "name": f"Person {person}", "aadObjectId": f"person-{person}"}
        arrived = read(activity, "")
        assert isinstance(arrived, Message)
        return Said(token, person, uses_tool, message_key(arrived), activity)

    async def _deliver(self, session: aiohttp.ClientSession, activity: dict[str, Any]) -> None:
        """Until some replica says 2xx."""
        while True:
            address = self.dice.choice(self.addresses())
            self.posts += 1
            try:
                async with session.post(address, json=activity) as response:
                    if response.status < 300:
                        return
                    assert response.status in (503, 500), await response.text()
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(self.dice.uniform(0.1, 0.5))
