"""Text and Markdown: their encoding, and Markdown's headings."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from tools.library.passages import Headings, Piece, Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MARKUP = re.compile(r"[*_`]+|!?\[([^\]]*)\]\([^)]*\)")


def decoded(data: bytes, declared: str = "") -> str:
    """The text of a file: by its mark, as `declared` says, as UTF-8, and else as Windows writes western languages.

    Raises:
        Unreadable: it is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data[:8192]:
        raise Unreadable("it is no text")
    for encoding in (declared, "utf-8"):
        try:
            return data.decode(encoding or "utf-8")
        except (UnicodeDecodeError, LookupError, ValueError):
            continue
    return data.decode("cp1252", "replace")


def text_pieces(text: str) -> Iterator[Piece]:
    """The paragraphs of a text."""
    for paragraph in re.split(r"\n[ \t]*\n", _lined(text)):
        if paragraph.strip():
            yield Piece(paragraph)


def markdown_pieces(text: str) -> Iterator[Piece]:
    """The paragraphs below their headings (CommonMark's, with # and underlined); what stands in a fence is code."""
    headings = Headings()
    held: list[str] = []
    fence = ""
    for line in _without_front_matter(_lined(text)).split("\n"):
        if fence:
            held.append(line)
            fence = "" if line.strip().startswith(fence) and not line.strip().strip(fence[0]) else fence
            continue
        heading, underline = _HEADING.match(line), _UNDERLINE.match(line)
        if heading or (underline and len(held) == 1):
            title = (heading[2] or "") if heading else held.pop()
            yield from _piece(held, headings)
            level = len(heading[1]) if heading else 1 if line.strip().startswith("=") else 2
            headings.enter(level, _MARKUP.sub(lambda found: found[1] or "", title))
        elif not line.strip():
            yield from _piece(held, headings)
        else:
            fence = found[1] if (found := _FENCE.match(line)) else ""
            held.append(line)
    yield from _piece(held, headings)


def _piece(held: list[str], headings: Headings) -> Iterator[Piece]:
    if held:
        yield Piece("\n".join(held), headings.path)
        held.clear()


def _lined(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_front_matter(text: str) -> str:
    """A block of settings between two lines of dashes is where many tools keep what is not text."""
    if not text.startswith("---\n"):
        return text
    end = text.find("\n---\n", 3)
    return text[end + 5 :] if end > 0 else text
