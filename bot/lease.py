"""A turn in hand: what it may still do, for how long, and what it has saved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from bot.errors import Interrupted, LostLease
from bot.ports import Clock, InboxStore
from bot.types import Claim, Interrupt, Json, JsonObject, Message, reference_of

T = TypeVar("T")


class Turn:
    """A claimed turn in hand. Every write asks whether it is still ours; a lost one raises `LostLease`."""

    def __init__(
        self,
        claim: Claim,
        store: InboxStore,
        clock: Clock,
        owner: str,
        leased_until: float,
        renew: Callable[[], Awaitable[None]],
    ) -> None:
        self.id = claim.turn
        self.reference = reference_of(claim.turn)
        self.lane = claim.lane
        self.generation = claim.generation
        self.messages = claim.messages
        self.control = claim.control
        self.effect = claim.effect
        self.attempts = claim.attempts
        self.accepted_at = claim.accepted_at
        self.thread = claim.thread
        self.notice = claim.notice
        self.withdrawn = claim.withdrawn
        self.runs_before = claim.runs_before
        self.owner = owner
        self.leased_until = leased_until
        self._steps: JsonObject = dict(claim.steps)
        self._store = store
        self._clock = clock
        self._renew = renew
        self._lost = False
        self._why: Interrupt | None = None
        self._ended_early = asyncio.Event()
        if claim.interrupt is not None:
            self.interrupt(claim.interrupt)

    @property
    def message(self) -> Message:
        """The last message: it is the one that is answered to."""
        return self.messages[-1]

    @property
    def steps(self) -> JsonObject:
        """What is saved, less the words: what may stay when the turn has ended."""
        return {name: value for name, value in self._steps.items() if not name.startswith("text:")}

    def saved(self, step: str) -> Json:
        """The value of a saved step, None if there is none."""
        return self._steps.get(step)

    async def save(self, **steps: Json) -> None:
        """Save steps together. A name that begins with `text:` holds words, and is erased when the turn ends."""
        await self.save_all(steps)

    async def save_all(self, steps: JsonObject) -> None:
        """As `save`, for names that are no identifiers."""
        self._steps.update(steps)
        await self._store.save(self.id, self.owner, self._steps)

    def note(self, step: str, value: Json) -> None:
        """Change a step in memory; it goes to disk with the next that is saved, or with the final write."""
        self._steps[step] = value

    def interrupt(self, why: Interrupt) -> None:
        """Ask the turn to end."""
        self._why = self._why or why
        self._ended_early.set()

    @property
    def told_to_end(self) -> Interrupt | None:
        """Why it was asked to end, if it was."""
        return self._why

    def lose(self) -> None:
        """Another process has it now."""
        self._lost = True
        self._ended_early.set()

    def check(self) -> None:
        """Raise `LostLease` or `Interrupted` if this turn must not go on."""
        if self._lost:
            raise LostLease(self.reference)
        if self._why is not None:
            raise Interrupted(self._why)

    async def may_speak(self, timeout: float) -> None:
        """Ask before an outward write that may take `timeout` seconds.

        Raises:
            LostLease: the lease might end before the write does.
            Interrupted: the person said stop, or the generation rose, here or at another replica.
        """
        self.check()
        if self._clock.monotonic() + timeout >= self.leased_until:
            await self._renew()
            self.check()
            if self._clock.monotonic() + timeout >= self.leased_until:
                raise LostLease(self.reference)
        why = await self._store.holds(self.id, self.owner)
        if why is not None:
            self.interrupt(why)
        self.check()
        if self._clock.monotonic() + timeout >= self.leased_until:  # the process may have been frozen meanwhile
            raise LostLease(self.reference)

    async def sleep(self, seconds: float) -> None:
        """Wait, but not beyond an interruption."""
        await self.race(self._clock.sleep(seconds))

    async def race(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the work, but cancel it and raise if the turn is interrupted meanwhile."""
        try:
            self.check()
        except (LostLease, Interrupted):
            work.close()
            raise
        task = asyncio.ensure_future(work)
        early = asyncio.ensure_future(self._ended_early.wait())
        try:
            await asyncio.wait({task, early}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            self.check()
            raise AssertionError("an interrupted turn has a reason")
        finally:
            early.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
