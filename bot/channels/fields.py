"""Fields of JSON that others wrote: the value of the expected type, or its empty one."""

from __future__ import annotations

from typing import cast

from bot.types import Json, JsonObject, storable


def string_at(holder: JsonObject, key: str) -> str:
    """The text at a key; empty where there is none."""
    value: Json = holder.get(key)
    return storable(value) if isinstance(value, str) else ""


def object_at(holder: JsonObject, key: str) -> JsonObject:
    """The object at a key; empty where there is none."""
    value: Json = holder.get(key)
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def list_at(holder: JsonObject, key: str) -> list[Json]:
    """The list at a key; empty where there is none."""
    value: Json = holder.get(key)
    return cast("list[Json]", value) if isinstance(value, list) else []


def objects_at(holder: JsonObject, key: str) -> list[JsonObject]:
    """The objects of a list at a key, less what is none."""
    return [cast("JsonObject", item) for item in list_at(holder, key) if isinstance(item, dict)]
