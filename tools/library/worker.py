"""The process that reads files, seen from here: started when there is something to read, killed when it takes long."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.library.passages import Passage

SECONDS = 30.0
"""Of one file."""
LONGEST_LINE = 1024 * 1024
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP")
"""Variables that it sees. What reads strangers' files is told no secret."""
_HOME = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file came to. `passages` is None where its content is as it was."""

    hash: str
    passages: list[Passage] | None
    problem: str = ""


class Worker:
    """One process at a time, used by one thread at a time. Another thread may `stop` it."""

    def __init__(self, seconds: float = SECONDS, module: str = "tools.library.child") -> None:
        self._seconds = seconds
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def read(self, file: Path, name: str, known: str) -> Reading:
        """Read a file, which takes `SECONDS` at most; `known` is the hash of what is known of it."""
        process = self._running()
        if process is None or process.stdin is None or process.stdout is None:
            return Reading("", None, "the bot is stopping")
        late = threading.Event()
        timer = threading.Timer(self._seconds, lambda: (late.set(), process.kill()))
        timer.start()
        lines: list[list[str | int]] = []
        try:
            process.stdin.write(json.dumps([str(file), name, known]).encode() + b"\n")
            process.stdin.flush()
            lines += _lines(process.stdout)
        except (OSError, ValueError):
            pass
        finally:
            timer.cancel()
        if not _is_whole(lines):
            self.close()
            why = f"reading it takes longer than {self._seconds:g} s" if late.is_set() else "reading it needs too much"
            return Reading("", None, why)
        return _reading(lines)

    def _running(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopped:
                return None
            if self._process is None:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", self._module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # what it would say there may quote a file
                    cwd=_HOME,
                    env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                )
            return self._process

    def stop(self) -> None:
        """End the process at once, and start no other."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process; the next file starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lines(answers: Iterator[bytes]) -> Iterator[list[str | int]]:
    """The lines of one file: the hash, where it could be opened, the passages, and the problem."""
    first = True
    for line in answers:
        if len(line) > LONGEST_LINE:
            return
        told: list[str | int] = json.loads(line)
        yield told
        if len(told) == 1 and not (first and _is_hash(told[0])):
            return
        first = False


def _is_whole(lines: list[list[str | int]]) -> bool:
    return bool(lines) and len(lines[-1]) == 1 and (len(lines) > 1 or not _is_hash(lines[0][0]))


def _is_hash(told: object) -> bool:
    return isinstance(told, str) and len(told) == 64 and " " not in told


def _reading(lines: list[list[str | int]]) -> Reading:
    hashed = str(lines[0][0]) if _is_hash(lines[0][0]) else ""
    problem = str(lines[-1][0])
    found = [Passage(str(body), str(heading), int(page)) for heading, page, body in lines[1:-1]]
    return Reading(hashed, found or None, problem)
