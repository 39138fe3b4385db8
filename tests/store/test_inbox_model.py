"""The inbox's store against a model of it: any order of deliveries, controls, claims, crashes and late writes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import event

from bot.clock import SystemClock
from bot.errors import Interrupted, LostLease
from bot.store import SqlStore, open_store
from bot.store import inbox as inbox_module
from bot.store.acceptance import Acceptance
from bot.store.database import Database
from bot.store.tables import audit, inbox, lanes, people, threads, tool_calls
from bot.store.writers import ThreadWriter
from bot.threads import thread_key
from bot.types import (
    MOST_WAITING,
    Accepted,
    Act,
    Claim,
    Control,
    Ended,
    Ending,
    Entry,
    Interrupt,
    Message,
    Renewal,
    Thread,
    ThreadReason,
    ToolOutput,
    ToolRow,
)
from tests.store.model import ENDS, Model, Turn
from tests.world import ADA, GRACE, group, message

T = TypeVar("T")

# Leases, delays and undo end between two ticks, so that the little real time a test takes decides nothing.
TICK, LEASE, DELAY, UNDO = 500.0, 1250.0, 750.0, 1750.0
EXAMPLES = {"sqlite": 15, "postgresql": 18}
STEPS = 30

SPEAKERS = {
    "Ada": (ADA, None),
    "Ada in the group": (ADA, group()),
    "Grace in the group": (GRACE, group()),
}
speakers = st.sampled_from(sorted(SPEAKERS))
replicas = st.sampled_from([0, 1])
picks = st.integers(0, 30)
ENDINGS = {
    "answered": Ending(Ended.ANSWERED, {"run": "r"}),
    "apology": Ending(Ended.APOLOGY, {}, keep_text=True, error="x"),
    "stopped": Ending(Ended.STOPPED, {}, error=Interrupt.STOP),
}


@dataclass
class Bench:
    """Two replicas on one database, a loop for both, and a hand of our own in the database."""

    runner: asyncio.Runner
    stores: list[SqlStore]
    database: Database

    async def empty(self) -> None:
        async with self.database.engine.begin() as connection:
            for table in (inbox, lanes, threads, people, audit, tool_calls):
                await connection.execute(sa.delete(table))

    async def pass_time(self, seconds: float) -> None:
        """Time passes: a database's own clock cannot be moved, so what it is compared with moves back."""
        async with self.database.engine.begin() as connection:
            for column in (inbox.c.lease_until, inbox.c.not_before, lanes.c.undo_until):
                await connection.execute(sa.update(column.table).values({column: column - seconds}))

    async def on_file(self) -> tuple[dict[int, Any], dict[str, Any]]:
        """What stands in the database, as far as the model tells of it."""
        kept = inbox.c.payload.is_not(None).label("kept")
        told = (inbox.c.lane, inbox.c.state, inbox.c.ended, inbox.c.owner, inbox.c.attempts, inbox.c.joined_to)
        columns = sa.select(inbox.c.id, *told, inbox.c.interrupt, kept)
        async with self.database.read() as connection:
            turns = {row.id: tuple(row)[1:] for row in await connection.execute(columns)}
            lines = await connection.execute(sa.select(lanes.c.key, lanes.c.generation, lanes.c.thread_id))
            return turns, {row.key: tuple(row)[1:] for row in lines}


def entry(speaker: str, text: str, *, control: Control | None = None, joins: bool = True, **options: Any) -> Entry:
    person, place = SPEAKERS[speaker]
    said = message(text, person=person, conversation=place, **options)
    lane = thread_key(said.conversation, person, "shared" if place else "person")
    return Entry(said, lane, control, joins and control is None, shared=place is not None)


