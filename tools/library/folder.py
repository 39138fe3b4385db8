"""What lies in the folder now: files of the forms that are read, and never anything outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MOST_FILES = 20_000
MOST_BYTES = 50 * 1024 * 1024
DEEPEST_FOLDER = 32
SUFFIXES = frozenset({".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".docx"})
"""The forms that are read, by the ends of their names."""
OLD_FORMS = frozenset({".doc", ".rtf", ".odt"})
"""Documents, too, but of forms that are not read: people will wonder why they are not found."""
_OUTSIDE = "it is a link that leads out of the folder"


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it lies there. `path` is relative, with slashes; `problem` says why it is not to be read."""

    path: str
    size: int
    changed: int
    problem: str = ""


@dataclass(slots=True)
class Contents:
    """The folder's files by their paths. `unseen`: what is in it and could not be looked at."""

    files: dict[str, Seen] = field(default_factory=dict[str, Seen])
    unseen: list[str] = field(default_factory=list[str])
    too_many: bool = False

    def may_hold(self, path: str) -> bool:
        """Whether a file that was not seen may still be there."""
        return self.too_many or any(f"{path}/".startswith(f"{folder}/") for folder in self.unseen)


def contents(root: Path) -> Contents:
    """Look at the whole folder. Hidden files and folders are left out, and links that lead out of it are named.

    Raises:
        OSError: the folder itself cannot be looked into.
    """
    found = Contents()
    with os.scandir(root):
        pass
    for seen in _walk(root, root.resolve(), PurePosixPath(), found):
        if len(found.files) >= MOST_FILES:
            found.too_many = True
            break
        found.files[seen.path] = seen
    return found


def _walk(root: Path, real: Path, place: PurePosixPath, found: Contents) -> Iterator[Seen]:
    try:
        with os.scandir(root / place) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.unseen.append(str(place))
        return
    for entry in here:
        path = place / entry.name
        if entry.name.startswith((".", "~$")):  # the latter is how Word locks a file that is open
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                if len(path.parts) < DEEPEST_FOLDER:
                    yield from _walk(root, real, path, found)
            elif entry.is_symlink() and entry.is_dir():
                if not _within(entry, real):
                    yield Seen(str(path), 0, 0, _OUTSIDE)
            elif path.suffix.lower() in SUFFIXES | OLD_FORMS:
                yield from _file(entry, real, path)
        except FileNotFoundError:  # it went away meanwhile, or is a link to nothing
            continue
        except OSError:
            found.unseen.append(str(path))


def _within(entry: os.DirEntry[str], real: Path) -> Path | None:
    """Where in the folder a link leads; None where it leads out of it."""
    try:
        target = Path(entry.path).resolve()
    except RuntimeError:  # a link to itself
        return None
    return target.relative_to(real) if target.is_relative_to(real) else None


def _file(entry: os.DirEntry[str], real: Path, path: PurePosixPath) -> Iterator[Seen]:
    problem = ""
    if entry.is_symlink():
        target = _within(entry, real)
        if target is None:
            yield Seen(str(path), 0, 0, _OUTSIDE)
            return
        if not any(part.startswith(".") for part in target.parts):
            return  # it is found where it lies; files of a mounted ConfigMap are links to a hidden folder
    info = entry.stat()
    if not stat.S_ISREG(info.st_mode):
        return
    if path.suffix.lower() in OLD_FORMS:
        problem = "files of this form are not read; save it as .docx or .pdf"
    elif info.st_size > MOST_BYTES:
        problem = f"it is larger than {MOST_BYTES >> 20} MB"
    # A name that is no UTF-8 could be kept nowhere.
    name = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if name != str(path):
        problem = "its name is no UTF-8"
    yield Seen(name, info.st_size, info.st_mtime_ns, problem)
