"""One file, by the form that its name tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath

from tools.library.html_file import html_pieces
from tools.library.passages import Passage, Piece, Unreadable, passages
from tools.library.pdf_file import pdf_pieces
from tools.library.plain import decoded, markdown_pieces, text_pieces
from tools.library.word_file import word_pieces

READERS: dict[str, Callable[[bytes], Iterator[Piece]]] = {
    ".md": lambda data: markdown_pieces(decoded(data)),
    ".markdown": lambda data: markdown_pieces(decoded(data)),
    ".txt": lambda data: text_pieces(decoded(data)),
    ".html": html_pieces,
    ".htm": html_pieces,
    ".pdf": pdf_pieces,
    ".docx": word_pieces,
}


def read(name: str, data: bytes) -> list[Passage]:
    """The passages of a file.

    Raises:
        Unreadable: with words of ours that say why.
    """
    found = list(passages(READERS[PurePath(name).suffix.lower()](data)))
    if not found:
        raise Unreadable("it is empty")
    return found
