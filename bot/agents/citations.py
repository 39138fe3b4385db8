"""The sources and files that an answer refers to: marks of a service in its text, as marks that a chat can show."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.types import Citation, RemoteFile

UNKNOWN = "application/octet-stream"

# Marks such as 【4:0†source】 point into lists that a chat does not have. Brackets without the dagger are people's.
_MARK = re.compile(r" ?【[^【】†]{0,40}†[^【】]{0,200}】")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\(sandbox:[^)\s]*\)")
"""A file of the service's own sandbox, as models link it; nobody can follow it."""
_SANDBOX = re.compile(r"sandbox:/(?:[^\s/)]+/)*([^\s/)]+)")
_BEGUN_MARK = re.compile(r" ?【[^【】]{0,240}$")


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation: the source or the file that the text between two positions stands for.

    `words` are that text, where the service gives it; the positions count otherwise.
    """

    start: int = -1
    end: int = -1
    words: str = ""
    title: str = ""
    url: str = ""
    quote: str = ""
    file: RemoteFile | None = None


@dataclass(frozen=True, slots=True)
class Cited:
    """A text with marks of ours, what they stand for, and the files that came along."""

    text: str
    citations: tuple[Citation, ...] = ()
    files: tuple[RemoteFile, ...] = ()


def cited(text: str, notes: Sequence[Note], first: int = 1) -> Cited:
    """The text with each source's mark as [1], [2]… from `first` on; marks that no note explains are left out."""
    numbers: dict[tuple[str, str], int] = {}
    citations: list[Citation] = []
    files: dict[str, RemoteFile] = {}
    changes: list[tuple[int, int, str]] = []
    for note in notes:
        start, end = _place(text, note)
        if note.file is not None:
            files.setdefault(note.file.id, note.file)
            continue
        source = (note.url, note.title)
        if source not in numbers:
            numbers[source] = first + len(numbers)
            citations.append(Citation(f"[{numbers[source]}]", note.title or note.url, note.url, note.quote))
        mark = f"[{numbers[source]}]"
        # A source that stands in the text as words or as a link keeps them, with our mark behind.
        changes.append((start, end, f" {mark}") if _MARK.fullmatch(text[start:end]) else (end, end, f" {mark}"))
    for start, end, new in sorted(set(changes), reverse=True):
        text = text[:start].rstrip(" ") + new + text[end:]
    return Cited(_plain(text).strip(), tuple(citations), tuple(files.values()))


def growing(text: str) -> str:
    """A text that is being written, as it may be shown: without marks, and without one that has only begun."""
    return _BEGUN_MARK.sub("", _plain(text)) if "【" in text or "sandbox:" in text else text


def _plain(text: str) -> str:
    return _SANDBOX.sub(r"\1", _LINK.sub(lambda link: link[1], _MARK.sub("", text)))


def _place(text: str, note: Note) -> tuple[int, int]:
    """Where the note stands; the end of the text where that is not to be found."""
    if note.words and text[note.start : note.end] != note.words:
        start = text.find(note.words)
        return (start, start + len(note.words)) if start >= 0 else (len(text), len(text))
    if 0 <= note.start <= note.end <= len(text) and note.end > 0:
        return note.start, note.end
    return len(text), len(text)


def remote_file(file_id: str, name: str, container: str = "", *, fallback: str = UNKNOWN) -> RemoteFile:
    """A file as its name tells it; where that says nothing of its type, `fallback` does."""
    plain = name.replace("\\", "/").rpartition("/")[2] or file_id
    known = mimetypes.guess_type(plain)[0]
    if known is None and fallback != UNKNOWN:
        plain += mimetypes.guess_extension(fallback) or ""
    return RemoteFile(file_id, plain, known or fallback, container)
