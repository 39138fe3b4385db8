"""Accepting a message, in one transaction: a look at all that must be known, then its row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bot.store import revisions
from bot.store.approvals import decide, nudge, waits_in
from bot.store.codec import encode, message_digest, message_key
from bot.store.controls import apply
from bot.store.database import Database, Row
from bot.store.people import SEEN, met, moved
from bot.store.tables import inbox, lanes, people
from bot.types import (
    MOST_WAITING,
    Accepted,
    Control,
    ConversationKind,
    Decision,
    Ended,
    Entry,
    JsonObject,
    Message,
    MessageKind,
    Revision,
    storable,
)

DECIDING = (Control.APPROVE, Control.DECLINE)


class Acceptance:
    """What `InboxStore.put` does. Its statements are built once: building one costs more than running it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look = _look(database)
        self._insert = _insert(database)
        self._earlier = sa.select(_earlier())

    def put(self, connection: sa.Connection, entry: Entry, undo_seconds: float) -> Accepted:
        """Store the message unless it is here already; a control acts at once."""
        message = entry.message
        place, person = message.conversation, message.person
        digest = None if message.revises else message_digest(message)
        keys = {"its_key": message_key(message), "its_digest": digest}
        who = {"its_lane": entry.lane, "its_channel": place.channel, "its_person": person.id}
        seen = connection.execute(self._look, keys | who | {"its_tenant": place.tenant}).one()
        if seen.earlier is not None:
            return self._again(connection, entry, seen.earlier)
        if entry.control in DECIDING:
            if message.decides or seen.asked:
                return self._decide(connection, entry, keys | who, seen, undo_seconds)
            entry = replace(entry, control=None, joins=True)  # nothing waits: they are words for the agent
        if message.revises is not None:
            return self._revise(connection, entry, message.revises, seen, undo_seconds)
        if seen.lane is None:
            self._open_lane(connection, entry)
        told = {"its_control": entry.control, "its_joins": entry.joins, "its_payload": encode(message)}
        row = connection.execute(self._insert, keys | who | told).first()
        if row is None:  # it came to another replica at the same moment
            return Accepted(turn=connection.scalar(self._earlier, keys) or 0, fresh=False)
        self._meet(connection, message, seen.name, seen.address)
        return self._taken(connection, entry, row, seen, undo_seconds)

    def _decide(
        self, connection: sa.Connection, entry: Entry, its: dict[str, Any], seen: Row, undo_seconds: float
    ) -> Accepted:
        """A word about a tool call that waits. It has no turn of its own: the turn that asked goes on, and answers.

        Typed where nothing waits, it is said to the agent, which may have asked a question of its own.
        """
        message = entry.message
        asked: str = message.decides or seen.asked
        if seen.lane is None:
            self._open_lane(connection, entry)
        told = {"its_control": entry.control, "its_joins": False, "its_payload": encode(message)}
        row = connection.execute(self._insert, its | told).first()
        if row is None:
            return self._again(connection, entry, connection.scalar(self._earlier, its) or 0)
        decision = decide(self._database, connection, entry, asked)
        its_row = sa.update(inbox).where(inbox.c.id == row.id)
        if not message.decides:
            if decision is Decision.NOT_YOURS:
                nudge(connection, asked)
            elif decision in (Decision.OVER, Decision.NOTHING):
                connection.execute(its_row.values(control=None, joins=True))
                return self._taken(connection, replace(entry, control=None), row, seen, undo_seconds)
        effect = {"decision": decision, "approval": asked}
        done: dict[str, Any] = {"state": sa.literal_column("'done'"), "ended": Ended.CONFIRMED, "payload": None}
        connection.execute(its_row.values(**done, effect=effect, finished_at=self._database.now()))
        return Accepted(row.id, fresh=True, generation=row.generation, decision=decision)

    def _again(self, connection: sa.Connection, entry: Entry, turn: int) -> Accepted:
        """A redelivery changes nothing; of a decision it is told once more what that came to."""
        if not entry.message.decides:
            return Accepted(turn, fresh=False)
        effect: JsonObject | None = connection.scalar(sa.select(inbox.c.effect).where(inbox.c.id == turn))
        return Accepted(turn, fresh=False, decision=Decision(effect["decision"]) if effect else Decision.OVER)

    def _taken(self, connection: sa.Connection, entry: Entry, row: Row, seen: Row, undo_seconds: float) -> Accepted:
        """What follows once it has its row."""
        if entry.control is not None:
            return apply(self._database, connection, entry, row.id, undo_seconds)
        if seen.asked is not None:
            nudge(connection, seen.asked)
        if seen.waiting >= MOST_WAITING:
            self._refuse(connection, entry.message, row.id, told=seen.refusals > 0)
        return Accepted(turn=row.id, fresh=True, generation=row.generation)

    def _revise(
        self, connection: sa.Connection, entry: Entry, revision: Revision, seen: Row, undo_seconds: float
    ) -> Accepted:
        """A message of ours has changed; of one that is not ours, nothing is kept."""
        message = entry.message
        about = revisions.earlier(connection, message, revision)
        if about is None:
            return Accepted(turn=0, fresh=False)
        entry = replace(entry, lane=about.row.lane)  # who deletes it need not be who wrote it
        own = replace(message, revises=None)
        keys = {"its_key": message_key(message), "its_digest": None}
        told = {"its_control": entry.control, "its_joins": entry.joins, "its_payload": encode(own)}
        who = {"its_lane": entry.lane, "its_channel": own.conversation.channel, "its_person": own.person.id}
        row = connection.execute(self._insert, keys | who | told).first()
        if row is None:
            return Accepted(turn=connection.scalar(self._earlier, keys) or 0, fresh=False)
        outcome = revisions.apply(self._database, connection, entry, row.id, about)
        done = Accepted(row.id, fresh=True, generation=row.generation, dropped=outcome.dropped)
        if not outcome.over:
            done = self._taken(connection, replace(entry, message=own), row, seen, undo_seconds)
        return replace(done, interrupted=(*outcome.interrupted, *done.interrupted))

    def _open_lane(self, connection: sa.Connection, entry: Entry) -> None:
        place = entry.message.conversation
        lane = {
            "key": entry.lane,
            "channel": place.channel,
            "tenant": place.tenant,
            "person": None if entry.shared else entry.message.person.id,
            "personal": place.kind is ConversationKind.PERSONAL,
        }
        connection.execute(self._database.insert(lanes).values(**lane, created_at=self._database.now()))

    def _meet(self, connection: sa.Connection, message: Message, lately: str | None, address: Any) -> None:
        """Keep the person's row up to date; `lately` is its name, if it says that they spoke in this hour."""
        if lately is None or lately != (storable(message.person.name) or lately) or moved(message, address):
            met(self._database, connection, message)

    def _refuse(self, connection: sa.Connection, message: Message, turn: int, *, told: bool) -> None:
        """Beyond so many waiting messages of a person, one says so in their place; what comes behind it is covered."""
        if told:
            values: dict[str, Any] = {
                "state": sa.literal_column("'done'"),
                "ended": Ended.DROPPED,
                "finished_at": self._database.now(),
                "payload": None,
            }
        else:
            words = replace(message, kind=MessageKind.TOO_MANY, text="")
            values = {"payload": encode(words), "joins": False, "effect": {"refused": True}}
        connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(**values))


