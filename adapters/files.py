"""The files of a tool's result: which of them the person gets, and what the agent is told of them."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from adapters.output import Image
from bot.types import File, storable

MOST_FILES = 10
"""Of one call."""
LARGEST = 4 * 1024 * 1024
"""Bytes of one file: it is kept in the database until it is delivered."""
LONGEST_NAME = 120
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Kept:
    """The files that are shown, and for each other one why it is not."""

    shown: tuple[File, ...]
    left: list[str] = field(default_factory=list[str])


def kept(given: Sequence[File | Image]) -> Kept:
    """The files within the limits, under names and types that a chat can show.

    Raises:
        ValueError: an image is none, or a file has no bytes.
    """
    shown: list[File] = []
    left: list[str] = []
    for one in given:
        file = _plain(one.file() if isinstance(one, Image) else one)
        if len(file.data) > LARGEST:
            left.append(f"{file.name} has {len(file.data)} bytes, and {LARGEST} is the most")
        elif not file.data:
            left.append(f"{file.name} is empty")
        elif len(shown) == MOST_FILES:
            left.append(f"{file.name} would be one more than {MOST_FILES}")
        else:
            shown.append(file)
    return Kept(tuple(shown), left)


def told(files: Kept) -> str:
    """What the agent is told: the names, for it sees none of the content."""
    lines: list[str] = []
    if files.shown:
        named = ", ".join(f"{file.name} ({file.content_type}, {len(file.data)} bytes)" for file in files.shown)
        lines.append(f"[For the person, shown beside your answer: {named}]")
    lines += [f"[Not shown to the person: {why}]" for why in files.left]
    return "\n".join(lines)


def _plain(file: File) -> File:
    if not isinstance(file.data, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError("a file's data must be bytes")
    name = PurePosixPath(storable(file.name).replace("\\", "/")).name
    name = "".join(c for c in name if c.isprintable()).strip() or "file"
    stem, dot, suffix = name.rpartition(".")
    if len(name) > LONGEST_NAME:
        name = f"{stem[: LONGEST_NAME - len(suffix) - 1]}.{suffix}" if dot and len(suffix) < 20 else name[:LONGEST_NAME]
    kind = file.content_type or mimetypes.guess_type(name)[0] or _UNKNOWN
    return File(name, kind, bytes(file.data))
