"""PDF: the text of its pages, below the bookmarks that point at them."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from tools.library.passages import DEEPEST, LONGEST_HEADING, Piece, Unreadable

MOST_PAGES = 5_000
MOST_BOOKMARKS = 5_000
_HYPHEN = re.compile(r"(?<=\w)[-\u2010]\n(?=[^\W\d_])")
_NOISE = logging.getLogger("pypdf")


def pdf_pieces(data: bytes) -> Iterator[Piece]:
    """The text of each page. A page that cannot be read is left out.

    Raises:
        Unreadable: it is encrypted, broken, or has no text: pages that were scanned are pictures.
    """
    _NOISE.setLevel(logging.CRITICAL)
    reader = _opened(data)
    headings = _bookmarks(reader)
    path: tuple[str, ...] = ()
    found = False
    for number, page in enumerate(_pages(reader), 1):
        path = headings.get(number, path)
        for piece in _page_pieces(page, number, path):
            found = True
            yield piece
    if not found:
        raise Unreadable("it has no text: its pages are pictures")


def _opened(data: bytes) -> PdfReader:
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is encrypted")
        len(reader.pages)
    except Unreadable:
        raise
    except MemoryError:
        raise
    except Exception:  # a broken file fails anywhere, in any way
        raise Unreadable("it is no PDF, or broken") from None
    return reader


def _pages(reader: PdfReader) -> Iterator[Any]:
    for number in range(min(len(reader.pages), MOST_PAGES)):
        try:
            yield reader.pages[number]
        except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            yield None


def _page_pieces(page: Any, number: int, path: tuple[str, ...]) -> Iterator[Piece]:
    try:
        text = page.extract_text() if page is not None else ""
    except MemoryError:
        raise
    except Exception:  # as above, and the other pages may be fine
        return
    for paragraph in re.split(r"\n[ \t]*\n", _HYPHEN.sub("", text)):
        if paragraph.strip():
            yield Piece(paragraph, path, number)


def _bookmarks(reader: PdfReader) -> dict[int, tuple[str, ...]]:
    """For each page that a bookmark points at, the path of bookmarks down to the last one on it."""
    found: dict[int, tuple[str, ...]] = {}
    left = MOST_BOOKMARKS

    def walk(entries: list[Any], above: tuple[str, ...]) -> None:
        nonlocal left
        here = above
        for entry in entries:
            left -= 1
            if left < 0:
                return
            if isinstance(entry, list):
                if len(here) < DEEPEST:
                    walk(entry, here)  # pyright: ignore[reportUnknownArgumentType]
                continue
            page = reader.get_destination_page_number(entry)
            here = (*above, " ".join(str(entry.title or "").split())[:LONGEST_HEADING])
            if page is not None and page >= 0:
                found[page + 1] = tuple(filter(None, here))

    try:
        walk(reader.outline, ())
    except MemoryError:
        raise
    except Exception:  # bookmarks are a help; without them the pages remain
        return found
    return found
