"""What is kept of turns: the inbox, and its rows for those who look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.types import Accepted, Claim, Ended, Ending, Entry, Interrupt, JsonObject, Message, Renewal


class InboxStore(Protocol):
    """Accepted messages on disk. A write of a turn raises `LostLease` where `owner` does not hold it."""

    async def put(self, entry: Entry, undo_seconds: float) -> Accepted:
        """Store a message, and apply it where it is a control, in one transaction."""
        ...

    async def claim(self, owner: str, limit: int, lease: float) -> list[Claim]:
        """Take the heads of lanes in which nothing runs, with all that waits behind them and may join."""
        ...

    async def renew(self, owner: str, turns: Sequence[int], lease: float) -> list[Renewal]:
        """Hold these turns for `lease` seconds more, and learn of stops and generations."""
        ...

    async def holds(self, turn: int, owner: str) -> Interrupt | None:
        """Why this turn must not speak, None if it may.

        Raises:
            LostLease: it is no longer ours.
        """
        ...

    async def save(self, turn: int, owner: str, steps: JsonObject) -> None:
        """Save the turn's steps."""
        ...

    async def release(self, turn: int, owner: str, delay: float, error: str, *, counted: bool) -> None:
        """Give it back, to be claimed again after `delay` seconds; `counted` says if an attempt is used up."""
        ...

    async def wait(self, turn: int, owner: str, approval: str) -> None:
        """Give it back until the approval is decided or expires, or somebody writes; no attempt is used up."""
        ...

    async def finish(self, turn: int, owner: str, ending: Ending) -> None:
        """The final write of the turn and of all that joined it; forgets the words unless they are kept."""
        ...

    async def requeue(self, *, everything: bool) -> int:
        """Put back what runs on an expired lease, or (`everything`, when no one else can run) all; how many."""
        ...

    async def next_due(self) -> float | None:
        """Seconds until a turn that waits for its time may be claimed; None if none waits."""
        ...


class TurnRecords(Protocol):
    """What is asked of turns from outside their running."""

    async def last_unanswered(self, lane: str, person: str) -> tuple[int, list[Message]] | None:
        """The person's last turn and its messages that ended in an apology or went stale, while the words are kept."""
        ...

    async def forget_text(self, turn: int) -> None:
        """Erase the words kept with a turn that has ended."""
        ...

    async def ended(self, turns: Sequence[int]) -> dict[int, Ended]:
        """How these turns ended; those that did not are left out."""
        ...

    async def busy(self, lane: str) -> tuple[int | None, int]:
        """The turn that runs in a lane, and how many messages wait."""
        ...

    async def attention(self) -> list[JsonObject]:
        """The turns that wait, run, or ended unanswered with their words kept: as `describe`, less their calls."""
        ...

    async def again(self, turn: int) -> bool:
        """Put an unanswered turn back into its lane, as if it had just come.

        False if its words are gone, or a later turn of the lane was begun and is still to go on.
        """
        ...

    async def drop(self, turn: int) -> bool:
        """Let go of a turn that waits or was not answered; False if it runs, or has ended otherwise."""
        ...

    async def unfinished(self) -> int:
        """How many messages have not ended, in all lanes."""
        ...

    async def oldest_waiting(self) -> dict[str, tuple[int, float]]:
        """For each channel in which messages wait: how many, and the age of the oldest in seconds."""
        ...

    async def sweep(self, rows_older_than: float, texts_older_than: float) -> int:
        """Delete finished rows and erase kept words past their age in seconds; how many rows went."""
        ...

    async def describe(self, turn: int) -> JsonObject | None:
        """Everything known of a turn, for `inbox show`."""
        ...
