"""What a service answered, as text for the agent: data, how to go on where there is more, or what went wrong."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from adapters.http_guard import Answer
from adapters.openapi_document import listed, part
from adapters.openapi_keep import Fields, kept
from adapters.result import cut
from bot.types import Json, JsonObject

MOST_MESSAGE = 600
_MOST_VALUE = 300
LEAST = 256
"""Bytes of the data itself that are shown, however long the hints are."""
_HIDDEN = "[hidden]"
_SHORTEST_SECRET = 4

_WITHIN = (
    "meta",
    "metadata",
    "paging",
    "pagination",
    "page",
    "links",
    "_links",
    "page_info",
    "pageInfo",
    "response_metadata",
)
"""Where services put what leads to the next page, when it is not beside the data."""
_NEXT = (
    *("next", "next_page", "nextPage", "next_page_token", "nextPageToken", "next_cursor", "nextCursor", "next_token"),
    *("nextToken", "cursor", "end_cursor", "endCursor", "@odata.nextLink", "nextLink", "next_url", "next_page_url"),
    *("continuation_token", "continuationToken"),
)
_MORE = ("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more")
_PAGES = re.compile(
    r"(?:^|_|\b)(?:page|cursor|offset|skip|start|startat|after|before|token|limit|per_page|size)(?:$|_|\b)", re.I
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is needed to read the answers of one tool.

    `arguments`: its query parameters' names, and the arguments that fill them. `keep`: the fields that are told.
    """

    arguments: Mapping[str, str]
    most: int
    secrets: Sequence[str] = ()
    keep: Fields = field(default_factory=dict[str, Fields])


def told(answer: Answer, reading: Reading) -> str:
    """The text of an answer that says it worked, in at most `most` bytes."""
    if not answer.body:
        return f"Done ({status(answer.status)}); there is no result."
    value, shown = _shown(answer)
    if reading.keep and isinstance(value, (dict, list)):
        shown = _lines(kept(value, reading.keep))
    shown = hidden(shown, reading.secrets)
    more = f"[{hint}]\n" if (hint := hidden(_hint(answer, value, reading), reading.secrets)) else ""
    if not answer.whole:
        more += "[The answer was longer than is read; ask for less.]\n"
    return more + cut(shown, max(LEAST, reading.most - len(more.encode())))


