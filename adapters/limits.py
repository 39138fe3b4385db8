"""A toolbox within limits: how many calls a person makes in a minute, and how many of one tool run at once.

Each process counts for itself: with three replicas a person's limit is three times as high where their conversations
lie on all three, and one conversation is only ever on one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from adapters.contract import ToolBusy
from bot.types import Caller, ToolCall, ToolOutput, ToolSpec

AT_ONCE = 32
"""Calls of one tool at once, where its mark says nothing: a slow tool keeps the threads of others free."""
LONGEST_WAIT = 10.0
"""Seconds that a call over a limit waits; half of the tool's timeout where that is less."""
MOST_PEOPLE = 10_000
"""People whose pace is remembered, of those with calls in the last minute or two."""
MINUTE = 60.0

_RATE = (
    "{name} was not called: this person's tools have been called {most} times within a minute, which is as often as "
    "they may. Say so, and answer with what you have; it goes on in {seconds:.0f} s."
)
_BUSY = "{name} was not called: it is busy, {most} calls of it are running. Say so; try later."

Who = tuple[str, str, str]
"""Channel, tenant and person."""


class Tools(Protocol):
    """What is wrapped: `bot.ports.Toolbox`."""

    def specs(self) -> Sequence[ToolSpec]: ...
    def approval(self, call: ToolCall) -> Mapping[str, str] | None: ...
    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput: ...


class Limited:
    """A `Toolbox` around another. A call over a limit waits a little, then it is answered without being made.

    Only the call itself waits: other calls of the round, other turns and other people's go on.
    """

    def __init__(
        self,
        toolbox: Tools,
        per_minute: int,
        *,
        at_once: int = AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Wrap the toolbox; `per_minute` 0 is without limit."""
        self._toolbox = toolbox
        self._pace = Pace(per_minute, monotonic) if per_minute else None
        self._slots = Slots()
        self._at_once = at_once
        self._sleep = sleep

    def specs(self) -> Sequence[ToolSpec]:
        """See `Toolbox.specs`."""
        return self._toolbox.specs()

    def approval(self, call: ToolCall) -> Mapping[str, str] | None:
        """See `Toolbox.approval`."""
        return self._toolbox.approval(call)

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        """See `Toolbox.call`. Over a limit, `error` is `limited` or `busy`, and nothing was done."""
        spec = next((spec for spec in self._toolbox.specs() if spec.name == call.name), None)
        patience = LONGEST_WAIT if spec is None else min(LONGEST_WAIT, spec.timeout / 2)
        if self._pace is not None:
            wait = self._pace.reserve((caller.channel, caller.tenant, caller.person.id), patience)
            if wait > patience:
                words = _RATE.format(name=call.name[:64], most=self._pace.per_minute, seconds=wait)
                return ToolOutput(call.id, words, "limited")
            if wait > 0:
                await self._sleep(wait)
        if spec is None:
            return await self._toolbox.call(call, caller)
        most = spec.at_once or self._at_once
        try:
            async with self._slots.one(spec.name, most, patience):
                return await self._toolbox.call(call, caller)
        except ToolBusy:
            return ToolOutput(call.id, _BUSY.format(name=spec.name, most=most), "busy")


class Pace:
    """Lets each person make `per_minute` calls at once, and as many a minute in the long run.

    Of a person it keeps when what they have called would be worked off at an even pace; nothing of who is even.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._apart = MINUTE / per_minute
        self._monotonic = monotonic
        self._even_at: dict[Who, float] = {}
        self._look_at = 64

    def reserve(self, who: Who, patience: float) -> float:
        """Seconds after which the call may be made, which then counts; over `patience`, it does not count."""
        now = self._monotonic()
        even_at = max(now, self._even_at.get(who, now))
        wait = max(0.0, even_at - now - (MINUTE - self._apart))
        if wait <= patience:
            self._even_at.pop(who, None)  # to the end: the dict is in the order of the last calls
            self._even_at[who] = even_at + self._apart
            self._let_go(now)
        return wait

    def _let_go(self, now: float) -> None:
        if len(self._even_at) < self._look_at:
            return
        kept = [(who, at) for who, at in self._even_at.items() if at > now]
        if len(kept) >= MOST_PEOPLE:
            kept = kept[-MOST_PEOPLE // 2 :]  # half: not to look through them all at each call
        self._even_at = dict(kept)
        self._look_at = max(64, min(2 * len(kept), MOST_PEOPLE))

    def __len__(self) -> int:
        return len(self._even_at)


@dataclass(slots=True)
class _Gate:
    most: int
    free: asyncio.Semaphore = field(init=False)
    users: int = 0

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.most)


class Slots:
    """So many at once of each name. Of a name that nobody uses, nothing is kept."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    @asynccontextmanager
    async def one(self, name: str, most: int, patience: float) -> AsyncGenerator[None]:
        """One of the `most` slots of this name, in the order of asking.

        Raises:
            ToolBusy: none came free within so many seconds.
        """
        gate = self._gates.get(name)
        if gate is None or gate.most != most:
            gate = self._gates[name] = _Gate(most)
        gate.users += 1
        try:
            try:
                async with asyncio.timeout(patience):
                    await gate.free.acquire()
            except TimeoutError:
                raise ToolBusy(name) from None
            try:
                yield
            finally:
                gate.free.release()
        finally:
            gate.users -= 1
            if not gate.users and self._gates.get(name) is gate:
                del self._gates[name]

    def __len__(self) -> int:
        return len(self._gates)
