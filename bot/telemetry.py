"""Events as log lines: one JSON object a line, under the turn's reference; never what was said, never a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TextIO

from bot.events import Event, LeaseLost, RunLooked, TurnReleased, TurnStarted, Unexpected

log = logging.getLogger("threadkeeper")

_reference: ContextVar[str] = ContextVar("reference", default="")
"""The turn that this task handles: each turn runs in a task of its own, which tells of its start."""

_WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LEVELS: dict[type[Event], int] = {
    RunLooked: logging.DEBUG,
    TurnReleased: logging.WARNING,
    LeaseLost: logging.WARNING,
    Unexpected: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write an event to the log. The lane, which names a person, is left out: the reference leads to it."""
    if isinstance(event, TurnStarted):
        _reference.set(event.reference)
    level = _LEVELS.get(type(event), logging.INFO)
    if not log.isEnabledFor(level):
        return
    name = _WORD_BORDER.sub("_", type(event).__name__).lower()
    fields = {key: _legible(value) for key, value in asdict(event).items() if key != "lane" and value is not None}
    log.log(level, name, extra={"event": fields})


def _legible(value: object) -> object:
    """A value of an event; seconds to the millisecond, as the time of the line."""
    return round(value, 3) if isinstance(value, float) else value


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Of an exception: its type and where, not its text, which may quote."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if reference := _reference.get():
            line["reference"] = reference
        line |= getattr(record, "event", {})
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            frames = traceback.extract_tb(trace)
            line["exception"] = kind.__name__
            line["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send our log lines, and the warnings of libraries, to a stream (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(level)