def _shown(answer: Answer) -> tuple[Json, str]:
    """The answer as data, None where it is none, and as text: an entry a line, so that a cut is seldom within one."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    looks = kind in ("application/json", "") or kind.endswith("+json") or answer.body[:1] in (b"{", b"[")
    if looks and answer.whole:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            pass
        else:
            return value, value if isinstance(value, str) else _lines(value)
    if kind.startswith("text/") or looks or kind.endswith(("xml", "yaml", "x-ndjson", "javascript")):
        return None, answer.body.decode(_charset(answer), "replace")
    return None, f"Done; the answer is a file of {len(answer.body)} bytes ({kind[:80]}), which cannot be shown as text."


def _charset(answer: Answer) -> str:
    found = re.search(r"charset=\"?([\w-]+)", answer.headers.get("content-type", ""))
    try:
        return codecs.lookup(found[1]).name if found else "utf-8"
    except LookupError:
        return "utf-8"


def _lines(value: Json) -> str:
    if isinstance(value, list) and value:
        return "[" + ",\n".join(_one(item) for item in cast("list[Json]", value)) + "]"
    if isinstance(value, dict) and any(isinstance(item, (list, dict)) for item in cast("JsonObject", value).values()):
        pairs = cast("JsonObject", value).items()
        return "{" + ",\n".join(f"{_one(key)}: {_lines(item)}" for key, item in pairs) + "}"
    return _one(value)


def _one(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- more than one page -------------------------------------------------------------------------------------


def _hint(answer: Answer, value: Json, reading: Reading) -> str:
    """How the agent gets the next page, empty where there is none. Addresses are not told: they may hold a key."""
    link = re.search(r"<([^>]*)>\s*;[^,<]*\brel=\"?[^\",;]*\bnext\b", answer.headers.get("link", ""), re.I)
    if link:
        return _by_address(link[1], reading) or "There is more; the service says so and not how to ask for it."
    places = [("", part(value)), *((f"{key}.", part(value, key)) for key in _WITHIN)]
    for where, found in places:
        for key in _NEXT:
            next_one = found.get(key)
            if isinstance(next_one, dict):  # HAL: {"next": {"href": ...}}
                next_one = cast("JsonObject", next_one).get("href")
            if isinstance(next_one, (str, int)) and not isinstance(next_one, bool) and next_one != "":
                return _by_value(f"{where}{key}", str(next_one), reading)
    if any(found.get(key) is True for _, found in places for key in _MORE) or part(value).get("isLast") is False:
        return f"There is more.{_ways(reading)}"
    return ""


def _by_value(field: str, value: str, reading: Reading) -> str:
    if "://" in value or value.startswith(("/", "?")):
        return _by_address(value, reading) or f"There is more.{_ways(reading)}"
    shown = value if len(value) <= _MOST_VALUE else ""
    return f"There is more: {field} is {_one(shown)}.{_ways(reading)}" if shown else f"There is more: see {field}."


def _by_address(address: str, reading: Reading) -> str:
    try:
        pairs = parse_qsl(urlsplit(address).query, max_num_fields=50)
    except ValueError:
        return ""
    told = [f"{reading.arguments[name]}={value}" for name, value in pairs if name in reading.arguments]
    return f"There is more: call again with {', '.join(told)}." if 0 < len(", ".join(told)) <= 2 * _MOST_VALUE else ""


def _ways(reading: Reading) -> str:
    found = [argument for argument in reading.arguments.values() if _PAGES.search(argument)]
    return f" Arguments that page: {', '.join(found[:6])}." if found else ""


# -- what went wrong ----------------------------------------------------------------------------------------


def status(code: int) -> str:
    """The status with its name."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def problem(answer: Answer, secrets: Sequence[str] = ()) -> str:
    """The service's own words for what is wrong, cleaned and bounded; empty where it has none."""
    value, shown = _shown(answer) if answer.body else (None, "")
    if value is None:
        kind = answer.headers.get("content-type", "")
        shown = shown if kind.startswith("text/plain") else ""
    elif not isinstance(value, str):
        shown = "; ".join(_words(value, 0)) or _one(value)
    shown = "".join(c if c.isprintable() else " " for c in hidden(shown, secrets))
    shown = " ".join(shown.split())
    return shown if len(shown) <= MOST_MESSAGE else shown[: MOST_MESSAGE - 1] + "…"


_SAYS = (
    "title",
    "detail",
    "message",
    "error_description",
    "msg",
    "description",
    "errorMessages",
    "error",
    "errors",
    "details",
    "reason",
    "fault",
)


def _words(value: Json, depth: int) -> list[str]:
    """What a problem's body says (RFC 9457, and what services do instead), each thing once."""
    found: list[str] = []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if depth > 4:
        return []
    if isinstance(value, list):
        for item in cast("list[Json]", value)[:10]:
            found += _words(item, depth + 1)
    elif isinstance(value, dict):
        entry = cast("JsonObject", value)
        where = _where(entry)
        for key in _SAYS:
            found += _words(entry.get(key), depth + 1)
        if not found and depth:  # {"errors": {"name": ["is missing"]}}
            found = [f"{key}: {word}" for key, item in entry.items() for word in _words(item, depth + 1)]
        elif where and found:
            found[0] = f"{where}: {found[0]}"
    return list(dict.fromkeys(found))


def _where(entry: JsonObject) -> str:
    """The field that a problem is about, where its entry names one."""
    for key in ("loc", "field", "param", "pointer", "path"):
        value = entry.get(key)
        if isinstance(value, str) and len(value) < 100:
            return value
        if steps := [str(step) for step in listed(value) if isinstance(step, (str, int))]:
            return ".".join(steps)[:100]
    return ""


def hidden(words: str, secrets: Sequence[str]) -> str:
    """The words without secrets: services repeat a key that they refuse."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            words = words.replace(secret, _HIDDEN)
    return words