class InboxMachine(RuleBasedStateMachine):
    """Each rule does one thing to the store and to the model, and compares what both say of it."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.model = Model()
        self.said: list[Entry] = []
        self.numbers = itertools.count(1)
        self.lives = [1, 1]
        self.claimed: list[tuple[int, str]] = []
        self.sound = True
        self.do(bench.empty())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end; until the next comparison it is not known whether the store is sound."""
        self.sound = False
        return self.bench.runner.run(work)

    def store(self, replica: int) -> SqlStore:
        return self.bench.stores[replica]

    def owner(self, replica: int) -> str:
        """Who a replica is; after a crash it is someone else."""
        return f"{'ab'[replica]}{self.lives[replica]}"

    def replica_of(self, owner: str | None) -> int | None:
        return next((replica for replica in (0, 1) if self.owner(replica) == owner), None)

    def in_hand(self) -> list[Turn]:
        """What runs at a replica that lives."""
        turns = [turn for turn in self.model.turns.values() if turn.state == "running"]
        return sorted((one for one in turns if self.replica_of(one.owner) is not None), key=lambda one: one.id)

    def one_in_hand(self, pick: int) -> tuple[Turn, SqlStore, str]:
        """A turn to do something with; where nobody has one, what waits is claimed first."""
        if not self.in_hand():
            self.claim(pick % 2, 50)
        turn = pick_of(self.in_hand(), pick)
        replica = self.replica_of(turn.owner)
        assert replica is not None
        return turn, self.store(replica), self.owner(replica)

    def lost(self) -> list[tuple[int, str]]:
        """Turns that someone held and holds no more."""
        return [(number, owner) for number, owner in self.claimed if not self.model.held(number, owner)]

    # -- messages

    def new(self, speaker: str, *, joins: bool = True, control: Control | None = None, timed: bool = True) -> Entry:
        number = next(self.numbers)
        words = control or f"words {number}"
        sent_at = 1000 + number if timed else None
        return entry(speaker, words, control=control, joins=joins, id=f"m{number}", sent_at=sent_at)

    def accept(self, one: Entry, accepted: Accepted) -> None:
        """Compare what was said of a delivery; the store names the turns."""
        self.said.append(one)
        known = self.model.known(one.message)
        if known is not None:
            assert (accepted.turn, accepted.fresh) == (known, False)
            return
        assert accepted.turn > max(self.model.turns, default=0), "ids tell the order of arrival"
        wanted = self.model.accept(one, accepted.turn, UNDO)
        assert replace(accepted, interrupted=tuple(sorted(accepted.interrupted))) == wanted

    @rule(speaker=speakers, joins=st.sampled_from([True, True, False]), timed=st.booleans(), replica=replicas)
    def says(self, speaker: str, joins: bool, timed: bool, replica: int) -> None:
        one = self.new(speaker, joins=joins, timed=timed)
        self.accept(one, self.do(self.store(replica).inbox.put(one, UNDO)))

    @rule(
        speaker=speakers,
        count=st.sampled_from([2, 2, 3, 3, MOST_WAITING + 1]),
        replica=replicas,
        then=st.sampled_from(["waits", "taken", "handed over"]),
    )
    def says_much(self, speaker: str, count: int, replica: int, then: str) -> None:
        """And a replica may take it up at once, as one turn, and stop before it did anything."""
        entries = [self.new(speaker) for _ in range(count)]

        async def work() -> list[Accepted]:
            return await asyncio.gather(*(self.store(replica).inbox.put(one, UNDO) for one in entries))

        for one, accepted in zip(entries, self.do(work()), strict=True):
            self.accept(one, accepted)
        if then != "waits":
            self.claim(replica, 50)
        if then == "handed over":
            for turn in self.in_hand():
                if turn.owner == self.owner(replica):
                    self.release(turn, 0.0, counted=False)

    @rule(speaker=speakers, control=st.sampled_from([None, Control.START_OVER, Control.STOP]))
    def is_delivered_to_both(self, speaker: str, control: Control | None) -> None:
        one = self.new(speaker, control=control)

        async def work() -> list[Accepted]:
            return await asyncio.gather(*(store.inbox.put(one, UNDO) for store in self.bench.stores))

        for accepted in sorted(self.do(work()), key=lambda accepted: not accepted.fresh):
            self.accept(one, accepted)

    @rule(
        speaker=speakers,
        control=st.sampled_from([Control.START_OVER, Control.START_OVER, Control.UNDO, Control.STOP]),
        replica=replicas,
    )
    def controls(self, speaker: str, control: Control, replica: int) -> None:
        one = self.new(speaker, control=control)
        self.accept(one, self.do(self.store(replica).inbox.put(one, UNDO)))

    @rule(speaker=speakers, overs=st.integers(1, 2), ticks=st.sampled_from([0, 1, 4]), replica=replicas)
    def starts_over_and_wants_it_back(self, speaker: str, overs: int, ticks: int, replica: int) -> None:
        lane = self.new(speaker).lane
        self.open_threads([turn for turn in self.in_hand() if turn.lane == lane])
        for _ in range(overs):
            self.controls(speaker, Control.START_OVER, replica)
        self.tick(ticks)
        self.controls(speaker, Control.UNDO, replica)

    @precondition(lambda self: self.said)
    @rule(pick=picks, how=st.sampled_from(["same id", "other id", "later", "other speaker"]), replica=replicas)
    def is_delivered_again(self, pick: int, how: str, replica: int) -> None:
        """As it was, under another id, or as something that only looks like it."""
        one = pick_of(self.said, pick)
        said: Message = one.message
        number = next(self.numbers)
        if how != "same id":
            said = replace(said, id=f"m{number}")
        if how == "later":
            said = replace(said, sent_at=1000 + number)
        if how == "other speaker":
            said = replace(said, person=GRACE if said.person == ADA else ADA)
        again = replace(one, message=said)
        self.accept(again, self.do(self.store(replica).inbox.put(again, UNDO)))

    # -- turns

    @rule(replica=replicas, limit=st.sampled_from([1, 50, 50]))
    def claims(self, replica: int, limit: int) -> None:
        self.claim(replica, limit)

    def claim(self, replica: int, limit: int) -> int:
        owner, store = self.owner(replica), self.store(replica)
        heads = self.model.heads(limit)
        claims = self.do(store.inbox.claim(owner, limit, LEASE))
        assert [claim.turn for claim in claims] == [head.id for head in heads]
        for head, claim in zip(heads, claims, strict=True):
            taken = self.model.take(head, owner, LEASE, len(claim.messages))
            assert [said.text for said in claim.messages] == [one.text for one in taken]
            self.compare(claim, head)
            self.claimed.append((head.id, owner))
        return len(claims)

    def compare(self, claim: Claim, turn: Turn) -> None:
        line = self.model.lines[turn.lane]
        assert (claim.lane, claim.control, claim.attempts) == (turn.lane, turn.control, turn.attempts)
        assert (claim.stamped, claim.generation) == (turn.generation, line.generation)
        assert claim.interrupt == self.model.silenced(turn)
        assert claim.steps == (turn.steps or {})
        assert (claim.thread and claim.thread.id) == line.thread
        assert (claim.notice is not None) == line.notice
        if turn.control is not None:
            stopped: list[int] = sorted(claim.effect["interrupted"])
            assert claim.effect | {"interrupted": stopped} == turn.effect
        if claim.generation != claim.stamped and turn.control is None:
            assert claim.interrupt is not None, "what is of an older generation is taken only to be ended"

    @precondition(lambda self: self.in_hand() or self.model.heads(1))
    @rule(pick=picks, step=st.integers(1, 3))
    def saves(self, pick: int, step: int) -> None:
        turn, store, owner = self.one_in_hand(pick)
        turn.steps = {"run": step}
        self.do(store.inbox.save(turn.id, owner, turn.steps))

    @precondition(lambda self: self.in_hand() or self.model.heads(1))
    @rule(pick=picks, delay=st.sampled_from([0.0, 0.0, DELAY]), counted=st.booleans(), again=st.none() | replicas)
    def releases(self, pick: int, delay: float, counted: bool, again: int | None) -> None:
        """And a replica may take it up again at once."""
        self.release(self.one_in_hand(pick)[0], delay, counted=counted)
        if again is not None:
            self.claim(again, 50)

    def release(self, turn: Turn, delay: float, *, counted: bool) -> None:
        store, owner = self.store(self.replica_of(turn.owner) or 0), turn.owner or ""
        self.do(store.inbox.release(turn.id, owner, delay, "busy", counted=counted))
        self.model.release(turn, delay, counted=counted)

    @precondition(lambda self: self.in_hand() or self.model.heads(1))
    @rule(pick=picks, how=st.sampled_from(sorted(ENDINGS)))
    def finishes(self, pick: int, how: str) -> None:
        turn, store, owner = self.one_in_hand(pick)
        self.finish(turn, store, owner, ENDINGS[how])

    def finish(self, turn: Turn, store: SqlStore, owner: str, ending: Ending) -> None:
        self.do(store.inbox.finish(turn.id, owner, ending))
        self.model.finish(turn, ending)
        unanswered = self.do(store.records.last_unanswered(turn.lane, turn.person)) if ending.keep_text else None
        if unanswered is not None and unanswered[0] == turn.id:
            texts = [one.text for one in self.model.turns.values() if turn.id in (one.id, one.joined_to) and one.kept]
            assert sorted(said.text for said in unanswered[1]) == sorted(texts)

    @precondition(lambda self: self.in_hand() or self.model.heads(1))
    @rule(pick=picks)
    def opens_a_thread(self, pick: int) -> None:
        self.open_threads([self.one_in_hand(pick)[0]])

    def open_threads(self, turns: list[Turn]) -> None:
        for turn in turns:
            line, store = self.model.lines[turn.lane], self.store(self.replica_of(turn.owner) or 0)
            opening = store.threads.open(turn.id, turn.owner or "", thread(turn), carried="nothing")
            if turn.generation == line.generation:
                line.thread = self.do(opening).id
            else:
                with pytest.raises(Interrupted):
                    self.do(opening)

    @precondition(lambda self: self.in_hand() or self.model.heads(1))
    @rule(pick=picks)
    def asks_whether_it_may_speak(self, pick: int) -> None:
        turn, store, owner = self.one_in_hand(pick)
        assert self.do(store.inbox.holds(turn.id, owner)) == self.model.silenced(turn)

    @rule(replica=replicas)
    def renews(self, replica: int) -> None:
        """All it ever held: what it has lost is told apart."""
        owner = self.owner(replica)
        turns = sorted({number for number, who in self.claimed if who == owner})
        renewals = self.do(self.store(replica).inbox.renew(owner, turns, LEASE))
        wanted: list[Renewal] = []
        for turn in (self.model.turns[number] for number in turns):
            held = self.model.held(turn.id, owner)
            turn.lease_until = self.model.now + LEASE if held else turn.lease_until
            wanted.append(Renewal(turn.id, held, turn.interrupt if held else None))
        assert renewals == wanted

    # -- failures

    @rule(replica=replicas, other_too=st.booleans())
    def crashes(self, replica: int, other_too: bool) -> None:
        """It never writes again. One that is started where no other can run takes up all there is."""
        self.lives[replica] += 1
        if other_too:
            self.lives[1 - replica] += 1
            self.requeue(replica, everything=True)

    @rule(ticks=st.integers(1, 3), beats=st.none() | replicas, looks=st.none() | replicas)
    def time_passes(self, ticks: int, beats: int | None, looks: int | None) -> None:
        """A replica may renew what it holds after the first tick, and one may look for leases that have run out."""
        if beats is not None:
            self.tick(1)
            self.renews(beats)
        self.tick(ticks if beats is None else ticks - 1)
        if looks is not None:
            self.requeue(looks, everything=False)

    def tick(self, count: int) -> None:
        if count:
            self.model.now += count * TICK
            self.do(self.bench.pass_time(count * TICK))

    def requeue(self, replica: int, *, everything: bool) -> None:
        requeued = self.do(self.store(replica).inbox.requeue(everything=everything))
        assert requeued == self.model.requeue(everything=everything)

    @precondition(lambda self: self.lost())
    @rule(pick=picks, taken=st.booleans(), replica=replicas)
    def writes_come_late(self, pick: int, taken: bool, replica: int) -> None:
        """Of one who holds the turn no more; more often where another holds it now."""
        lost = self.lost()
        running = [(number, owner) for number, owner in lost if self.model.turns[number].state == "running"]
        number, owner = pick_of(running if taken and running else lost, pick)
        store, row = self.store(replica), ToolRow("c", "0", 1, 0, "tool", False, "started")
        writes = {
            "save": store.inbox.save(number, owner, {"late": True}),
            "release": store.inbox.release(number, owner, 0.0, "late", counted=True),
            "finish": store.inbox.finish(number, owner, ENDINGS["answered"]),
            "holds": store.inbox.holds(number, owner),
            "open": store.threads.open(number, owner, thread(self.model.turns[number]), carried="nothing"),
            "mark": store.threads.mark(number, owner, 1, ThreadReason.LOST),
            "started": store.tool_calls.started(number, owner, [row]),
            "ended": store.tool_calls.ended(number, owner, [ToolOutput("c", "late")]),
            "renew": store.inbox.renew(owner, [number], LEASE),
        }

        async def work() -> list[Any]:
            return await asyncio.gather(*writes.values(), return_exceptions=True)

        *refused, renewals = self.do(work())
        taken_on = {
            name: outcome for name, outcome in zip(writes, refused, strict=False) if not isinstance(outcome, LostLease)
        }
        assert taken_on == {}, "a write of one who lost the turn raises LostLease"
        assert renewals == [Renewal(number, owned=False)]

    # -- from outside

    @precondition(lambda self: self.model.lines)
    @rule(picked=st.lists(picks, min_size=1, max_size=2), asker=st.none() | picks, replica=replicas)
    def an_admin_starts_over(self, picked: list[int], asker: int | None, replica: int) -> None:
        keys = list(dict.fromkeys(pick_of(sorted(self.model.lines), pick) for pick in picked))
        turn = None if asker is None or not self.in_hand() else pick_of(self.in_hand(), asker).id
        act = self.do(self.store(replica).forgetting.reset(keys, Act("admin", "reset", "x", turn), UNDO))
        detail, told = self.model.reset(keys, turn, UNDO)
        assert act.detail == detail
        named = sorted(set(self.do(self.bench.on_file())[0]) - set(self.model.turns))
        for number, row in zip(named, told, strict=True):
            row.id = number
            self.model.turns[number] = row

    @precondition(lambda self: self.model.turns)
    @rule(pick=picks, act=st.sampled_from(["drop", "again"]), apt=st.booleans(), replica=replicas)
    def an_operator_acts(self, pick: int, act: str, apt: bool, replica: int) -> None:
        """On any turn; more often on one that waits again, or whose words are kept."""
        turns = list(self.model.turns.values())
        open_again = [one for one in turns if one.ended is Ended.APOLOGY or (one.state == "queued" and one.attempts)]
        turn = pick_of(open_again if apt and open_again else turns, pick)
        records = self.store(replica).records
        if act == "drop":
            assert self.do(records.drop(turn.id)) == self.model.drop(turn)
        else:
            assert self.do(records.again(turn.id)) == self.model.again(turn)

    # -- what always holds

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        turns, lines = self.do(self.bench.on_file())
        model = {
            one.id: (one.lane, one.state, one.ended, one.owner, one.attempts, one.joined_to, one.interrupt, one.kept)
            for one in self.model.turns.values()
        }
        assert set(model) == set(turns), "what was accepted is on file, once"
        differ = {turn: {"store": turns[turn], "model": model[turn]} for turn in model if turns[turn] != model[turn]}
        assert differ == {}
        assert lines == {key: (line.generation, line.thread) for key, line in self.model.lines.items()}
        running = [lane for lane, state, *_ in turns.values() if state == "running"]
        assert len(running) == len(set(running)), "one turn of a lane runs at a time"
        self.sound = True

    def teardown(self) -> None:
        """All that was accepted ends, once, if someone goes on working."""
        if not self.sound:  # what failed before is what is to be told
            return
        self.crashes(0, other_too=True)
        self.tick(2)
        while self.claim(0, 50):
            for turn in self.in_hand():
                self.finish(turn, self.store(0), self.owner(0), ENDINGS["answered"])
        self.the_store_is_as_the_model()
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        turns, _ = self.do(self.bench.on_file())
        ended = self.do(self.store(1).records.ended(list(turns)))
        assert set(ended) == set(turns)
        assert self.do(self.store(1).records.unfinished()) == 0


