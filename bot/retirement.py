"""How long a backend that its maker ends can still be used."""

from __future__ import annotations

from datetime import UTC, date, datetime

ENDS = {"foundry-classic": date(2027, 3, 31)}
"""From Microsoft's notice on Foundry's classic agents: "will be retired on March 31, 2027"."""
SAID_FROM = date(2027, 1, 1)
"""Before this day nobody needs to be told at every start."""


def remaining(backend: str, now: float) -> int | None:
    """Days until the backend ends, as `days_left` has them, however long that is; None if it does not end."""
    if backend not in ENDS:
        return None
    return (ENDS[backend] - datetime.fromtimestamp(now, UTC).date()).days


def days_left(backend: str, now: float) -> int | None:
    """Days until the backend ends (0 on its last one, below that when it is over); None if nothing is to be said.

    `now` is in seconds since the epoch; days are those of UTC.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    if backend not in ENDS or today < SAID_FROM:
        return None
    return (ENDS[backend] - today).days


def notice(backend: str, now: float) -> str | None:
    """What is said at the start; None if nothing is."""
    days = days_left(backend, now)
    if days is None:
        return None
    when = f"ends in {days} days, on {ENDS[backend]}" if days >= 0 else f"ended on {ENDS[backend]}"
    return (
        f"Microsoft's service behind AGENT_BACKEND={backend} {when}. Set AGENT_BACKEND=foundry; "
        "python -m bot migrate moves every conversation."
    )
