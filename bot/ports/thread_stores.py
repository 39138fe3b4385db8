"""What is kept of threads, and how they are let go of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.types import Act, Json, JsonObject, Kept, Known, Lane, RunMark, Said, Thread, ThreadReason


class ThreadStore(Protocol):
    """Whose thread: lanes, generations, and the chain of threads behind each."""

    async def lane(self, key: str) -> Lane | None:
        """The lane and its current thread; None before its first message."""
        ...

    async def open(self, turn: int, owner: str, thread: Thread, *, carried: str) -> Thread:
        """Save a new thread and make it the lane's current one, if the turn is held and the generation stands.

        Raises:
            LostLease: the turn is no longer ours.
            Interrupted: the generation rose.
        """
        ...

    async def mark(self, turn: int, owner: str, thread: int, reason: ThreadReason) -> None:
        """Note that a thread can be used no more (lost or stuck); the next turn opens another."""
        ...

    async def chain(self, lane: str) -> list[Thread]:
        """Every thread the lane ever had, oldest first."""
        ...


class ForgettingStore(Protocol):
    """Lanes started over, or forgotten, from outside them."""

    async def reset(self, keys: Sequence[str], act: Act, undo_seconds: float) -> Act:
        """Start these lanes over and write the audit row, in one transaction and once a turn."""
        ...

    async def reset_some(self, act: Act, undo_seconds: float, after: str) -> str | None:
        """Start over some of the lanes `after` this key whose thread or question is older than the act.

        The last of their keys, None at the end.
        """
        ...

    async def let_go(self, keys: Sequence[str]) -> None:
        """End what runs in these lanes, and mark all their threads to be deleted."""
        ...

    async def running(self, keys: Sequence[str], turn: int | None) -> int:
        """How many turns run in these lanes, less this one."""
        ...

    async def marked(self, keys: Sequence[str] | None, limit: int) -> list[Thread]:
        """Threads (of these lanes) that are to be deleted, those that waited longest first."""
        ...

    async def deleted(self, thread: int) -> None:
        """The thread is gone at the service: let it go here."""
        ...

    async def left(self, thread: int) -> None:
        """The thread could not be deleted now: it is tried again after the others."""
        ...

    async def forget(self, keys: Sequence[str], person: Known | None, turn: int | None) -> None:
        """Erase the words kept with ended turns of these lanes, and the person's row where one is given."""
        ...

    async def expire(self, seconds: float) -> int:
        """Mark threads that were not used for so long, and let go of people not seen for so long; how many threads."""
        ...


class MovingStore(Protocol):
    """Lanes whose thread lies with another agent than the one that is set."""

    async def elsewhere(self, backend: str, project: str, after: str, limit: int) -> list[Lane]:
        """The next such lanes behind the key `after`, in the order of their keys."""
        ...

    async def move(self, thread: Thread, *, carried: str) -> bool:
        """Make this new thread its lane's current one in place of its `previous_id`.

        False, and nothing is changed, where that is not the current one any more, the generation is another, or a
        message of the lane runs or waits.
        """
        ...


class History(Protocol):
    """Threads that lie in our own store, for agents whose service keeps none."""

    async def create_thread(self, thread_id: str, entries: Sequence[Said]) -> None:
        """Make a thread with these entries."""
        ...

    async def thread_exists(self, thread_id: str) -> bool:
        """Whether it is there."""
        ...

    async def start_run(
        self, thread_id: str, run_id: str, mark: RunMark, text: str | None, state: Json, *, added: Sequence[Kept] = ()
    ) -> None:
        """Add a run, and the message (or the entries `added`) where there is one, in one transaction.

        Raises:
            ThreadGone: no such thread.
            RunActive: another run has not ended.
        """
        ...

    async def run(self, run_id: str) -> JsonObject | None:
        """The run's saved state."""
        ...

    async def find_run(self, thread_id: str, mark: RunMark) -> str | None:
        """The run of this turn and attempt."""
        ...

    async def active_run(self, thread_id: str) -> str | None:
        """The run that has not ended."""
        ...

    async def save_run(self, run_id: str, state: Json, *, ended: bool, answer: str | None = None) -> None:
        """Save a run's state, with its answer as a new entry of the thread, in one transaction."""
        ...

    async def advance(
        self, run_id: str, before: JsonObject, state: JsonObject, *, ended: bool, added: Sequence[Kept] = ()
    ) -> bool:
        """Save a run's next state with new entries of its thread, in one transaction.

        False, and nothing is saved, if the run is gone, has ended, or its state is not `before` any more.
        """
        ...

    async def last_run(self, thread_id: str) -> JsonObject | None:
        """The saved state of the run that was started last."""
        ...

    async def entries(self, thread_id: str, limit: int) -> list[Said]:
        """The last entries that a user or the assistant said, oldest first."""
        ...

    async def kept(self, thread_id: str, limit: int, files: int) -> list[Kept]:
        """The last entries of every kind, oldest first; of the files only the last so many.

        Raises:
            ThreadGone: no such thread.
        """
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """Delete the thread, its entries and its runs."""
        ...