class SharedInboxMachine(InboxMachine):
    """Where transactions overlap, which SQLite does not do."""

    @rule(speaker=speakers, control=st.sampled_from([Control.START_OVER, Control.STOP]), replica=replicas)
    def controls_beside_a_message(self, speaker: str, control: Control, replica: int) -> None:
        """A replica that is slow to commit has taken the message before; the control does not see it."""
        said, over = self.new(speaker), self.new(speaker, control=control)
        if not any(one.lane == said.lane and one.message.person == said.message.person for one in self.said):
            return  # the lane and the person are new: the control would wait for the message

        async def work() -> tuple[Accepted, Accepted]:
            async with self.bench.database.engine.begin() as connection:
                slow = await connection.run_sync(Acceptance(self.bench.database).put, said, UNDO)
                return slow, await self.store(replica).inbox.put(over, UNDO)

        slow, control_accepted = self.do(work())
        self.accept(said, slow)
        unseen = self.model.turns.pop(slow.turn)
        self.accept(over, control_accepted)
        self.model.turns[slow.turn] = unseen


def thread(turn: Turn) -> Thread:
    return Thread(0, turn.lane, turn.generation, "rehearsal", "local", "t", ThreadReason.FIRST, 0.0, 0.0)


def pick_of(options: list[T], pick: int) -> T:
    return options[pick % len(options)]


