"""Reads files in a process of its own: one that swells or hangs takes only that process with it.

A line of JSON in, `[path, name, known hash]`; lines out: the hash, each passage as `[heading, page, body]`, and at the
end `["problem"]`, empty where all is well. Nothing of a file's content is in a problem.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from typing import IO, Any

from tools.library.folder import MOST_BYTES
from tools.library.passages import Unreadable
from tools.library.reader import read

try:
    import resource
except ImportError:  # Windows has none: the time of a file is bounded there, its memory is not
    resource = None

MEMORY = 1024 * 1024 * 1024
"""Bytes of address space, of which Python and its libraries take a fifth."""


def serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Read files until there are no more orders."""
    for order in orders:
        path, name, known = json.loads(order)
        for line in _answers(path, name, known):
            answers.write(json.dumps(line).encode() + b"\n")
        answers.flush()


def _answers(path: str, name: str, known: str) -> list[list[Any]]:
    told: list[list[Any]] = []
    try:
        data = _content(path)
        told.append([hashlib.sha256(data).hexdigest()])
        if told[0][0] != known:
            told += [[one.heading, one.page, one.body] for one in read(name, data)]
        return [*told, [""]]
    except Unreadable as error:
        return [*told[:1], [str(error)]]
    except (MemoryError, RecursionError):
        return [*told[:1], ["it needs too much memory"]]
    except OSError:
        return [*told[:1], ["it cannot be opened"]]
    except Exception as error:
        return [*told[:1], [f"it cannot be read ({type(error).__name__})"]]


def _content(path: str) -> bytes:
    # Not blocking, should a pipe have taken the file's place.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Unreadable(f"it is larger than {MOST_BYTES >> 20} MB")
    return data


def bound() -> None:
    """Bound this process's memory, and let others go first."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.nice(10)
    if resource is not None:
        for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    bound()
    serve(sys.stdin.buffer, sys.stdout.buffer)
