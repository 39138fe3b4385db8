"""HTML: the words that a reader would see, below their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from tools.library.passages import Headings, Piece
from tools.library.plain import decoded

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "title"})
_INLINE = frozenset(
    re.findall(
        r"\w+",
        "a abbr b bdi bdo cite code data del dfn em font i img input ins kbd label mark q s samp small span strong sub "
        "sup time tt u var wbr",
    )
)
_CELLS = frozenset({"td", "th"})
_HEADING = re.compile(r"h([1-6])")


def html_pieces(data: bytes) -> Iterator[Piece]:
    """The blocks of a page. Scripts, styles and what is not shown are left out; nothing is loaded."""
    declared = _CHARSET.search(data[:4096])
    reader = _Reader()
    reader.feed(decoded(data, declared[1].decode("ascii") if declared else ""))
    reader.close()
    reader.block()
    yield from reader.pieces


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[Piece] = []
        self._headings = Headings()
        self._held: list[str] = []
        self._unseen = ""
        self._depth = 0
        self._heading = 0
        self._exact = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen:
            self._depth += tag == self._unseen
        elif tag in _UNSEEN:
            self._unseen, self._depth = tag, 1
        elif tag in _CELLS:
            self._held.append(" | " if self._held else "")
        elif tag == "br":
            self._held.append("\n")
        elif tag not in _INLINE:
            self.block()
            self._exact += tag == "pre"
            if found := _HEADING.fullmatch(tag):
                self._heading = int(found[1])

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            self._depth -= tag == self._unseen
            self._unseen = self._unseen if self._depth else ""
        elif tag not in _INLINE and tag not in _CELLS:
            self.block()
            self._exact = max(0, self._exact - (tag == "pre"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN:  # <script/> opens nothing that would be closed
            self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._held.append(data if self._exact else re.sub(r"\s+", " ", data))

    def block(self) -> None:
        """What was held is a block."""
        text = re.sub(r" *\n *", "\n", "".join(self._held)).strip() if not self._exact else "".join(self._held)
        self._held = []
        if self._heading:
            self._headings.enter(self._heading, text)
            self._heading = 0
        elif text.strip(" |\n"):
            self.pieces.append(Piece(text, self._headings.path))
