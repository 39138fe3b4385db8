"""Killed at every point while a person is asked about a tool, and started again: asked, called once, answered once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.clock import SystemClock
from bot.store import open_store
from bot.types import ToolCall
from tests.failpoints import Failpoints, Overlay
from tests.scripted import ScriptedAgent
from tests.world import FakeToolbox, FastClock, RecordingChannel, World, message, open_world

ANSWER = "the answer"
MAY_BE_UNKNOWN = {
    "after tool_calls.agreed",
    "before toolbox.call",
    "after toolbox.call",
    "before tool_calls.ended",
}


class Outside:
    """What a crash does not reach: the agent service, the chat, and what the tool has done."""

    def __init__(self) -> None:
        self.agent = ScriptedAgent([[["order"], ANSWER]])
        self.channel = RecordingChannel()
        self.ordered = 0

    def toolbox(self) -> FakeToolbox:
        box = FakeToolbox()
        box.add("order", self._order, once=True, approve=True)
        return box

    def _order(self, _call: ToolCall, _caller: object) -> str:
        self.ordered += 1
        return "ordered"

    @property
    def questions(self) -> list[str]:
        return [part.asks.approval for _, part in self.channel.sent if part.asks is not None]

    @property
    def answers(self) -> list[str]:
        return [part.text for _, part in self.channel.sent if part.asks is None]


async def life(url: str, outside: Outside, points: Failpoints, clock: FastClock) -> None:
    """One life of the bot and of a person who says approve to every question, until one dies or all is done."""
    died = asyncio.Event()
    points.on_death = died.set
    async with _world(url, outside, points, clock) as world:
        await world.bot.accept(message("question", id="the-one"))
        done = [asyncio.create_task(work) for work in (_agrees(world, outside), died.wait())]
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.cancel()
        await asyncio.gather(*done, return_exceptions=True)


@asynccontextmanager
async def _world(url: str, outside: Outside, points: Failpoints, clock: FastClock) -> AsyncGenerator[World]:
    store = await open_store(url, SystemClock(), runner=True)
    tapped = Overlay(
        store,
        inbox=points.tap(store.inbox, "inbox", {"save", "finish", "wait"}),
        tool_calls=points.tap(store.tool_calls, "tool_calls", {"started", "agreed", "ended"}),
        approvals=points.tap(store.approvals, "approvals", {"ask", "told"}),
        sole=True,
    )
    outside.agent.clock = clock
    toolbox = points.tap(outside.toolbox(), "toolbox", {"call"})
    agent = points.tap(outside.agent, "agent", {"start", "look", "answer"})
    channel = points.tap(outside.channel, "channel", {"send", "update"})
    options = {"store": tapped, "agent": agent, "toolbox": toolbox, "channel": channel}
    try:
        async with open_world(Path("/nowhere"), clock=clock, grace=0.0, **options) as world:
            yield world
    finally:
        await store.close()


async def _agrees(world: World, outside: Outside) -> None:
    """Say approve once to each question, until no message is left."""
    said: set[str] = set()
    while world.bot.inbox.running or await world.bot.store.records.unfinished():
        for question in {*outside.questions} - said:
            said.add(question)
            await world.say("approve", decides=question)
        await asyncio.sleep(0.005)


# what dies here leaves its connections to the garbage collector, as a killed process leaves them to the kernel
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.invariant("I4")
@pytest.mark.invariant("I5")
@pytest.mark.invariant("I9")
async def test_killed_anywhere_the_tool_is_called_once_at_most(tmp_path: Path) -> None:
    points = Failpoints()
    await life(f"sqlite+aiosqlite:///{tmp_path / 'count.db'}", Outside(), points, FastClock())
    assert {"after approvals.ask", "after inbox.wait", "after tool_calls.agreed"} < set(points.passed)
    for number, where in enumerate(points.passed):
        url, outside, clock = f"sqlite+aiosqlite:///{tmp_path / f'bot{number}.db'}", Outside(), FastClock()
        try:
            await life(url, outside, Failpoints(kill_at=number), clock)
        except BaseException as error:
            if type(error).__name__ != "Killed":
                raise
        await life(url, outside, Failpoints(), clock)
        context = f"killed at point {number}: {where}; said {outside.channel.texts}"
        assert outside.ordered <= 1, context
        if outside.ordered == 0 or "can't tell" in outside.answers[-1]:
            assert where in MAY_BE_UNKNOWN, context
        assert len(set(outside.questions)) == 1, context
        asked_again = where in ("after channel.send", "before approvals.told")
        assert len(outside.questions) <= (2 if asked_again else 1), context
        answered_again = where in ("after channel.send", "before inbox.save")
        assert 1 <= len(outside.answers) <= (2 if answered_again else 1), context
        assert all(answer.startswith(ANSWER) for answer in outside.answers), context
        assert len(outside.agent.runs) == 1, context
    gc.collect()  # here, and not in the middle of another test, which would be blamed
