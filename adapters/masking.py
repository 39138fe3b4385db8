"""Arguments as they may be shown or kept: what the schema, a name or its form says is secret stands there as MASK.

    masked(arguments, spec.parameters)      # the same shape, secrets replaced; for a person, a log, a row
    masked_text(text)                       # of text alone, where there is no schema

Every part shows or keeps arguments through these two. They never raise, and never change what they are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import cast

from bot.types import Json, JsonObject

MASK = "••••"
"""Always so long: the length of a secret is a part of it."""

DEEPEST = 40
"""Levels of a value. What lies deeper is masked: nobody reads it, and recursion has an end."""
_MOST_FACES = 200
"""Schemas that one value is looked up in."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALONE = re.compile(r"passw(or)?d|pass(phrase|code)|pwd|secrets?|credentials?|authorization|t?otp|cv[vc]|jwt|apikey")
_LAST = frozenset({"token", "cookie", "bearer", "pin"})
"""Secret where a name ends in them: `access_token` is one, `token_count` is none."""
_KEYS = re.compile(r"(api|access|private|secret|signing|encryption|account|storage|subscription|shared|master) keys?")
_STRING = ["connection", "string"]

_FORMS = re.compile(
    r"\b(?:sk|pk|rk)[-_](?=[\w-]{0,60}\d)[\w-]{8,}|\bgh[a-z]_\w{8,}|\bgithub_pat_\w+|\bglpat-[\w-]+|\bxox[a-z]-[\w-]+"
    r"|\bAKIA[A-Z0-9]{8,}|\bAIza[\w-]{8,}|\bhf_\w{8,}|\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}"
    r"|-----BEGIN[ A-Z]*PRIVATE KEY-----[\s\S]*?(?:-----END[ A-Z]*PRIVATE KEY-----|\Z)"
)
_NAMED = re.compile(
    r"(\bbearer\s+(?=\S{0,60}\d)|\bbasic\s+(?=[a-z0-9+/]{12})|\b(?:password|passwd|pwd|passphrase|secret|api[_-]?key"
    r"|access[_-]?token|accountkey|sharedaccesskey|client[_-]?secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]{4,}",
    re.IGNORECASE,
)
_QUERY = re.compile(
    r"([?&#](?:sig|signature|token|access_token|refresh_token|id_token|code|key|api[_-]?key|secret|password|tempauth"
    r"|x-(?:amz|goog)-(?:signature|credential|security-token))=)[^&#\s\"']+",
    re.IGNORECASE,
)
_USER = re.compile(r"(://)[^/@\s\"']+@")


def masked(arguments: Mapping[str, Json], schema: JsonObject) -> JsonObject:
    """The arguments of a call, with every secret in them replaced by `MASK`.

    A value is secret where its schema says `writeOnly` or `format: password`, where its name is that of a secret
    (`client_secret`, `apiKey`, `Authorization`), and within text where a part has the form of a key, a token or a
    pre-signed address. Numbers are masked with their field; true, false and null tell nothing and stay.

    Args:
        arguments: As the agent sent them, or as a person is to be asked about them.
        schema: The tool's, of type object; one that is no schema at all only tells nothing.
    """
    return cast("JsonObject", _masked(dict(arguments), [schema], schema, 0))


def masked_text(text: str) -> str:
    """The text, with what has the form of a secret replaced by `MASK`."""
    text = _FORMS.sub(MASK, text)
    for pattern, kept in ((_QUERY, rf"\1{MASK}"), (_NAMED, rf"\1{MASK}"), (_USER, rf"\1{MASK}@")):
        text = pattern.sub(kept, text)
    return text


def secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `dbPassword`, `x-api-key`, `access_token`; not `max_tokens`."""
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    return (
        any(_ALONE.fullmatch(word) for word in words)
        or not _LAST.isdisjoint(words[-1:])
        or words[-2:] == _STRING
        or any(_KEYS.fullmatch(" ".join(pair)) for pair in pairwise(words))
    )


def _masked(value: Json, schemas: list[Json], root: JsonObject, depth: int) -> Json:
    if value is None or isinstance(value, bool):
        return value
    faces = list(_faces(schemas, root))
    if depth > DEEPEST or any(_says_secret(face) for face in faces):
        return MASK
    if isinstance(value, dict):
        return _fields(cast("JsonObject", value), faces, root, depth)
    if isinstance(value, list):
        below = [part for face in faces for part in _items(face)]
        return [_masked(item, below, root, depth + 1) for item in cast("list[Json]", value)]
    return masked_text(value) if isinstance(value, str) else value


def _fields(value: JsonObject, faces: list[JsonObject], root: JsonObject, depth: int) -> JsonObject:
    called = next((value[key] for key in ("name", "key", "header") if isinstance(value.get(key), str)), "")
    pair = secret_name(called) and "value" in value  # a header, say: {"name": "Authorization", "value": …}
    shown: JsonObject = {}
    for name, item in value.items():
        if (secret_name(name) or (pair and name == "value")) and item is not None and not isinstance(item, bool):
            shown[name] = MASK
        else:
            below = [part for face in faces for part in _property(face, name)]
            shown[name] = _masked(item, below, root, depth + 1)
    return shown


def _faces(schemas: list[Json], root: JsonObject) -> Iterator[JsonObject]:
    """Every schema that may speak of the value: these, what they refer to, and their alternatives."""
    seen: set[int] = set()
    left = list(schemas)
    while left and len(seen) < _MOST_FACES:
        face = _mapping(left.pop())
        if not face or id(face) in seen:
            continue
        seen.add(id(face))
        yield face
        left.extend(_target(face.get("$ref"), root))
        left.extend(face.get(key) for key in ("then", "else"))
        for key in ("allOf", "anyOf", "oneOf"):
            left.extend(_list(face.get(key)))
        left.extend(_mapping(face.get("dependentSchemas")).values())


def _target(reference: Json, root: JsonObject) -> list[Json]:
    """What `#/$defs/Name` stands for; nothing where it leads nowhere. References elsewhere are never fetched."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return []
    found: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            items = cast("list[Json]", found)
            found = items[int(name)] if name.isdecimal() and int(name) < len(items) else None
        else:
            found = _mapping(found).get(name)
    return [found]


def _says_secret(face: JsonObject) -> bool:
    return face.get("writeOnly") is True or face.get("format") == "password"


def _property(face: JsonObject, name: str) -> Iterator[Json]:
    properties = _mapping(face.get("properties"))
    if name in properties:
        yield properties[name]
        return
    yield from _mapping(face.get("patternProperties")).values()  # a pattern of others is not run: it may never end
    yield face.get("additionalProperties")


def _items(face: JsonObject) -> Iterator[Json]:
    """Of a list, without regard to the place: what is secret at one place is masked at all."""
    items = face.get("items")
    yield from _list(items) or [items]
    yield from _list(face.get("prefixItems"))
    yield from (face.get("contains"), face.get("additionalItems"), face.get("unevaluatedItems"))


def _mapping(value: Json) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return cast("list[Json]", value) if isinstance(value, list) else []
