"""Word's .docx: the paragraphs of the main part, below the headings that its styles make (ECMA-376, part 1)."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO
from xml.etree import ElementTree

from tools.library.passages import Headings, Piece, Unreadable

MOST_XML = 64 * 1024 * 1024
"""Bytes of a part once unpacked, and no more are ever unpacked: an archive of a few KB can hold terabytes."""
MOST_PARTS = 10_000
_MAIN = "/officeDocument"
_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)
_BODY_LEVEL = 9
"""An outline level of 9 says that a paragraph is no heading (17.3.1.20)."""
_OLE = b"\xd0\xcf\x11\xe0"


def word_pieces(data: bytes) -> Iterator[Piece]:
    """The paragraphs and the rows of tables.

    Raises:
        Unreadable: it is encrypted, broken, or unpacks to too much.
    """
    if data.startswith(_OLE):
        raise Unreadable("it is encrypted, or of the old format; save it as .docx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.namelist()) > MOST_PARTS:
                raise Unreadable("it has too many parts")
            main = _main_part(archive)
            levels = _levels(archive, posixpath.join(posixpath.dirname(main), "styles.xml"))
            with _opened(archive, main) as part:
                yield from _Body(levels).pieces(part)
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, EOFError, OSError, ValueError):
        raise Unreadable("it is no Word file, or broken") from None
    except RuntimeError:  # what zipfile raises for a part with a password
        raise Unreadable("it is encrypted") from None
    except ElementTree.ParseError:
        raise Unreadable("its text is broken") from None


class _Bounded(io.RawIOBase):
    """A part of the archive, up to so many bytes, without a document type: Word writes none, and entities can swell."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._part.read(min(size, 65536) if size > 0 else 65536)
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise Unreadable("it holds what no Word file has")
        self._read += len(data)
        if self._read > MOST_XML:
            raise Unreadable(f"it unpacks to more than {MOST_XML >> 20} MB")
        return data

    def close(self) -> None:
        self._part.close()
        super().close()


def _opened(archive: zipfile.ZipFile, name: str) -> _Bounded:
    return _Bounded(archive.open(name))


def _events(part: _Bounded) -> Iterator[tuple[str, ElementTree.Element]]:
    # What XML can do to a reader is done with a document type, and `_Bounded` refuses those.
    return ElementTree.iterparse(part, events=("start", "end"))  # noqa: S314


def _main_part(archive: zipfile.ZipFile) -> str:
    with _opened(archive, "_rels/.rels") as part:
        for event, element in _events(part):
            if event == "end" and element.get("Type", "").endswith(_MAIN):
                return posixpath.normpath(element.get("Target", "").lstrip("/"))
    return "word/document.xml"


def _levels(archive: zipfile.ZipFile, name: str) -> dict[str, int]:
    """The heading level of each style that has one: by its name, which Word keeps in English, or its outline level."""
    found: dict[str, int] = {}
    if name not in archive.namelist():
        return found
    with _opened(archive, name) as part:
        for event, element in _events(part):
            if event == "start" or _local(element.tag) != "style":
                continue
            style = _attribute(element, "styleId")
            for child in element.iter():
                kind, value = _local(child.tag), _attribute(child, "val")
                if kind == "name" and (match := _STYLE.fullmatch(value)):
                    found[style] = int(match[1])
                elif kind == "name" and value.lower() == "title":
                    found[style] = 1
                elif kind == "outlineLvl" and value.isdecimal() and int(value) < _BODY_LEVEL:
                    found.setdefault(style, int(value) + 1)
            element.clear()
    return found


class _Body:
    """Reads the main part as it streams by: a paragraph is let go of once it is read."""

    def __init__(self, levels: dict[str, int]) -> None:
        self._levels = levels
        self._headings = Headings()
        self._paragraphs = 0
        self._tables = 0
        self._cell: list[str] = []
        self._row: list[str] = []

    def pieces(self, part: _Bounded) -> Iterator[Piece]:
        for event, element in _events(part):
            kind = _local(element.tag)
            if event == "start":
                self._paragraphs += kind == "p"
                self._tables += kind == "tbl"
                continue
            if kind == "p":
                self._paragraphs -= 1
                if not self._paragraphs:  # a text box is a paragraph within one, and read with it
                    yield from self._paragraph(element)
                    element.clear()
            elif kind == "tbl":
                self._tables -= 1
            elif kind == "tc" and not self._paragraphs:
                self._row.append(" ".join(self._cell))
                self._cell = []
                element.clear()
            elif kind == "tr" and not self._paragraphs and self._tables == 1:
                yield Piece(" | ".join(self._row), self._headings.path)
                self._row = []
                element.clear()

    def _paragraph(self, element: ElementTree.Element) -> Iterator[Piece]:
        text = "".join(_words(element)).strip()
        if self._tables:
            self._cell += [text] if text else []
            return
        level = self._level(element)
        if level:
            self._headings.enter(level, text)
        elif text:
            yield Piece(text, self._headings.path)

    def _level(self, element: ElementTree.Element) -> int:
        for properties in element:
            if _local(properties.tag) != "pPr":
                continue
            own = {_local(one.tag): _attribute(one, "val") for one in properties}
            outline = own.get("outlineLvl", "")
            if outline.isdecimal():
                return int(outline) + 1 if int(outline) < _BODY_LEVEL else 0
            return self._levels.get(own.get("pStyle", ""), 0)
        return 0


def _words(element: ElementTree.Element) -> Iterator[str]:
    for child in element:
        kind = _local(child.tag)
        if kind == "t":
            yield child.text or ""
        elif kind == "tab":
            yield "\t"
        elif kind in ("br", "cr"):
            yield "\n"
        elif kind not in ("Fallback", "pPr", "rPr"):  # what a Fallback holds stands in the choice beside it, too
            yield from _words(child)
    if _local(element.tag) == "p":
        yield "\n"


def _local(tag: str) -> str:
    """The name without its namespace: the strict form has others than the one that Word writes."""
    return tag.rpartition("}")[2]


def _attribute(element: ElementTree.Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if _local(key) == name), "")
