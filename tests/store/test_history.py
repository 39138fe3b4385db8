"""Threads in our own store, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.clock import SystemClock
from bot.errors import RunActive, ThreadGone
from bot.ports import History
from bot.store import open_store
from bot.types import JsonObject, Kept, RunMark, Said

CALLS = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "weather"}}]}


def mark(turn: str = "1", attempt: str = "0") -> RunMark:
    return RunMark(turn, attempt, "7F3K-2Q")


def image(name: str) -> Kept:
    return Kept("file", name, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{name}"}})


@pytest_asyncio.fixture
async def history(database_url: str) -> AsyncIterator[History]:
    store = await open_store(database_url, SystemClock(), runner=True)
    await store.history.create_thread("t", [])
    yield store.history
    await store.close()


async def begun(history: History, state: JsonObject, *added: Kept, run: str = "r", turn: str = "1") -> None:
    await history.start_run("t", run, mark(turn), None, state, added=added)


async def test_only_what_was_said_is_history(history: History):
    state: JsonObject = {"round": 0}
    await begun(history, state, Kept("user", "Look at this", {"role": "user", "content": "..."}), image("a"))
    assert await history.advance("r", state, {"round": 1}, ended=False, added=[Kept("call", "", CALLS)])
    outputs = [Kept("output", "rain", {"role": "tool", "tool_call_id": "c1", "content": "rain"})]
    assert await history.advance("r", {"round": 1}, {"round": 2}, ended=False, added=outputs)
    assert await history.advance("r", {"round": 2}, {"round": 2}, ended=True, added=[Kept("assistant", "It rains.")])
    assert await history.entries("t", 10) == [Said("user", "Look at this"), Said("assistant", "It rains.")]
    assert await history.entries("t", 1) == [Said("assistant", "It rains.")]
    kept = await history.kept("t", 10, files=3)
    assert [entry.role for entry in kept] == ["user", "file", "call", "output", "assistant"]
    assert [entry.item for entry in kept[2:]] == [CALLS, outputs[0].item, None]


async def test_of_the_files_only_the_newest_are_kept_for_the_model(history: History):
    words = Kept("user", "These", None)
    await begun(history, {}, words, image("a"), image("b"), image("c"))
    assert [entry.text for entry in await history.kept("t", 10, files=2)] == ["These", "b", "c"]
    assert [entry.text for entry in await history.kept("t", 10, files=0)] == ["These"]
    assert [entry.text for entry in await history.kept("t", 2, files=3)] == ["b", "c"]


async def test_a_message_may_be_text_alone_as_before(history: History):
    await history.start_run("t", "r", mark(), "Hello", {})
    await history.save_run("r", {}, ended=True, answer="Hi")
    assert await history.kept("t", 10, files=3) == [Kept("user", "Hello"), Kept("assistant", "Hi")]


async def test_a_refused_run_adds_nothing(history: History):
    await begun(history, {}, Kept("user", "one"))
    with pytest.raises(RunActive):
        await begun(history, {}, Kept("user", "two"), run="other", turn="2")
    assert await history.entries("t", 10) == [Said("user", "one")]


@pytest.mark.invariant("I3")
async def test_a_state_goes_on_from_what_it_was_and_from_nothing_else(history: History):
    before: JsonObject = {"round": 0, "scale": 1.37, "note": None, "tools": [{"name": "ä", "deep": {"a": [1, 2.5]}}]}
    await begun(history, before)
    late = before | {"scale": 1.0}
    assert not await history.advance("r", late, {"round": 1}, ended=False, added=[Kept("assistant", "late")])
    assert await history.advance("r", before, {"round": 1}, ended=False, added=[Kept("assistant", "first")])
    assert not await history.advance("r", before, {"round": 1}, ended=False, added=[Kept("assistant", "twice")])
    assert await history.entries("t", 10) == [Said("assistant", "first")]
    assert await history.run("r") == {"round": 1}


@pytest.mark.invariant("I3")
async def test_of_two_at_once_one_goes_on(history: History):
    await begun(history, {"round": 0})
    added = [Kept("assistant", "once")]
    tries = [history.advance("r", {"round": 0}, {"round": 1, "by": n}, ended=False, added=added) for n in range(5)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 4 + [True]
    assert await history.entries("t", 10) == [Said("assistant", "once")]


async def test_a_run_that_has_ended_or_is_not_there_stays_so(history: History):
    await begun(history, {"round": 0})
    assert await history.advance("r", {"round": 0}, {"round": 0}, ended=True)
    assert not await history.advance("r", {"round": 0}, {"round": 1}, ended=False)
    assert not await history.advance("none", {}, {}, ended=False)
    assert await history.active_run("t") is None


async def test_the_last_run_is_the_one_that_was_started_last(history: History):
    assert await history.last_run("t") is None
    await begun(history, {"scale": 1})
    await history.save_run("r", {"scale": 2}, ended=True)
    await begun(history, {"scale": 3}, run="a", turn="2")
    assert await history.last_run("t") == {"scale": 3}


async def test_a_deleted_thread_is_gone_with_all_its_entries(history: History):
    await begun(history, {}, Kept("user", "one"), image("a"))
    await history.delete_thread("t")
    with pytest.raises(ThreadGone):
        await history.kept("t", 10, files=3)
    assert not await history.advance("r", {}, {}, ended=False, added=[Kept("assistant", "late")])
    await history.create_thread("t", [])
    assert await history.kept("t", 10, files=3) == []
