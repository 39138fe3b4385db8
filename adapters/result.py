"""A tool's result as text for the agent: JSON where it has a shape, cut where it is too long."""

from __future__ import annotations

import inspect

from pydantic_core import to_json

OUTPUT_LIMIT = 16 * 1024
"""Bytes of UTF-8: ten calls of 64 KB would be 160k tokens."""

NOTHING = "Done; there is no result."
EMPTY = "The result is an empty text."


class NotJson(Exception):
    """A result that has no JSON form."""


def render(result: object, limit: int = OUTPUT_LIMIT) -> str:
    """The result as text of at most `limit` bytes.

    Raises:
        NotJson: it is neither text nor data.
    """
    if result is None:
        return NOTHING
    if isinstance(result, str):
        return cut(str.__str__(result), limit) or EMPTY
    if inspect.isgenerator(result):  # it may have no end, and pydantic would read it to its end
        raise NotJson
    try:
        return cut(to_json(result, inf_nan_mode="strings").decode(), limit)
    except (ValueError, TypeError, RecursionError):
        raise NotJson from None


def cut(text: str, limit: int = OUTPUT_LIMIT) -> str:
    """The text within `limit` bytes of UTF-8, ending in a note of what was cut where something was.

    It is cut at the end of a line or word where one is near. NUL (PostgreSQL keeps none) and half surrogate pairs
    (UTF-8 has none) become the replacement character.
    """
    data = text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if len(data) <= limit:
        return data.decode()
    note = f"\n[cut: the result has {len(data)} bytes, these are the first {{}}; ask for less]"
    kept = data[: max(0, limit - len(note) - len(str(len(data))))].decode(errors="ignore")
    border = max(kept.rfind("\n", -512), kept.rfind(" ", -512)) if len(kept) > 1024 else -1
    if border > 0:
        kept = kept[:border]
    return kept + note.format(len(kept.encode()))
