"""Accepting a message, in one transaction: a look at all that must be known, then its row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bot.store import revisions
from bot.store.approvals import decide, nudge, waits_in
from bot.store.codec import encode, message_digest, message_key
from bot.store.controls import apply
from bot.store.database import Database, Row
from bot.store.people import SEEN, Meeting, moved
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
        self._insert = _insert(database)
        self._meeting = Meeting(database)
        self._earlier = sa.select(inbox.c.id).where(
            # a message without a digest is like no other: NULL equals nothing
            sa.or_(inbox.c.key == _its("key"), inbox.c.digest == _its("digest"))
        )

    def put(self, connection: sa.Connection, entry: Entry, undo_seconds: float) -> Accepted:
        """Store the message unless it is here already; a control acts at once."""
        if entry.message.revises is not None:
            return self._revise(connection, entry, entry.message.revises, undo_seconds)
        message = entry.message
        its = {"its_key": message_key(message), "its_digest": message_digest(message)}
        row = self._put(connection, entry, its)
        if row is None:
            return self._again(connection, entry, connection.scalar(self._earlier, its) or 0)
        self._meet(connection, message, row.name, row.address)
        if entry.control in DECIDING:
            return self._decide(connection, entry, row, undo_seconds)
        return self._taken(connection, entry, row, undo_seconds)

    def _put(self, connection: sa.Connection, entry: Entry, its: dict[str, Any]) -> Row | None:
        """Its row, with all that must be known besides; None if it came before, or to another replica just now."""
        message = entry.message
        place, person = message.conversation, message.person
        who = {
            "its_lane": entry.lane,
            "its_channel": place.channel,
            "its_tenant": place.tenant,
            "its_person": person.id,
        }
        told = {"its_control": entry.control, "its_joins": entry.joins, "its_payload": encode(message)}
        row = connection.execute(self._insert, its | who | told).first()
        if row is not None and row.opened is None:
            self._open_lane(connection, entry)
        return row

    def _decide(self, connection: sa.Connection, entry: Entry, row: Row, undo_seconds: float) -> Accepted:
        """A word about a tool call that waits. It has no turn of its own: the turn that asked goes on, and answers.

        Typed where nothing waits, it is said to the agent, which may have asked a question of its own.
        """
        message = entry.message
        asked: str | None = message.decides or row.asked
        decision = decide(self._database, connection, entry, asked) if asked else Decision.NOTHING
        its_row = sa.update(inbox).where(inbox.c.id == row.id)
        if asked and decision is Decision.NOT_YOURS and not message.decides:
            nudge(connection, asked)
        if decision in (Decision.OVER, Decision.NOTHING) and not message.decides:
            connection.execute(its_row.values(control=None, joins=True))
            return self._taken(connection, replace(entry, control=None, joins=True), row, undo_seconds)
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

    def _taken(self, connection: sa.Connection, entry: Entry, row: Row, undo_seconds: float) -> Accepted:
        """What follows once it has its row."""
        if row.asked is not None:  # also for a control: it may be one that does not end the wait
            nudge(connection, row.asked)
        if entry.control is not None:
            return apply(self._database, connection, entry, row.id, undo_seconds)
        if row.waiting >= MOST_WAITING:
            self._refuse(connection, entry.message, row.id, told=row.refusals > 0)
        return Accepted(turn=row.id, fresh=True, generation=row.generation)

    def _revise(self, connection: sa.Connection, entry: Entry, revision: Revision, undo_seconds: float) -> Accepted:
        """A message of ours has changed; of one that is not ours, nothing is kept."""
        its = {"its_key": message_key(entry.message), "its_digest": None}
        known = connection.scalar(self._earlier, its)
        if known is not None:
            return Accepted(turn=known, fresh=False)
        about = revisions.earlier(connection, entry.message, revision)
        if about is None:
            return Accepted(turn=0, fresh=False)
        own = replace(entry.message, revises=None)
        entry = replace(entry, lane=about.row.lane)  # who deletes it need not be who wrote it
        row = self._put(connection, replace(entry, message=own), its)
        if row is None:
            return Accepted(turn=connection.scalar(self._earlier, its) or 0, fresh=False)
        outcome = revisions.apply(self._database, connection, entry, row.id, about)
        done = Accepted(row.id, fresh=True, generation=row.generation, dropped=outcome.dropped)
        if not outcome.over:
            done = self._taken(connection, replace(entry, message=own), row, undo_seconds)
        elif outcome.says and row.asked is not None:
            nudge(connection, row.asked)
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
            self._meeting.met(connection, message)

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


def _its(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.Text) -> sa.ColumnElement[Any]:
    """A value of the message that is accepted."""
    return sa.bindparam(f"its_{name}", type_=kind)


def _insert(database: Database) -> Any:
    """One round trip: the row, and all that acceptance must know besides."""
    return (
        database.insert(inbox)
        .values(
            key=_its("key"),
            digest=_its("digest"),
            lane=_its("lane"),
            channel=_its("channel"),
            person=_its("person"),
            generation=sa.func.coalesce(_of_lane(lanes.c.generation), 0),
            control=_its("control"),
            joins=_its("joins", sa.Boolean),
            payload=sa.bindparam("its_payload", type_=inbox.c.payload.type),
            state=sa.literal_column("'queued'"),
            accepted_at=database.now(),
        )
        .returning(inbox.c.id, inbox.c.generation, *_besides(database))
    )


def _besides(database: Database) -> Iterator[sa.Label[Any]]:
    """What is known of the lane, of what waits in it, and of the person."""
    theirs = inbox.alias("theirs")
    waiting = [
        theirs.c.lane == _its("lane"),
        theirs.c.person == _its("person"),
        sa.text("theirs.state = 'queued'"),
        theirs.c.key != _its("key"),  # SQLite counts the new row already, PostgreSQL does not
    ]
    said = sa.or_(theirs.c.control.is_(None), theirs.c.control != Control.SAY)  # and not what is to be said to them
    refused = [theirs.c.control.is_(None), theirs.c.effect.is_not(None)]
    person = [people.c.channel == _its("channel"), people.c.tenant == _its("tenant"), people.c.id == _its("person")]
    lately = people.c.seen_at > database.now() - SEEN
    yield _of_lane(lanes.c.key).label("opened")
    yield waits_in(_its("lane")).label("asked")
    yield sa.select(sa.func.count()).select_from(theirs).where(*waiting, said).scalar_subquery().label("waiting")
    yield sa.select(sa.func.count()).select_from(theirs).where(*waiting, *refused).scalar_subquery().label("refusals")
    yield sa.select(people.c.name).where(*person, lately).scalar_subquery().label("name")
    yield sa.select(people.c.address).where(*person).scalar_subquery().label("address")


def _of_lane(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    return sa.select(column).where(lanes.c.key == _its("lane")).scalar_subquery()
