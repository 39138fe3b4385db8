"""An answer in a channel's size: split where a reader would, never inside what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.types import Citation

SOURCES = 10
"""So many sources are named below an answer; more is noise."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")


def with_sources(text: str, citations: Sequence[Citation]) -> str:
    """The answer with its sources in words, for channels that cannot show them otherwise."""
    lines = [f"{one.mark} {one.title}{f' ({one.url})' if one.url else ''}".strip() for one in citations[:SOURCES]]
    return "\n\n".join([text, "\n".join(f"- {line}" for line in lines)]) if lines else text


def utf16_size(text: str) -> int:
    """Bytes of the text in UTF-16, which is how Teams counts."""
    return len(text.encode("utf-16-le", "surrogatepass"))


def split(text: str, limit: int) -> list[str]:
    """Parts of at most `limit` bytes of UTF-16, cut at a paragraph, else a line, else a word, else a character.

    A code fence that a cut falls into is closed before it and opened again after it, so that each part reads alone.

    Raises:
        ValueError: the limit is too small to hold a fence and a word.
    """
    if limit < 200:
        raise ValueError("a delivery needs room for at least 100 characters")
    parts: list[str] = []
    rest, reopened = text, ""
    while utf16_size(reopened + rest) > limit:
        room = limit - utf16_size(reopened) - 2 * len("\n```")
        head, rest = _cut(rest, room, reopened)
        fence = _open_fence(reopened + head)
        parts.append(reopened + head.rstrip("\n") + (f"\n{fence.strip().split()[0][:3]}" if fence else ""))
        reopened = f"{fence}\n" if fence else ""
        if not fence:
            rest = rest.lstrip("\n")
    if rest.strip() or not parts:
        parts.append(reopened + rest)
    return parts


def _cut(text: str, room: int, reopened: str) -> tuple[str, str]:
    """Where to cut so that the first piece has at most `room` bytes."""
    most = _fitting(text, room)
    window = text[:most]
    for end in _borders(window, reopened):
        # a cut that leaves a nearly empty part is no better than one at a lesser border
        if end >= most // 4:
            return text[:end], text[end:]
    return window, text[most:]


def _fitting(text: str, room: int) -> int:
    """How many characters from the start fit into `room` bytes."""
    low, high = 1, min(len(text), room // 2)
    while low < high:
        middle = (low + high + 1) // 2
        if utf16_size(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _borders(window: str, reopened: str) -> Iterator[int]:
    """Ends of the best cuts, best first: a paragraph outside code, a line, a word."""
    paragraphs = [match.end() for match in re.finditer(r"\n[ \t]*\n", window)]
    for end in reversed(paragraphs[-50:]):
        if not _open_fence(reopened + window[:end]):
            yield end
            break
    for border in ("\n", " "):
        at = window.rfind(border)
        if at > 0:
            yield at + 1


def _open_fence(text: str) -> str:
    """The opening line of the code fence that the text ends inside; empty if it ends outside."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not found:
            continue
        marks, info = found.groups()
        if not fence:
            fence = marks + info
        elif marks[0] == fence[0] and len(marks) >= len(fence) - len(fence.lstrip(fence[0])) and not info.strip():
            fence = ""
    return fence
