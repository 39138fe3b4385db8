"""`key=value` on a command line as the arguments that a tool's schema asks for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import cast

from bot.cli.run import Unusable
from bot.cli.schemas import resolved
from bot.types import Json, JsonObject, ToolSpec

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_WANTED = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": """a JSON object, such as '{"name": "Ada"}'""",
    "array": """a JSON list, such as '["one", "two"]'""",
    "null": "null",
}
_MOST = 100


def arguments_from(pairs: Sequence[str], spec: ToolSpec) -> JsonObject:
    """The arguments of a call.

    Raises:
        Unusable: a pair is none, names what there is not, or has a value that cannot be meant; one is missing.
    """
    properties: Json = spec.parameters.get("properties")
    known = cast("JsonObject", properties) if isinstance(properties, dict) else {}
    given: JsonObject = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Unusable(f"{pair} is no argument: write {_usage(spec, known)}")
        if name not in known and spec.parameters.get("additionalProperties") in (None, False):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Is {near[0]} meant?" if near else ""
            raise Unusable(f"{spec.name} has no argument {name}.{hint} Write {_usage(spec, known)}")
        if name in given:
            raise Unusable(f"{name} is given twice.")
        given[name] = _value(name, text, known.get(name, {}), spec.parameters)
    required = cast("list[Json]", spec.parameters.get("required") or [])
    missing = [str(name) for name in required if name not in given]
    if missing:
        raise Unusable(f"{spec.name} lacks {', '.join(missing)}. Write {_usage(spec, known)}")
    return given


def _usage(spec: ToolSpec, known: JsonObject) -> str:
    required = cast("list[Json]", spec.parameters.get("required") or [])
    words = [f"{name}=…" if name in required else f"[{name}=…]" for name in known]
    return " ".join(["tools call", spec.name, *words])


def _value(name: str, text: str, schema: Json, root: JsonObject) -> Json:
    kinds, choices = _asked(schema, root)
    if text in choices or kinds in ({"string"}, {"string", "null"}):
        return text
    kind, value = _read(text)
    if kind in kinds or (kind == "integer" and "number" in kinds) or (kind and not kinds):
        return value
    if "boolean" in kinds and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    if "string" in kinds or not kinds:
        return text
    wanted = " or ".join(_WANTED[one] for one in _WANTED if one in kinds and one != "null")
    raise Unusable(f"{name} wants {wanted or 'null'}, and {text!r} is none.")


def _read(text: str) -> tuple[str, Json]:
    """The text as JSON, and its type; no type where it is none."""
    try:
        value: Json = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return "", None
    match value:
        case None:
            return "null", None
        case bool():
            return "boolean", value
        case int():
            return "integer", value
        case float():
            return "number", value
        case str():
            return "string", value
        case list():
            return "array", cast("list[Json]", value)
        case _:
            return "object", value


def _no_number(name: str) -> float:
    raise ValueError(name)


def _asked(schema: Json, root: JsonObject) -> tuple[set[str], list[Json]]:
    """The types that the value may have, and the values where only some may be."""
    kinds: set[str] = set()
    choices: list[Json] = []
    for face in _faces(schema, root):
        kind: Json = face.get("type")
        kinds.update(cast("list[str]", kind) if isinstance(kind, list) else [kind] if isinstance(kind, str) else [])
        enum: Json = face.get("enum")
        choices += cast("list[Json]", enum) if isinstance(enum, list) else []
        choices += [face["const"]] if "const" in face else []
    return kinds, choices


def _faces(schema: Json, root: JsonObject) -> Iterator[JsonObject]:
    left, seen = [schema], 0
    while left and seen < _MOST:
        face = left.pop(0)
        seen += 1
        if not isinstance(face, dict):
            continue
        face = cast("JsonObject", face)
        yield face
        left.append(resolved(face.get("$ref"), root))
        for key in ("anyOf", "oneOf", "allOf"):
            several: Json = face.get(key)
            left += cast("list[Json]", several) if isinstance(several, list) else []
