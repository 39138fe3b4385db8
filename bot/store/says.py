"""Words to a person who has not asked: a row in their lane, like a message of theirs, with its audit row."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa

from bot.errors import NotSaid
from bot.store.codec import encode
from bot.store.database import Database, Row
from bot.store.people import record
from bot.store.tables import inbox, lanes, people
from bot.types import MOST_WAITING, Accepted, Act, Control, Conversation, JsonObject, Message, Person, Saying, storable

MOST_SAID = MOST_WAITING // 2
"""So many may wait for one person: they must not fill the line."""


class SqlSays:
    """The `SayStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, saying: Saying) -> Accepted:
        """See `SayStore.put`."""
        return await self._database.write(lambda connection: self._put(connection, saying))

    def _put(self, connection: sa.Connection, saying: Saying) -> Accepted:
        """Refused before anything is written, else the shared transaction would keep the half of it."""
        who = saying.person
        key = _fingerprint("say", saying.key)
        digest = _fingerprint("say", saying.key, who.channel, who.tenant, who.id, saying.text)
        earlier = self._earlier(connection, key, digest)
        if earlier is not None:
            return earlier
        mine = [people.c.channel == who.channel, people.c.tenant == who.tenant, people.c.id == who.id]
        address = connection.execute(sa.select(people.c.address).where(*mine)).scalar()
        if address is None:
            raise NotSaid("no_address", "They have no personal conversation with the bot that is still known.")
        waiting = sa.select(sa.func.count()).where(
            inbox.c.lane == saying.lane, inbox.c.control == Control.SAY, sa.text("state = 'queued'")
        )
        if (connection.scalar(waiting) or 0) >= MOST_SAID:
            raise NotSaid("too_many", f"{MOST_SAID} such messages wait for this person already. Try again later.")
        row = self._insert(connection, saying, key, digest, address)
        if row is None:  # it came to another replica at the same moment
            return self._earlier(connection, key, digest) or Accepted(0, fresh=False)
        detail: JsonObject = {"characters": len(saying.text)}
        record(self._database, connection, Act(saying.actor, "say", who.id, row.id, detail))
        return Accepted(row.id, fresh=True, generation=row.generation)

    def _earlier(self, connection: sa.Connection, key: str, digest: str) -> Accepted | None:
        row = connection.execute(sa.select(inbox.c.id, inbox.c.digest).where(inbox.c.key == key)).first()
        if row is not None and row.digest != digest:
            raise NotSaid("other_words", "This idempotency key was used for other words, or another person.")
        return None if row is None else Accepted(row.id, fresh=False)

    def _insert(
        self, connection: sa.Connection, saying: Saying, key: str, digest: str, address: JsonObject
    ) -> Row | None:
        who = saying.person
        lane = {"key": saying.lane, "channel": who.channel, "tenant": who.tenant, "person": who.id, "personal": True}
        connection.execute(self._database.insert(lanes).values(**lane, created_at=self._database.now()))
        place = Conversation(who.channel, who.tenant, "")
        words = Message(f"say-{digest[:32]}", place, Person(who.id, who.name), storable(saying.text), address)
        generation = sa.select(lanes.c.generation).where(lanes.c.key == saying.lane).scalar_subquery()
        return connection.execute(
            self._database.insert(inbox)
            .values(
                key=key,
                digest=digest,
                lane=saying.lane,
                channel=who.channel,
                person=who.id,
                generation=generation,
                control=Control.SAY,
                joins=False,
                payload=encode(words),
                state=sa.literal_column("'queued'"),
                accepted_at=self._database.now(),
            )
            .returning(inbox.c.id, inbox.c.generation)
        ).first()


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
