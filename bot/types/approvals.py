"""The word of a person that a tool call waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Decision(StrEnum):
    """What "approve" or "decline" came to. OVER: it was decided before, or too late; NOTHING: no such question."""

    APPROVED = "approved"
    DECLINED = "declined"
    OVER = "over"
    NOT_YOURS = "not_yours"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call that waits for a person's word, or has had it.

    `id` is told to channels and cannot be guessed. `person` asked the agent, and they or an admin decide. `arguments`
    is the text that the agent sent, `digest` that of tool and arguments; the former is forgotten with the turn.
    `delivered`: the question's id in the channel, once it was sent. `nudged`: somebody wrote while it waits.
    """

    id: str
    turn: int
    call_id: str
    person: str
    tool: str
    arguments: str = field(repr=False)
    digest: str
    state: Literal["asked", "approved", "declined", "expired"]
    left: float
    """Seconds in which it may still be decided, by the database's clock."""
    delivered: str | None = None
    nudged: bool = False
    decider: str = ""
    """The name of who decided."""