_OWN = sa.or_(inbox.c.control.is_(None), inbox.c.control != Control.SAY)
"""What the person said, and not what is to be said to them."""


def _its(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.Text) -> sa.ColumnElement[Any]:
    """A value of the message that is accepted."""
    return sa.bindparam(f"its_{name}", type_=kind)


def _earlier() -> Any:
    """The row of an earlier delivery. A message without a digest is like no other: NULL equals nothing."""
    known = sa.or_(inbox.c.key == _its("key"), inbox.c.digest == _its("digest"))
    return sa.select(inbox.c.id).where(known).limit(1).scalar_subquery()


def _look(database: Database) -> Any:
    """All that acceptance must know: always one row."""
    waiting = (
        sa.select(
            sa.func.count().label("waiting"),
            sa.func.count(inbox.c.effect).filter(inbox.c.control.is_(None)).label("refusals"),
        )
        .where(inbox.c.lane == _its("lane"), inbox.c.person == _its("person"), sa.text("state = 'queued'"), _OWN)
        .subquery()
    )
    themselves = [
        people.c.channel == _its("channel"),
        people.c.tenant == _its("tenant"),
        people.c.id == _its("person"),
    ]
    lately = sa.select(people.c.name).where(*themselves, people.c.seen_at > database.now() - SEEN)
    return sa.select(
        waiting.c.waiting,
        waiting.c.refusals,
        _earlier().label("earlier"),
        sa.select(lanes.c.key).where(lanes.c.key == _its("lane")).scalar_subquery().label("lane"),
        waits_in(_its("lane")).label("asked"),
        lately.scalar_subquery().label("name"),
        sa.select(people.c.address).where(*themselves).scalar_subquery().label("address"),
    )


def _insert(database: Database) -> Any:
    return (
        database.insert(inbox)
        .values(
            key=_its("key"),
            digest=_its("digest"),
            lane=_its("lane"),
            channel=_its("channel"),
            person=_its("person"),
            generation=sa.select(lanes.c.generation).where(lanes.c.key == _its("lane")).scalar_subquery(),
            control=_its("control"),
            joins=_its("joins", sa.Boolean),
            payload=sa.bindparam("its_payload", type_=inbox.c.payload.type),
            state=sa.literal_column("'queued'"),
            accepted_at=database.now(),
        )
        .returning(inbox.c.id, inbox.c.generation)
    )
