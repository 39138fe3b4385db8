"""What people think of answers. The newest word of a person about a delivery takes the place of an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.store.database import Database
from bot.store.tables import feedback, inbox, lanes, people
from bot.types import Feedback, JsonObject, KeptFeedback, Told

LOOKED_AT = 5_000
"""Turns of a conversation, the last first, in which a delivery is looked for."""


@dataclass(frozen=True, slots=True)
class SqlFeedback:
    """The `FeedbackStore` over a database."""

    database: Database

    async def put(self, given: Feedback, lane: str, *, below: bool) -> Told:
        """See `FeedbackStore.put`."""
        async with self.database.read() as reading:  # it may go far back, which no other write is to wait for
            about = await reading.run_sync(lambda sync: _about(sync, lane, given.delivered, below=below))

        def operation(connection: sa.Connection) -> Told:
            place = given.conversation
            key = {
                "channel": place.channel,
                "tenant": place.tenant,
                "conversation": place.id,
                "delivered": given.delivered,
                "person": given.person.id,
            }
            said_at = self.database.now() if given.said_at is None else given.said_at / 1000
            said = {"reaction": given.reaction, "text": given.text, "said_at": said_at, "at": self.database.now()}
            where: str = about.get("lane", lane)
            row = {**key, **said, **about, "lane": where}
            told = connection.execute(self.database.insert(feedback).values(**row).returning(feedback.c.id)).first()
            if told is not None:
                return Told(about.get("turn"), where, "new")
            older = [feedback.c[name] == value for name, value in key.items()]
            older.append(feedback.c.said_at <= said_at)
            older.append(sa.or_(feedback.c.reaction != given.reaction, feedback.c.text != given.text))
            changed = connection.execute(sa.update(feedback).where(*older).values(**said))
            return Told(about.get("turn"), where, "changed" if changed.rowcount else "again")

        return await self.database.write(operation)

    async def within(self, seconds: float) -> list[KeptFeedback]:
        """See `FeedbackStore.within`."""
        named = sa.and_(
            people.c.channel == feedback.c.channel,
            people.c.tenant == feedback.c.tenant,
            people.c.id == feedback.c.person,
        )
        query = (
            sa.select(feedback, sa.func.coalesce(people.c.name, "").label("name"))
            .outerjoin(people, named)
            .where(feedback.c.at >= self.database.moment() - seconds)
            .order_by(feedback.c.at.desc(), feedback.c.id.desc())
        )
        async with self.database.read() as connection:
            return [_kept(row) for row in await connection.execute(query)]


def _about(connection: sa.Connection, lane: str, delivered: str, *, below: bool) -> dict[str, Any]:
    """The turn that made this delivery, its lane, its thread and its run; nothing where none is found."""
    if not delivered:
        return {}
    within = inbox.c.lane == lane
    if below:
        here = sa.or_(lanes.c.key == lane, lanes.c.key.startswith(f"{lane}/", autoescape=True))
        within = inbox.c.lane.in_(sa.select(lanes.c.key).where(here))
    shown = sa.select(inbox.c.id, inbox.c.lane, inbox.c.steps)
    for state in ("running", "done"):  # thumbs may come before the turn's last write
        query = shown.where(within, sa.text(f"inbox.state = '{state}'")).order_by(inbox.c.id.desc()).limit(LOOKED_AT)
        for row in connection.execute(query):
            steps: JsonObject = row.steps or {}
            if delivered in (steps.get("delivered") or ()):
                run: JsonObject = steps.get("run") or {}
                return {"turn": row.id, "lane": row.lane, "thread": run.get("thread"), "run": run.get("run")}
    return {}


def _kept(row: Any) -> KeptFeedback:
    whose = (row.channel, row.tenant, row.person, row.name)
    return KeptFeedback(row.at, *whose, row.reaction, row.text, row.turn, row.thread or "", row.run or "")


def forget(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Let go of the feedback that fits any of these."""
    connection.execute(sa.delete(feedback).where(sa.or_(*conditions)))
