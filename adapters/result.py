"""A tool's result: as text for the agent, JSON where it has a shape, cut where it is long; its files for the person."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple, cast

from pydantic_core import to_json

from adapters.border import cut_json
from adapters.files import kept, told
from adapters.output import Image, Result
from bot.types import File

OUTPUT_LIMIT = 16 * 1024
"""Bytes of UTF-8: ten calls of 64 KB would be 160k tokens."""

NOTHING = "Done; there is no result."
EMPTY = "The result is an empty text."


class NotJson(Exception):
    """A result that has no JSON form."""


class Rendered(NamedTuple):
    """What the agent is told, and what the person gets beside the answer."""

    text: str
    files: tuple[File, ...] = ()


def render(result: object, limit: int = OUTPUT_LIMIT) -> Rendered:
    """The result as text of at most `limit` bytes, which names the files that come with it.

    Raises:
        NotJson: it is neither text nor data, or an image is none.
    """
    value, given = _taken_apart(result)
    if not given:
        return Rendered(_text(value, limit))
    try:
        files = kept(given)
    except ValueError:
        raise NotJson from None
    note = told(files)
    words = "" if value is None else _text(value, max(limit - len(note.encode()) - 1, limit // 4)) + "\n"
    return Rendered(cut(words + note, limit), files.shown)


def _taken_apart(result: object) -> tuple[object, Sequence[File | Image]]:
    """What is told, and the files: of a `Result`, of a file alone, or of a list in which files stand."""
    if isinstance(result, Result):
        return result.value, result.files
    if isinstance(result, (File, Image)):
        return None, (result,)
    if isinstance(result, (list, tuple)):
        items = cast("Sequence[object]", result)
        files = [one for one in items if isinstance(one, (File, Image))]
        if files:
            rest = [one for one in items if not isinstance(one, (File, Image))]
            return (rest[0] if len(rest) == 1 else rest or None), files
        return items, ()
    return result, ()


def _text(value: object, limit: int) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return cut(str.__str__(value), limit) or EMPTY
    if inspect.isgenerator(value):  # it may have no end, and pydantic would read it to its end
        raise NotJson
    try:
        text = to_json(value, inf_nan_mode="strings").decode()
    except (ValueError, TypeError, RecursionError):
        raise NotJson from None
    return text if len(text.encode()) <= limit else cut_json(text, limit) or cut(text, limit)


def cut(text: str, limit: int = OUTPUT_LIMIT) -> str:
    """The text within `limit` bytes of UTF-8, ending in a note of what was cut where something was.

    It is cut at the end of a line or word where one is near. NUL (PostgreSQL keeps none) and half surrogate pairs
    (UTF-8 has none) become the replacement character.
    """
    data = text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if len(data) <= limit:
        return data.decode()
    note = f"\n[cut: the result has {len(data)} bytes, these are the first {{}}; ask for less]"
    head = data[: max(0, limit - len(note) - len(str(len(data))))].decode(errors="ignore")
    border = max(head.rfind("\n", -512), head.rfind(" ", -512)) if len(head) > 1024 else -1
    if border > 0:
        head = head[:border]
    return head + note.format(len(head.encode()))
