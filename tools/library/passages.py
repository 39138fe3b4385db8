"""What a document comes to: its pieces as they are read, and the passages that are kept and found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PASSAGE = 1_200
"""Characters of a passage, about two hundred words: enough to answer from, small enough to give several."""
MOST_CHARACTERS = 5_000_000
"""Of one file; what stands behind them is not searched."""
DEEPEST = 6
LONGEST_HEADING = 200

_SENTENCE = re.compile(r"[.!?。！？…][\"'”’)\]]*\s+|[。！？]")


class Unreadable(Exception):
    """A file that gives no passages. The words say why, are ours, and quote nothing of the file."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A paragraph, or what comes near it. `headings` from the outermost on; `page` from 1, 0 where there are none."""

    text: str
    headings: tuple[str, ...] = ()
    page: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """Words that belong together, and where they stand."""

    body: str
    heading: str = ""
    page: int = 0


class Headings:
    """The path of headings down to where a reader is."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, text: str) -> None:
        """A heading of this level (1 is the outermost) begins; those of its level and below end."""
        self._open = [one for one in self._open if one[0] < level]
        if told := " ".join(text.split())[:LONGEST_HEADING]:
            self._open = [*self._open, (level, told)][-DEEPEST:]

    @property
    def path(self) -> tuple[str, ...]:
        """The headings that are open, from the outermost on."""
        return tuple(text for _, text in self._open)


def passages(pieces: Iterable[Piece]) -> Iterator[Passage]:
    """The pieces joined up to a passage's length, never across a heading or a page; a long one is cut at a sentence."""
    held: list[str] = []
    place: tuple[tuple[str, ...], int] = ((), 0)
    left = MOST_CHARACTERS
    for piece in pieces:
        text = piece.text.strip()[:left]
        left -= len(text)
        for part in _cut(text):
            if held and ((piece.headings, piece.page) != place or sum(map(len, held)) + len(part) > PASSAGE):
                yield _joined(held, place)
                held = []
            place = piece.headings, piece.page
            held.append(part)
        if left <= 0:
            break
    if held:
        yield _joined(held, place)


def _joined(held: list[str], place: tuple[tuple[str, ...], int]) -> Passage:
    return Passage("\n\n".join(held), " > ".join(place[0]), place[1])


def _cut(text: str) -> Iterator[str]:
    while len(text) > PASSAGE:
        window = text[:PASSAGE]
        ends = [match.end() for match in _SENTENCE.finditer(window, PASSAGE // 2)]
        end = ends[-1] if ends else max(window.rfind("\n", PASSAGE // 2), window.rfind(" ", PASSAGE // 2)) + 1
        yield text[: end or PASSAGE].strip()
        text = text[end or PASSAGE :].strip()
    if text:
        yield text
