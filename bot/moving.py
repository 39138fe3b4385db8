"""Moving every conversation to the agent that is set now, before its person writes again."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.backends import Backends, open_agent
from bot.bootstrap import open_beside, texts_for
from bot.clock import SystemClock
from bot.errors import OperatorError, ServiceUnavailable, ThreadGone, ThreadkeeperError
from bot.ports import Agent, Archives, Clock, Store
from bot.settings import Settings
from bot.texts import Texts
from bot.types import (
    Ask,
    Carried,
    Finished,
    Handle,
    Lane,
    RunMark,
    Said,
    Stopped,
    Thread,
    ThreadReason,
    Working,
)

log = logging.getLogger("threadkeeper.moving")

WHOLE = 100
"""So many of the last entries are carried word for word; what is older, as a summary."""
READ = 10_000
PAGE = 100
SUMMARY_SECONDS = 120.0
SUMMARY_CHARACTERS = 8_000
LOOK_SECONDS = 1.0


class Outcome(StrEnum):
    """What became of one conversation."""

    MOVED = "moved"
    SHORTENED = "moved without its oldest messages"
    BUSY = "busy"
    EMPTY = "nothing to carry"
    GONE = "gone at the old service"
    UNREACHABLE = "not readable"


@dataclass(frozen=True, slots=True)
class Moved:
    """One conversation, what became of it, and how many entries were carried."""

    lane: Lane
    outcome: Outcome
    entries: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Moving:
    """Moves lanes one by one. Each is one write at its end: what was cut off before it is done again."""

    store: Store
    agent: Agent
    archives: Archives
    clock: Clock
    texts: Texts

    async def lanes(self) -> AsyncIterator[Lane]:
        """Every conversation whose thread lies elsewhere, in the order of their keys."""
        after = ""
        while page := await self.store.moving.elsewhere(self.agent.backend, self.agent.project, after, PAGE):
            for lane in page:
                yield lane
            after = page[-1].key

    async def move(self, lane: Lane, *, dry: bool) -> Moved:
        """Read the old thread, open the new one with it, and make it the lane's, if nobody wrote meanwhile.

        With `dry` nothing is changed. A new thread that its lane did not take is deleted again; one that was opened
        as the process died stays at the service, empty of anything that is not elsewhere too.

        Raises:
            ServiceUnavailable, OperatorError: the agent that is set now cannot be used, or the database.
        """
        assert lane.thread is not None
        running, waiting = await self.store.records.busy(lane.key)
        if running or waiting:
            return Moved(lane, Outcome.BUSY)
        try:
            old = await self.archives.of(lane.thread)
            if old is None:
                return Moved(lane, Outcome.UNREACHABLE, problem="its backend is not known")
            said = await old.history(lane.thread.remote_id, READ)
        except ThreadGone:
            return Moved(lane, Outcome.GONE)
        except (ServiceUnavailable, OperatorError) as error:
            return Moved(lane, Outcome.UNREACHABLE, problem=str(error))
        if dry:
            return Moved(lane, Outcome.MOVED if said else Outcome.EMPTY, len(said))
        carried = await self._carried(old, lane.thread, said)
        if not await self._opened(lane, lane.thread, carried):
            return Moved(lane, Outcome.BUSY)
        shortened = len(said) > len(carried.messages) and not carried.summary
        return Moved(lane, Outcome.SHORTENED if shortened else Outcome.MOVED, len(carried.messages))

    async def _opened(self, lane: Lane, old: Thread, carried: Carried) -> bool:
        remote_id = await self.agent.open_thread(carried, RunMark("migrate", str(old.id), ""))
        now = self.clock.now()
        thread = replace(
            old,
            id=0,
            generation=lane.generation,
            backend=self.agent.backend,
            project=self.agent.project,
            remote_id=remote_id,
            reason=ThreadReason.MOVED,
            opened_at=now,
            messages=len(carried.messages),
            prompt_tokens=0,
            previous_id=old.id,
            summary=None,
            unusable=None,
        )
        if await self.store.moving.move(thread, carried=carried.form):
            return True
        await self.agent.delete_thread(remote_id)
        return False

    async def _carried(self, old: Agent, thread: Thread, said: list[Said]) -> Carried:
        if len(said) <= WHOLE:
            return Carried(messages=tuple(said))
        summary = thread.summary or await self._summary(old, thread)
        return Carried(summary, tuple(said[-WHOLE:]))

    async def _summary(self, old: Agent, thread: Thread) -> str | None:
        """What the agent that is left makes of the whole conversation; None if it cannot any more."""
        mark = RunMark("migrate", f"summary-{thread.id}", "")
        try:
            handle = await old.start(thread.remote_id, Ask(mark, self.texts.summary_request(), None))
            return await self._told(old, handle)
        except ThreadkeeperError as error:
            log.info("thread %s: no summary (%s)", thread.remote_id, type(error).__name__)
            return None

    async def _told(self, old: Agent, handle: Handle) -> str | None:
        until = self.clock.monotonic() + SUMMARY_SECONDS
        while self.clock.monotonic() < until:
            await old.changed(handle, LOOK_SECONDS)
            step = await old.look(handle)
            if isinstance(step, Finished):
                return step.reply.text[:SUMMARY_CHARACTERS] or None
            if isinstance(step, Stopped):
                return None
            if not isinstance(step, Working):
                break
        await old.cancel(handle)
        return None


@asynccontextmanager
async def open_moving(settings: Settings) -> AsyncGenerator[Moving]:
    """Open the store beside a running bot, the agent that is set now, and those that are left, as they are needed.

    Raises:
        OperatorError: the database or the agent cannot be used, now or later in the block.
    """
    async with AsyncExitStack() as stack:
        clock, texts = SystemClock(), texts_for(settings)
        store = await open_beside(settings)
        stack.push_async_callback(store.close)
        agent = await open_agent(settings, store, clock, texts, stack)
        archives = Backends(settings, agent, store, clock, texts, stack)
        try:
            yield Moving(store, agent, archives, clock, texts)
        except ServiceUnavailable as error:
            raise OperatorError(str(error), "Run the command again: it goes on with what is left.") from None
