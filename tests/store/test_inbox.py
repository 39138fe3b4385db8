"""The inbox's store, on each database: acceptance, claims, leases, controls, endings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from bot.clock import SystemClock
from bot.errors import Interrupted, LostLease
from bot.store import SqlStore, open_store
from bot.store.acceptance import Acceptance
from bot.store.database import Database
from bot.threads import thread_key
from bot.types import (
    Accepted,
    Claim,
    Control,
    Ended,
    Ending,
    Entry,
    Interrupt,
    MessageKind,
    Thread,
    ThreadReason,
    ThreadUse,
    ToolOutput,
    ToolRow,
)
from tests.databases import postgresql_database
from tests.world import ADA, GRACE, message

UNDO = 600.0


@asynccontextmanager
async def opened(url: str, *, runner: bool = True) -> AsyncGenerator[SqlStore]:
    store = await open_store(url, SystemClock(), runner=runner)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    async with opened(database_url) as store:
        yield store


def entry(text: str, *, control: Control | None = None, joins: bool = True, person=ADA, **options) -> Entry:
    said = message(text, person=person, **options)
    lane = thread_key(said.conversation, person, "person")
    return Entry(said, lane, control, joins and control is None and said.kind is MessageKind.TEXT)


async def put(store: SqlStore, text: str, **options) -> Accepted:
    return await store.inbox.put(entry(text, **options), UNDO)


async def claim(store: SqlStore, owner: str = "a", lease: float = 30.0) -> list[Claim]:
    return await store.inbox.claim(owner, 50, lease)


def answered(**options) -> Ending:
    return Ending(Ended.ANSWERED, {}, **options)


@pytest.mark.invariant("I2")
async def test_the_same_id_is_one_row(store: SqlStore):
    first = await put(store, "hello", id="x")
    again = await asyncio.gather(*(put(store, "hello", id="x") for _ in range(9)))
    assert first.fresh
    assert {(one.turn, one.fresh) for one in again} == {(first.turn, False)}
    assert len(await claim(store)) == 1


@pytest.mark.invariant("I2")
async def test_the_same_words_in_the_same_millisecond_are_a_redelivery(store: SqlStore):
    first = await put(store, "hello", id="x", sent_at=1234)
    assert not (await put(store, "hello", id="y", sent_at=1234)).fresh
    assert (await put(store, "hello", id="z", sent_at=1235)).fresh
    assert (await put(store, "hello", id="z2", sent_at=1234, person=GRACE)).fresh
    assert first.fresh


@pytest.mark.invariant("I2")
async def test_an_id_is_only_unique_within_its_conversation(store: SqlStore):
    assert (await put(store, "hello", id="x")).fresh
    assert (await put(store, "hello", id="x", person=GRACE)).fresh


@pytest.mark.invariant("I2")
async def test_a_redelivery_after_the_end_is_known(store: SqlStore):
    await put(store, "hello", id="x")
    [turn] = await claim(store)
    await store.inbox.finish(turn.turn, "a", answered())
    assert not (await put(store, "hello", id="x")).fresh
    assert await claim(store) == []


@pytest.mark.invariant("I3")
async def test_one_turn_a_lane_and_other_lanes_do_not_wait(store: SqlStore):
    first = await put(store, "one")
    [held] = await claim(store)
    await put(store, "two")
    other = await put(store, "three", person=GRACE)
    assert [one.turn for one in await claim(store, "b")] == [other.turn]
    await store.inbox.finish(held.turn, "a", answered())
    [next_one] = await claim(store, "b")
    assert held.turn == first.turn
    assert next_one.messages[0].text == "two"


@pytest.mark.invariant("I3")
async def test_what_waits_joins_and_a_command_ends_the_batch(store: SqlStore):
    for text in ("one", "two", "three"):
        await put(store, text)
    await put(store, "status", joins=False)
    await put(store, "four")
    [turn] = await claim(store)
    assert [m.text for m in turn.messages] == ["one", "two", "three"]
    assert await claim(store) == []
    await store.inbox.finish(turn.turn, "a", answered())
    [command] = await claim(store)
    assert [m.text for m in command.messages] == ["status"]
    ended = await store.records.ended([turn.turn, turn.turn + 1, turn.turn + 2])
    assert list(ended.values()) == [Ended.ANSWERED, Ended.MERGED, Ended.MERGED]


@pytest.mark.invariant("I4")
async def test_a_turn_that_is_taken_up_again_has_the_same_messages_and_steps(store: SqlStore):
    await put(store, "one")
    await put(store, "two")
    [turn] = await claim(store)
    await store.inbox.save(turn.turn, "a", {"run": {"run": "r1"}})
    await put(store, "three")
    assert await store.inbox.requeue(everything=True) == 1
    [again] = await claim(store, "b")
    assert [m.text for m in again.messages] == ["one", "two"]
    assert (again.steps, again.attempts) == ({"run": {"run": "r1"}}, 2)


@pytest.mark.invariant("I1")
async def test_a_turn_once_begun_does_not_join_another_with_what_joined_it(store: SqlStore):
    early = await put(store, "early")
    [given_up] = await claim(store)
    await store.inbox.finish(given_up.turn, "a", Ending(Ended.APOLOGY, {}, keep_text=True))
    texts = ("one", "two", "three")
    for text in texts:
        await put(store, text)
    [handed_over] = await claim(store)
    assert await store.records.again(early.turn)  # an operator has the early one asked after all: it comes first
    await store.inbox.release(handed_over.turn, "a", 0.0, "stopped", counted=False)
    told: list[str] = []
    while claims := await claim(store, "b"):
        told += [one.text for one in claims[0].messages]
        await store.inbox.finish(claims[0].turn, "b", answered())
    assert told == ["early", *texts]
    assert await store.records.unfinished() == 0


@pytest.mark.invariant("I4")
async def test_only_an_expired_lease_is_taken_over(store: SqlStore):
    await put(store, "one")
    await put(store, "two", person=GRACE)
    held = await claim(store, "a", lease=0.0)
    await store.inbox.renew("a", [held[0].turn], 30.0)
    assert await store.inbox.requeue(everything=False) == 1
    [taken] = await claim(store, "b")
    assert taken.turn == held[1].turn
    with pytest.raises(LostLease):
        await store.inbox.save(taken.turn, "a", {})
    with pytest.raises(LostLease):
        await store.inbox.finish(taken.turn, "a", answered())
    with pytest.raises(LostLease):
        await store.inbox.holds(taken.turn, "a")
    with pytest.raises(LostLease):
        await store.inbox.release(taken.turn, "a", 0, "", counted=True)
    with pytest.raises(LostLease):
        await store.tool_calls.started(taken.turn, "a", [row("c1")])
    renewed = await store.inbox.renew("a", [one.turn for one in held], 30.0)
    assert [one.owned for one in renewed] == [True, False]


async def test_a_released_turn_waits_for_its_time_and_keeps_its_place(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    await put(store, "two")
    await store.inbox.release(turn.turn, "a", 60.0, "busy", counted=True)
    assert await claim(store) == []
    due = await store.inbox.next_due()
    assert due is not None
    assert 50 < due <= 60


async def test_an_uncounted_release_uses_up_no_attempt(store: SqlStore):
    await put(store, "one")
    for counted, attempts in ((False, 1), (True, 1), (True, 2)):
        [turn] = await claim(store)
        assert turn.attempts == attempts
        await store.inbox.release(turn.turn, "a", 0.0, "parked", counted=counted)


@pytest.mark.invariant("I7")
async def test_start_over_drops_what_waits_and_interrupts_what_runs(store: SqlStore):
    await put(store, "running")
    [running] = await claim(store)
    await put(store, "waiting")
    await put(store, "waiting too")
    over = await put(store, "start over", control=Control.START_OVER)
    assert (over.dropped, over.interrupted, over.generation) == (2, (running.turn,), 1)
    assert await store.inbox.holds(running.turn, "a") is Interrupt.SUPERSEDED
    assert [one.interrupt for one in await store.inbox.renew("a", [running.turn], 30)] == [Interrupt.SUPERSEDED]
    await put(store, "after")
    await store.inbox.finish(running.turn, "a", Ending(Ended.STOPPED, {}))
    [control] = await claim(store)
    assert control.control is Control.START_OVER
    assert control.effect == {"dropped": 2, "interrupted": [running.turn]}
    await store.inbox.finish(control.turn, "a", Ending(Ended.CONFIRMED, {}))
    [after] = await claim(store)
    assert (after.messages[0].text, after.generation, after.interrupt) == ("after", 1, None)


@pytest.mark.invariant("I7")
async def test_a_redelivered_start_over_raises_the_generation_once(store: SqlStore):
    for _ in range(3):
        await put(store, "start over", control=Control.START_OVER, id="s")
    lane = await store.threads.lane(entry("").lane)
    assert lane is not None
    assert lane.generation == 1


@pytest.mark.invariant("I7")
async def test_a_turn_that_had_begun_before_start_over_is_claimed_to_be_ended(store: SqlStore):
    await put(store, "begun")
    [begun] = await claim(store)
    await store.inbox.save(begun.turn, "a", {"run": {"run": "r1"}})
    await store.inbox.release(begun.turn, "a", 0.0, "busy", counted=True)
    over = await put(store, "start over", control=Control.START_OVER)
    assert (over.dropped, over.interrupted) == (0, (begun.turn,))
    [again] = await claim(store)
    assert (again.turn, again.interrupt) == (begun.turn, Interrupt.SUPERSEDED)


async def test_stop_is_about_ones_own_questions(store: SqlStore):
    lane = "shared"
    said = [Entry(message(text, person=person), lane) for text, person in (("a", ADA), ("g", GRACE), ("a2", ADA))]
    for one in said:
        await store.inbox.put(one, UNDO)
    stop = await store.inbox.put(Entry(message("stop"), lane, Control.STOP, joins=False), UNDO)
    assert (stop.dropped, stop.generation) == (2, 0)
    [left] = await claim(store)
    assert left.messages[0].text == "g"


def row(call_id: str, *, once: bool = False) -> ToolRow:
    return ToolRow(call_id, "0", 1, 0, "tool", once, "started")


@pytest.mark.invariant("I9")
async def test_tool_rows_are_kept_with_their_outputs_until_the_end(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    await store.tool_calls.started(turn.turn, "a", [row("c1"), row("c2", once=True)])
    await store.tool_calls.ended(turn.turn, "a", [ToolOutput("c1", "fine")])
    rows = await store.tool_calls.rows(turn.turn)
    assert [(r.call_id, r.once, r.state, r.output) for r in rows] == [
        ("c1", False, "done", "fine"),
        ("c2", True, "started", None),
    ]
    await store.inbox.finish(turn.turn, "a", answered())
    assert [r.output for r in await store.tool_calls.rows(turn.turn)] == [None, None]


def thread(claimed: Claim, remote: str, **options) -> Thread:
    fields = {"reason": ThreadReason.FIRST, "opened_at": 0.0, "used_at": 0.0} | options
    return Thread(0, claimed.lane, claimed.generation, "rehearsal", "local", remote, **fields)


async def test_a_thread_is_opened_counted_and_chained(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    first = await store.threads.open(turn.turn, "a", thread(turn, "t1"), carried="nothing")
    await store.inbox.finish(
        turn.turn, "a", answered(use=ThreadUse(first.id, messages=2, prompt_tokens=50, summary="so far"))
    )
    await put(store, "two")
    [turn] = await claim(store)
    assert turn.thread is not None
    assert (turn.thread.messages, turn.thread.prompt_tokens, turn.thread.summary) == (2, 50, "so far")
    second = await store.threads.open(
        turn.turn, "a", thread(turn, "t2", reason=ThreadReason.MESSAGES, previous_id=first.id), carried="summary"
    )
    chain = await store.threads.chain(turn.lane)
    assert [(t.remote_id, t.previous_id, t.summary) for t in chain] == [("t1", None, None), ("t2", first.id, None)]
    lane = await store.threads.lane(turn.lane)
    assert lane is not None
    assert lane.thread == second


@pytest.mark.invariant("I7")
async def test_an_older_generation_cannot_open_a_thread(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    await put(store, "start over", control=Control.START_OVER)
    with pytest.raises(Interrupted):
        await store.threads.open(turn.turn, "a", thread(turn, "t1"), carried="nothing")
    lane = await store.threads.lane(turn.lane)
    assert lane is not None
    assert lane.thread is None


async def test_undo_brings_the_thread_back_within_its_time(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    opened_one = await store.threads.open(turn.turn, "a", thread(turn, "t1"), carried="nothing")
    await store.inbox.finish(turn.turn, "a", answered())
    await put(store, "start over", control=Control.START_OVER)
    await put(store, "start over", control=Control.START_OVER)  # again, with nothing said between
    undo = await put(store, "undo", control=Control.UNDO)
    assert undo.generation == 3
    lane = await store.threads.lane(turn.lane)
    assert lane is not None
    assert lane.thread == opened_one
    assert (await put(store, "undo", control=Control.UNDO)).generation == 3
    await store.inbox.put(entry("start over", control=Control.START_OVER), undo_seconds=-1.0)
    late = await put(store, "undo", control=Control.UNDO)
    assert late.generation == 4


@pytest.mark.invariant("I15")
async def test_words_are_forgotten_but_for_what_was_not_answered(store: SqlStore):
    await put(store, "one", id="m-one")
    await put(store, "two")
    [turn] = await claim(store)
    await store.inbox.finish(turn.turn, "a", Ending(Ended.APOLOGY, {}, keep_text=True, error="x"))
    found = await store.records.last_unanswered(turn.lane, ADA.id)
    assert found is not None
    assert (found[0], [m.text for m in found[1]]) == (turn.turn, ["one", "two"])
    await store.records.forget_text(turn.turn)
    assert await store.records.last_unanswered(turn.lane, ADA.id) is None


@pytest.mark.invariant("I15")
async def test_the_sweep_erases_kept_words_and_old_rows(store: SqlStore):
    await put(store, "one")
    [turn] = await claim(store)
    await store.inbox.finish(turn.turn, "a", Ending(Ended.APOLOGY, {}, keep_text=True))
    assert await store.records.sweep(60.0, -1.0) == 0
    assert await store.records.last_unanswered(turn.lane, ADA.id) is None
    assert await store.records.sweep(-1.0, -1.0) == 1
    assert await store.records.describe(turn.turn) is None


@pytest.mark.invariant("I3")
async def test_many_claims_at_once_never_share_a_lane(store: SqlStore):
    people = [type(ADA)(f"p{n}") for n in range(20)]
    await asyncio.gather(*(put(store, f"{n}", person=p, joins=False) for n in range(5) for p in people))
    seen: list[str] = []
    for _ in range(5):
        got = await asyncio.gather(*(claim(store, owner) for owner in "abcd"))
        claims = [(owner, one) for owner, ones in zip("abcd", got, strict=True) for one in ones]
        assert len({one.lane for _, one in claims}) == len(claims)
        seen += [one.messages[0].text for _, one in claims]
        await asyncio.gather(*(store.inbox.finish(one.turn, owner, answered()) for owner, one in claims))
    assert len(seen) == 100


@pytest.mark.invariant("I3")
async def test_two_replicas_that_take_one_lane_by_different_messages_do_not_fail(postgresql: str):
    """A slow acceptance has the earlier id and is seen later: each finds another head of the lane."""
    async with postgresql_database(postgresql) as url, opened(url) as store, opened(url) as other:
        await _two_heads(store, other)


async def _two_heads(store: SqlStore, other: SqlStore) -> None:
    database = other.inbox._database  # the transactions are to be held open in the middle
    await put(store, "the first, which makes the lane")
    [claim] = await store.inbox.claim("a", 9, 30)
    await store.inbox.finish(claim.turn, "a", Ending(Ended.ANSWERED, {}))
    async with database.engine.connect() as accepting, database.engine.connect() as claiming:
        slow = await accepting.begin()
        await accepting.run_sync(Acceptance(database).put, entry("slow"), 600)
        quick = await store.inbox.put(entry("quick"), 600)
        taking = await claiming.begin()
        claimed = await claiming.run_sync(other.inbox._claim, "b", 9, 30)
        assert [one.turn for one in claimed] == [quick.turn]
        await slow.commit()
        late = asyncio.create_task(store.inbox.claim("a", 9, 30))
        await _waits_for_a_lock(database)
        await taking.commit()
        assert await late == []


async def _waits_for_a_lock(database: Database) -> None:
    async with asyncio.timeout(5), database.engine.connect() as connection:
        while not await connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.01)
