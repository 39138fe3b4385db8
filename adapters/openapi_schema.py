"""A schema of an OpenAPI document as the agent services take it: no references, no ends that meet, no surplus."""

from __future__ import annotations

import json
import math
from typing import cast

from adapters.openapi_document import Document, listed, part, text
from bot.types import Json, JsonObject

DEPTH = 8
"""Levels of objects and lists that are told; what lies deeper is any object."""
MOST_NODES = 1_500
MOST_DESCRIPTION = 300
_MOST_ENUM = 250
_MOST_DEFAULT = 200
_MOST_PATTERN = 200

_KEPT = (
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_DEEPER = "Deeper parts are not told here; it may hold what the service's own documentation says."


class Converter:
    """Converts the schemas of one operation, within one bound of size for all of them."""

    def __init__(self, document: Document, depth: int = DEPTH, nodes: int = MOST_NODES) -> None:
        self._document = document
        self._depth = depth
        self._left = nodes

    def convert(self, schema: Json, depth: int = 0, above: frozenset[str] = frozenset()) -> JsonObject:
        """The schema without references. One that holds itself is cut where it would begin again.

        Args:
            schema: As the document has it.
            depth: How many levels it lies below the argument.
            above: The references that lead here.

        Raises:
            BadDocument: a reference leads nowhere.
        """
        self._left -= 1
        raw, refs = self._merged(schema, above)
        again = bool(refs & above) or depth >= self._depth or self._left < 0
        if again and _holds_others(raw):
            return _cut(raw)
        made = _plain(raw)
        kinds = made.get("type", [])
        above |= refs
        if "properties" in raw or "object" in kinds:
            made |= self._object(raw, depth, above)
        if "array" in kinds or "items" in raw:
            made["items"] = self.convert(raw.get("items", {}), depth + 1, above)  # services refuse a list without
        branches = self._branches(raw, depth, above)
        if len(branches) == 1 and not set(branches[0]) & set(made):
            return {**branches[0], **made}
        return {**made, "anyOf": branches} if branches else made

    def merged(self, schema: Json) -> JsonObject:
        """The schema's first level as one object: its reference followed, its allOf joined."""
        return self._merged(schema, frozenset())[0]

    def _merged(self, schema: Json, above: frozenset[str], level: int = 0) -> tuple[JsonObject, frozenset[str]]:
        found = part(schema)
        refs: frozenset[str] = frozenset()
        if isinstance(reference := found.get("$ref"), str):
            refs = frozenset({reference})
            found = self._document.followed(found)
        whole = {key: value for key, value in found.items() if key != "allOf"}
        for branch in listed(found.get("allOf")):
            self._left -= 1
            inner = part(branch).get("$ref")
            if level > DEPTH or self._left < 0 or (isinstance(inner, str) and inner in refs | above):
                continue  # it would hold itself as its own part
            more, inner_refs = self._merged(branch, above | refs, level + 1)
            whole = _joined(whole, more)
            refs |= inner_refs - {inner}
        return whole, refs

    def _object(self, raw: JsonObject, depth: int, above: frozenset[str]) -> JsonObject:
        properties: JsonObject = {}
        for name, value in part(raw, "properties").items():
            if self._left < 0:
                break
            if not self.merged(value).get("readOnly"):
                properties[name] = self.convert(value, depth + 1, above)
        made: JsonObject = {"type": _with(raw, "object")}
        if properties:
            made["properties"] = properties
        required = [name for name in listed(raw.get("required")) if isinstance(name, str) and name in properties]
        if required:
            made["required"] = required
        more = raw.get("additionalProperties")
        if more is False:
            made["additionalProperties"] = False
        elif isinstance(more, dict) and more:
            made["additionalProperties"] = self.convert(cast("Json", more), depth + 1, above)
        return made

    def _branches(self, raw: JsonObject, depth: int, above: frozenset[str]) -> list[JsonObject]:
        """Alternatives. That exactly one may fit is for the service to say: not all services for agents take oneOf."""
        found = listed(raw.get("anyOf")) or listed(raw.get("oneOf"))
        told = [one for one in found if set(part(one)) - {"required", "not", "title", "description"}]
        made = [self.convert(one, depth + 1, above) for one in told]
        if raw.get("nullable") is True and made and "type" not in raw:
            made.append({"type": "null"})
        return [one for number, one in enumerate(made) if one not in made[:number]]


def _plain(raw: JsonObject) -> JsonObject:
    """What is said of the value itself."""
    made: JsonObject = {}
    if kinds := _kinds(raw):
        made["type"] = kinds[0] if len(kinds) == 1 else kinds
    if told := described(raw):
        made["description"] = told
    nullable = "null" in kinds
    enum = [one for one in listed(raw.get("enum")) if _is_json(one)]
    if 0 < len(enum) <= _MOST_ENUM:
        made["enum"] = enum if not nullable or None in enum else [*enum, None]
    if "const" in raw and _is_json(raw["const"]):
        made["const"] = raw["const"]
    for key in _KEPT:
        value = raw.get(key)
        if (
            isinstance(value, (int, float))
            and _is_json(value)
            and (key == "uniqueItems" or not isinstance(value, bool))
        ):
            made[key] = value
    for new, old in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if raw.get(new) is True and old in made:  # OpenAPI 3.0 says so of the other number
            made[new] = made.pop(old)
    if isinstance(pattern := raw.get("pattern"), str) and len(pattern) <= _MOST_PATTERN:
        made["pattern"] = pattern
    if isinstance(shape := raw.get("format"), str):
        made["format"] = shape
    default = raw.get("default")
    if default is not None and _is_json(default) and len(json.dumps(default)) <= _MOST_DEFAULT:
        made["default"] = default
    return made


def _kinds(raw: JsonObject) -> list[str]:
    """The types, `null` last where it is one; none where anything goes."""
    said = raw.get("type")
    kinds = [one for one in (listed(said) or [said]) if isinstance(one, str)]
    kinds = ["string" if one == "file" else one for one in kinds]
    if not kinds:
        kinds = ["object"] if "properties" in raw else ["array"] if "items" in raw else []
    if kinds and raw.get("nullable") is True and "null" not in kinds:
        kinds.append("null")
    return kinds


def _with(raw: JsonObject, kind: str) -> Json:
    kinds = _kinds(raw) or [kind]
    return kinds[0] if len(kinds) == 1 else kinds


def _holds_others(raw: JsonObject) -> bool:
    """Whether there are schemas in it, among which it may be itself."""
    within = any(key in raw for key in ("properties", "items", "anyOf", "oneOf"))
    return within or isinstance(raw.get("additionalProperties"), dict)


def _cut(raw: JsonObject) -> JsonObject:
    kinds = _kinds(raw)
    made: JsonObject = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    if "array" in kinds:
        made["items"] = {}
    told = described(raw)
    return {**made, "description": shortened(f"{told} {_DEEPER}".strip(), MOST_DESCRIPTION + len(_DEEPER))}


def _joined(one: JsonObject, other: JsonObject) -> JsonObject:
    """Both at once. Where they differ, what stands outside of the allOf, or first in it, is kept."""
    made = {**other, **one}
    if "properties" in one and "properties" in other:
        mine, yours = part(one, "properties"), part(other, "properties")
        both = {name: {"allOf": [mine[name], yours[name]]} for name in mine if name in yours}
        made["properties"] = {**yours, **mine, **both}
    required = [*listed(other.get("required")), *listed(one.get("required"))]
    if required:
        made["required"] = [name for number, name in enumerate(required) if name not in required[:number]]
    if "enum" in one and "enum" in other:
        made["enum"] = [value for value in listed(one["enum"]) if value in listed(other["enum"])]
    return made


def described(raw: JsonObject) -> str:
    """The description, or the title where there is none, in one short paragraph."""
    return shortened(text(raw.get("description")) or text(raw.get("title")), MOST_DESCRIPTION)


def shortened(words: str, most: int) -> str:
    """The words in one line of at most so many characters, ending at a sentence or word where one is near."""
    words = " ".join(words.split())
    if len(words) <= most:
        return words
    kept = words[: most - 1]
    sentence = max(kept.rfind(". "), kept.rfind("! "), kept.rfind("? "))
    if sentence > most // 2:
        return kept[: sentence + 1]
    border = kept.rfind(" ")
    return (kept[:border] if border > most // 2 else kept) + "…"


def _is_json(value: Json) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