@pytest.fixture
def bench(database_url: str) -> Generator[Bench]:
    with opened(database_url) as bench:
        yield bench


async def be_hasty(databases: list[Database]) -> None:
    """No power goes in this test: what is written need not wait for the disk."""
    for database in databases:
        assert isinstance(database.writer, ThreadWriter)
        for engine in (database.engine.sync_engine, database.writer.engine):
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        await database.engine.dispose()


@contextmanager
def opened(url: str) -> Generator[Bench]:
    with asyncio.Runner() as runner:
        stores = [runner.run(open_store(url, SystemClock(), runner=first)) for first in (True, False)]
        database = Database(url, SystemClock())
        if not database.postgresql:
            runner.run(be_hasty([store._database for store in stores] + [database]))
        try:
            yield Bench(runner, stores, database)
        finally:
            for each in (*stores, database):
                runner.run(each.close())


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I2")
@pytest.mark.invariant("I3")
@pytest.mark.invariant("I7")
@pytest.mark.invariant("I15")
def test_whatever_happens_in_whatever_order_the_store_does_as_the_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "ENDS", ENDS)
    kind = "postgresql" if bench.database.postgresql else "sqlite"

    def machine() -> InboxMachine:
        return (SharedInboxMachine if bench.database.postgresql else InboxMachine)(bench)

    budget = settings(max_examples=EXAMPLES[kind], stateful_step_count=STEPS, report_multiple_bugs=False)
    run_state_machine_as_test(machine, settings=budget)
