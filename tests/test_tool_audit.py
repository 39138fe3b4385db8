"""Every tool call leaves a row: who, what, what came of it; and what people wrote, only where that is wanted."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters import ToolFailed, tool
from adapters.function import FunctionAdapter, FunctionTool
from adapters.masking import MASK
from adapters.notes import KEPT, OTHERS, Notes
from adapters.toolbox import Toolbox
from bot.bootstrap import Bot
from bot.store import SqlStore, open_store
from bot.types import AuditedCall, CallNote, ToolCall, ToolSpec, reference_of
from tests.contracts.toolbox import raw
from tests.scripted import ScriptedAgent
from tests.test_forgetting import holding
from tests.world import ADA, GRACE, FakeToolbox, FastClock, World, group, open_world

DAY = 86_400.0
WORDS = "xyzzy-what-ada-wrote"
SECRET = "zq-7f3k-hunter2"


@tool(timeout=5)
def note(text: str, password: str = "") -> str:
    """Note a text.

    Args:
        text: The text.
        password: For the notes.
    """
    if text == "no":
        raise ToolFailed("Not this.")
    return f"noted {len(text)}"


def boxed(*functions: Callable[..., Any]) -> Any:
    return Toolbox([FunctionAdapter([FunctionTool(function, "tools/test.py") for function in functions])])


@pytest.fixture
async def store(tmp_path: Path, database_url: str) -> AsyncGenerator[SqlStore]:
    store = await open_store(database_url, FastClock(), runner=False)
    yield store
    await store.close()


async def rows(world: World, **only: Any) -> list[AuditedCall]:
    return await world.bot.store.tool_audit.calls(DAY, only.get("tool"), 100)


async def test_a_call_is_there_with_everything_but_the_words(tmp_path: Path, database_url: str):
    async with open_world(tmp_path, toolbox=boxed(note), database_url=database_url) as world:
        answer = await world.ask(f"use note text={WORDS} password={SECRET} others={WORDS}")
        assert "there is no such argument" in answer
        assert await world.ask(f"use note text={WORDS}") == f"note: noted {len(WORDS)}"
        good, bad = await rows(world)
        turn = good.turn
        assert turn is not None
        assert reference_of(turn) == world.events[-1].reference
        place = {"channel": "test", "tenant": "tenant", "person": ADA.id, "lane": world.events[0].lane}
        size = len(json.dumps({"text": WORDS}))
        assert good.note == CallNote(**place, source="tools/test.py", size=size, sizes={"text": len(WORDS)})
        assert (good.tool, good.error, good.output_size, good.decider) == ("note", None, len("noted 20"), "")
        assert good.seconds is not None
        assert 0 <= good.seconds < 10
        assert (bad.error, bad.note.sizes) == (
            "bad_arguments",
            {"text": len(WORDS), "password": len(SECRET), OTHERS: len(WORDS)},
        )
        assert world.clock.now() - 10 - world.clock.ahead <= good.at <= world.clock.now()


@pytest.mark.invariant("I13")
@pytest.mark.invariant("I15")
@pytest.mark.parametrize("kept", [False, True])
async def test_what_was_said_is_kept_only_where_that_is_wanted_and_secrets_never(tmp_path: Path, kept: bool):
    async with open_world(tmp_path, toolbox=boxed(note), agent=_Saying(), audit_arguments=kept) as world:
        await world.ask("one")
        (row,) = await rows(world)
        assert row.note.arguments == ({"text": WORDS, "password": MASK} if kept else None)
        assert row.note.sizes == {"text": len(WORDS), "password": len(SECRET)}
    assert holding(tmp_path, SECRET) == []
    assert bool(holding(tmp_path, WORDS)) is kept


class _Saying(ScriptedAgent):
    """Calls `note` with words of its own."""

    async def look(self, handle: Any) -> Any:
        step = await super().look(handle)
        if not hasattr(step, "calls") or not step.calls:
            return step
        given = json.dumps({"text": WORDS, "password": SECRET})
        run = self._run(handle)
        run.calls = tuple(ToolCall(call.id, call.name, given) for call in run.calls)
        return replace(step, calls=run.calls)

    def __init__(self) -> None:
        super().__init__([[["note"], "done"] for _ in range(5)])


@pytest.mark.parametrize("how", ["forget me now", "threads forget"])
async def test_forgotten_with_the_person_the_row_stays_without_their_words(tmp_path: Path, how: str):
    async with open_world(tmp_path, toolbox=boxed(note), agent=_Saying(), audit_arguments=True) as world:
        await world.ask("one")
        await world.ask("in the group", conversation=group())
        await world.ask("hers", person=GRACE)
        if how == "forget me now":
            await world.ask(how)
        else:
            await forgotten(world.bot, world)
        kept = [(row.note.person, row.note.arguments is not None, row.note.sizes["text"]) for row in await rows(world)]
        assert kept == [("grace", True, len(WORDS)), ("ada", False, len(WORDS)), ("ada", False, len(WORDS))]


async def forgotten(bot: Bot, world: World) -> None:
    """What the command does in the store."""
    (ada,) = await bot.store.people.find("ada")
    keys = await bot.store.people.lanes(ada, every=True)
    await bot.store.forgetting.forget(keys, ada, None)


async def test_rows_go_when_they_are_old(store: SqlStore):
    await store.tool_audit.record(AuditedCall(0.0, "old", "c1", CallNote(), None, 3 * DAY))
    await store.tool_audit.record(AuditedCall(0.0, "new", "c2", CallNote(), None, 0.5 * DAY))
    await store.forgetting.expire(DAY)
    assert [row.tool for row in await store.tool_audit.calls(9 * DAY, None, 10)] == ["new"]


async def test_a_retried_turn_leaves_both_its_lives_in_the_audit(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("dig", lambda *_: "dug")
    agent = ScriptedAgent([[["dig"], RuntimeError("ours")]] + [[RuntimeError("ours")]] * 9)
    async with open_world(tmp_path, toolbox=toolbox, agent=agent) as world:
        await world.say("one")
        await world.answers(1)
        agent.scripts[:] = [[["dig"], "done"]]
        await world.ask("retry")
        assert [row.error for row in await rows(world)] == [None, None]


@pytest.mark.invariant("I9")
async def test_who_agreed_stands_in_the_row_and_what_nobody_agreed_to_is_no_failure(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("dig", lambda *_: "dug", approve=True)
    async with open_world(tmp_path, toolbox=toolbox, agent=ScriptedAgent([[["dig"], "a"], [["dig"], "b"]])) as world:
        for word in ("approve", "decline"):
            await world.say("please")
            await world.answers(len(world.channel.sent) + 1, ended=False)
            before = len(world.channel.sent)
            await world.say(word)
            await world.answers(before + 1)
        declined, agreed = await rows(world)
        assert (agreed.error, agreed.decider) == (None, ADA.id)
        assert (declined.error, declined.decider) == ("declined", ADA.id)
        assert await world.bot.store.tool_audit.failures(DAY, None) == []


async def test_failures_are_counted_by_tool_and_kind_with_their_last_references(tmp_path: Path, database_url: str):
    async with open_world(tmp_path, toolbox=boxed(note), database_url=database_url) as world:
        for _ in range(4):
            await world.ask("use note text=no use note text=no")
        await world.ask("use note text=fine")
        await world.ask("use flying carpet=1")
        turns = sorted({row.turn or 0 for row in await rows(world, tool="note") if row.error}, reverse=True)
        often, once = await world.bot.store.tool_audit.failures(DAY, None)
        assert (often.tool, often.error, often.count) == ("note", "failed", 8)
        assert often.references == tuple(reference_of(turn) for turn in turns[:3])
        assert often.first < often.last
        assert (once.tool, once.error, once.count) == ("flying", "unknown_tool", 1)
        assert await world.bot.store.tool_audit.failures(DAY, "flying") == [once]
        assert await world.bot.store.tool_audit.failures(DAY, "fine") == []
        assert await world.bot.store.tool_audit.failures(-1.0, None) == []


async def test_the_row_is_written_in_the_transaction_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toolbox = FakeToolbox()
    toolbox.add("dig", lambda *_: "dug")
    commits: list[set[str]] = []
    async with open_world(tmp_path, toolbox=toolbox, agent=ScriptedAgent([[["dig", "dig"], "done"]])) as world:
        engine = world.bot.store._database.writer.engine  # type: ignore[attr-defined]
        touched: set[str] = set()

        def execute(*arguments: Any) -> None:
            words = str(arguments[2]).split()
            if words[0] != "DELETE":  # the sweep's
                touched.update(word for word in words if word in ("tool_calls", "tool_audit"))

        def commit(_: Any) -> None:
            commits.append(set(touched))
            touched.clear()

        sa.event.listen(engine, "before_cursor_execute", execute)
        sa.event.listen(engine, "commit", commit)
        await world.ask("one")
        sa.event.remove(engine, "before_cursor_execute", execute)
        sa.event.remove(engine, "commit", commit)
    with_calls = [one for one in commits if "tool_audit" in one]
    assert with_calls
    assert all("tool_calls" in one for one in with_calls)


async def test_a_call_that_was_cut_off_is_there_without_an_outcome(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("dig", _hang)
    async with open_world(tmp_path, toolbox=toolbox, agent=ScriptedAgent([[["dig"], "done"]])) as world:
        await world.say("one")
        while not toolbox.calls:
            await world.clock.sleep(0.01)
        (row,) = await rows(world)
        assert (row.seconds, row.error, row.output_size) == (None, None, None)
        await world.say("stop")
        await world.answers(1)
        (row,) = await rows(world)
        assert row.seconds is None


async def _hang(*_: Any) -> str:
    await asyncio.Event().wait()
    return ""


# -- the note -------------------------------------------------------------------------------------------------


def noted(arguments: str, *, values: bool = True, **properties: Any) -> CallNote:
    spec = ToolSpec("it", "It.", {"type": "object", "properties": properties}, source="here")

    class Offers:
        def specs(self) -> list[ToolSpec]:
            return [spec]

    return Notes(Offers(), values=values).of(raw("it", arguments))


def test_a_tool_that_there_is_not_has_a_size_alone():
    assert Notes(FakeToolbox(), values=True).of(raw("it", '{"a": 1}')) == CallNote(size=8)


def test_arguments_that_are_none_have_a_size_alone():
    assert noted('{"a": ') == CallNote(source="here", size=6)
    assert noted("") == CallNote(source="here", size=0, arguments={})


def test_names_that_the_schema_has_not_are_not_kept_without_the_values():
    assert noted('{"a": 12, "Ada is ill": "yes", "b": "no"}', values=False, a={}).sizes == {"a": 2, OTHERS: 5}


def test_long_values_are_cut():
    kept = noted(json.dumps({"a": "x" * KEPT, "b": [1] * KEPT, "c": "short"}))
    assert kept.arguments is not None
    assert kept.arguments["c"] == "short"
    assert len(json.dumps(kept.arguments)) < KEPT
    assert kept.arguments["a"].endswith("…")


@given(st.text() | st.from_regex(r"\{.*\}") | st.dictionaries(st.text(), st.floats() | st.text()).map(json.dumps))
def test_any_arguments_make_a_note_that_every_database_takes(arguments: str):
    note = noted(arguments, a={"type": "number"})
    text = json.dumps([note.arguments, dict(note.sizes)], allow_nan=False)
    assert "\0" not in json.loads(text)
    sqlite3.connect(":memory:").execute("select ?", (text,)).close()


async def test_numbers_that_json_has_not_are_stored(store: SqlStore):
    kept = noted('{"a": 1e999, "b": "nul\\u0000 half \\ud800", "c": -1e999}')
    await store.tool_audit.record(AuditedCall(0.0, "it", "c", kept, None, 1.0))
    (row,) = await store.tool_audit.calls(DAY, None, 10)
    assert row.note.arguments == {"a": "inf", "b": "nul half ?", "c": "-inf"}
