"""What tools keep from one call to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.types.values import Json


@dataclass(frozen=True, slots=True)
class Record:
    """What a tool keeps under a key: any JSON. `at` is when it was put last, in seconds since the epoch."""

    key: str
    value: Json
    at: float


_COLLECTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")

LONGEST_KEY = 200

LARGEST_VALUE = 64 * 1024
"""Bytes of one value as JSON."""

MOST_LISTED = 1_000


class Records(Protocol):
    """What tools keep, by collection ("tickets") and key ("T-118"): JSON of at most 64 KB each.

    A collection's name has 1 to 64 letters, digits, `_`, `-` or `.`; a key has 1 to 200 characters. All methods may
    raise `ServiceUnavailable` (the database is away) and `ValueError` (a name, a key or a value that is none).
    """

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """Keep the value in the place of an earlier one; whether it was kept.

        `new`: only where there is none under this key. `was`: only where the one that is there still equals this, so
        that of two who change it at the same time one is told. None is no value: it is what is not there.
        """
        ...

    async def get(self, collection: str, key: str) -> Json:
        """The value; None where there is none."""
        ...

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """At most `most` (1 to 1,000) of a collection whose keys begin with `prefix`, in the order of their keys.

        `after`: only those whose keys come behind this one, for the next page. `newest`: the last put first instead.
        """
        ...

    async def delete(self, collection: str, key: str) -> bool:
        """Let go of it; False where there was none."""
        ...


class NoRecords:
    """The `Records` of a caller who has none: nothing is kept."""

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """See `Records.put`."""
        return False

    async def get(self, collection: str, key: str) -> Json:
        """See `Records.get`."""
        return None

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """See `Records.list`."""
        return ()

    async def delete(self, collection: str, key: str) -> bool:
        """See `Records.delete`."""
        return False


def check_place(collection: str, key: str) -> None:
    """Whether a record may lie there.

    Raises:
        ValueError: it may not, and why.
    """
    if not _COLLECTION.fullmatch(collection):
        raise ValueError("a collection's name must be 1 to 64 letters, digits, _, - or .")
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise ValueError(f"a key must be 1 to {LONGEST_KEY} characters, and all of them visible")


def plain_value(value: Json) -> Json:
    """A record's value as it will be read.

    Raises:
        ValueError: it is None, no JSON, or too large.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("a value must be JSON: text, numbers, true, false, lists and objects of them") from None
    if value is None or len(text) > LARGEST_VALUE:
        raise ValueError(f"a value must be something, and at most {LARGEST_VALUE} bytes as JSON; keep it in parts")
    return json.loads(text)
