"""Reading what a service sent: in its JSON everything may be missing, or be something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bot.types import JsonObject


def mapping(value: object) -> Mapping[str, Any]:
    """The value, or nothing where it is no object."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[JsonObject]:
    """The objects of a list."""
    items = cast(list[object], value) if isinstance(value, list) else []
    return [cast(JsonObject, item) for item in items if isinstance(item, dict)]


def position(value: object) -> int:
    """A place in a text; -1 where it is not told."""
    return value if isinstance(value, int) else -1
