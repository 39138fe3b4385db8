"""What people think of answers: kept with the answer's turn, counted once, forgotten, shown; on each database."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.errors import ServiceUnavailable
from bot.events import FeedbackGiven
from bot.feedback import Opinions
from bot.metrics import Metrics
from bot.threads import thread_key
from bot.types import Conversation, Feedback, KeptFeedback, Person, Told, reference_of
from tests.processes import command
from tests.scripted import ScriptedAgent
from tests.test_metrics import samples_of
from tests.world import ADA, GRACE, FakeToolbox, FastClock, World, group, open_world

DAY = 86_400.0
CHAT = Conversation("test", "tenant", "chat-ada")


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncGenerator[World]:
    async with open_world(tmp_path, agent=ScriptedAgent(), database_url=database_url) as world:
        yield world


async def say(world: World, delivered: str, reaction: Any = "like", text: str = "", **changes: Any) -> Told:
    events: list[Any] = []
    told = replace(Feedback(CHAT, ADA, delivered, reaction, text), **changes)
    took = await Opinions(world.bot.store, events.append).take(told)
    [event] = events
    world.events.append(event)
    return took


async def kept(world: World) -> list[KeptFeedback]:
    return await world.bot.store.feedback.within(DAY)


# -- with what it is kept -----------------------------------------------------------------------------------


async def test_it_is_kept_with_the_turn_the_thread_and_the_run(world: World) -> None:
    await world.ask("first")
    await world.ask("second")
    await world.quiet()
    turns = [claim.reference for claim in world.events if type(claim).__name__ == "TurnEnded"]
    told = await say(world, "d2", "dislike", "It was wrong.")
    assert (told.outcome, reference_of(told.turn or 0)) == ("new", turns[1])
    [one] = await kept(world)
    assert (one.person, one.name, one.channel, one.tenant) == ("ada", "Ada", "test", "tenant")
    assert (one.reaction, one.text, one.turn) == ("dislike", "It was wrong.", told.turn)
    described = await world.bot.store.records.describe(told.turn or 0)
    assert described is not None
    assert (one.thread, one.run) == (described["steps"]["run"]["thread"], described["steps"]["run"]["run"])
    assert one.run
    assert world.events[-1] == FeedbackGiven(turns[1], told.lane, "test", "dislike", "new")


async def test_it_may_come_while_the_turn_still_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    took: list[Told] = []
    finish = world.bot.store.inbox.finish

    async def finishing(*arguments: Any) -> None:
        took.append(await say(world, "d1"))
        await finish(*arguments)

    monkeypatch.setattr(world.bot.store.inbox, "finish", finishing)
    await world.ask("first")
    await world.quiet()
    [told] = took
    assert (told.turn is not None, told.outcome) == (True, "new")


async def test_an_answer_that_is_not_known_is_judged_all_the_same(world: World) -> None:
    await world.ask("first")
    for delivered in ("d9", ""):
        assert await say(world, delivered) == Told(None, thread_key(CHAT, ADA, "shared"), "new")
    assert [(one.turn, one.thread, one.run) for one in await kept(world)] == [(None, "", "")] * 2


@pytest.mark.invariant("I10")
async def test_nobody_judges_an_answer_to_somebody_else_alone(world: World) -> None:
    """Ids of deliveries repeat in other conversations, and come from clients."""
    await world.ask("first")
    told = await say(world, "d1", person=GRACE, conversation=replace(CHAT, id="chat-grace"))
    assert told.turn is None
    for changes in ({"tenant": "other"}, {"channel": "other"}):
        assert (await say(world, "d1", conversation=replace(CHAT, **changes))).turn is None


@pytest.mark.parametrize("groups", ["person", "shared"])
async def test_in_a_group_everyone_may_judge_what_was_said_there(tmp_path: Path, groups: str) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent(), group_threads=groups) as world:
        await world.ask("first", conversation=group("g/1%"))
        told = await say(world, "d1", person=GRACE, conversation=group("g/1%"))
        assert told.turn is not None
        assert (await say(world, "d1", person=GRACE, conversation=group("g"))).turn is None
        assert (await say(world, "d1", person=GRACE, conversation=group("g/1"))).turn is None


# -- said again ---------------------------------------------------------------------------------------------


@pytest.mark.invariant("I2")
async def test_delivered_again_it_counts_once(world: World) -> None:
    await world.ask("first")
    assert [(await say(world, "d1", text="x", said_at=5_000)).outcome for _ in range(3)] == ["new", "again", "again"]
    assert (await say(world, "d1", text="x", said_at=35_000)).outcome == "again", "half a minute later, with a new id"
    assert len(await kept(world)) == 1


async def test_the_newest_word_takes_the_place_of_the_earlier(world: World) -> None:
    await world.ask("first")
    await say(world, "d1", "dislike", "wrong", said_at=5_000)
    changed = await say(world, "d1", "like", said_at=6_000)
    assert (changed.outcome, changed.turn is None) == ("changed", False)
    assert (await say(world, "d1", "dislike", "wrong", said_at=5_000)).outcome == "again", "a late redelivery"
    assert [(one.reaction, one.text) for one in await kept(world)] == [("like", "")]
    assert (await say(world, "d1", "like", "better", said_at=7_000)).outcome == "changed"
    assert (await say(world, "d1", person=GRACE)).outcome == "new", "another person's is another"
    assert len(await kept(world)) == 2


async def test_it_is_counted_by_channel(world: World) -> None:
    async def nothing() -> dict[str, tuple[int, float]]:
        return {}

    metrics = Metrics("scripted", ["test"], FakeToolbox(), nothing)
    for outcome, reaction in (("new", "like"), ("again", "like"), ("changed", "dislike"), ("new", "like")):
        metrics.on_event(FeedbackGiven("", "", "test", reaction, outcome))
    samples = samples_of((await metrics.page())[0].decode())
    counts = [samples[f'threadkeeper_feedback_total{{channel="test",reaction="{one}"}}'] for one in ("like", "dislike")]
    assert counts == [2.0, 1.0]


# -- forgotten ----------------------------------------------------------------------------------------------


@pytest.mark.invariant("I15")
async def test_forget_me_lets_go_of_it(world: World) -> None:
    await world.ask("mine")
    await world.ask("hers", person=GRACE)
    await world.ask("in the group", conversation=group(), person=GRACE)
    await say(world, "d1", text="my words")
    await say(world, "d9", text="about nothing known")
    await say(world, "d3", text="about hers", conversation=group())
    await say(world, "d2", text="her words", person=GRACE, conversation=replace(CHAT, id="chat-grace"))
    assert len(await kept(world)) == 4
    assert (await world.ask("forget me now")).startswith("Done")
    assert [one.text for one in await kept(world)] == ["her words"]


async def test_forgetting_a_conversation_takes_along_what_others_said_of_it(world: World) -> None:
    await world.ask("mine", conversation=group())
    await say(world, "d1", text="of ada's answer", person=GRACE, conversation=group())
    lane = thread_key(group(), ADA, "person")
    await world.bot.store.forgetting.forget([lane], None, None)
    assert await kept(world) == []


async def test_it_is_kept_as_long_as_conversations_are(tmp_path: Path) -> None:
    """On SQLite, whose time is the clock's."""
    async with open_world(tmp_path, clock=FastClock(), retention_days=90) as world:
        await world.ask("first")
        await say(world, "d1", text="old")
        world.clock.advance(89 * DAY)
        await world.bot.forgetting.sweep()
        assert len(await world.bot.store.feedback.within(100 * DAY)) == 1
        world.clock.advance(2 * DAY)
        await world.bot.forgetting.sweep()
        assert await world.bot.store.feedback.within(100 * DAY) == []


