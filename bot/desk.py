"""What the commands do beside a running bot: the store without its lock, the agent, and an admin's acts."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot.backends import Backends, open_agent
from bot.bootstrap import open_beside, texts_for
from bot.clock import SystemClock
from bot.errors import OperatorError, ServiceUnavailable, ThreadGone
from bot.events import Event
from bot.forgetting import Forgetting
from bot.inbox import InboxLimits
from bot.ports import Archives, Store
from bot.settings import Settings
from bot.types import Act, JsonObject, Known, Thread

EXPORTED = 10_000
"""Entries of a thread that an export holds."""

WAIT = 90.0
"""Seconds in which what runs must end before its threads are deleted: three leases."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The acts, each with its audit row."""

    store: Store
    archives: Archives
    forgetting: Forgetting
    actor: str

    async def chain(self, person: Known, keys: Sequence[str]) -> list[Thread]:
        """Every thread that these lanes ever had."""
        await self._record("show", person, keys)
        return [thread for key in keys for thread in await self.store.threads.chain(key)]

    async def current(self, keys: Sequence[str]) -> set[int]:
        """The ids of the threads that are used now."""
        lanes = [await self.store.threads.lane(key) for key in keys]
        return {lane.thread.id for lane in lanes if lane is not None and lane.thread is not None}

    async def reset(self, person: Known, keys: Sequence[str]) -> JsonObject:
        """Start these lanes over; what was dropped and stopped."""
        act = Act(self.actor, "start over", person.id)
        return (await self.store.forgetting.reset(keys, act, InboxLimits().undo)).detail

    async def forget(self, person: Known, keys: Sequence[str], *, every: bool) -> int:
        """Delete these conversations, at the service and here; how many threads are left of another agent.

        Raises:
            ServiceUnavailable, OperatorError: not now; the bot's hourly sweep, or this again, goes on with it.
        """
        await self._record("forget", person, keys)
        await self.store.forgetting.let_go(keys)
        for _ in range(int(WAIT * 2)):
            if not await self.store.forgetting.running(keys, None):
                break
            await asyncio.sleep(0.5)
        else:
            raise ServiceUnavailable("An answer is still being made.")
        left = await self.forgetting.delete(keys)
        await self.store.forgetting.forget(keys, person if every else None, None)
        await self.store.fold()
        return left

    async def export(self, person: Known, keys: Sequence[str]) -> JsonObject:
        """What the threads hold, as the agent has it."""
        await self._record("export", person, keys)
        conversations: list[JsonObject] = []
        for key in keys:
            threads = [await self._exported(thread) for thread in await self.store.threads.chain(key)]
            conversations.append({"lane": key, "threads": threads})
        return {"person": {"id": person.id, "name": person.name, "channel": person.channel}} | {
            "conversations": conversations
        }

    async def _exported(self, thread: Thread) -> JsonObject:
        known: JsonObject = {
            "id": thread.remote_id,
            "agent": thread.backend,
            "began": thread.opened_at,
            "why": str(thread.reason),
        }
        try:
            agent = await self.archives.of(thread)
            if agent is None:
                return known | {"messages": [], "problem": "it lies with an agent that nothing speaks with any more"}
            said = await agent.history(thread.remote_id, EXPORTED)
        except ThreadGone:
            return known | {"messages": [], "problem": "it no longer exists at the service"}
        return known | {"messages": [{"role": one.role, "text": one.text} for one in said]}

    async def _record(self, act: str, person: Known, keys: Sequence[str]) -> None:
        await self.store.people.record(Act(self.actor, act, person.id, None, {"conversations": len(keys)}))


def whoever() -> str:
    """Who is at the keyboard; a container need not know the user's name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _say_nothing(_: Event) -> None:
    """A command tells what it did in its own words."""


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncGenerator[Desk]:
    """Open the store beside a running bot, and the agent.

    Raises:
        OperatorError: the database or the agent cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await open_beside(settings)
        stack.push_async_callback(store.close)
        agent = await open_agent(settings, store, SystemClock(), texts_for(settings), stack)
        archives = Backends(settings, agent, store, SystemClock(), texts_for(settings), stack)
        forgetting = Forgetting(store, agent, archives, _say_nothing, settings.retention_days)
        try:
            yield Desk(store, archives, forgetting, whoever())
        except ServiceUnavailable as error:
            raise OperatorError(str(error), "Run the command again: it goes on with what is left.") from None
