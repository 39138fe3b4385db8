"""An operation's arguments as an HTTP request: each value in the style that the document asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast
from urllib.parse import quote, unquote

from adapters.contract import BadArguments
from adapters.http_guard import Request
from adapters.openapi_inputs import FORM, Input, Inputs
from bot.types import Json, JsonObject

_ACCEPT = "application/json, text/*;q=0.8, */*;q=0.5"
_UNQUOTINGS = 3
"""How often a server and what stands before it may take the percent signs away."""

Bound = Sequence[tuple[Input, Json]]
Pairs = list[tuple[str, str]]
"""Names and values, percent-encoded."""


def compose(address: str, method: str, path: str, inputs: Inputs, bound: Bound) -> Request:
    """The request.

    Raises:
        BadArguments: a value that cannot stand in its place: one that would leave its part of the path, a line break
            in a header.
    """
    in_place: dict[str, list[tuple[Input, Json]]] = {}
    for one, value in bound:
        in_place.setdefault(one.place, []).append((one, value))
    query = [pair for one, value in in_place.get("query", []) for pair in _pairs(one, value)]
    cookies = [pair for one, value in in_place.get("cookie", []) for pair in _pairs(one, value)]
    headers = {"Accept": _ACCEPT, "User-Agent": "Threadkeeper"}
    headers |= {one.name: _header(one, value) for one, value in in_place.get("header", [])}
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies)
    body = _body(inputs, in_place.get("body", []))
    if body is not None:
        headers["Content-Type"] = inputs.media_type
    url = address.rstrip("/") + _path(path, in_place.get("path", []))
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query)
    return Request(method, url, headers, body)


# -- the path -----------------------------------------------------------------------------------------------


def _path(template: str, bound: Bound) -> str:
    values = {one.name: _segment(one, value) for one, value in bound}
    fixed = re.split(r"({[^{}]+})", template)
    made = "".join(
        values[part[1:-1]] if part[1:-1] in values else quote(part, safe="/:@!$&'()*+,;=~%") for part in fixed
    )
    if any(part in (".", "..") for part in made.split("/")):
        raise BadArguments("its path would lead elsewhere")
    return made


def _segment(one: Input, value: Json) -> str:
    """The value as one segment of the path or a part of it. It can be no other: no slash, no dots that lead up."""
    for text in _texts(value):
        if not text:
            raise BadArguments(f"{one.argument}: it is empty")
        if _leads_away(text):
            raise BadArguments(f"{one.argument}: it must not have . or .. between slashes")
    styles = {"simple": ("", ","), "label": (".", "." if one.explode else ","), "matrix": (";", ",")}
    before, between = styles.get(one.style, ("", ","))
    if one.as_json:
        return _quoted(_as_json(value))
    if one.style == "matrix":
        pairs = _exploded(one, value) if one.explode else [(_quoted(one.name), _joined(value, ",", pairs=False))]
        return "".join(f";{name}={text}" for name, text in pairs)
    return before + _joined(value, between, pairs=one.explode)


def _leads_away(text: str) -> bool:
    for _ in range(_UNQUOTINGS):
        if any(part.strip() in (".", "..") for part in re.split(r"[/\\]", text)):
            return True
        text = unquote(text)
    return any(part.strip() in (".", "..") for part in re.split(r"[/\\]", text))


def _texts(value: Json) -> list[str]:
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Json]", value)] or [""]
    if isinstance(value, dict):
        pairs = cast("JsonObject", value).items()
        return [text for name, item in pairs for text in (name, _plain(item))] or [""]
    return [_plain(value)]


# -- query, cookies and forms -------------------------------------------------------------------------------


def _pairs(one: Input, value: Json) -> Pairs:
    name = _quoted(one.name)
    if one.as_json:
        return [(name, _quoted(_as_json(value)))]
    if one.style == "deepObject":
        return _deep(name, value)
    if isinstance(value, (dict, list)) and not one.explode:
        between = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}.get(one.style, ",")
        return [(name, _joined(value, between, pairs=False))] if value else []
    return _exploded(one, value)


def _exploded(one: Input, value: Json) -> Pairs:
    name = _quoted(one.name)
    if isinstance(value, list):
        return [(name, _quoted(_plain(item))) for item in cast("list[Json]", value)]
    if isinstance(value, dict):
        return [(_quoted(key), _quoted(_plain(item))) for key, item in cast("JsonObject", value).items()]
    return [(name, _quoted(_plain(value)))]


def _deep(name: str, value: Json) -> Pairs:
    """`name[key]=value`. OpenAPI leaves lists open; `name[]` for values and `name[0]` for objects is what most read."""
    if isinstance(value, dict):
        return [
            pair for key, item in cast("JsonObject", value).items() for pair in _deep(f"{name}[{_quoted(key)}]", item)
        ]
    if isinstance(value, list):
        items = cast("list[Json]", value)
        flat = not any(isinstance(item, (dict, list)) for item in items)
        return [
            pair
            for number, item in enumerate(items)
            for pair in _deep(f"{name}[]" if flat else f"{name}[{number}]", item)
        ]
    return [(name, _quoted(_plain(value)))]


def _joined(value: Json, between: str, *, pairs: bool) -> str:
    """The values in one text; of an object `name=value` where pairs are wanted, else names and values in turn."""
    if isinstance(value, dict):
        items = [(_quoted(key), _quoted(_plain(item))) for key, item in cast("JsonObject", value).items()]
        return between.join(f"{key}={text}" if pairs else f"{key}{between}{text}" for key, text in items)
    return between.join(_quoted(text) for text in _texts(value))


# -- headers and bodies -------------------------------------------------------------------------------------


def _header(one: Input, value: Json) -> str:
    items = _texts(value)
    if isinstance(value, dict) and one.explode:
        items = [f"{key}={_plain(item)}" for key, item in cast("JsonObject", value).items()]
    text = _as_json(value) if one.as_json else ",".join(items)
    if any(not 0x20 <= ord(c) <= 0x7E for c in text):
        raise BadArguments(f"{one.argument}: a header takes plain ASCII letters, digits and signs in one line")
    return text.strip()


def _body(inputs: Inputs, bound: Bound) -> bytes | None:
    if not inputs.media_type or not (bound or inputs.body_required):
        return None
    whole = [value for one, value in bound if one.whole]
    value = whole[0] if whole else {one.name: value for one, value in bound}
    if inputs.media_type == FORM:
        pairs = [pair for one, item in bound if not one.whole for pair in _pairs(one, item)]
        if whole and isinstance(value, dict):
            pairs = [pair for key, item in cast("JsonObject", value).items() for pair in _deep(_quoted(key), item)]
        return "&".join(f"{name}={text}" for name, text in pairs).encode()
    if inputs.media_type == "text/plain":
        return str(value).encode("utf-8", "replace")
    return _as_json(value).encode()


def _plain(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _as_json(value)


def _as_json(value: Json) -> str:
    # Escaped, not raw: half a surrogate pair, which JSON can carry, has no UTF-8.
    return json.dumps(value, separators=(",", ":"))


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