async def test_what_cannot_be_kept_is_said(world: World) -> None:
    class Down:
        async def put(self, *_: Any, **__: Any) -> Told:
            raise ServiceUnavailable("down")

    class Store:
        feedback = Down()

    events: list[Any] = []
    with pytest.raises(ServiceUnavailable):
        await Opinions(Store(), events.append).take(Feedback(CHAT, ADA, "d1", "like"))  # type: ignore[arg-type]
    assert events == []


# -- the way to it ------------------------------------------------------------------------------------------


async def test_a_delivery_is_found_by_an_index(tmp_path: Path) -> None:
    """On SQLite: PostgreSQL chooses by its statistics."""
    async with open_world(tmp_path) as world:
        database: Any = world.bot.store.feedback.database  # type: ignore[attr-defined]
        async with database.read() as connection:
            plan = await connection.execute(
                sa.text("EXPLAIN QUERY PLAN SELECT id FROM inbox WHERE lane = 'x' AND state = 'done' ORDER BY id DESC")
            )
            [row] = plan.all()
    assert "inbox_done" in row.detail
    assert "TEMP B-TREE" not in row.detail


# -- the command --------------------------------------------------------------------------------------------


@pytest.fixture
async def judged(tmp_path: Path) -> Path:
    """A database in which two answers were judged, 40 days and a moment ago."""
    async with open_world(tmp_path, agent=ScriptedAgent(), clock=FastClock()) as world:
        await world.ask("first")
        await say(world, "d1", "dislike", '=HYPERLINK("https://evil.example"), "so"')
        await say(world, "d1", "like", "fine", person=Person("bob"), conversation=group())
    with closing(sqlite3.connect(tmp_path / "bot.db")) as database, database:
        database.execute("UPDATE feedback SET at = at - 40 * 86400 WHERE reaction = 'like'")
    return tmp_path


async def test_list(judged: Path) -> None:
    code, out, err = await command(judged, "feedback", "list", fresh=True)
    assert (code, err) == (0, "")
    assert "HYPERLINK" in out
    assert "Ada" in out
    assert "0 like, 1 dislike." in out
    code, out, _ = await command(judged, "feedback", "list", "--since", "60d", "--only", "like")
    assert "bob" in out
    assert "1 like, 0 dislike." in out
    code, out, _ = await command(judged, "feedback", "list", "--since", "1h", "--only", "like")
    assert (code, out) == (0, "Nobody has judged an answer in the last 1h.\n")
    code, _, err = await command(judged, "feedback", "list", "--since", "soon")
    assert (code, "Traceback" in err) == (2, False)


async def test_export(judged: Path) -> None:
    code, out, _ = await command(judged, "feedback", "export", "--since", "60d")
    assert code == 0
    first, second = json.loads(out)["feedback"]
    assert (first["reaction"], first["person"], len(first["reference"])) == ("dislike", "ada", 7)
    assert (second["reaction"], second["reference"]) == ("like", "")
    code, out, _ = await command(judged, "feedback", "export", "--csv", "--to", "told.csv")
    assert (code, out) == (0, "")
    [row] = csv.DictReader(io.StringIO((judged / "told.csv").read_text(encoding="utf-8")))
    assert row["text"] == '\'=HYPERLINK("https://evil.example"), "so"', "a spreadsheet shows it and runs nothing"
    code, _, err = await command(judged, "feedback", "export", "--to", "no/such/folder")
    assert (code, "cannot be written" in err) == (2, True)
    with closing(sqlite3.connect(judged / "bot.db")) as database:
        acts = database.execute("SELECT act, subject FROM audit ORDER BY id").fetchall()
    assert acts == [("export feedback", "everyone")] * 3, "also where the file could not be written: it was read"
