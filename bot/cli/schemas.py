"""What the agent services refuse in a tool: its name, its description, and what they do not know of JSON schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from bot.types import Json, JsonObject, ToolSpec

MOST_TOOLS = 128
"""https://learn.microsoft.com/azure/ai-foundry/agents/quotas-limits"""
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
DESCRIPTION = 1024
"""Characters of a function's description, in Azure OpenAI."""
LARGE = 32 * 1024
"""Bytes of one schema. It goes along with every question, so that it costs before it is refused."""

STRICT_PROPERTIES, STRICT_DEPTH = 100, 5
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/structured-outputs, as are the keywords below."""
NOT_STRICT = frozenset(
    {
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "default"),
        *("minLength", "maxLength", "pattern", "format", "minimum", "maximum", "multipleOf"),
        *("exclusiveMinimum", "exclusiveMaximum", "patternProperties", "propertyNames", "minProperties"),
        *("maxProperties", "unevaluatedProperties", "unevaluatedItems", "prefixItems", "contains", "minContains"),
        *("maxContains", "minItems", "maxItems", "uniqueItems"),
    }
)
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_ONE = ("items", "not", "if", "then", "else", "contains", "propertyNames", "additionalProperties", "additionalItems")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def refused(spec: ToolSpec) -> list[str]:
    """What a service refuses of the tool as it is sent, each in a line with its cure."""
    problems: list[str] = []
    if not NAME.fullmatch(spec.name):
        problems.append("its name must be 1 to 64 letters, digits, _ or -")
    if not spec.description.strip():
        problems.append("it has no description: the agent would not know what it is for")
    elif len(spec.description) > DESCRIPTION:
        problems.append(f"its description has {len(spec.description)} characters; services take {DESCRIPTION}")
    problems += _at_the_top(spec.parameters)
    for part in _parts(spec.parameters):
        problems += _wrong(part)
    return list(dict.fromkeys(problems))


def not_strict(spec: ToolSpec) -> list[str]:
    """What strict mode refuses of the schema beside that."""
    parts = list(_parts(spec.parameters))
    problems: list[str] = []
    for part in parts:
        problems += [f"{part.where}: {name} is not known in strict mode" for name in part.schema if name in NOT_STRICT]
        properties = part.mapping("properties")
        if part.schema.get("type") == "object" or properties:
            if part.schema.get("additionalProperties") is not False:
                problems.append(f"{part.where}: additionalProperties must be false in strict mode")
            required = part.schema.get("required")
            left = [name for name in properties if not isinstance(required, list) or name not in required]
            if left:
                problems.append(f"{part.where}: in strict mode every field is required, and {_few(left)} is not")
    count = sum(len(part.mapping("properties")) for part in parts)
    if count > STRICT_PROPERTIES:
        problems.append(f"the schema has {count} fields; strict mode takes {STRICT_PROPERTIES}")
    deepest = max((part.depth for part in parts), default=0)
    if deepest > STRICT_DEPTH:
        problems.append(f"the schema is {deepest} levels deep; strict mode takes {STRICT_DEPTH}")
    return list(dict.fromkeys(problems))


def undescribed(spec: ToolSpec) -> list[str]:
    """The arguments of which the agent is told nothing but the name."""
    properties = _mapping(spec.parameters.get("properties"))
    root = spec.parameters
    return [name for name, schema in properties.items() if not _described(_mapping(schema), root)]


def _described(schema: JsonObject, root: JsonObject) -> bool:
    if any(key in schema for key in ("description", "enum", "const")):
        return True
    target = resolved(schema.get("$ref"), root)
    return target is not None and target is not schema and any(key in target for key in ("description", "enum"))


def resolved(reference: Json, root: JsonObject) -> JsonObject | None:
    """What a reference within the schema leads to; None where it leads nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = _mapping(found).get(part.replace("~1", "/").replace("~0", "~"))
    return cast("JsonObject", found) if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema within the schema. `depth` counts the objects and lists that it lies in, itself included."""

    where: str
    schema: JsonObject
    depth: int
    root: JsonObject = field(repr=False)

    def mapping(self, name: str) -> JsonObject:
        return _mapping(self.schema.get(name))

    def below(self) -> Iterator[tuple[str, Json, int]]:
        """Where each next schema stands, the schema, and whether it lies a level deeper."""
        for name in _NAMED:
            for key, schema in self.mapping(name).items():
                deeper = name in ("properties", "patternProperties")
                yield (f"{self.where}.{key}" if deeper else f"{self.where} ({name} {key})"), schema, deeper
        for name in _ONE:
            yield f"{self.where}.{name}", self.schema.get(name), name in ("items", "additionalProperties")
        for name in _SEVERAL:
            several = self.schema.get(name)
            for number, schema in enumerate(cast("list[Json]", several) if isinstance(several, list) else []):
                yield f"{self.where}.{name}[{number}]", schema, False


def _parts(root: JsonObject) -> Iterator[_Part]:
    """Every schema within the schema, once. What a reference leads to stands where it is defined."""
    left = [_Part("parameters", root, 1, root)]
    seen: set[int] = set()
    while left:
        part = left.pop(0)
        if id(part.schema) in seen:
            continue
        seen.add(id(part.schema))
        yield part
        for where, schema, deeper in part.below():
            if isinstance(schema, dict):
                depth = part.depth + (deeper and _nests(cast("JsonObject", schema)))
                left.append(_Part(where, cast("JsonObject", schema), depth, root))


def _nests(schema: JsonObject) -> bool:
    return schema.get("type") in ("object", "array") or "properties" in schema or "items" in schema


def _at_the_top(schema: JsonObject) -> list[str]:
    problems: list[str] = []
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        problems.append("parameters must be a schema of type object, with its properties")
    problems += [
        f"parameters: {name} may not stand at the top of a schema" for name in _NOT_AT_THE_TOP if name in schema
    ]
    try:
        size = len(json.dumps(schema).encode())
    except (ValueError, TypeError, RecursionError):
        return [*problems, "parameters have no JSON form"]
    if size > LARGE:
        problems.append(f"parameters have {size} bytes of JSON; {LARGE} are a lot for one tool")
    return problems


def _wrong(part: _Part) -> Iterator[str]:
    """What no service takes of one schema."""
    schema, where = part.schema, part.where
    kinds = schema.get("type")
    named = cast("list[Json]", kinds) if isinstance(kinds, list) else [kinds] if kinds is not None else []
    for kind in named:
        if not isinstance(kind, str) or kind not in _TYPES:
            yield f"{where}: {str(kind)[:40]!r} is no type of JSON schema"
    if "array" in named and "items" not in schema and "prefixItems" not in schema:
        yield f"{where}: a list must say what it holds (items)"
    enum = schema.get("enum")
    if "enum" in schema and not (isinstance(enum, list) and enum):
        yield f"{where}: enum must be a list with something in it"
    if "$ref" in schema and resolved(schema["$ref"], part.root) is None:
        yield f"{where}: the reference {str(schema['$ref'])[:60]!r} leads nowhere within the schema"
    required = schema.get("required")
    if isinstance(required, list) and "properties" in schema:
        unknown = [str(name) for name in cast("list[Json]", required) if name not in part.mapping("properties")]
        if unknown:
            yield f"{where}: {_few(unknown)} is required, but there is no such field"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _mapping(value: Json) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}
