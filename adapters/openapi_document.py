"""An OpenAPI document: read from JSON or YAML, its references followed, its operations listed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

import yaml

from bot.errors import ThreadkeeperError
from bot.types import Json, JsonObject

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_MOST_NESTED = 200
_MOST_REFERENCES = 32
_VERSION = re.compile(r"3\.[0-2](\.\d+)?([-+].*)?")


class BadDocument(ThreadkeeperError):
    """The document, or a part of it, cannot be used, with why."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as the document has it."""

    method: str
    path: str
    id: str
    tags: tuple[str, ...]
    raw: JsonObject = field(repr=False)  # what aliases share would be printed without end
    shared: JsonObject = field(repr=False)
    """The path's own entry, whose parameters go for all of its operations."""

    @property
    def address(self) -> str:
        """The form in which one without an id is named."""
        return f"{self.method} {self.path}"


class Document:
    """One document, and where its references lead."""

    def __init__(self, root: JsonObject) -> None:
        """Take the document.

        Raises:
            BadDocument: it is no OpenAPI 3.
        """
        version = root.get("openapi")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            old = "swagger" in root
            raise BadDocument("it is Swagger 2.0: convert it to OpenAPI 3" if old else "it is no OpenAPI 3.0 or 3.1")
        self._root = root
        self.title = text(part(root, "info").get("title")) or "the service"
        self.operations = tuple(self._found())
        if not self.operations:
            raise BadDocument("it has no operations")

    def _found(self) -> Iterator[Operation]:
        for path, value in part(self._root, "paths").items():
            try:
                shared = self.followed(value)
            except BadDocument:  # a path that stands in another file
                continue
            for method in METHODS:
                raw = shared.get(method)
                if isinstance(raw, dict) and path.startswith("/"):
                    raw = cast("JsonObject", raw)
                    tags = tuple(tag for tag in listed(raw.get("tags")) if isinstance(tag, str))
                    yield Operation(method.upper(), path, text(raw.get("operationId")), tags, raw, shared)

    def servers(self) -> list[str]:
        """The addresses that the document names. They are never called: which one is, its toml says."""
        found = [text(part(server).get("url")) for server in listed(self._root.get("servers"))]
        return [url for url in found if url]

    def followed(self, value: Json) -> JsonObject:
        """The object, or the one that its `$ref` leads to; what stands beside the `$ref` goes before (as in 3.1).

        Raises:
            BadDocument: the reference leads nowhere, to another file, or in a circle.
        """
        found = part(value)
        beside: JsonObject = {}
        for _ in range(_MOST_REFERENCES):
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return {**found, **beside}
            beside = {**{k: v for k, v in found.items() if k != "$ref"}, **beside}
            found = part(self.at(reference))
        raise BadDocument("a reference leads in a circle")

    def at(self, reference: str) -> Json:
        """What stands where a reference points (RFC 6901).

        Raises:
            BadDocument: nothing stands there, or it is another file.
        """
        if not reference.startswith("#"):
            raise BadDocument("it refers to another file; bundle them into one")
        found: Json = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = cast("JsonObject", found)[key]
            elif (
                isinstance(found, list)
                and key.isascii()
                and key.isdigit()
                and int(key) < len(cast("list[Json]", found))
            ):
                found = cast("list[Json]", found)[int(key)]
            else:
                raise BadDocument(f"the reference {reference[:100]} leads nowhere")
        return found


def read_document(data: bytes, *, is_json: bool) -> Document:
    """Read a document.

    Raises:
        BadDocument: it is no JSON or YAML, or no OpenAPI 3.
    """
    try:
        found = json.loads(data, parse_constant=_refused) if is_json else _from_yaml(data)
    except yaml.MarkedYAMLError as error:
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadDocument(f"it is no YAML{line}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadDocument(f"it is no {'JSON' if is_json else 'YAML'}{line}") from None
    if not isinstance(found, dict):
        raise BadDocument("it is no OpenAPI 3.0 or 3.1")
    return Document(cast("JsonObject", found))


def part(value: Json, *keys: str) -> JsonObject:
    """The object below these keys; an empty one where there is none, as documents are by hand and often wrong."""
    for key in keys:
        value = cast("JsonObject", value).get(key) if isinstance(value, dict) else None
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def listed(value: Json) -> list[Json]:
    """The list; an empty one where it is none."""
    return cast("list[Json]", value) if isinstance(value, list) else []


def text(value: Json) -> str:
    """The text without surplus space; empty where it is none."""
    return value.strip() if isinstance(value, str) else ""


def _refused(name: str) -> float:
    raise ValueError(name)


# -- YAML as JSON: OpenAPI asks for the tags of YAML 1.2's JSON schema, PyYAML reads those of 1.1 ---------------
# https://spec.openapis.org/oas/v3.1.1.html#format

# libyaml is ten times as fast, and missing where PyYAML was built without it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """`on`, `no` and dates stay text, which in 1.1 are truth values and times."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own form


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _int(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node))  # in 1.1, 010 is eight


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


def _from_yaml(data: bytes) -> Json:
    return _as_json(yaml.load(data, _Loader), {}, 0)  # noqa: S506 - it is a safe loader


def _as_json(value: object, seen: dict[int, Json], depth: int) -> Json:
    """The value with texts for keys (`200:` is a number). What an alias shares stays shared, however often."""
    if depth > _MOST_NESTED:
        raise ValueError("too deep")
    if isinstance(value, (dict, list)):
        shared = id(cast("object", value))
        if shared not in seen:
            if isinstance(value, dict):
                pairs = cast("Mapping[object, object]", value).items()
                seen[shared] = {_key(key): _as_json(one, seen, depth + 1) for key, one in pairs}
            else:
                seen[shared] = [_as_json(one, seen, depth + 1) for one in cast("list[object]", value)]
        return seen[shared]
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("no JSON")


def _key(key: object) -> str:
    return json.dumps(key) if isinstance(key, (bool, int, float)) or key is None else str(key)
