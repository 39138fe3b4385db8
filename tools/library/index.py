"""The passages of a folder in one SQLite file, searched by its full-text index (FTS5)."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.library.passages import Passage
from tools.library.words import Term, all_of, any_of, folded, terms

VERSION = 1
"""Of the tables. A file of another version is filled anew: all that stands in it stands in the folder."""
MOST_PASSAGES = 1 << 20
"""Of one file; a passage's number is its file's, and its own behind that."""
BUSY = 10.0
"""Seconds to wait for another process that writes."""
LEASE = 60.0
"""Seconds after which a process that died while it read the folder is followed by another."""
COMMON = 0.5
"""A word that stands in a greater share of the passages tells them not apart."""
FEW = 20
"""Of so few passages no word is common."""
MOST_NEAR = 20
LEAST_WITHIN = 4
"""Letters of a word that is looked for within others."""

_TABLES = """
CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    hash TEXT NOT NULL, problem TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, heading TEXT NOT NULL, page INTEGER NOT NULL, body TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (path, heading, body,
    tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Co Mn Mc'");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, row);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL, until REAL NOT NULL DEFAULT 0);
"""
_FOUND = """
SELECT files.path, passages.heading, passages.page, passages.body
FROM words JOIN passages ON passages.id = words.rowid JOIN files ON files.id = words.rowid / :most
WHERE words MATCH :match ORDER BY bm25(words, 2.0, 3.0, 1.0), words.rowid LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it was when it was read. `changed` in nanoseconds since the epoch; `problem`: why it gave nothing."""

    path: str
    size: int
    changed: int
    hash: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, and where it stands."""

    path: str
    passage: Passage


class Index:
    """One file, opened anew for each use, so that any thread may ask. All methods may raise `sqlite3.Error`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextlib.contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        connection = sqlite3.connect(self._file, timeout=BUSY, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            _prepare(connection)
            yield connection
        finally:
            connection.close()

    def discard(self) -> None:
        """Let go of a file that is broken: the folder fills the next one."""
        for end in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + end).unlink(missing_ok=True)

    def begin(self, owner: str, root: str) -> bool:
        """Take the right to read the folder, or keep it, for `LEASE` seconds; False while another process has it."""
        now = time.time()  # of several processes, so not the monotonic one
        with self._opened() as connection, _writing(connection):
            for (value,) in connection.execute("SELECT value FROM state WHERE name = 'reader' AND until > ?", [now]):
                if value != owner:
                    return False
            _say(connection, "reader", owner, now + LEASE)
            if _said(connection, "root") != root:  # another folder than before
                connection.execute("DELETE FROM words")
                connection.execute("DELETE FROM passages")
                connection.execute("DELETE FROM files")
                _say(connection, "root", root)
                _say(connection, "whole", "")
        return True

    def end(self, owner: str, *, whole: bool) -> None:
        """Give that right back. `whole`: all of the folder was looked at."""
        with self._opened() as connection, _writing(connection):
            connection.execute("DELETE FROM state WHERE name = 'reader' AND value = ?", [owner])
            if whole:
                _say(connection, "whole", "1")

    def kept(self) -> Mapping[str, Kept]:
        """Every file that is known, by its path."""
        with self._opened() as connection:
            rows = connection.execute("SELECT path, size, changed, hash, problem FROM files")
            return {row[0]: Kept(*row) for row in rows}

    def keep(self, file: Kept, passages: Sequence[Passage] | None) -> None:
        """Put a file's passages in the place of its earlier ones; None leaves those as they are."""
        with self._opened() as connection, _writing(connection):
            [number] = connection.execute(
                "INSERT INTO files (path, size, changed, hash, problem) VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO "
                "UPDATE SET (size, changed, hash, problem) = (excluded.size, excluded.changed, excluded.hash, "
                "excluded.problem) RETURNING id",
                [file.path, file.size, file.changed, file.hash, file.problem],
            ).fetchone()
            if passages is None:
                return
            _clear(connection, number)
            name = folded(file.path.replace("/", " / "))
            for at, one in enumerate(passages[:MOST_PASSAGES], number * MOST_PASSAGES):
                connection.execute("INSERT INTO passages VALUES (?, ?, ?, ?)", [at, one.heading, one.page, one.body])
                connection.execute(
                    "INSERT INTO words (rowid, path, heading, body) VALUES (?, ?, ?, ?)",
                    [at, name, folded(one.heading), folded(one.body)],
                )

    def drop(self, path: str) -> None:
        """A file is no longer there."""
        with self._opened() as connection, _writing(connection):
            for (number,) in connection.execute("DELETE FROM files WHERE path = ? RETURNING id", [path]).fetchall():
                _clear(connection, number)

    def whole(self) -> bool:
        """Whether all of the folder was looked at since it was first named."""
        with self._opened() as connection:
            return bool(_said(connection, "whole"))

    def count(self) -> int:
        """How many files can be searched."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM files WHERE problem = ''").fetchone()[0])

    def search(self, text: str, most: int) -> list[Hit]:
        """The best passages for these words, each text once: first those that hold all words, then those with one."""
        found: dict[str, Hit] = {}
        with self._opened() as connection:
            wanted = _telling(connection, terms(text))
            for match in dict.fromkeys([all_of(wanted), any_of(wanted)] if wanted else []):
                given = {"match": match, "most": MOST_PASSAGES, "limit": most * 2}
                for path, heading, page, body in connection.execute(_FOUND, given):
                    found.setdefault(body, Hit(path, Passage(body, heading, page)))
                if len(found) >= most:
                    break
        return list(found.values())[:most]


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, where nobody has yet."""
    until = time.monotonic() + BUSY
    while connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # it stays so, and readers do not wait for who writes
            _make(connection)
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)  # several who begin at once: a change of the journal does not wait for its turn


