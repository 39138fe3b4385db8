"""What an edit, or a deletion, does to the message that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from bot.store.codec import encode, message_digest, message_key
from bot.store.database import Database, Row
from bot.store.tables import inbox, lanes
from bot.types import Change, Ended, Entry, Interrupt, Message, MessageKind, Revision

DELETED = "deleted by its author"
"""The error of a row that was: if the message is restored, it is asked after all."""

JOINED = sa.text("state = 'joined'")


@dataclass(frozen=True, slots=True)
class Earlier:
    """The message that is revised, locked with the turn in which it stands."""

    row: Row
    head: Row
    alone: bool

    @property
    def waits(self) -> bool:
        """Nobody has begun it: its words went nowhere."""
        return self.row.state in ("queued", "joined") and self.head.state == "queued" and self.head.steps is None

    @property
    def gone(self) -> bool:
        """It was deleted before it was answered, or its answer was stopped, or is about to be."""
        stopped = self.row.interrupt == Interrupt.STOP and self.row.ended in (None, Ended.STOPPED)
        return self.row.error == DELETED or stopped

    @property
    def runs(self) -> bool:
        """It has been begun, and not ended."""
        return self.row.state in ("queued", "joined", "running") and not self.waits


@dataclass(frozen=True, slots=True)
class Outcome:
    """`over`: the revision has had its effect. Else it goes on as a message, in place of the earlier one.

    `says`: its row waits all the same, to tell the person that it came too late.
    """

    over: bool
    says: bool = False
    interrupted: tuple[int, ...] = ()
    dropped: int = 0


def earlier(connection: sa.Connection, message: Message, revision: Revision) -> Earlier | None:
    """What the revision is about; None if that is not ours, or not theirs to change."""
    its = inbox.c.key == _key(message, revision)
    found = connection.execute(sa.select(inbox.c.id, inbox.c.joined_to).where(its)).first()
    if found is None:
        return None
    # the turn before what joined it, as everyone locks them
    both = sa.select(inbox).where(inbox.c.id.in_([found.id, found.joined_to or found.id])).order_by(inbox.c.id)
    rows = {row.id: row for row in connection.execute(both.with_for_update())}
    row = rows[found.id]
    if row.control or row.effect or (revision.change is not Change.DELETED and row.person != message.person.id):
        return None
    with_it = connection.execute(sa.select(inbox.c.id).where(inbox.c.joined_to == row.id, JOINED).limit(1)).first()
    head = rows.get(row.joined_to or row.id, row)
    return Earlier(row, head, alone=head is row and with_it is None)


def apply(database: Database, connection: sa.Connection, entry: Entry, turn: int, about: Earlier) -> Outcome:
    """Do what the revision says; `turn` is its own row, `entry.message` still says what it revises."""
    match entry.message.revises:
        case Revision(change=Change.DELETED):
            return _deleted(database, connection, turn, about)
        case Revision(change=Change.RESTORED) as revision:
            return (
                _instead(connection, entry, revision, turn, about)
                if about.gone
                else _no_more(database, connection, turn)
            )
        case Revision() as revision:
            return _edited(database, connection, entry, revision, turn, about)
        case None:
            raise AssertionError("it revises nothing")


def _deleted(database: Database, connection: sa.Connection, turn: int, about: Earlier) -> Outcome:
    if about.waits:
        _drop(database, connection, about)
        _no_more(database, connection, turn)
        return Outcome(over=True, dropped=1)
    interrupted = _stop(database, connection, about) if about.runs else ()
    if interrupted:
        effect = {"dropped": 0, "interrupted": list(interrupted)}
        connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(effect=effect))
        return Outcome(over=True, interrupted=interrupted)
    if about.row.state == "done" and about.row.payload is not None:  # kept for "retry"
        _end(database, connection, [about.row.id], error=DELETED)
    return _no_more(database, connection, turn)


def _edited(
    database: Database, connection: sa.Connection, entry: Entry, revision: Revision, turn: int, about: Earlier
) -> Outcome:
    said, row = entry.message, about.row
    digest, words = message_digest(said), row.payload and row.payload["text"]
    if (digest is not None and digest == row.digest) or words == said.text != "":
        return _no_more(database, connection, turn)  # its looks have changed, or a preview was added
    if about.waits and entry.joins and row.joins:
        # under the earlier message's id, which its answer is a reply to
        now = encode(replace(said, id=revision.of, revises=None))
        connection.execute(sa.update(inbox).where(inbox.c.id == row.id).values(payload=now))
        return _no_more(database, connection, turn)
    if about.waits:  # it is a command now, or no longer one
        _drop(database, connection, about)
        return _instead(connection, entry, revision, turn, about)
    if entry.redo:
        interrupted = _stop(database, connection, about) if about.runs else ()
        return replace(_instead(connection, entry, revision, turn, about), interrupted=interrupted)
    told = encode(replace(said, kind=MessageKind.EDITED, text="", files=(), attachments=(), revises=None))
    connection.execute(
        sa.update(inbox).where(inbox.c.id == turn).values(payload=told, joins=False, control=None),
    )
    return Outcome(over=True, says=True)


def _instead(connection: sa.Connection, entry: Entry, revision: Revision, turn: int, about: Earlier) -> Outcome:
    """The earlier message's id means this row from now on, and this row's the earlier one: each is known by both."""
    mine, its = message_key(entry.message), _key(entry.message, revision)
    for row, key in ((about.row.id, f"{mine}/{its}"), (turn, its), (about.row.id, mine)):
        connection.execute(sa.update(inbox).where(inbox.c.id == row).values(key=key))
    return Outcome(over=False)


def _stop(database: Database, connection: sa.Connection, about: Earlier) -> tuple[int, ...]:
    """As "stop" does, if nothing but this message is being answered."""
    if not about.alone or about.row.interrupt or not (about.row.joins or "run" in (about.row.steps or {})):
        return ()
    turn = about.row.id
    connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(interrupt=Interrupt.STOP, not_before=None))
    connection.execute(sa.update(lanes).where(lanes.c.key == about.row.lane).values(withdrawn_at=database.now()))
    return (turn,)


def _drop(database: Database, connection: sa.Connection, about: Earlier) -> None:
    """Let go of a message that waits; what joined it waits by itself again."""
    apart = sa.update(inbox).where(inbox.c.joined_to == about.row.id, JOINED)
    connection.execute(apart.values(state=sa.literal_column("'queued'"), joined_to=None))
    _end(database, connection, [about.row.id], error=DELETED)


def _no_more(database: Database, connection: sa.Connection, turn: int) -> Outcome:
    """The revision's own row says nothing to anyone."""
    _end(database, connection, [turn])
    return Outcome(over=True)


def _end(database: Database, connection: sa.Connection, turns: Sequence[int], error: str | None = None) -> None:
    ended: dict[str, Any] = {
        "state": sa.literal_column("'done'"),
        "ended": Ended.DROPPED,
        "finished_at": database.now(),
    }
    connection.execute(sa.update(inbox).where(inbox.c.id.in_(turns)).values(**ended, payload=None, error=error))


def _key(message: Message, revision: Revision) -> str:
    return message_key(replace(message, id=revision.of))
