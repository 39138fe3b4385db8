"""What an agent sends, held against a schema. What is plainly meant is taken: "5" for a number, 5 for a text."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from typing import cast

from adapters.openapi_document import listed, part
from bot.types import Json, JsonObject

_SHOWN = 60
_MOST_NESTED = 64
_MOST_CHOICES = 12


class Misfit(Exception):
    """A value that does not fit; the words name the place and what was expected there."""


def conform(schema: JsonObject, value: Json, where: str) -> Json:
    """The value as the service expects it. Patterns and formats are the service's to judge, as it knows its dialect.

    Raises:
        Misfit: naming the first place that does not fit.
    """
    return _conform(schema, value, where, True, 0)


def _conform(schema: JsonObject, value: Json, where: str, lenient: bool, depth: int) -> Json:
    if depth > _MOST_NESTED:
        raise Misfit(f"{where}: it is nested too deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit(f"{where}: it is too large a number")
    kinds = listed(schema.get("type")) or ([schema["type"]] if "type" in schema else [])
    if kinds:
        value = _typed([str(kind) for kind in kinds], value, where, lenient)
    if "enum" in schema and not any(_same(one, value) for one in listed(schema["enum"])):
        choices = listed(schema["enum"])
        shown = ", ".join(json.dumps(one, ensure_ascii=False) for one in choices[:_MOST_CHOICES])
        more = f" and {len(choices) - _MOST_CHOICES} more" if len(choices) > _MOST_CHOICES else ""
        raise Misfit(f"{where}: it must be one of {shown}{more}")
    if "const" in schema and not _same(schema["const"], value):
        raise Misfit(f"{where}: it must be {json.dumps(schema['const'], ensure_ascii=False)}")
    if isinstance(value, dict):
        value = _object(schema, cast("JsonObject", value), where, lenient, depth)
    elif isinstance(value, list):
        items = part(schema.get("items"))
        value = [
            _conform(items, one, f"{where}[{number}]", lenient, depth + 1)
            for number, one in enumerate(cast("list[Json]", value))
        ]
    _measured(schema, value, where)
    return _either(schema, value, where, lenient, depth)


def _object(schema: JsonObject, value: JsonObject, where: str, lenient: bool, depth: int) -> JsonObject:
    properties = part(schema.get("properties"))
    missing = [str(name) for name in listed(schema.get("required")) if name not in value]
    if missing:
        raise Misfit(f"{where}.{missing[0]}: it is missing")
    more = schema.get("additionalProperties")
    made: JsonObject = {}
    for name, one in value.items():
        inner = f"{where}.{name[:_SHOWN]}"
        if name in properties:
            made[name] = _conform(part(properties[name]), one, inner, lenient, depth + 1)
        elif more is False:
            raise Misfit(f"{inner}: there is no such field; the fields are: {', '.join(properties) or 'none'}")
        else:
            made[name] = _conform(part(more), one, inner, lenient, depth + 1)
    return made


def _either(schema: JsonObject, value: Json, where: str, lenient: bool, depth: int) -> Json:
    branches = [part(one) for one in listed(schema.get("anyOf"))]
    if not branches:
        return value
    first: Misfit | None = None
    for bend in (False, True) if lenient else (False,):  # one that fits as it is goes before one that is bent
        for branch in branches:
            try:
                return _conform(branch, value, where, bend, depth + 1)
            except Misfit as misfit:
                first = first or misfit
    if len(branches) == 1 and first is not None:
        raise first
    raise Misfit(f"{where}: it fits none of its {len(branches)} forms; of the first: {first}")


def _typed(kinds: list[str], value: Json, where: str, lenient: bool) -> Json:
    if any(_is(kind, value) for kind in kinds):
        return value
    if lenient:
        for kind in kinds:
            bent = _BENT[kind](value) if kind in _BENT else None
            if bent is not None:
                return bent
    raise Misfit(f"{where}: it must be {' or '.join(_NAMES.get(kind, kind) for kind in kinds)}")


def _is(kind: str, value: Json) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return isinstance(value, _TYPES.get(kind, object))


_TYPES: dict[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}
_NAMES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def _whole(value: Json) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) < 20 and value.lstrip("+-").isdecimal() and value.isascii():
        try:
            return int(value)
        except ValueError:
            return None
    return None


def _number(value: Json) -> float | None:
    if not isinstance(value, str) or len(value) > 30:
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _text(value: Json) -> str | None:
    return json.dumps(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


_BENT: dict[str, Callable[[Json], Json]] = {
    "integer": _whole,
    "number": _number,
    "string": _text,
    "boolean": lambda value: {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None,
}


def _same(one: Json, other: Json) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


_LIMITS: tuple[tuple[str, Callable[[float, float], bool], str], ...] = (
    ("minimum", operator.lt, "at least"),
    ("maximum", operator.gt, "at most"),
    ("exclusiveMinimum", operator.le, "above"),
    ("exclusiveMaximum", operator.ge, "below"),
)


def _measured(schema: JsonObject, value: Json, where: str) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for key, is_wrong, words in _LIMITS:
            limit = schema.get(key)
            if isinstance(limit, (int, float)) and not isinstance(limit, bool) and is_wrong(value, limit):
                raise Misfit(f"{where}: it must be {words} {limit}")
    elif isinstance(value, (str, list)):
        size = len(cast("str | list[Json]", value))
        unit, low, high = ("characters", "minLength", "maxLength")
        if isinstance(value, list):
            unit, low, high = ("entries", "minItems", "maxItems")
        if isinstance(least := schema.get(low), int) and size < least:
            raise Misfit(f"{where}: it must have at least {least} {unit}")
        if isinstance(most := schema.get(high), int) and size > most:
            raise Misfit(f"{where}: it must have at most {most} {unit}")
