"""What a look at one part of a set-up came to: a line, with its cure. Nothing here asks anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bot.errors import DeliveryFailed, OperatorError, SettingsError, ThreadkeeperError

Standing = Literal["ok", "note", "problem", "not checked"]
"""`note`: it works, and is worth knowing. `not checked`: something before it has to work first."""

SKEW_NOTED, MOST_SKEW = 30.0, 300.0
"""Seconds. Entra ID and the Bot Framework let clocks differ by five minutes; beyond them every token is refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `offset`: by how many seconds this machine's clock is ahead of the one that was met, if one was."""

    subject: str
    standing: Standing
    words: str
    cure: str = ""
    offset: float | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.subject}: {self.words}", self.cure) if part)


def failed(subject: str, error: ThreadkeeperError, cure: str) -> Finding:
    """A failure of ours as a line; `cure` is for those that have none of their own."""
    if isinstance(error, OperatorError):
        return Finding(subject, "problem", error.problem, error.cure)
    if isinstance(error, SettingsError):
        return Finding(subject, "problem", "; ".join(error.problems))
    words = str(error)
    if isinstance(error, DeliveryFailed):
        words = f"{words[:1].upper()}{words[1:]}."
    return Finding(subject, "problem", words, cure)


def clock(subject: str, offsets: Sequence[float]) -> Finding:
    """How this machine's clock stands to all that were met; the one furthest away counts."""
    if not offsets:
        return Finding(subject, "ok", "Nobody was met whose clock could be compared.")
    worst = max(offsets, key=abs)
    words = f"This machine's clock is {abs(worst):.0f} s {'ahead' if worst > 0 else 'behind'}."
    cure = "Let the machine set its clock from the network (NTP)."
    if abs(worst) > MOST_SKEW:
        return Finding(subject, "problem", f"{words} Beyond {MOST_SKEW:.0f} s every token is refused.", cure)
    if abs(worst) > SKEW_NOTED:
        return Finding(subject, "note", words, cure)
    return Finding(subject, "ok", f"Within {SKEW_NOTED:.0f} s of those that were asked.")
