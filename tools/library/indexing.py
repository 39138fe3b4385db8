"""Keeps the index like the folder, in a thread of its own: at the start, and every minute from then on."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tools.library.folder import Contents, Seen, contents
from tools.library.index import Index, Kept
from tools.library.worker import Reading, Worker

log = logging.getLogger("threadkeeper.tools.knowledge")

PAUSE = 60.0
"""Seconds between two looks at the folder."""
RACY = 2_000_000_000
"""Nanoseconds: a file that was changed so shortly before it was read may change again without a new time."""


@dataclass(slots=True)
class Progress:
    """How far it is, for those who search meanwhile."""

    done: int = 0
    files: int = 0


class Indexing:
    """The folder's reader. It never raises: what goes wrong is named in the log once, and tried again.

    `first_look` is set once the folder was looked at, whatever came of it.
    """

    def __init__(self, root: Path, index: Index, worker: Worker | None = None, pause: float = PAUSE) -> None:
        self.progress = Progress()
        self.first_look = threading.Event()
        self._root = root
        self._index = index
        self._worker = worker or Worker()
        self._pause = pause
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._named: set[str] = set()
        self._outage = ""

    def start(self) -> None:
        """Begin, in a thread that does not keep the process from ending."""
        self._thread = threading.Thread(target=self._run, name="knowledge", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End it, waiting at most so long. Blocks."""
        self._stop.set()
        self._worker.stop()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self.first_look.set()
            self._stop.wait(self._pause)

    def look(self) -> bool:
        """Bring the index to what the folder holds now; False where another process is at it, or it cannot be done."""
        try:
            if not self._index.begin(self._owner, str(self._root)):
                return False
            whole = False
            try:
                with self._worker:
                    whole = self._brought_up()
            finally:
                self._index.end(self._owner, whole=whole)
        except OSError as error:
            return self._failed(f"the folder cannot be looked into ({type(error).__name__}); what was read is kept")
        except sqlite3.Error as error:
            return self._failed(self._mended(error))
        except Exception as error:  # the next look may find a better world; a thread that died never looks again
            return self._failed(f"the folder could not be read to its end ({type(error).__name__})")
        self._outage = ""
        return True

    def _brought_up(self) -> bool:
        found, kept = contents(self._root), self._index.kept()
        self.progress.done, self.progress.files = 0, len(found.files)
        for folder in found.unseen:
            self._name(f"{folder} cannot be looked into")
        if found.too_many:
            self._name(f"there are more than {len(found.files)} files; the others are not read")
        changes = 0
        for seen in found.files.values():
            if self._stop.is_set():
                return False
            changes += self._file(seen, kept.get(seen.path))
            self.progress.done += 1
        changes += self._gone(found, kept)
        if changes:
            log.info("knowledge: %d files can be searched, %d of them are new or changed", self._index.count(), changes)
        return True

    def _gone(self, found: Contents, kept: Mapping[str, Kept]) -> int:
        gone = [path for path in kept if path not in found.files and not found.may_hold(path)]
        for path in gone:
            self._index.drop(path)
        return len(gone)

    def _file(self, seen: Seen, kept: Kept | None) -> bool:
        """Read a file where it is not known as it is; whether something changed."""
        if kept is not None and (kept.size, kept.changed) == (seen.size, seen.changed):
            return False
        self._index.begin(self._owner, str(self._root))  # one file never takes as long as this lasts
        if seen.problem:
            reading = Reading("", None, seen.problem)
        else:
            reading = self._worker.read(self._root / seen.path, seen.path, kept.hash if kept else "")
        if self._stop.is_set():
            return False
        if reading.problem and (kept is None or kept.problem != reading.problem):
            log.warning("knowledge: %s is left out: %s", seen.path, reading.problem)
        new = Kept(seen.path, seen.size, seen.changed, reading.hash, reading.problem)
        if abs(time.time_ns() - seen.changed) < RACY:
            new = replace(new, changed=0)
        same = kept is not None and reading.passages is None and not reading.problem
        if same and kept is not None:
            new = replace(new, problem=kept.problem)
        self._index.keep(new, None if same else reading.passages or ())
        return not same

    def _mended(self, error: sqlite3.Error) -> str:
        """What is wrong with the index, after what can be done about it."""
        if type(error) is not sqlite3.DatabaseError:  # its subclasses say that something else is wrong
            return f"its index cannot be used ({type(error).__name__}); KNOWLEDGE_INDEX says where it lies"
        self._index.discard()
        return "its index was broken, and is made anew"

    def _failed(self, problem: str) -> bool:
        """Name what ended a look, once for as long as it lasts."""
        if problem != self._outage:
            log.warning("knowledge: %s", problem)
        self._outage = problem
        return False

    def _name(self, problem: str) -> None:
        if problem not in self._named:
            self._named.add(problem)
            log.warning("knowledge: %s", problem)
