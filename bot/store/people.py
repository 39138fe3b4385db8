"""Who has spoken, what admins did, and starting lanes over from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot.store.database import Database, Row
from bot.store.tables import audit, lanes, people
from bot.types import Act, ConversationKind, JsonObject, Known, Mails, Message, storable

SEEN = 3600.0
"""Seconds to which it is known when a person last spoke: not every message is a write."""


class Meeting:
    """Keeps a person's row up to date with what they say: made, or changed, by one statement that is built once."""

    def __init__(self, database: Database) -> None:
        self._statements = {
            (named, personal): _meeting(database, named=named, personal=personal)
            for named in (True, False)
            for personal in (True, False)
        }

    def met(self, connection: sa.Connection, message: Message) -> None:
        """Write it. One without a name leaves the name that is known; only a personal chat says where they are."""
        place, person = message.conversation, message.person
        name, personal = storable(person.name), place.kind is ConversationKind.PERSONAL
        whose = {"its_channel": place.channel, "its_tenant": place.tenant, "its_person": person.id}
        told = {"its_name": name, "its_folded": name.casefold()}
        where = {"its_address": lasting(message)} if personal else {}
        connection.execute(self._statements[bool(name), personal], whose | told | where)


def _meeting(database: Database, *, named: bool, personal: bool) -> Any:
    values: dict[str, Any] = {
        "channel": sa.bindparam("its_channel", type_=sa.Text),
        "tenant": sa.bindparam("its_tenant", type_=sa.Text),
        "id": sa.bindparam("its_person", type_=sa.Text),
        "name": sa.bindparam("its_name", type_=sa.Text),
        "folded": sa.bindparam("its_folded", type_=sa.Text),
        "seen_at": database.now(),
    }
    if personal:
        values["address"] = sa.bindparam("its_address", type_=people.c.address.type)
    insert = database.inserting(people).values(**values)
    changed = {"seen_at": insert.excluded.seen_at}
    if personal:
        changed["address"] = insert.excluded.address
    if named:
        changed |= {"name": insert.excluded.name, "folded": insert.excluded.folded}
        # under another name the e-mail address may be another too
        changed["asked_at"] = sa.case((people.c.name == insert.excluded.name, people.c.asked_at))
    return insert.on_conflict_do_update(index_elements=[people.c.channel, people.c.tenant, people.c.id], set_=changed)


def lasting(message: Message) -> JsonObject:
    """The address less what names this one message: to it nothing is answered later."""
    return {key: value for key, value in message.address.items() if key != "activityId"}


def moved(message: Message, address: JsonObject | None) -> bool:
    """Whether the person is now spoken to elsewhere than is known."""
    return message.conversation.kind is ConversationKind.PERSONAL and lasting(message) != address


class SqlPeople:
    """The `PeopleStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, words: str) -> list[Known]:
        """See `PeopleStore.find`."""
        folded = words.strip().casefold()
        if not folded:
            return []
        by_id = sa.func.lower(people.c.id) == words.strip().lower()
        by_mail = sa.or_(people.c.mail == folded, people.c.login == folded)
        query = sa.select(people).where(sa.or_(by_id, by_mail, people.c.folded.contains(folded, autoescape=True)))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(people.c.folded, people.c.id))).all()
        wanted = set(folded.split())
        exact = [row for row in rows if row.id.lower() == words.strip().lower() or folded in (row.mail, row.login)]
        exact = exact or [row for row in rows if row.folded == folded]
        found = exact or [row for row in rows if wanted <= set(row.folded.split())]
        return [_known(row) for row in found]

    async def strangers(self, channels: Sequence[str], most: int) -> list[tuple[Known, JsonObject]]:
        """See `PeopleStore.strangers`."""
        never = sa.text("asked_at IS NULL AND address IS NOT NULL")
        query = sa.select(people).where(people.c.channel.in_(channels), never)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(people.c.seen_at.desc()).limit(most))
            return [(_known(row), row.address) for row in rows]

    async def introduce(self, person: Known, mails: Mails) -> None:
        """See `PeopleStore.introduce`."""
        whose = [people.c.channel == person.channel, people.c.tenant == person.tenant, people.c.id == person.id]
        kept = {"mail": _folded(mails.address), "login": _folded(mails.login), "asked_at": self._database.now()}
        # who was renamed or forgotten meanwhile is not who was asked about
        still = sa.update(people).where(*whose, people.c.name == person.name, people.c.address.is_not(None))
        await self._database.write(lambda connection: connection.execute(still.values(**kept)))

    async def everyone(self) -> list[Known]:
        """See `PeopleStore.everyone`."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(people).order_by(people.c.folded, people.c.id))
            return [_known(row) for row in rows]

    async def lanes(self, person: Known, *, every: bool) -> list[str]:
        """See `PeopleStore.lanes`."""
        mine = [lanes.c.channel == person.channel, lanes.c.tenant == person.tenant, lanes.c.person == person.id]
        if not every:
            mine.append(lanes.c.personal)
        async with self._database.read() as connection:
            return list((await connection.execute(sa.select(lanes.c.key).where(*mine).order_by(lanes.c.key))).scalars())

    async def count(self) -> tuple[int, int]:
        """See `PeopleStore.count`."""
        whose = sa.select(lanes.c.channel, lanes.c.tenant, lanes.c.person)
        whose = whose.where(lanes.c.thread_id.is_not(None), lanes.c.person.is_not(None)).distinct().subquery()
        async with self._database.read() as connection:
            held = await connection.scalar(sa.select(sa.func.count()).where(lanes.c.thread_id.is_not(None)))
            spoke = await connection.scalar(sa.select(sa.func.count()).select_from(whose))
        return held or 0, spoke or 0

    async def record(self, act: Act) -> Act:
        """See `PeopleStore.record`."""
        return await self._database.write(lambda connection: record(self._database, connection, act))

    async def acted(self, turn: int) -> Act | None:
        """See `PeopleStore.acted`."""
        async with self._database.read() as connection:
            return await connection.run_sync(recorded, turn)

    async def acts(self, actor: str | None, limit: int) -> list[Act]:
        """See `PeopleStore.acts`."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if actor is not None:
            query = query.where(audit.c.actor == actor)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [Act(row.actor, row.act, row.subject, row.turn, row.detail, row.at) for row in rows]


def _known(row: Row) -> Known:
    return Known(row.channel, row.tenant, row.id, row.name, row.seen_at)


def _folded(text: str) -> str | None:
    return storable(text).strip().casefold() or None


def recorded(connection: sa.Connection, turn: int | None) -> Act | None:
    """What this turn did before it was taken up again."""
    if turn is None:
        return None
    row = connection.execute(sa.select(audit).where(audit.c.turn == turn)).first()
    return None if row is None else Act(row.actor, row.act, row.subject, row.turn, row.detail, row.at)


def record(database: Database, connection: sa.Connection, act: Act) -> Act:
    """Write an audit row, once a turn; with its time."""
    inserted = connection.execute(
        database.insert(audit)
        .values(at=database.now(), actor=act.actor, act=act.act, subject=act.subject, turn=act.turn, detail=act.detail)
        .returning(audit.c.at)
    )
    at = inserted.scalar()
    if at is not None:
        return Act(act.actor, act.act, act.subject, act.turn, act.detail, at)
    earlier = recorded(connection, act.turn)
    assert earlier is not None
    return earlier
