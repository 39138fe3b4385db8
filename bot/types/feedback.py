"""What a person thought of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bot.types.messages import Conversation, Person


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thinks of an answer. `delivered` is the id of its delivery, empty where the channel does not say.

    `said_at` is the channel's time in milliseconds since the epoch, None where it gives none.
    """

    conversation: Conversation
    person: Person
    delivered: str
    reaction: Literal["like", "dislike"]
    text: str = field(default="", repr=False)
    said_at: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What came of feedback: the turn it is about, where that is known, and whether it is new or a change.

    `again`: it was known, or something newer is.
    """

    turn: int | None
    lane: str
    outcome: Literal["new", "changed", "again"]


@dataclass(frozen=True, slots=True)
class KeptFeedback:
    """Feedback as it is kept. `thread` and `run` are the agent service's ids."""

    at: float
    channel: str
    tenant: str
    person: str
    name: str
    reaction: str
    text: str
    turn: int | None
    thread: str
    run: str
