"""Files that people were offered, until they answer or a day has gone by. Where each lies, never its content."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from bot.store.database import Database
from bot.store.tables import file_offers
from bot.types import FileOffer, RemoteFile


class SqlFileOffers:
    """The `FileOffers` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def offer(self, offer: FileOffer, seconds: float) -> None:
        """See `FileOffers.offer`."""
        row = asdict(offer) | {"expires_at": self._database.now() + seconds}
        await self._database.write(lambda connection: connection.execute(sa.insert(file_offers).values(**row)))

    async def take(self, offer: str, seconds: float) -> FileOffer | None:
        """See `FileOffers.take`."""
        now = self._database.now()
        free = sa.or_(file_offers.c.taken_until.is_(None), file_offers.c.taken_until < now)
        taken = (
            sa.update(file_offers)
            .where(file_offers.c.id == offer, file_offers.c.expires_at > now, free)
            .values(taken_until=now + seconds)
            .returning(file_offers)
        )

        def operation(connection: sa.Connection) -> FileOffer | None:
            row = connection.execute(taken).first()
            if row is None:
                return None
            return FileOffer(row.id, row.channel, row.tenant, row.person, row.conversation, RemoteFile(**row.file))

        return await self._database.write(operation)

    async def give_back(self, offer: str) -> None:
        """See `FileOffers.give_back`."""
        free = sa.update(file_offers).where(file_offers.c.id == offer).values(taken_until=None)
        await self._database.write(lambda connection: connection.execute(free))

    async def close(self, offer: str) -> None:
        """See `FileOffers.close`."""
        gone = sa.delete(file_offers).where(file_offers.c.id == offer)
        await self._database.write(lambda connection: connection.execute(gone))