def _make(connection: sqlite3.Connection) -> None:
    with _writing(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:  # another process was first
            return
        for table in ("vocabulary", "words", "passages", "files", "state"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def _writing(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _clear(connection: sqlite3.Connection, number: int) -> None:
    first, last = number * MOST_PASSAGES, (number + 1) * MOST_PASSAGES - 1
    connection.execute("DELETE FROM words WHERE rowid BETWEEN ? AND ?", [first, last])
    connection.execute("DELETE FROM passages WHERE id BETWEEN ? AND ?", [first, last])


def _say(connection: sqlite3.Connection, name: str, value: str, until: float = 0) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", [name, value, until])


def _said(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM state WHERE name = ?", [name]).fetchone()
    return row[0] if row else ""


def _telling(connection: sqlite3.Connection, wanted: Sequence[Term]) -> list[Term]:
    """The terms that tell passages apart; one that begins no word is looked for within words, as in a compound."""
    passages = int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])
    telling: list[Term] = []
    for one in wanted:
        row = connection.execute("SELECT doc FROM vocabulary WHERE term = ?", [one.text]).fetchone()
        if not (row and passages > FEW and row[0] > passages * COMMON):
            telling.append(one)
    return _within(connection, telling or list(wanted))


def _within(connection: sqlite3.Connection, wanted: Sequence[Term]) -> list[Term]:
    begins = "SELECT 1 FROM vocabulary WHERE term BETWEEN ? AND ? LIMIT 1"
    strange = [
        one.text
        for one in wanted
        if " " not in one.text
        and len(one.text) >= LEAST_WITHIN
        and not connection.execute(begins, [one.text, one.text + "\U0010ffff"]).fetchone()
    ]
    if not strange:
        return list(wanted)
    # Once for all of them: every word that there is must be looked at.
    found = connection.execute(
        f"SELECT term FROM vocabulary WHERE {' OR '.join(['instr(term, ?)'] * len(strange))} ORDER BY doc DESC",  # noqa: S608
        strange,
    )
    words = [word for (word,) in found]
    near = {text: tuple(word for word in words if text in word)[:MOST_NEAR] for text in strange}
    return [replace(one, near=near.get(one.text, ())) for one in wanted]
