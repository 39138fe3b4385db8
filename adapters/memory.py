"""Records in memory, for tests of tools."""

from __future__ import annotations

from collections.abc import Sequence

from bot.types import MOST_LISTED, Json, Record, check_place, plain_value


class MemoryRecords:
    """The `Records` of a test: as the bot's, in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Record] = {}
        self._puts = 0.0

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """See `Records.put`."""
        check_place(collection, key)
        plain = plain_value(value)
        there = self.kept.get((collection, key))
        if (new and there is not None) or (was is not None and (there is None or there.value != was)):
            return False
        self._puts += 1
        self.kept[collection, key] = Record(key, plain, self._puts)
        return True

    async def get(self, collection: str, key: str) -> Json:
        """See `Records.get`."""
        check_place(collection, key)
        there = self.kept.get((collection, key))
        return None if there is None else plain_value(there.value)

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """See `Records.list`."""
        check_place(collection, prefix or "-")
        if not 1 <= most <= MOST_LISTED:
            raise ValueError(f"most={most} must be 1 to {MOST_LISTED}")
        found = [
            record
            for (where, key), record in sorted(self.kept.items())
            if where == collection and key.startswith(prefix) and key > after
        ]
        return (sorted(found, key=lambda record: -record.at) if newest else found)[:most]

    async def delete(self, collection: str, key: str) -> bool:
        """See `Records.delete`."""
        check_place(collection, key)
        return self.kept.pop((collection, key), None) is not None
