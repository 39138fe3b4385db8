"""What tools keep: JSON by collection and key, of an organisation or of a person in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.store.database import Database
from bot.store.tables import people, tool_records
from bot.types import MOST_LISTED, Json, Known, Record, Records, check_place, plain_value

_LAST = "\U0010ffff"
"""Behind every character: what begins with a prefix lies before the prefix with this behind it."""

_WHOSE = (tool_records.c.channel, tool_records.c.tenant, tool_records.c.person)


@dataclass(frozen=True, slots=True)
class SqlToolRecords:
    """The `RecordStore` over a database."""

    database: Database

    def of_organisation(self, tenant: str) -> Records:
        """See `RecordStore.of_organisation`."""
        return _Kept(self.database, tenant, "", "")

    def of_person(self, channel: str, tenant: str, person: str) -> Records:
        """See `RecordStore.of_person`."""
        return _Kept(self.database, tenant, channel, person)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The `Records` of one owner."""

    database: Database
    tenant: str
    channel: str
    person: str

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """See `Records.put`."""
        check_place(collection, key)
        plain = plain_value(value)
        row = {**self._owner(), "collection": collection, "key": key, "value": plain, "at": self.database.now()}

        def operation(connection: sa.Connection) -> bool:
            here = self._here(collection, key)
            if was is None:
                put = connection.execute(self.database.insert(tool_records).values(**row)).rowcount > 0
                if put or new:
                    return put
            elif connection.scalar(sa.select(tool_records.c.value).where(*here).with_for_update()) != was:
                return False
            changed = sa.update(tool_records).where(*here).values(value=plain, at=row["at"])
            return connection.execute(changed).rowcount > 0

        return await self.database.write(operation)

    async def get(self, collection: str, key: str) -> Json:
        """See `Records.get`."""
        check_place(collection, key)
        async with self.database.read() as connection:
            return await connection.scalar(sa.select(tool_records.c.value).where(*self._here(collection, key)))

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """See `Records.list`."""
        check_place(collection, prefix or "-")
        if not 1 <= most <= MOST_LISTED:
            raise ValueError(f"most={most} must be 1 to {MOST_LISTED}")
        # by the bytes, as SQLite compares; the order of a language differs from one database to the next
        key: Any = sa.collate(tool_records.c.key, "C") if self.database.postgresql else tool_records.c.key
        wanted = [*self._owned(), tool_records.c.collection == collection]
        if prefix:
            wanted += [key >= prefix, key < prefix + _LAST]
        if after:
            wanted.append(key > after)
        order = (tool_records.c.at.desc(), key) if newest else (key,)
        query = sa.select(tool_records).where(*wanted).order_by(*order).limit(most)
        async with self.database.read() as connection:
            return [Record(row.key, row.value, row.at) for row in await connection.execute(query)]

    async def delete(self, collection: str, key: str) -> bool:
        """See `Records.delete`."""
        check_place(collection, key)
        gone = sa.delete(tool_records).where(*self._here(collection, key))
        return await self.database.write(lambda connection: connection.execute(gone).rowcount > 0)

    def _owner(self) -> dict[str, str]:
        return {"tenant": self.tenant, "channel": self.channel, "person": self.person}

    def _owned(self) -> list[sa.ColumnElement[bool]]:
        return [tool_records.c[name] == value for name, value in self._owner().items()]

    def _here(self, collection: str, key: str) -> list[sa.ColumnElement[bool]]:
        return [*self._owned(), tool_records.c.collection == collection, tool_records.c.key == key]


def forget_person(connection: sa.Connection, person: Known) -> None:
    """Let go of a person's own records; the organisation's stay."""
    theirs = zip(_WHOSE, (person.channel, person.tenant, person.id), strict=True)
    connection.execute(sa.delete(tool_records).where(*(column == value for column, value in theirs)))


def expire(connection: sa.Connection, seen_before: sa.ColumnElement[float]) -> None:
    """Let go of the own records of people who are about to be let go of."""
    old = sa.select(people.c.channel, people.c.tenant, people.c.id).where(people.c.seen_at < seen_before)
    connection.execute(sa.delete(tool_records).where(sa.tuple_(*_WHOSE).in_(old)))
