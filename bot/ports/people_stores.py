"""What is kept of people: who they are, what they thought, what waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.types import (
    Accepted,
    Act,
    Feedback,
    FileOffer,
    JsonObject,
    KeptFeedback,
    Known,
    Mails,
    Saying,
    Told,
    ToolUsed,
    TurnsUsed,
)


class PeopleStore(Protocol):
    """Who has spoken, whose lanes are whose, and what admins did."""

    async def find(self, words: str) -> list[Known]:
        """Who is meant: by id or e-mail address, else by the whole name, else by words of the name. Several may be."""
        ...

    async def strangers(self, channels: Sequence[str], most: int) -> list[tuple[Known, JsonObject]]:
        """Whose e-mail address was never asked for on these channels, with their own address there; newest first."""
        ...

    async def introduce(self, person: Known, mails: Mails) -> None:
        """Keep what was answered. Their next change of name makes them strangers again."""
        ...

    async def everyone(self) -> list[Known]:
        """Everyone known, by name."""
        ...

    async def lanes(self, person: Known, *, every: bool) -> list[str]:
        """The lanes of a person: the personal one, or `every` one that is theirs."""
        ...

    async def count(self) -> tuple[int, int]:
        """How many conversations have a thread, and how many people have one."""
        ...

    async def record(self, act: Act) -> Act:
        """Write an audit row, once a turn; as it stands there, with its time."""
        ...

    async def acted(self, turn: int) -> Act | None:
        """What this turn did already."""
        ...

    async def acts(self, actor: str | None, limit: int) -> list[Act]:
        """The last acts (of one admin), newest first."""
        ...


class FeedbackStore(Protocol):
    """What people think of answers: one row for each person and delivery, of which the newest counts."""

    async def put(self, given: Feedback, lane: str, *, below: bool) -> Told:
        """Keep it with the turn of this lane, or of one `below` it, that made the delivery; without one if none did."""
        ...

    async def within(self, seconds: float) -> list[KeptFeedback]:
        """What was said in the last so many seconds, newest first."""
        ...


class SayStore(Protocol):
    """Words to people who have not asked."""

    async def put(self, saying: Saying) -> Accepted:
        """Store the words behind what waits in the person's lane, and the audit row, in one transaction; once a key.

        Raises:
            NotSaid: `no_address`, `too_many` wait already, or the key was used for `other_words`.
        """
        ...


class FileOffers(Protocol):
    """Files of the agent's that people were asked about, until they answer or it is too late."""

    async def offer(self, offer: FileOffer, seconds: float) -> None:
        """Keep it for so many seconds."""
        ...

    async def take(self, offer: str, seconds: float) -> FileOffer | None:
        """Take it in hand for so many seconds; None if it is not there (any more), or in another hand."""
        ...

    async def give_back(self, offer: str) -> None:
        """It may be taken again."""
        ...

    async def close(self, offer: str) -> None:
        """Let it go."""
        ...


class Usage(Protocol):
    """What the turns that ended in the last so many seconds came to."""

    async def by_person(self, seconds: float) -> list[TurnsUsed]:
        """For each person and channel, the most turns first."""
        ...

    async def by_day(self, seconds: float) -> list[TurnsUsed]:
        """For each day (UTC) on which turns ended, in order."""
        ...

    async def by_tool(self, seconds: float) -> list[ToolUsed]:
        """For each tool that they called, the most calls first."""
        ...
