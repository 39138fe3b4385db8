"""An answer in a channel's size: split where a reader would, never inside what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.types import Citation

SOURCES = 10
"""So many sources are named below an answer; more is noise."""

MOST_MARKS = 20
"""A code fence of more backticks is none to us: closing and opening it again would leave no room for words."""
MOST_INFO = 20
"""Of the words behind an opening fence so many characters are said again when it is opened again."""

_FENCE = re.compile(r"^ {0,3}(`{3,20}(?=[^`]*$)|~{3,20}(?!~))(.*)$")
_SPAN = re.compile(r"(?<![`\\])(`++)(?!`).+?(?<!`)\1(?!`)")
_MARK = re.compile(r"(?<!\\)\[[0-9]{1,4}\](?!\()")
"""A source's mark; what a link's target follows is none."""


def with_sources(text: str, citations: Sequence[Citation]) -> str:
    """The answer with its sources in words, for channels that cannot show them otherwise."""
    lines = [f"{one.mark} {one.title}{f' ({one.url})' if one.url else ''}".strip() for one in citations[:SOURCES]]
    return "\n\n".join([text, "\n".join(f"- {line}" for line in lines)]) if lines else text


def marks_in(text: str) -> list[str]:
    """The marks of sources that stand in the text, such as [1], in order, each once; what stands in code is none."""
    found: dict[str, None] = {}
    fence = ""
    for line in text.split("\n"):
        before, fence = fence, fence_after(line, fence)
        if not before and not fence:
            found |= dict.fromkeys(_MARK.findall(_SPAN.sub("`", line)))
    return list(found)


def shared_out(words: Sequence[str], citations: Sequence[Citation]) -> list[tuple[Citation, ...]]:
    """For each part of an answer the sources whose marks stand in it; those that stand nowhere go with the last."""
    marks = [set(marks_in(part)) for part in words]
    everywhere = set[str]().union(*marks)
    shares = [[one for one in citations if one.mark in here] for here in marks]
    if shares:
        shares[-1] += [one for one in citations if one.mark not in everywhere]
    return [tuple(share) for share in shares]


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
        room = limit - utf16_size(reopened) - 2 * (1 + MOST_MARKS)
        head, rest = _cut(rest, room, reopened)
        fence = _open_fence(reopened + head)
        if fence:
            code = head.removesuffix("\n")  # more blank lines are part of the code
            parts.append(f"{reopened}{code}\n{marks_of(fence)}")
            reopened = f"{marks_of(fence)}{fence.removeprefix(marks_of(fence))[:MOST_INFO]}\n"
        else:
            parts.append(reopened + head.rstrip("\n"))
            reopened, rest = "", rest.lstrip("\n")
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
        fence = fence_after(line, fence)
    return fence


def fence_after(line: str, fence: str) -> str:
    """The code fence that is open behind this line, by its opening line; `fence` is what was open before it."""
    found = _FENCE.match(line)
    if not found:
        return fence
    marks, info = found.groups()
    if not fence:
        return marks + info
    closes = marks[0] == fence[0] and len(marks) >= len(marks_of(fence)) and not info.strip()
    return "" if closes else fence


def marks_of(fence: str) -> str:
    """The backticks or tildes that a fence begins with."""
    return fence[: len(fence) - len(fence.lstrip(fence[0]))]
