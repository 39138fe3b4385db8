"""The inbox as a few plain rules in memory: what the store must do, without leases in SQL, keys or transactions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bot.types import MOST_WAITING, Accepted, Control, Ended, Ending, Entry, Interrupt, JsonObject, Message

MOST_JOINED = 20
UNANSWERED = (Ended.APOLOGY, Ended.STALE, Ended.DEAD)

ENDS = 250.0
"""Seconds after which a turn that was told to end is taken up again: here long beside what a test takes."""


@dataclass
class Turn:
    """One accepted message. `kept`: its words are on file; `begun`: a step of its turn was saved; `taken`: it ran."""

    id: int
    lane: str
    person: str
    text: str
    generation: int
    control: Control | None = None
    joins: bool = True
    state: str = "queued"
    owner: str | None = None
    lease_until: float = 0.0
    not_before: float | None = None
    attempts: int = 0
    steps: JsonObject | None = None
    interrupt: Interrupt | None = None
    ended: Ended | None = None
    joined_to: int | None = None
    kept: bool = True
    refused: bool = False
    taken: bool = False
    effect: JsonObject | None = None

    @property
    def begun(self) -> bool:
        return self.steps is not None


@dataclass
class Line:
    """A lane: its generation, its thread, and what "undo" brings back until when."""

    generation: int = 0
    thread: int | None = None
    undo: tuple[int, float] | None = None
    notice: bool = False


@dataclass
class Model:
    now: float = 0.0
    turns: dict[int, Turn] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    keys: dict[object, int] = field(default_factory=dict)
    acted: dict[int, JsonObject] = field(default_factory=dict)

    # -- looking

    def of(self, lane: str, *states: str) -> list[Turn]:
        """What a lane holds in these states, in order of arrival."""
        turns = sorted(self.turns.values(), key=lambda one: one.id)
        return [one for one in turns if one.lane == lane and one.state in states]

    def joined(self, head: Turn) -> list[Turn]:
        return [one for one in self.of(head.lane, "joined") if one.joined_to == head.id]

    def held(self, turn: int, owner: str) -> bool:
        return self.turns[turn].state == "running" and self.turns[turn].owner == owner

    def silenced(self, turn: Turn) -> Interrupt | None:
        """Why it may not speak."""
        if turn.interrupt is None and turn.control is None and turn.generation != self.lines[turn.lane].generation:
            return Interrupt.SUPERSEDED
        return turn.interrupt

    # -- accepting

    def known(self, message: Message) -> int | None:
        """The turn this message is a redelivery of."""
        return next((self.keys[name] for name in names(message) if name in self.keys), None)

    def accept(self, entry: Entry, id: int, undo_seconds: float) -> Accepted:
        """A message that is no redelivery; `id` is what the store called it."""
        line = self.lines.setdefault(entry.lane, Line())
        said = entry.message
        turn = Turn(id, entry.lane, said.person.id, said.text, line.generation, entry.control, entry.joins)
        self.keys |= dict.fromkeys(names(said), id)
        self.turns[id] = turn
        if entry.control is not None:
            return self._control(turn, line, undo_seconds)
        mine = [one for one in self.of(entry.lane, "queued") if one.person == turn.person]
        if len(mine) > MOST_WAITING:
            if any(one.refused for one in mine):
                self._end(turn, Ended.DROPPED)
            else:  # it stays, to say in its place that it is not taken
                turn.refused, turn.joins, turn.text = True, False, ""
        return Accepted(id, fresh=True, generation=turn.generation)

    def _control(self, turn: Turn, line: Line, undo_seconds: float) -> Accepted:
        turn.effect = {}
        dropped, interrupted = 0, set[int]()
        if turn.control is Control.STOP:
            dropped, interrupted = self.revoke(turn.lane, Interrupt.STOP, before=turn.id, person=turn.person)
        elif turn.control is Control.UNDO and (line.undo is None or line.undo[1] < self.now):
            turn.effect = {"nothing": True}
        else:
            dropped, interrupted = self.revoke(turn.lane, Interrupt.SUPERSEDED, before=turn.id)
            self._raise(line, turn.control, undo_seconds)
        turn.generation = line.generation
        turn.effect |= {"dropped": dropped, "interrupted": sorted(interrupted)}
        return Accepted(turn.id, True, tuple(sorted(interrupted)), turn.generation, dropped)

    def _raise(self, line: Line, control: Control | None, undo_seconds: float) -> None:
        line.generation += 1
        if control is Control.UNDO:
            assert line.undo is not None
            line.thread, line.undo = line.undo[0], None
        elif line.thread is not None:
            line.thread, line.undo = None, (line.thread, self.now + undo_seconds)

    def revoke(
        self,
        lane: str,
        why: Interrupt,
        *,
        before: float = math.inf,
        person: str | None = None,
        spare: int | None = None,
    ) -> tuple[int, set[int]]:
        """Drop what has not begun, interrupt what has; how many messages, and which answers."""
        older = [
            one
            for one in self.of(lane, "queued", "running")
            if one.control is None and one.id < before and one.id != spare and person in (None, one.person)
        ]
        dropped, interrupted = 0, set[int]()
        for one in older:
            if one.state == "queued" and not one.begun:
                dropped += self._drop(one, person)
            else:
                one.interrupt, one.not_before = why, None
                interrupted |= {one.id} if one.joins or _asks(one.steps or {}) else set()
        return dropped, interrupted

    def _drop(self, head: Turn, person: str | None) -> int:
        """Drop a turn with what joined it; what another person said to it waits by itself again."""
        count = 1
        for one in self.joined(head):
            if person in (None, one.person):
                self._end(one, Ended.DROPPED)
                count += 1
            else:
                one.state, one.joined_to = "queued", None
        self._end(head, Ended.DROPPED)
        return count

    @staticmethod
    def _end(turn: Turn, ended: Ended, *, kept: bool = False) -> None:
        turn.state, turn.ended, turn.kept, turn.owner = "done", ended, kept, None

    # -- running

    def heads(self, limit: int) -> list[Turn]:
        """What may be claimed now: the first of each lane in which nothing runs, if its time has come."""
        firsts = [self.of(lane, "queued")[:1] for lane in self.lines if not self.of(lane, "running")]
        due = [one for first in firsts for one in first if one.not_before is None or one.not_before <= self.now]
        return sorted(due, key=lambda one: one.id)[:limit]

    def take(self, head: Turn, owner: str, lease: float, messages: int) -> list[Turn]:
        """Claim it; `messages` is how many the store gave. What came behind it joins when it is first taken."""
        fresh = head.attempts == 0 and not head.begun
        batch = self.joined(head)
        behind = list(self._joinable(head)) if fresh and head.joins else []
        # one that was given back as if it had never been taken may go on alone, or take in what came meanwhile
        batch = batch if batch and messages == 1 + len(batch) else batch + behind
        for one in batch:
            one.state, one.joined_to = "joined", head.id
        if fresh and head.interrupt is None:
            head.generation = self.lines[head.lane].generation
        head.state, head.owner, head.lease_until, head.not_before = "running", owner, self.now + lease, None
        head.attempts += 1
        head.taken = True
        return [head, *batch]

    def _joinable(self, head: Turn) -> Iterator[Turn]:
        for one in [one for one in self.of(head.lane, "queued") if one.id > head.id][:MOST_JOINED]:
            if not one.joins or one.taken:
                return
            yield one

    def release(self, turn: Turn, delay: float, *, counted: bool) -> None:
        wait = delay if turn.interrupt is None else min(delay, ENDS)
        turn.state, turn.owner, turn.not_before = "queued", None, self.now + wait
        turn.attempts -= 0 if counted else 1

    def finish(self, turn: Turn, ending: Ending) -> None:
        alone = ending.ended is Ended.STOPPED and ending.error == Interrupt.STOP
        for one in self.joined(turn):
            if alone and one.person != turn.person:
                one.state, one.joined_to = "queued", None
                continue
            self._end(one, Ended.MERGED, kept=ending.keep_text)
        self._end(turn, ending.ended, kept=ending.keep_text)
        turn.steps = ending.steps
        if ending.notice is not None:
            self.lines[turn.lane].notice = False

    def requeue(self, *, everything: bool) -> int:
        over = [one for one in self.turns.values() if one.state == "running"]
        over = [one for one in over if everything or one.lease_until < self.now]
        for one in over:
            one.state, one.owner = "queued", None
        return len(over)

    # -- from outside

    def reset(self, lanes: list[str], asker: int | None, undo_seconds: float) -> tuple[JsonObject, list[Turn]]:
        """What the audit says, and the words to those whose answers it stopped (the store has yet to name them)."""
        if asker in self.acted:
            return self.acted[asker], []
        dropped, stopped, told = 0, 0, list[Turn]()
        for lane in lanes:
            line = self.lines[lane]
            waiting = [one for one in self.of(lane, "queued", "running") if one.control is None and one.id != asker]
            more, interrupted = self.revoke(lane, Interrupt.SUPERSEDED, spare=asker)
            dropped, stopped = dropped + more, stopped + len(interrupted)
            self._raise(line, Control.START_OVER, undo_seconds)
            line.notice = True
            if asker is not None and self.turns[asker].lane == lane:
                self.turns[asker].generation = line.generation
            if waiting and (more or interrupted):
                effect = {"by_admin": True, "dropped": more, "interrupted": sorted(interrupted)}
                row = Turn(0, lane, waiting[-1].person, "", line.generation, Control.START_OVER, False, effect=effect)
                told.append(row)
        detail: JsonObject = {"conversations": len(lanes), "dropped": dropped, "stopped": stopped}
        if asker is not None:
            self.acted[asker] = detail
        return detail, told

    def drop(self, turn: Turn) -> bool:
        if turn.state == "queued" and turn.control is None and not turn.begun:
            self._drop(turn, None)
        elif turn.kept and turn.ended in UNANSWERED:
            self._end(turn, Ended.DROPPED)
            for one in self.of(turn.lane, "done"):
                one.kept = one.kept and one.joined_to != turn.id
        else:
            return False
        return True

    def again(self, turn: Turn) -> bool:
        under_way = any(one.taken for one in self.of(turn.lane, "queued"))
        if under_way or not (turn.kept and turn.ended in UNANSWERED):
            return False
        for one in self.of(turn.lane, "done"):
            if one is turn or (one.joined_to == turn.id and one.kept):
                one.state, one.joined_to, one.ended = "queued", None, None
                one.generation = self.lines[turn.lane].generation
        turn.steps, turn.attempts, turn.interrupt, turn.not_before = None, 0, None, None
        return True


def _asks(steps: JsonObject) -> bool:
    """A command that makes a run, as "retry" does: no words of its own were saved first."""
    return "run" in steps or "text:reply" not in steps


def names(message: Message) -> list[object]:
    """By which a redelivery is known: its id, and who said what in which millisecond."""
    place, who = message.conversation.id, message.person.id
    stamp = [] if message.sent_at is None else [("stamp", place, who, message.sent_at, message.text)]
    return [("id", place, message.id), *stamp]
