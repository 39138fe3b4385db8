"""Killed at every point of a turn, and started again: answered once, no effect twice, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from bot.clock import SystemClock
from bot.store import open_store
from tests.failpoints import Failpoints, Overlay
from tests.scripted import WORKING, ScriptedAgent
from tests.world import FakeToolbox, FastClock, RecordingChannel, message, open_world

ANSWER = "the answer"
UNKNOWN_EFFECT = {
    "after tool_calls.started",
    "before toolbox.call",
    "after toolbox.call",
    "before tool_calls.ended",
}


@dataclass
class Outside:
    """What a crash does not reach: the agent service, the chat, and what the tools have done."""

    agent: ScriptedAgent = field(default_factory=lambda: ScriptedAgent([[WORKING, ["look", "order"], WORKING, ANSWER]]))
    channel: RecordingChannel = field(default_factory=RecordingChannel)
    effects: Counter[str] = field(default_factory=Counter)
    repeated: list[bool] = field(default_factory=list)

    def toolbox(self) -> FakeToolbox:
        box = FakeToolbox()
        box.add("look", self._look)
        box.add("order", self._order, once=True)
        return box

    def _look(self, _call: Any, caller: Any) -> str:
        self.effects["look"] += 1
        self.repeated.append(caller.repeated)
        return "looked"

    def _order(self, _call: Any, _caller: Any) -> str:
        self.effects["order"] += 1
        return "ordered"


async def life(url: str, outside: Outside, points: Failpoints, clock: FastClock) -> None:
    """One life of the bot, until it dies or nothing is left to do."""
    store = await open_store(url, SystemClock(), runner=True)
    died = asyncio.Event()
    points.on_death = died.set
    tapped = Overlay(
        store,
        inbox=points.tap(store.inbox, "inbox", {"put", "save", "finish"}),
        tool_calls=points.tap(store.tool_calls, "tool_calls", {"started", "ended"}),
        threads=points.tap(store.threads, "threads", {"open"}),
        sole=True,
    )
    outside.agent.clock = clock
    toolbox = points.tap(outside.toolbox(), "toolbox", {"call"})
    agent = points.tap(outside.agent, "agent", {"open_thread", "start", "look", "answer"})
    channel = points.tap(outside.channel, "channel", {"send"})
    try:
        async with open_world(
            Path("/nowhere"), store=tapped, agent=agent, toolbox=toolbox, channel=channel, clock=clock, grace=0.0
        ) as world:
            await world.bot.accept(message("question", id="the-one"))  # redelivered after a crash, as Teams does
            idle = asyncio.create_task(world.quiet())
            await asyncio.wait({idle, asyncio.create_task(died.wait())}, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
    finally:
        await store.close()


async def all_points(tmp_path: Path) -> list[str]:
    points = Failpoints()
    await life(f"sqlite+aiosqlite:///{tmp_path / 'count.db'}", Outside(), points, FastClock())
    return points.passed


async def killed_at(url: str, number: int) -> tuple[Outside, str]:
    outside, clock = Outside(), FastClock()
    points = Failpoints(kill_at=number)
    try:
        await life(url, outside, points, clock)
    except BaseException as error:
        if type(error).__name__ != "Killed":
            raise
    await life(url, outside, Failpoints(), clock)
    return outside, points.passed[-1]


# what dies here leaves its connections to the garbage collector, as a killed process leaves them to the kernel
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.invariant("I1")
@pytest.mark.invariant("I4")
@pytest.mark.invariant("I5")
@pytest.mark.invariant("I6")
@pytest.mark.invariant("I9")
async def test_killed_anywhere_a_turn_is_answered_once(database_url: str, tmp_path: Path) -> None:
    names = await all_points(tmp_path)
    assert len(names) > 40
    for number in range(len(names)):
        url = database_url.replace("bot.db", f"bot{number}.db") if "sqlite" in database_url else database_url
        outside, where = await killed_at(url, number)
        if "postgresql" in database_url:
            await _emptied(url)
        said = outside.channel.texts
        context = f"killed at point {number}: {where}; said {said}"
        shown = [text for text in said if text.startswith(ANSWER)]
        twice_allowed = where == "after channel.send" or (where == "before inbox.save" and len(said) == 2)
        assert 1 <= len(shown) <= (2 if twice_allowed else 1), context
        assert len(shown) == len(said), context
        assert outside.effects["order"] <= 1, context
        if outside.effects["order"] == 0 or "can't tell" in said[-1]:
            assert where in UNKNOWN_EFFECT, context
        assert len(outside.agent.runs) == 1, context
        assert len(outside.agent.threads) <= 2, context
        assert [run.ask.text for run in outside.agent.runs] == ["question"], context
        if outside.effects["look"] > 1:
            assert outside.repeated[1:] == [True] * (len(outside.repeated) - 1), context
    gc.collect()  # here, and not in the middle of another test, which would be blamed


async def _emptied(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("TRUNCATE inbox, lanes, threads, tool_calls"))
    await engine.dispose()
