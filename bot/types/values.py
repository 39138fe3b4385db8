"""JSON, and text as every database takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any
"""A value that survives `json.dumps` and `json.loads` unchanged."""

JsonObject = dict[str, Json]


def storable(text: str) -> str:
    """Text from outside as every database and encoder takes it: no NUL, no half of a surrogate pair."""
    whole = text.replace("\0", "")
    return whole if whole.isascii() else whole.encode("utf-8", "replace").decode("utf-8")


def without_none(values: Mapping[str, Json]) -> JsonObject:
    """The mapping less the keys that hold None."""
    return {k: v for k, v in values.items() if v is not None}
