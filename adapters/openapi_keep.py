"""The part of an answer that an agent is told, where the file names it: services send ten times what anybody needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from bot.types import Json, JsonObject

Fields = dict[str, "Fields"]
"""The fields that are kept, each with those within it; none means all of it."""


def fields_of(paths: Sequence[str]) -> Fields:
    """What `user.login` and the like name. Of a path and one within it the shorter counts."""
    fields: Fields = {}
    for path in sorted(paths, key=len, reverse=True):
        *way, last = path.split(".")
        here = fields
        for step in way:
            here = here.setdefault(step, {})
        here[last] = {}
    return fields


def kept(value: Json, fields: Fields) -> Json:
    """The value with these fields alone; of a list, of each of its entries."""
    if not fields:
        return value
    if isinstance(value, list):
        return [kept(one, fields) for one in cast("list[Json]", value)]
    if isinstance(value, dict):
        return {name: kept(one, fields[name]) for name, one in cast("JsonObject", value).items() if name in fields}
    return value
