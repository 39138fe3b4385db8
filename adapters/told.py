"""How a fault of somebody's code is told to who runs the bot: in one line, without what the code read."""

from __future__ import annotations

import importlib.metadata
import re
import traceback

_TELLING = (NameError, SyntaxError, ImportError, AttributeError, TypeError)
"""Errors whose text is about the code. That of others may hold what the code reads: a key, an address."""
_SHOWN_TEXT = 200


def source_of(point: importlib.metadata.EntryPoint) -> str:
    """Where something of an installed package comes from, as it is named in lists and problems."""
    return f"package {point.dist.name if point.dist else '?'}, entry point {point.name}"


def told(error: BaseException, file: str) -> str:
    """The error in one line: its kind, the line of the file, and its text where that is about the code."""
    line: int | None = None
    for frame in traceback.extract_tb(error.__traceback__):
        line = frame.lineno if frame.filename == file else line
    text = str(error) if isinstance(error, _TELLING) else ""
    if isinstance(error, SyntaxError):
        line, text = error.lineno if error.filename == file else line, error.msg
    elif isinstance(error, ImportError):
        text = re.sub(r" \([^()]*\)$", "", error.msg)  # Python adds the path of the file it looked in
    said = type(error).__name__ + (f" at line {line}" if line else "")
    text = " ".join(text.split())[:_SHOWN_TEXT]
    return f"{said}: {text}" if text else said
