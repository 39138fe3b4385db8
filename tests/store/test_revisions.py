"""Edits and deletions, on each database: what they do to a message that waits, runs, or was answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from bot import settings as environment
from bot.bootstrap import entry_of
from bot.clock import SystemClock
from bot.store import SqlStore, open_store
from bot.types import (
    Accepted,
    Change,
    Claim,
    Control,
    Ended,
    Ending,
    Interrupt,
    Message,
    MessageKind,
    Revision,
)
from tests.world import ADA, GRACE, group, message

UNDO = 600.0
WORD = environment.load(env_file=None)
REDO = environment.load(env_file=None, edited_messages="redo")
ANSWERED = Ending(Ended.ANSWERED, {})


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    opened = await open_store(database_url, SystemClock(), runner=True)
    try:
        yield opened
    finally:
        await opened.close()


async def put(store: SqlStore, said: Message, settings: environment.Settings = WORD) -> Accepted:
    return await store.inbox.put(entry_of(said, settings), UNDO)


def revised(of: str, change: Change, text: str = "", *, number: int = 1, **options: Any) -> Message:
    return replace(message(text, id=f"{of}/{change}/{number}", **options), revises=Revision(of, change))


async def edit(store: SqlStore, of: str, text: str, settings: environment.Settings = WORD, **options: Any) -> Accepted:
    return await put(store, revised(of, Change.EDITED, text, **options), settings)


async def delete(store: SqlStore, of: str, **options: Any) -> Accepted:
    return await put(store, revised(of, Change.DELETED, **options))


async def restore(store: SqlStore, of: str, text: str, **options: Any) -> Accepted:
    return await put(store, revised(of, Change.RESTORED, text, **options))


async def claim(store: SqlStore) -> list[Claim]:
    return await store.inbox.claim("a", 50, 30.0)


async def words(store: SqlStore) -> list[list[str]]:
    """What is claimed, turn by turn, each answered."""
    said: list[list[str]] = []
    while claims := await claim(store):
        for one in claims:
            said.append([f"<{m.kind}>" if m.kind is not MessageKind.TEXT else m.text for m in one.messages])
            await store.inbox.finish(one.turn, "a", ANSWERED)
    return said


async def kept(store: SqlStore) -> str:
    """Every word on file."""
    async with store._database.read() as connection:  # pyright: ignore[reportPrivateUsage]
        return str((await connection.execute(sa.text("SELECT payload, steps, effect FROM inbox"))).all())


# -- what waits ---------------------------------------------------------------------------------------------


@pytest.mark.invariant("I15")
async def test_what_waits_is_replaced_by_its_new_text(store: SqlStore):
    first = await put(store, message("wnat?", id="x"))
    changed = await edit(store, "x", "what?")
    assert changed.fresh
    assert "wnat" not in await kept(store)
    [turn] = await claim(store)
    assert (turn.turn, [(m.id, m.text) for m in turn.messages]) == (first.turn, [("x", "what?")])
    assert await store.records.ended([changed.turn]) == {changed.turn: Ended.DROPPED}


async def test_the_last_edit_stands_and_the_place_in_the_line_is_kept(store: SqlStore):
    await put(store, message("one", id="x"))
    await put(store, message("two", id="y"))
    await edit(store, "x", "1")
    await edit(store, "x", "first", number=2)
    assert await words(store) == [["first", "two"]]


@pytest.mark.invariant("I2")
async def test_an_edit_delivered_twice_is_one(store: SqlStore):
    await put(store, message("one", id="x"))
    await asyncio.gather(*(edit(store, "x", "two") for _ in range(5)))
    assert [one.fresh for one in await asyncio.gather(*(edit(store, "x", "two") for _ in range(3)))] == [False] * 3
    assert await words(store) == [["two"]]


@pytest.mark.invariant("I2")
async def test_the_earlier_message_delivered_again_is_not_a_new_one(store: SqlStore):
    await put(store, message("one", id="x", sent_at=5))
    await edit(store, "x", "two", sent_at=9)
    assert not (await put(store, message("one", id="x", sent_at=5))).fresh
    await delete(store, "x")
    assert not (await put(store, message("one", id="x", sent_at=5))).fresh
    assert await words(store) == []


async def test_an_edit_into_a_command_is_that_command(store: SqlStore):
    await put(store, message("one", id="w"))
    await put(store, message("stpo", id="x"))
    stopped = await edit(store, "x", "stop")
    assert stopped.dropped == 1
    [turn] = await claim(store)
    assert (turn.control, turn.turn) == (Control.STOP, stopped.turn)


async def test_an_edit_of_a_command_into_words_is_asked(store: SqlStore):
    await put(store, message("help", id="x"))
    await edit(store, "x", "help me with Excel")
    await put(store, message("and more", id="y"))
    assert await words(store) == [["help me with Excel", "and more"]]


async def test_nothing_new_said_is_no_edit(store: SqlStore):
    await put(store, message("one", id="x", sent_at=5))
    await edit(store, "x", "one", sent_at=9)
    assert await words(store) == [["one"]]
    await edit(store, "x", "one", REDO, number=2, sent_at=5)
    assert await words(store) == []


@pytest.mark.invariant("I15")
async def test_what_waits_and_is_deleted_is_dropped_with_its_words(store: SqlStore):
    await put(store, message("one", id="w"))
    first = await put(store, message("a secret", id="x"))
    gone = await delete(store, "x")
    assert (gone.fresh, gone.dropped, gone.interrupted) == (True, 1, ())
    assert "secret" not in await kept(store)
    assert await store.records.ended([first.turn, gone.turn]) == {first.turn: Ended.DROPPED, gone.turn: Ended.DROPPED}
    assert await words(store) == [["one"]]


@pytest.mark.invariant("I2")
async def test_a_deletion_delivered_twice_is_one(store: SqlStore):
    await put(store, message("one", id="x"))
    assert (await delete(store, "x")).fresh
    assert not (await delete(store, "x")).fresh
    again = await delete(store, "x", number=2)
    assert (again.dropped, again.interrupted) == (0, ())
    assert await words(store) == []


async def test_what_joined_a_turn_that_nobody_began_can_be_taken_back(store: SqlStore):
    """A turn that was given back before its first step: its messages are together, its words went nowhere."""
    for name in ("x", "y", "z"):
        await put(store, message(name, id=name))
    [turn] = await claim(store)
    await store.inbox.release(turn.turn, "a", 0.0, "busy", counted=True)
    assert (await delete(store, "y")).dropped == 1
    await edit(store, "z", "last")
    assert (await delete(store, "x")).dropped == 1
    assert await words(store) == [["last"]]


# -- what runs ----------------------------------------------------------------------------------------------


async def running(store: SqlStore, *names: str) -> Claim:
    for name in names:
        await put(store, message(name, id=name))
    [turn] = await claim(store)
    await store.inbox.save(turn.turn, "a", {"run": {"run": "r1"}})
    return turn


@pytest.mark.invariant("I7")
async def test_a_deletion_stops_what_runs_for_it_and_is_confirmed(store: SqlStore):
    turn = await running(store, "x")
    gone = await delete(store, "x")
    assert gone.interrupted == (turn.turn,)
    assert await store.inbox.holds(turn.turn, "a") is Interrupt.STOP
    await store.inbox.finish(turn.turn, "a", Ending(Ended.STOPPED, {}))
    [said] = await claim(store)
    assert (said.turn, said.control, said.effect["interrupted"]) == (gone.turn, Control.DELETE, [turn.turn])
    assert said.withdrawn is not None


async def test_what_was_begun_and_waits_for_its_next_try_is_stopped_not_dropped(store: SqlStore):
    """A run of it may be under way at the service: somebody must end that."""
    turn = await running(store, "x")
    await store.inbox.release(turn.turn, "a", 0.0, "busy", counted=True)
    assert (await delete(store, "x")).interrupted == (turn.turn,)
    [again] = await claim(store)
    assert (again.turn, again.interrupt) == (turn.turn, Interrupt.STOP)


async def test_a_deletion_leaves_a_turn_of_several_messages_alone(store: SqlStore):
    turn = await running(store, "x", "y")
    for name in ("x", "y"):
        assert (await delete(store, name)).interrupted == ()
    assert await store.inbox.holds(turn.turn, "a") is None
    await store.inbox.finish(turn.turn, "a", ANSWERED)
    assert await words(store) == []


async def test_an_edit_of_what_runs_gets_a_word(store: SqlStore):
    turn = await running(store, "x")
    assert (await edit(store, "x", "y")).interrupted == ()
    assert await store.inbox.holds(turn.turn, "a") is None
    await store.inbox.finish(turn.turn, "a", ANSWERED)
    assert await words(store) == [["<edited>"]]
    assert "y" not in await kept(store)


async def test_an_edit_of_what_runs_is_asked_instead(store: SqlStore):
    turn = await running(store, "x")
    again = await edit(store, "x", "y", REDO)
    assert again.interrupted == (turn.turn,)
    assert await store.inbox.holds(turn.turn, "a") is Interrupt.STOP
    await store.inbox.finish(turn.turn, "a", Ending(Ended.STOPPED, {}))
    assert await words(store) == [["y"]]


# -- what was answered --------------------------------------------------------------------------------------


async def test_an_edit_of_an_answered_message_gets_a_word(store: SqlStore):
    await running(store, "x")
    await store.inbox.finish(1, "a", ANSWERED)
    for text in ("y", "stop"):
        await edit(store, "x", text, number=len(text))
        [turn] = await claim(store)
        assert ([m.kind for m in turn.messages], turn.control) == ([MessageKind.EDITED], None)
        await store.inbox.finish(turn.turn, "a", ANSWERED)


async def test_an_edit_of_an_answered_message_is_asked_again_and_can_be_changed_again(store: SqlStore):
    await running(store, "x")
    await store.inbox.finish(1, "a", ANSWERED)
    first = await edit(store, "x", "y", REDO)
    await edit(store, "x", "z", REDO, number=2)
    assert not (await edit(store, "x", "y", REDO)).fresh
    assert not (await put(store, message("x", id="x"))).fresh
    [turn] = await claim(store)
    assert (turn.turn, turn.messages[0].text) == (first.turn, "z")
    await store.inbox.release(turn.turn, "a", 0, "", counted=True)
    assert (await delete(store, "x")).dropped == 1
    assert await words(store) == []


@pytest.mark.invariant("I15")
async def test_words_kept_for_retry_go_with_their_message(store: SqlStore):
    await put(store, message("a secret", id="x"))
    [turn] = await claim(store)
    await store.inbox.finish(turn.turn, "a", Ending(Ended.APOLOGY, {}, keep_text=True))
    assert "secret" in await kept(store)
    await delete(store, "x")
    assert "secret" not in await kept(store)
    assert await store.records.last_unanswered(turn.lane, "ada") is None


async def test_a_deleted_message_that_comes_back_is_asked(store: SqlStore):
    await put(store, message("one", id="x", sent_at=5))
    await delete(store, "x")
    await restore(store, "x", "one", sent_at=5)
    assert not (await restore(store, "x", "one", sent_at=5)).fresh
    assert await words(store) == [["one"]]
    await restore(store, "x", "one", number=2)
    assert await words(store) == []


async def test_a_stopped_message_that_comes_back_is_asked(store: SqlStore):
    turn = await running(store, "x")
    await delete(store, "x")
    await restore(store, "x", "one")
    await store.inbox.finish(turn.turn, "a", Ending(Ended.STOPPED, {}))
    assert (await words(store))[-1] == ["one"]


# -- what is not ours ---------------------------------------------------------------------------------------


async def test_of_what_was_never_ours_nothing_is_kept(store: SqlStore):
    before = await kept(store)
    for change in Change:
        ignored = await put(store, revised("x", change, "between people"))
        assert (ignored.turn, ignored.fresh) == (0, False)
    assert await kept(store) == before == "[]"


@pytest.mark.invariant("I10")
async def test_nobody_edits_what_another_said(store: SqlStore):
    place = group()
    await put(store, message("mine", id="x", person=ADA, conversation=place))
    assert (await edit(store, "x", "theirs", person=GRACE, conversation=place)).turn == 0
    assert (await delete(store, "x", person=ADA)).turn == 0, "the same id in another conversation"
    assert await words(store) == [["mine"]]


async def test_an_owner_may_delete_what_another_said(store: SqlStore):
    place = group()
    await put(store, message("mine", id="x", person=ADA, conversation=place))
    assert (await delete(store, "x", person=GRACE, conversation=place)).dropped == 1
    assert await words(store) == []


async def test_a_control_that_has_acted_is_not_taken_back(store: SqlStore):
    await put(store, message("start over", id="x"))
    assert (await delete(store, "x")).turn == 0
    assert (await edit(store, "x", "y")).turn == 0
    [turn] = await claim(store)
    assert turn.control is Control.START_OVER
