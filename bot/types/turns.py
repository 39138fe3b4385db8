"""A message on its way: accepted, claimed, ended; and its reference."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.types.approvals import Decision
from bot.types.controls import Control, Interrupt
from bot.types.messages import Message
from bot.types.threads import Thread
from bot.types.values import JsonObject


class Ended(StrEnum):
    """How a turn ended. All but DROPPED, MERGED and STOPPED were told to the person by the turn itself."""

    ANSWERED = "answered"
    COMMAND = "command"
    CONFIRMED = "confirmed"
    SAID = "said"
    APOLOGY = "apology"
    STALE = "stale"
    STOPPED = "stopped"
    DROPPED = "dropped"
    MERGED = "merged"
    DEAD = "dead"


MOST_WAITING = 10
"""Messages of one person that may wait in a lane; the next is refused, aloud."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted message on its way into the inbox. `joins`: may become one turn with its neighbours.

    `shared`: its lane belongs to a group and not to the person. `redo`: if it revises a message that is answered, or
    being answered, it is asked again; else the person is told that it came too late. `admin`: an admin said it.
    """

    message: Message
    lane: str
    control: Control | None = None
    joins: bool = True
    shared: bool = False
    redo: bool = False
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting did. `turn` is the row's id, 0 where nothing was to be stored; `fresh` is False for a redelivery.

    Of a control: which running turns it interrupted, how many waiting messages it dropped, the generation, and what
    it decided.
    """

    turn: int
    fresh: bool
    interrupted: tuple[int, ...] = ()
    generation: int = 0
    dropped: int = 0
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn taken by this process, read in the claim's own transaction.

    `notice`: when an admin started the lane over, while the person has not been told. `withdrawn`: when a question
    of this thread was stopped, while the agent has not been told. `runs_before`: how many runs of it failed before an
    operator had it asked again.
    """

    turn: int
    lane: str
    stamped: int
    generation: int
    messages: tuple[Message, ...]
    control: Control | None
    effect: JsonObject
    steps: JsonObject
    attempts: int
    accepted_at: float
    thread: Thread | None
    interrupt: Interrupt | None
    notice: float | None = None
    withdrawn: float | None = None
    runs_before: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """The heartbeat's answer for one turn: `owned` False means that the lease was lost."""

    turn: int
    owned: bool
    interrupt: Interrupt | None = None


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """What a turn's final write adds to its thread."""

    thread: int
    messages: int
    prompt_tokens: int
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """A turn's final write. `notice`, `withdrawn`: what they were in the claim, if the answer or the run told it."""

    ended: Ended
    steps: JsonObject
    keep_text: bool = False
    error: str | None = None
    use: ThreadUse | None = None
    notice: float | None = None
    withdrawn: float | None = None


_REFERENCE_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_REFERENCE_BITS = 30

_REFERENCE_FACTOR = 0x2545F491

_REFERENCE_MASK = 0x15A4E35


def reference_of(turn: int) -> str:
    """The reference of a turn, such as 7F3K-2Q: a one-to-one scramble of its id, unique for 2**30 turns."""
    value = ((turn * _REFERENCE_FACTOR) ^ _REFERENCE_MASK) % (1 << _REFERENCE_BITS)
    digits = "".join(_REFERENCE_DIGITS[(value >> shift) & 31] for shift in range(25, -1, -5))
    return f"{digits[:4]}-{digits[4:]}"


def turn_of(reference: str) -> int:
    """The turn's id (below 2**30) that a reference was made from.

    Case, the dash and the letters that look like digits (O, I, L) are forgiven.

    Raises:
        ValueError: it is not six letters and digits.
    """
    cleaned = reference.upper().replace("-", "").replace("O", "0").replace("I", "1").replace("L", "1").strip()
    if len(cleaned) != 6 or any(c not in _REFERENCE_DIGITS for c in cleaned):
        raise ValueError(f"{reference!r} is not a reference; it looks like 7F3K-2Q.")
    value = 0
    for digit in cleaned:
        value = value << 5 | _REFERENCE_DIGITS.index(digit)
    inverse = pow(_REFERENCE_FACTOR, -1, 1 << _REFERENCE_BITS)
    return ((value ^ _REFERENCE_MASK) * inverse) % (1 << _REFERENCE_BITS)
