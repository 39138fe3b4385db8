"""Killed at every point of a turn on each agent service, and started again: one answer, no effect twice."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bot.backends import open_agent
from bot.bootstrap import texts_for
from bot.clock import SystemClock
from bot.store import open_store
from tests.failpoints import Failpoints, Killed, Overlay
from tests.scenarios.services import SERVICES, Service, opened_service
from tests.world import FakeToolbox, FastClock, RecordingChannel, message, open_world, settings_for

TOLD_TWICE = {"after channel.send", "before inbox.save"}


class Outside:
    """What a crash does not reach: the chat, and what the tools have done."""

    def __init__(self) -> None:
        self.channel = RecordingChannel()
        self.effects: Counter[str] = Counter()

    def toolbox(self) -> FakeToolbox:
        box = FakeToolbox()
        box.add("order", self._order, once=True)
        return box

    def _order(self, _call: Any, _caller: Any) -> str:
        self.effects["order"] += 1
        return "ordered"


async def life(folder: Path, service: Service, outside: Outside, points: Failpoints, clock: FastClock) -> None:
    """One life of the bot, until it dies or nothing is left to do."""
    settings = settings_for(folder, **service.overrides)
    store = await open_store(settings.database_url, SystemClock(), runner=True)
    died = asyncio.Event()
    points.on_death = died.set
    tapped = Overlay(
        store,
        inbox=points.tap(store.inbox, "inbox", {"save", "finish"}),
        tool_calls=points.tap(store.tool_calls, "tool_calls", {"started", "ended"}),
        threads=points.tap(store.threads, "threads", {"open"}),
        sole=True,
    )
    channel = points.tap(outside.channel, "channel", {"send"})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        real = await open_agent(settings, store, clock, texts_for(settings), stack)
        agent = points.tap(real, "agent", {"open_thread", "start", "answer"})
        async with open_world(
            folder, store=tapped, agent=agent, toolbox=outside.toolbox(), channel=channel, clock=clock, grace=0.0
        ) as world:
            await world.bot.accept(message("use order", id="the-one"))
            idle = asyncio.create_task(world.quiet(30.0))
            await asyncio.wait({idle, asyncio.create_task(died.wait())}, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()


# what dies here leaves its connections to the garbage collector, as a killed process leaves them to the kernel
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.invariant("I4")
@pytest.mark.invariant("I6")
@pytest.mark.invariant("I9")
@pytest.mark.parametrize(("name", "stride"), [(name, 1 if name == "foundry" else 3) for name in SERVICES])
async def test_killed_anywhere_a_turn_is_answered_once(name: str, stride: int, tmp_path: Path) -> None:
    """With a stride, which the other services share their points with, only every third point is tried."""
    number, passed = 0, 1
    while number < passed:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with opened_service(name, folder) as service:
            outside, clock = Outside(), FastClock()
            service.tools(["order"])
            points = Failpoints(kill_at=number)
            try:
                await life(folder, service, outside, points, clock)
            except BaseException as error:
                if not isinstance(error, Killed):
                    raise
            where = points.passed[-1]
            passed = number + stride + 1 if points.dead else number
            await life(folder, service, outside, Failpoints(), clock)
            _judged(service, outside, f"killed at point {number}: {where}", where)
        number += stride
    assert number > 25
    gc.collect()  # here, and not in the middle of another test, which would be blamed


def _judged(service: Service, outside: Outside, context: str, where: str) -> None:
    said = outside.channel.texts
    context = f"{context}; said {said}"
    assert 1 <= len(said) <= (2 if where in TOLD_TWICE else 1), context
    assert outside.effects["order"] <= 1, context
    answered = "order: ordered" in said[-1]
    assert answered or "can't tell" in said[-1], context
    threads = [thread for thread in service.threads() if service.roles(thread)]
    assert len(threads) == 1, context
    assert service.roles(threads[0]).count("user") == 1, context
    assert service.questions(threads[0]) == 1, context
