"""What went wrong in a tool, for its author: the exception with its text, and the lines of the tool's own file."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

from bot.cli.run import err
from bot.types import storable

_OURS = Path(__file__).parents[2] / "adapters"
_NO_FRAMES = re.compile(r"^Traceback \(most recent call last\):\n(?!  File )", re.MULTILINE)


@contextmanager
def quiet(tool: str = "") -> Generator[None]:
    """Keep the log from the terminal, for a command tells all problems itself. What is said of `tool` is shown."""
    log, handler = logging.getLogger("threadkeeper"), _Of(tool)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Of(logging.Handler):
    """Shows what a service or a server is to blame for. How a call ended is told by its output."""

    def __init__(self, tool: str) -> None:
        super().__init__(logging.WARNING)
        self._shown = re.compile(rf"tool {re.escape(tool)}(:| was not called)")

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if self._shown.match(words):
            say(words)


def say(text: str) -> None:
    """To standard error, as it stands."""
    err.print(storable(text), markup=False, highlight=False, soft_wrap=True)


def told(error: BaseException, source: str) -> str:
    """The exception and what caused it, as Python tells them, less the frames of others."""
    shown = TracebackException.from_exception(error)
    left = [shown]
    for one in left:
        one.stack = StackSummary.from_list(_own(one.stack, source))
        left += [*filter(None, (one.__cause__, one.__context__)), *(one.exceptions or ())]
    return _NO_FRAMES.sub("", "".join(shown.format())).rstrip()


def _own(stack: Sequence[FrameSummary], source: str) -> list[FrameSummary]:
    """The frames of the tool's file; where none is its own, as in a package, those that follow ours."""
    files = [Path(frame.filename) for frame in stack]
    own = [frame for frame, file in zip(stack, files, strict=True) if f"{file.parent.name}/{file.name}" == source]
    ours = [number for number, file in enumerate(files) if file.parent == _OURS]
    return own or list(stack[max(ours, default=-1) + 1 :])
