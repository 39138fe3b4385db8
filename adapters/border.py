"""Where JSON can be cut so that what is left is JSON still: behind a whole element."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_ROOM = 160
"""Bytes that are left for the note of what was cut, and for closing what is open."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{},]')
"""A text, also one that is cut off, or a mark."""


class _Border(NamedTuple):
    """A comma: where it stands, what is open there, and how many elements of the outermost list lie before it."""

    at: int
    closing: str
    elements: int


def cut_json(text: str, limit: int) -> str:
    """The JSON within `limit` bytes of UTF-8: whole elements, closed again, with a note below of what was cut.

    It is cut between elements that stand as far out as possible, if half of the room is used by then. Empty where
    there is no such border: a single long text, say.
    """
    data = text.encode()
    head = data[: max(0, limit - _ROOM)].decode(errors="ignore")
    border = _best(_borders(head), len(head))
    if border is None:
        return ""
    shown = head[: border.at] + border.closing
    whole: object = json.loads(text)
    part = f"{border.elements} of {len(whole)} elements" if isinstance(whole, list) else f"a part of {len(data)} bytes"  # pyright: ignore[reportUnknownArgumentType]
    said = f"{shown}\n[cut: this is {part}; ask for less]"
    return said if len(said.encode()) <= limit else ""


def _borders(head: str) -> dict[int, _Border]:
    """The last border of each depth."""
    found: dict[int, _Border] = {}
    open_: list[str] = []
    elements = 0
    for token in _TOKEN.finditer(head):
        mark = token[0]
        if mark in "[{":
            open_.append("]" if mark == "[" else "}")
        elif mark in "]}":
            open_.pop()
        elif mark == ",":
            elements += len(open_) == 1
            part = elements + (len(open_) > 1)  # an element of which only a part is shown counts too
            found[len(open_)] = _Border(token.start(), "".join(reversed(open_)), part)
    return found


def _best(borders: dict[int, _Border], room: int) -> _Border | None:
    far = [border for _, border in sorted(borders.items()) if border.at >= room // 2]
    return far[0] if far else max(borders.values(), key=lambda border: border.at, default=None)
