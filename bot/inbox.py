"""Durable acceptance, lanes, leases and recovery: which turn runs, where, and for how long it may speak."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.errors import AwaitsApproval, DeliveryRefused, LostLease, OperatorError, ServiceUnavailable
from bot.events import (
    ControlApplied,
    Emit,
    LeaseLost,
    MessageAccepted,
    TurnEnded,
    TurnReleased,
    TurnStarted,
    Unexpected,
)
from bot.lease import Turn
from bot.ports import Clock, Store
from bot.types import (
    Accepted,
    Control,
    Ended,
    Ending,
    Entry,
    Interrupt,
    reference_of,
)

log = logging.getLogger("threadkeeper.inbox")

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """Seconds and counts. A lease outlasts the longest outward write by some heartbeats.

    A heartbeat also brings what was said at another replica: a stop takes effect within one.
    """

    lease: float = 30.0
    heartbeat: float = 2.0
    sweep: float = 1.0
    beside: float = 2.0
    running: int = 200
    attempts: int = 8
    backoff: float = 2.0
    backoff_cap: float = 60.0
    park: float = 15.0
    undo: float = 600.0
    fold: float = 5.0
    keep_rows: float = 35 * 86_400.0
    keep_texts: float = 86_400.0


class Handler(Protocol):
    """What is done with a turn."""

    async def run(self, turn: Turn) -> Ending:
        """Bring it to its end. What it raises decides whether, and when, it is taken up again."""
        ...

    async def give_up(self, turn: Turn, error: str) -> Ending:
        """Apologise for a turn that failed too often."""
        ...


class Inbox:
    """Accepts messages and runs turns: one at a time in a lane, many lanes at once."""

    def __init__(self, store: Store, clock: Clock, emit: Emit, owner: str, limits: InboxLimits) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._owner = owner
        self._limits = limits
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._running: dict[int, tuple[Turn, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._handler: Handler | None = None
        self._stopping = False
        self.problem: OperatorError | None = None

    async def accept(self, entry: Entry) -> Accepted:
        """Store a message; when this returns, it is on disk. A control has acted by then.

        Raises:
            ServiceUnavailable: it could not be stored, and must not be acknowledged.
        """
        self._wake.set()  # the claim shares the transaction of the message, and so its flush to disk
        accepted = await self._store.inbox.put(entry, self._limits.undo)
        if not accepted.turn:  # it revises a message that was never ours
            return accepted
        reference = reference_of(accepted.turn)
        channel, kind = entry.message.conversation.channel, str(entry.message.kind)
        self._emit(MessageAccepted(reference, entry.lane, channel, kind, accepted.fresh))
        why = Interrupt.STOP if entry.control in (Control.STOP, Control.DELETE, None) else Interrupt.SUPERSEDED
        for turn in accepted.interrupted:
            if turn in self._running:
                self._running[turn][0].interrupt(why)
        if accepted.fresh and entry.control is not None:
            self._emit(ControlApplied(reference, entry.lane, entry.control, accepted.generation, accepted.dropped))
        self._wake.set()  # again: that claim may have come too early
        return accepted

    def nudge(self) -> None:
        """Look at once for what may be begun: something was put on disk beside `accept`."""
        self._wake.set()

    def must_outlast(self, seconds: float) -> None:
        """Raise `ValueError` unless a lease outlasts a send of so many seconds: no turn could ever speak."""
        if self._limits.lease <= seconds + self._limits.heartbeat:
            raise ValueError(f"a lease of {self._limits.lease} s does not outlast a send of {seconds} s")

    async def start(self, handler: Handler) -> None:
        """Take up what was left, and begin to run turns."""
        self._handler = handler
        await self._store.inbox.requeue(everything=self._store.sole)
        self._loops = [
            asyncio.create_task(self._forever(loop), name=loop.__name__.lstrip("_"))
            for loop in (self._dispatch, self._heartbeat, self._housekeeping, self._forgetting)
        ]
        self._wake.set()

    async def stop(self, grace: float) -> None:
        """Begin no more turns; those that run may end within `grace` seconds, the others are handed over."""
        self._stopping = True
        self._wake.set()
        if self._loops:  # the first claims turns: it ends by itself, for a claim that is cut off holds its turns
            await asyncio.wait(self._loops[:1], timeout=5.0)
        running = [task for _, task in self._running.values()]  # after it, with those of its last claim
        if running:
            _, late = await asyncio.wait(running, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with contextlib.suppress(ServiceUnavailable):
            await self._store.fold()

    @property
    def running(self) -> int:
        """How many turns run here."""
        return len(self._running)

    async def idle(self) -> None:
        """Wait until nothing runs here."""
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])

    # -- the loops ------------------------------------------------------------------------------------------

    async def _forever(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A fault of ours in a loop must not end it: nobody would notice but the people who get no answer."""
        while not self._stopping:
            try:
                await loop()
            except Exception as error:
                log.exception("the loop %s failed and is begun again", loop.__name__)
                self._emit(Unexpected("", "", loop.__name__, type(error).__name__))
                await asyncio.sleep(self._limits.sweep)

    async def _dispatch(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._claim_all()
                pause = 0.0 if self._wake.is_set() else await self._until_due()
            except ServiceUnavailable as error:
                log.warning("the inbox cannot be read: %s", error)
                pause = self._limits.sweep
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _until_due(self) -> float:
        """How long to wait for a wake-up: what replicas, or commands beside the bot, did is found by looking."""
        if not self._store.sole:
            return self._limits.sweep
        due = await self._store.inbox.next_due()
        return self._limits.beside if due is None else min(max(due, 0.01), self._limits.beside)

    async def _claim_all(self) -> None:
        while not self._stopping and (free := self._limits.running - len(self._running)) > 0:
            began = self._clock.monotonic()
            most = min(free, 50)
            claims = await self._store.inbox.claim(self._owner, most, self._limits.lease)
            for claim in claims:
                if claim.turn in self._running:
                    await self._start_afresh(claim.turn)
                    continue
                leased_until = began + self._limits.lease
                turn = Turn(claim, self._store.inbox, self._clock, self._owner, leased_until, self.renew)
                task = asyncio.create_task(self._run(turn), name=f"turn-{turn.reference}")
                self._running[turn.id] = (turn, task)
            if len(claims) < most:
                return

    async def _start_afresh(self, turn: int) -> None:
        """Give back a turn that we took while we ran it: we had been frozen, and what we know of it may be old.

        The old life ends first, since it holds the turn no more; then anyone may take it.
        """
        self._running[turn][0].lose()
        await self._store.inbox.release(turn, self._owner, self._limits.heartbeat, "was frozen", counted=False)

    async def _heartbeat(self) -> None:
        looked = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._limits.heartbeat)
            try:
                await self.renew()
                if self._clock.monotonic() - looked >= self._limits.lease / 6:
                    looked = self._clock.monotonic()
                    if await self._store.inbox.requeue(everything=False):
                        self._wake.set()
            except ServiceUnavailable as error:
                log.warning("the leases cannot be renewed: %s", error)

    async def renew(self) -> None:
        """Hold on to what runs here, and learn what was said to it elsewhere."""
        began = self._clock.monotonic()
        for renewal in await self._store.inbox.renew(self._owner, list(self._running), self._limits.lease):
            if renewal.turn not in self._running:
                continue
            turn, _ = self._running[renewal.turn]
            if not renewal.owned:
                turn.lose()
                continue
            turn.leased_until = began + self._limits.lease
            if renewal.interrupt is not None:
                turn.interrupt(renewal.interrupt)

    async def _housekeeping(self) -> None:
        while True:
            try:
                await self._store.records.sweep(self._limits.keep_rows, self._limits.keep_texts)
                await asyncio.sleep(HOUR)
            except ServiceUnavailable as error:
                log.warning("old rows cannot be swept: %s", error)
                await asyncio.sleep(MINUTE)

    async def _forgetting(self) -> None:
        """A little after turns have ended, once for all of them: the words they forgot go from the log too."""
        while True:
            await self._ended.wait()
            await asyncio.sleep(self._limits.fold)
            self._ended.clear()
            try:
                await self._store.fold()
            except ServiceUnavailable as error:
                log.warning("%s", error)

    # -- one turn -------------------------------------------------------------------------------------------

    async def _run(self, turn: Turn) -> None:
        began = self._clock.monotonic()
        waited = self._clock.now() - turn.accepted_at
        self._emit(TurnStarted(turn.reference, turn.lane, turn.attempts, len(turn.messages), max(0.0, waited)))
        try:
            ending = await self._ending(turn)
            if ending is not None:
                await self._store.inbox.finish(turn.id, self._owner, ending)
                seconds = self._clock.monotonic() - began
                self._emit(TurnEnded(turn.reference, turn.lane, ending.ended, seconds, ending.error))
        except LostLease:
            self._emit(LeaseLost(turn.reference, turn.lane))
        except asyncio.CancelledError:
            await self._release(turn, 0.0, "handed over", counted=False)
        except Exception as error:
            # its lease runs out, and then it is taken up again
            log.exception("turn %s could not be written", turn.reference)
            self._emit(Unexpected(turn.reference, turn.lane, "inbox", type(error).__name__))
        finally:
            del self._running[turn.id]
            self._ended.set()
            self._wake.set()

    async def _ending(self, turn: Turn) -> Ending | None:
        """How the turn ended; None if it was given back to be taken up again."""
        assert self._handler is not None
        try:
            if turn.attempts > self._limits.attempts:
                return await self._give_up(turn, "too many attempts")
            ending = await self._handler.run(turn)
        except OperatorError as problem:
            await self._park(turn, problem)
        except ServiceUnavailable as error:
            return await self._again(turn, str(error), error.retry_after)
        except AwaitsApproval as waits:
            await self._store.inbox.wait(turn.id, self._owner, waits.approval)
        except (LostLease, asyncio.CancelledError):
            raise
        except Exception as fault:
            self._unexpected(turn, fault)
            return await self._again(turn, type(fault).__name__, None)
        else:
            if ending.ended is Ended.ANSWERED:
                self.problem = None
            return ending
        return None

    async def _again(self, turn: Turn, error: str, retry_after: float | None) -> Ending | None:
        if turn.attempts >= self._limits.attempts:
            return await self._give_up(turn, error)
        delay = min(self._limits.backoff * 2 ** (turn.attempts - 1), self._limits.backoff_cap)
        delay = max(delay, retry_after or 0.0)
        self._emit(TurnReleased(turn.reference, turn.lane, delay, error))
        await self._release(turn, delay, error, counted=True)
        return None

    async def _give_up(self, turn: Turn, error: str) -> Ending | None:
        assert self._handler is not None
        try:
            return await self._handler.give_up(turn, error)
        except DeliveryRefused:
            return Ending(Ended.DEAD, turn.steps, keep_text=True, error=error)
        except OperatorError as problem:
            await self._park(turn, problem)
            return None
        except ServiceUnavailable as unsaid:
            return await self._unsaid(turn, error, str(unsaid), unsaid.retry_after)
        except (LostLease, asyncio.CancelledError):
            raise
        except Exception as fault:
            self._unexpected(turn, fault)
            return await self._unsaid(turn, error, type(fault).__name__, None)

    async def _unsaid(self, turn: Turn, error: str, why: str, retry_after: float | None) -> Ending | None:
        """Not even the apology got through: keep at it, but not for ever."""
        if turn.attempts >= 2 * self._limits.attempts:
            return Ending(Ended.DEAD, turn.steps, keep_text=True, error=error)
        delay = max(self._limits.backoff_cap, retry_after or 0.0)
        self._emit(TurnReleased(turn.reference, turn.lane, delay, why))
        await self._release(turn, delay, error, counted=True)
        return None

    async def _park(self, turn: Turn, problem: OperatorError) -> None:
        """Put it aside until an operator has mended something; that uses no attempt."""
        self.problem = problem
        self._emit(TurnReleased(turn.reference, turn.lane, self._limits.park, problem.problem, problem.cure))
        await self._release(turn, self._limits.park, problem.problem, counted=False)

    def _unexpected(self, turn: Turn, fault: Exception) -> None:
        log.error("turn %s failed", turn.reference, exc_info=fault)
        self._emit(Unexpected(turn.reference, turn.lane, "turn", type(fault).__name__))

    async def _release(self, turn: Turn, delay: float, error: str, *, counted: bool) -> None:
        await self._store.inbox.release(turn.id, self._owner, delay, error, counted=counted)
