"""What Prometheus reads: over HTTP, from a running bot."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, event

from bot.clock import SystemClock
from bot.errors import ServiceUnavailable
from bot.events import (
    ActivityIgnored,
    Delivered,
    Event,
    LeaseLost,
    MessageAccepted,
    RunEnded,
    RunLooked,
    ToolEnded,
    TurnEnded,
    TurnReleased,
    TurnStarted,
    Unexpected,
)
from bot.metrics import Metrics
from bot.store import open_store
from bot.types import Finished, Reply, Stopped, Usage
from tests.scripted import ScriptedAgent
from tests.world import GRACE, FakeToolbox, World, message, open_world

Samples = dict[str, float]
SAID = Finished(Reply("the answer"), Usage(100, 20, 100))


def samples_of(page: str) -> Samples:
    """Each sample's value by its name and labels, such as `threadkeeper_turns_total{channel="test"}`."""
    found: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, "a series twice"
            found[key] = sample.value
    return found


async def scraped(client: TestClient[Any, Any]) -> Samples:
    async with client.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        page = await response.text()
        assert not any(word in page for word in ("ada", "Ada", "chat-", "grace"))
        return samples_of(page)


@asynccontextmanager
async def client_of(world: World) -> AsyncGenerator[TestClient[Any, Any]]:
    async with TestClient(TestServer(world.bot.app, host="127.0.0.1")) as client:
        yield client


async def test_a_turn_in_numbers(tmp_path: Path) -> None:
    agent, toolbox = ScriptedAgent([[["weigh", "not_ours"], SAID]]), FakeToolbox()
    toolbox.add("weigh", lambda call, _: "1 kg")
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world, client_of(world) as client:
        said = message("question")
        await world.bot.accept(said)
        await world.answers(1)
        await world.bot.accept(said)
        seen = await scraped(client)
        prefix = 'backend="scripted",channel="test"'
        expected = {
            'messages_total{channel="test",kind="text"}': 1,
            'redeliveries_total{channel="test"}': 1,
            f'turns_total{{{prefix},ended="answered"}}': 1,
            f"turn_seconds_count{{{prefix}}}": 1,
            'waiting_seconds_count{channel="test"}': 1,
            'deliveries_total{channel="test"}': 1,
            'threads_opened_total{backend="scripted",reason="first"}': 1,
            f'runs_ended_total{{{prefix},state="completed"}}': 1,
            f'tokens_total{{{prefix},kind="prompt"}}': 100,
            f'tokens_total{{{prefix},kind="completion"}}': 20,
            'tool_calls_total{channel="test",tool="weigh"}': 1,
            'tool_calls_total{channel="test",tool="other"}': 1,
            'tool_errors_total{channel="test",error="unknown_tool",tool="other"}': 1,
            'tool_seconds_count{tool="weigh"}': 1,
            'turns_running{channel="test"}': 0,
            'waiting{channel="test"}': 0,
            'oldest_waiting_seconds{channel="test"}': 0,
            "store_up": 1,
        }
        assert {name: seen.get(f"threadkeeper_{name}") for name in expected} == expected
        assert sum(value for name, value in seen.items() if name.startswith("threadkeeper_runs{")) == 0


async def test_a_failure_in_numbers(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "server_error")] for _ in range(9)])
    async with open_world(tmp_path, agent=agent) as world, client_of(world) as client:
        await world.ask("question")
        seen = await scraped(client)
        assert seen['threadkeeper_turns_total{backend="scripted",channel="test",ended="apology"}'] == 1
        assert seen['threadkeeper_runs_ended_total{backend="scripted",channel="test",state="failed"}'] >= 1


