"""Deleting conversations: at the service first, then here. What was marked is deleted, however often it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from bot.errors import OperatorError, ServiceUnavailable
from bot.events import Emit, ThreadsDeleted
from bot.lease import Turn
from bot.ports import Agent, Archives, Store
from bot.types import Known, Thread

log = logging.getLogger("threadkeeper.forgetting")

PAGE = 1000
PAUSE = 0.5
HOUR = 3600.0
GIVE_UP_AFTER = 3
"""Failures of one sweep: a service that is away is not asked a thousand times."""


class Forgetting:
    """Deletes the threads that are marked for it. A thread's row here goes last: while it stands, work is left."""

    def __init__(self, store: Store, agent: Agent, archives: Archives, emit: Emit, days: float) -> None:
        self._store = store
        self._agent = agent
        self._archives = archives
        self._emit = emit
        self._days = days
        self._loop: asyncio.Task[None] | None = None

    # -- as someone wished ----------------------------------------------------------------------------------

    async def person(self, turn: Turn) -> int:
        """What "forget me now" leaves to do in its turn; how many threads are left, at a service that was left.

        Raises:
            ServiceUnavailable, OperatorError: not now; taken up again, it goes on with what is left.
        """
        keys: list[str] = turn.effect.get("lanes", [])
        while await self._store.forgetting.running(keys, turn.id):
            await turn.sleep(PAUSE)
        left = await self.delete(keys, turn.reference)
        place, person = turn.message.conversation, turn.message.person
        known = Known(place.channel, place.tenant, person.id, person.name, turn.accepted_at)
        await self._store.forgetting.forget(keys, known, turn.id)
        return left

    async def delete(self, keys: Sequence[str], reference: str = "") -> int:
        """Delete every marked thread of these lanes; how many are left, at a service that was left.

        Raises:
            ServiceUnavailable, OperatorError: not now; what was deleted stays deleted.
        """
        deleted = left = 0
        for thread in await self._store.forgetting.marked(keys, PAGE):
            if await self._delete(thread):
                deleted += 1
            else:
                left += 1
        if deleted or left:
            self._emit(ThreadsDeleted(reference, "", deleted, left))
        return left

    async def _delete(self, thread: Thread) -> bool:
        ours = (thread.backend, thread.project) == (self._agent.backend, self._agent.project)
        try:
            agent = self._agent if ours else await self._archives.of(thread)
            if agent is not None:
                await agent.delete_thread(thread.remote_id)
        except (ServiceUnavailable, OperatorError):
            if ours:
                raise
            agent = None  # a service that was left may be gone for good: it is tried again, but holds nothing up
        if agent is None:
            await self._store.forgetting.left(thread.id)
            return False
        await self._store.forgetting.deleted(thread.id)
        return True

    # -- by age ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep, every hour."""
        self._loop = asyncio.create_task(self._sweeping(), name="forgetting-sweep")

    async def stop(self) -> None:
        """End the sweep; the next life goes on with it."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    async def _sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except (ServiceUnavailable, OperatorError) as error:
                log.warning("old conversations were not deleted: %s", error)
            await asyncio.sleep(HOUR)

    async def sweep(self) -> None:
        """Mark what is too old, and delete all that is marked.

        Raises:
            ServiceUnavailable, OperatorError: the database, or the service for all that is asked of it.
        """
        if self._days:
            await self._store.forgetting.expire(self._days * 86_400)
        deleted = left = failed = 0
        for thread in await self._store.forgetting.marked(None, PAGE):
            try:
                gone = await self._delete(thread)
            except ServiceUnavailable:
                await self._store.forgetting.left(thread.id)
                gone, failed = False, failed + 1
            deleted, left = deleted + gone, left + (not gone)
            if failed == GIVE_UP_AFTER:
                break
        if deleted or left:
            self._emit(ThreadsDeleted("", "", deleted, left))
        if deleted:
            await self._store.fold()
