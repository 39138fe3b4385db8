"""Records in memory, as `Records` promises them, and callers who have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters import Caller, Earlier, Person, Record
from bot.types import Json


@dataclass(slots=True)
class Memory:
    """The records of one organisation. `between`: what somebody else does just before a value is put."""

    kept: dict[tuple[str, str], Record] = field(default_factory=dict)
    clock: float = 0.0

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        there = self.kept.get((collection, key))
        if (new and there is not None) or (was is not None and (there is None or there.value != was)):
            return False
        self.clock += 1
        plain = json.dumps(value, allow_nan=False)
        assert len(plain) <= 64 * 1024
        self.kept[collection, key] = Record(key, json.loads(plain), self.clock)
        return True

    async def get(self, collection: str, key: str) -> Json:
        found = self.kept.get((collection, key))
        return json.loads(json.dumps(found.value)) if found else None

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        assert 1 <= most <= 1000
        found = [one for (where, key), one in self.kept.items() if where == collection and key.startswith(prefix)]
        found.sort(key=lambda one: (-one.at if newest else 0, one.key))
        return [one for one in found if one.key > after][:most]

    async def delete(self, collection: str, key: str) -> bool:
        return self.kept.pop((collection, key), None) is not None


def caller(
    name: str,
    records: Memory | None = None,
    *roles: str,
    channel: str = "msteams",
    earlier: Sequence[Earlier] = (),
    time_zone: str = "",
) -> Caller:
    """A person who asks."""

    async def told(most: int) -> Sequence[Earlier]:
        return earlier[:most]

    person = Person(name.lower(), name, time_zone=time_zone)
    kept = records or Memory()
    return Caller(
        person, "t", channel, "7F3K-2Q", f"{name}/1", roles=frozenset(roles), records=kept, own=Memory(), earlier=told
    )