async def test_what_runs_and_what_waits(tmp_path: Path) -> None:
    called, toolbox = asyncio.Event(), FakeToolbox()

    async def weigh(*_: object) -> None:
        called.set()
        await asyncio.Event().wait()

    toolbox.add("weigh", weigh)
    agent = ScriptedAgent([[["weigh"]]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world, client_of(world) as client:
        await world.say("question")
        async with asyncio.timeout(10):
            await called.wait()
        await world.say("waits")
        world.clock.advance(25)
        seen = await scraped(client)
        assert seen['threadkeeper_turns_running{channel="test"}'] == 1
        assert seen['threadkeeper_runs{state="requires_action"}'] == 1
        assert seen['threadkeeper_waiting{channel="test"}'] == 1
        assert 25 <= seen['threadkeeper_oldest_waiting_seconds{channel="test"}'] < 55
        await world.say("stop")
        await world.quiet()
        seen = await scraped(client)
        assert seen['threadkeeper_turns_running{channel="test"}'] == 0
        assert seen['threadkeeper_runs{state="requires_action"}'] == 0
        assert seen['threadkeeper_controls_total{control="stop"}'] == 1
        assert seen['threadkeeper_messages_dropped_total{control="stop"}'] == 1


async def test_the_oldest_that_waits(tmp_path: Path, database_url: str) -> None:
    async with open_world(tmp_path, database_url=database_url, start=False) as world:
        records = world.bot.store.records
        assert await records.oldest_waiting() == {}
        await world.say("one")
        await world.say("two", person=GRACE)
        waiting = await records.oldest_waiting()
        assert list(waiting) == ["test"]
        count, age = waiting["test"]
        assert count == 2
        assert 0 <= age < 30
        await world.bot.store.inbox.claim("me", 1, 60.0)
        assert (await records.oldest_waiting())["test"][0] == 1


async def test_what_waits_is_found_without_reading_what_has_ended(tmp_path: Path) -> None:
    """However many finished rows are on file. SQLite tells its plan."""
    asked: list[tuple[str, Any]] = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    event.listen(Engine, "before_cursor_execute", keep)
    try:
        await store.records.oldest_waiting()
    finally:
        event.remove(Engine, "before_cursor_execute", keep)
        await store.close()
    [(statement, parameters)] = [one for one in asked if "FROM inbox" in one[0]]
    with closing(sqlite3.connect(tmp_path / "bot.db")) as database:
        plan = [row[-1] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any("USING INDEX inbox_queued" in step for step in plan), plan


async def nothing_waits() -> dict[str, tuple[int, float]]:
    return {}


async def told(metrics: Metrics) -> Samples:
    return samples_of((await metrics.page())[0].decode())


async def test_while_the_database_is_away_the_rest_is_shown() -> None:
    async def away() -> dict[str, tuple[int, float]]:
        raise ServiceUnavailable("The database did not answer.")

    metrics = Metrics("scripted", ["test"], FakeToolbox(), away)
    metrics.on_event(Delivered("R", "test/t/person/ada", "test", 1, 1))
    seen = await told(metrics)
    assert seen["threadkeeper_store_up"] == 0
    assert seen['threadkeeper_deliveries_total{channel="test"}'] == 1
    assert not any("waiting{" in name or name.startswith("threadkeeper_oldest") for name in seen)


async def test_what_comes_from_outside_makes_no_new_series() -> None:
    toolbox = FakeToolbox()
    toolbox.add("weigh", lambda call, _: "1 kg")
    metrics = Metrics("scripted", ["test"], toolbox, nothing_waits)

    def tell(word: str) -> None:
        to = ("R", f"{word}/tenant/person/{word}")
        metrics.on_event(MessageAccepted(*to, word, "text", fresh=True))
        metrics.on_event(MessageAccepted(*to, word, "text", fresh=False))
        metrics.on_event(ActivityIgnored(*to, word, word))
        metrics.on_event(TurnStarted(*to, 1, 1, 0.1))
        metrics.on_event(RunLooked(*to, word, word))
        metrics.on_event(RunEnded(*to, word, word, 1, 1.0))
        metrics.on_event(ToolEnded(*to, word, word, 0.1, 1, word))
        metrics.on_event(Delivered(*to, word, 1, 1))
        metrics.on_event(TurnEnded(*to, "apology", 1.0, word))

    tell("word")
    before = set(await told(metrics))
    for number in range(20):
        tell(f"word{number}")
    seen = await told(metrics)
    assert set(seen) == before
    assert not any("word" in name for name in seen)
    assert seen['threadkeeper_messages_total{channel="other",kind="text"}'] == 21


@pytest.mark.invariant("I14")
@pytest.mark.parametrize(
    "end",
    [
        TurnEnded("R", "test/t", "answered", 1.0),
        TurnReleased("R", "test/t", 1.0, "busy"),
        LeaseLost("R", "test/t"),
        Unexpected("R", "test/t", "inbox", "ValueError"),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_a_turn_that_is_no_longer_in_hand_is_forgotten(end: Event) -> None:
    metrics = Metrics("scripted", ["test"], FakeToolbox(), nothing_waits)
    metrics.on_event(TurnStarted("R", "test/t", 1, 1, 0.1))
    metrics.on_event(RunLooked("R", "test/t", "run", "in_progress: image"))
    seen = await told(metrics)
    assert seen['threadkeeper_turns_running{channel="test"}'] == 1
    assert seen['threadkeeper_runs{state="in_progress"}'] == 1
    metrics.on_event(end)
    seen = await told(metrics)
    assert seen['threadkeeper_turns_running{channel="test"}'] == 0
    assert seen['threadkeeper_runs{state="in_progress"}'] == 0


async def test_a_later_start_of_a_turn_is_not_counted_as_waiting() -> None:
    metrics = Metrics("scripted", ["test"], FakeToolbox(), nothing_waits)
    metrics.on_event(TurnStarted("R", "test/t", 1, 1, 0.1))
    metrics.on_event(TurnReleased("R", "test/t", 60.0, "no permission", "Grant it."))
    metrics.on_event(TurnStarted("R", "test/t", 2, 1, 60.0))
    seen = await told(metrics)
    assert seen['threadkeeper_waiting_seconds_sum{channel="test"}'] == 0.1
    assert seen['threadkeeper_turns_released_total{channel="test",mended_by="operator"}'] == 1


async def test_two_bots_in_a_process_count_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    async with open_world(tmp_path / "one") as one, open_world(tmp_path / "two") as two:
        await one.ask("question")
        async with client_of(one) as first, client_of(two) as second:
            name = 'threadkeeper_turns_total{backend="rehearsal",channel="test",ended="answered"}'
            assert (await scraped(first))[name] == 1
            assert name not in await scraped(second)


async def test_refused_requests_are_counted(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, client_of(world) as client:
        async with client.post("/api/messages", data=b"hello") as response:
            assert response.status == 415
        seen = await scraped(client)
        assert seen['threadkeeper_requests_refused_total{path="/api/messages",status="415"}'] == 1


async def test_in_local_mode_other_sites_read_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, client_of(world) as client:
        response = await client.get("/metrics", headers={"Host": "evil.example"})
        assert response.status == 403
        assert "threadkeeper_" not in await response.text()
