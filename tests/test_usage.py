"""What the bot was used for, counted beside it on each database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.cli.run import Unusable
from bot.cli.usage import KEPT_DAYS, seconds_of
from bot.inbox import InboxLimits
from bot.store import SqlStore, open_store
from bot.types import Ended, Ending, Finished, Reply, Stopped, ToolUsed, TurnsUsed, Usage
from tests.processes import command, served
from tests.scripted import ScriptedAgent
from tests.world import GRACE, FakeToolbox, FastClock, World, open_world

DAY = 86_400.0
SAID = Finished(Reply("the answer"), Usage(100, 20, 100))


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncGenerator[World]:
    toolbox = FakeToolbox()
    toolbox.add("weigh", lambda call, _: "1 kg")
    failing = [[Stopped("failed", "server_error")] for _ in range(9)]
    agent = ScriptedAgent([[["weigh", "weigh"], SAID], [["weigh", "no_such"], SAID], *failing])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox, database_url=database_url) as world:
        yield world


@pytest.fixture
async def beside(world: World) -> AsyncGenerator[SqlStore]:
    """The store as the command opens it."""
    store = await open_store(world.bot.settings.database_url, world.clock, runner=False)
    yield store
    await store.close()


async def asked(world: World) -> None:
    """Ada asks twice, Grace once in vain; Ada says help."""
    await world.ask("first")
    await world.ask("second")
    await world.ask("in vain", person=GRACE)
    await world.ask("help")
    await world.quiet()


async def test_by_person(world: World, beside: SqlStore) -> None:
    await asked(world)
    assert await beside.usage.by_person(DAY) == [
        TurnsUsed("ada", "test", 3, 2, 0, 200, 40, 4, 1),
        TurnsUsed("grace", "test", 1, 0, 1, 0, 0, 0, 0),
    ]


async def test_by_day(world: World, beside: SqlStore) -> None:
    began = datetime.now(UTC).date().isoformat()
    await asked(world)
    days = await beside.usage.by_day(DAY)
    assert {began} <= {day.who for day in days} <= {began, datetime.now(UTC).date().isoformat()}
    assert [sum(getattr(day, name) for day in days) for name in ("turns", "answered", "apologies")] == [4, 2, 1]
    assert [sum(getattr(day, name) for day in days) for name in ("prompt_tokens", "completion_tokens")] == [200, 40]
    assert [sum(getattr(day, name) for day in days) for name in ("tool_calls", "tool_errors")] == [4, 1]
    assert {day.channel for day in days} == {""}


async def test_by_tool(world: World, beside: SqlStore) -> None:
    await asked(world)
    weigh, unknown = await beside.usage.by_tool(DAY)
    assert weigh == ToolUsed("weigh", 2, 3, 0, weigh.seconds)
    assert unknown == ToolUsed("no_such", 1, 1, 1, unknown.seconds)
    assert 0 <= weigh.seconds < 10


async def test_what_ended_earlier_is_left_out(tmp_path: Path) -> None:
    clock = FastClock()
    async with open_world(tmp_path, clock=clock) as world:
        await world.ask("first")
        clock.advance(3 * DAY)
        await world.ask("second")
        await world.quiet()
        usage = world.bot.store.usage
        assert [one.turns for one in await usage.by_person(DAY)] == [1]
        assert [one.turns for one in await usage.by_person(4 * DAY)] == [2]
        assert [day.turns for day in await usage.by_day(4 * DAY)] == [1, 1]


async def test_what_became_part_of_a_turn_or_was_dropped_is_no_turn(tmp_path: Path) -> None:
    async with open_world(tmp_path, start=False) as world:
        store = world.bot.store
        for text in ("one", "two", "three"):
            await world.say(text)
        [claim] = await store.inbox.claim("me", 5, 60.0)
        assert len(claim.messages) == 3
        await store.inbox.finish(claim.turn, "me", Ending(Ended.ANSWERED, {}))
        await world.say("waits", person=GRACE)
        assert (await world.say("start over", person=GRACE)).dropped == 1
        [used] = await store.usage.by_person(DAY)
        assert (used.who, used.turns, used.answered) == ("ada", 1, 1)


# -- the command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("since", "days"), [("30d", 30), ("12h", 0.5), (" 1D ", 1), ("35d", 35), ("840h", 35)])
def test_a_span_of_time(since: str, days: float) -> None:
    assert seconds_of(since) == days * DAY


@pytest.mark.parametrize("since", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "3w", "٣d", "1d2h"])
def test_no_span_of_time(since: str) -> None:
    with pytest.raises(Unusable, match="such as 30d or 12h"):
        seconds_of(since)


@pytest.mark.parametrize("since", ["36d", "841h", "999999d"])
def test_further_back_than_rows_are_kept(since: str) -> None:
    with pytest.raises(Unusable, match="kept for 35 days"):
        seconds_of(since)


def test_the_command_knows_how_long_rows_are_kept() -> None:
    assert InboxLimits().keep_rows == KEPT_DAYS * DAY


async def test_the_command_beside_a_running_bot(tmp_path: Path) -> None:
    code, out, _ = await command(tmp_path, "usage", fresh=True)
    assert (code, out) == (0, "No turn has ended in the last 30d.\n")
    async with served(tmp_path) as bot:
        await bot.say("calculate 25 * 47")
        await bot.shows("1175")
        async with asyncio.timeout(20):
            while (await bot.state())["running"]:
                await asyncio.sleep(0.02)
        code, out, err = await command(tmp_path, "usage", "--by", "person", "--since", "12h", "--json")
        assert code == 0, err
        told = json.loads(out)
        assert (told["since"], told["by"]) == ("12h", "person")
        [row] = told["rows"]
        assert (row["channel"], row["turns"], row["answered"], row["tool_calls"]) == ("local", 1, 1, 1)
        code, out, _ = await command(tmp_path, "usage", "--by", "tool")
        assert (code, "calculate" in out, "all" in out) == (0, True, True)
        code, out, _ = await command(tmp_path, "usage")
        assert (code, "prompt tokens" in out) == (0, True)
    code, _, err = await command(tmp_path, "usage", "--since", "36d")
    assert code == 2
    assert "kept for 35 days" in err
    assert "Traceback" not in err
