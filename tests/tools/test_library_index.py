"""Finding passages: any text is a safe query, in any language; the index follows the folder, whoever else reads it."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.library import folder, index
from tools.library.folder import contents
from tools.library.index import Index, Kept
from tools.library.indexing import Indexing
from tools.library.passages import Passage, Unreadable
from tools.library.reader import READERS, read
from tools.library.words import folded, terms
from tools.library.worker import Reading, Worker

TEXTS = {
    "de.md": "Der Urlaubsantrag wird in der Straße 5 bei Frau Müller gestellt.",
    "en.md": "Parental leave takes twelve weeks. Ask for leave early.",
    "leave.md": "Whoever is sick stays at home and calls.",
    "fr.md": "Les congés payés sont à demander à l'hôtel.",
    "ja.md": "有給休暇は人事部に申請してください。",
    "th.md": "พนักงานลาป่วยได้สามสิบวัน",
    "ko.md": "연차 휴가는 인사팀에 신청합니다.",
    "hi.md": "कर्मचारी छुट्टी के लिए आवेदन करें।",
    "ru.md": "Отпуск оформляется в отделе кадров.",
    "ar.md": "يمكن للموظف طلب إجازة",
    "net.md": "The wi-fi of the office is called GUEST-2, error 0x80070005.",
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = Index(tmp_path_factory.mktemp("index") / "k.db")
    for path, text in TEXTS.items():
        made.keep(Kept(path, 1, 1), [Passage(text)])
    return made


# -- finding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("parental leave", "en.md"),
        ("PARENTAL", "en.md"),
        ("paren", "en.md"),
        ("sick leave", "leave.md"),
        ("Urlaub", "de.md"),
        ("Antrag", "de.md"),
        ("Strasse", "de.md"),
        ("muller", "de.md"),
        ("conges payes", "fr.md"),
        ("hotel", "fr.md"),
        ("休暇", "ja.md"),
        ("休", "ja.md"),
        ("申請してください", "ja.md"),
        ("ลาป่วย", "th.md"),
        ("휴가", "ko.md"),
        ("छुट्टी", "hi.md"),
        ("отпуск", "ru.md"),
        ("إِجَازَة", "ar.md"),
        ("wifi wi-fi", "net.md"),
        ("0x80070005", "net.md"),
        ('"twelve weeks"', "en.md"),
        ("twelve NOT weeks", "en.md"),
        ("weeks OR (", "en.md"),
        ("body:parental", "en.md"),
        ("^parental*", "en.md"),
        ("NEAR(parental leave, 2)", "en.md"),
    ],
)
def test_what_is_meant_is_found_first(filled: Index, query: str, first: str):
    assert filled.search(query, 3)[0].path == first


@pytest.mark.parametrize(
    "query", ["", "   ", "?!", '"', '""', "zzzz", "\0", "'; DROP TABLE passages; --", "- OR", "*", "😀"]
)
def test_what_is_not_there_is_not_found(filled: Index, query: str):
    assert filled.search(query, 5) == []
    assert filled.count() == len(TEXTS)


@given(st.text(max_size=200))
def test_any_text_is_a_query(filled: Index, query: str):
    assert len(filled.search(query, 5)) <= 5


@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_every_word_of_a_text_finds_it(filled: Index, path: str, data: st.DataObject):
    word = data.draw(st.sampled_from(TEXTS[path].split()))
    if terms(word):
        assert path in [hit.path for hit in filled.search(word, 10)]


@given(st.text(max_size=100))
def test_folding_is_done_once_for_all(text: str):
    assert folded(folded(text)).split() == folded(text).split() or any(ord(sign) > 0x2E80 for sign in text)


def test_a_phrase_stands_together_and_a_heading_counts_more(tmp_path: Path):
    made = Index(tmp_path / "k.db")
    made.keep(Kept("a", 1, 1), [Passage("the weeks of the twelve"), Passage("twelve weeks")])
    made.keep(
        Kept("b", 1, 1), [Passage("to ask", "Pay and bonus"), Passage("pay, as everyone knows, is paid by the month")]
    )
    assert [hit.passage.body for hit in made.search('"twelve weeks"', 5)] == ["twelve weeks"]
    assert made.search("bonus pay", 5)[0].passage.body == "to ask"


def test_a_word_that_is_everywhere_does_not_decide(tmp_path: Path):
    made = Index(tmp_path / "k.db")
    made.keep(Kept("a", 1, 1), [Passage(f"the the the house number {n}") for n in range(50)])
    made.keep(Kept("b", 1, 1), [Passage("the boiler")])
    assert made.search("where is the boiler", 1)[0].path == "b"
    assert len(made.search("the", 60)) == 51


def test_the_same_words_of_two_files_are_given_once(tmp_path: Path):
    made = Index(tmp_path / "k.db")
    for path in "abc":
        made.keep(Kept(path, 1, 1), [Passage("copied around")])
    assert len(made.search("copied", 5)) == 1


def test_every_form_that_is_looked_for_is_read():
    assert set(READERS) == folder.SUFFIXES


# -- the folder -----------------------------------------------------------------------------------------------


def seen(root: Path) -> dict[str, str]:
    return {path: one.problem for path, one in contents(root).files.items()}


def test_the_folder_is_all_that_is_looked_at(tmp_path: Path):
    root, outside = tmp_path / "k", tmp_path / "outside"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    outside.mkdir()
    for name in (
        "a.md",
        "B.PDF",
        "sub/c.docx",
        "sub/deep/d.txt",
        ".e.md",
        ".hidden/f.md",
        "~$a.docx",
        "g.exe",
        "h.doc",
    ):
        (root / name).write_text("x")
    (outside / "secret.md").write_text("secret")
    (root / "link.md").symlink_to(outside / "secret.md")
    (root / "away").symlink_to(outside)
    (root / "again.md").symlink_to(root / "a.md")
    (root / "mounted.md").symlink_to(root / ".hidden" / "f.md")
    (root / "around").symlink_to(root)
    (root / "loop.md").symlink_to(root / "loop.md")
    (root / "nothing.md").symlink_to(root / "none.md")
    os.mkfifo(root / "pipe.md")
    out = "it is a link that leads out of the folder"
    assert seen(root) == {
        "a.md": "",
        "B.PDF": "",
        "sub/c.docx": "",
        "sub/deep/d.txt": "",
        "h.doc": "files of this form are not read; save it as .docx or .pdf",
        "link.md": out,
        "away": out,
        "mounted.md": "",
    }


def test_what_is_too_large_is_named_and_too_many_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "MOST_BYTES", 3)
    monkeypatch.setattr(folder, "MOST_FILES", 2)
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text("1234")
    assert list(seen(tmp_path).values()) == ["it is larger than 0 MB"] * 2
    assert contents(tmp_path).may_hold("z.md")


# -- keeping up -----------------------------------------------------------------------------------------------


class Hand(Worker):
    """Reads in place, as the process would, and records what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def read(self, file: Path, name: str, known: str) -> Reading:
        self.asked.append(name)
        try:
            data = file.read_bytes()
            digest = str(hash(data)) + "!"
            return Reading(digest, None if digest == known else read(name, data))
        except Unreadable as error:
            return Reading(digest, None, str(error))


class Shelf:
    """A folder with its index, looked at by hand."""

    def __init__(self, place: Path) -> None:
        self.root = place / "folder"
        self.root.mkdir()
        self.file = place / "k.db"
        self.index = Index(self.file)
        self.hand = Hand()
        self.indexing = Indexing(self.root, self.index, self.hand)

    def put(self, name: str, text: str, age: float = 3600) -> None:
        (self.root / name).write_text(text)
        os.utime(self.root / name, (time.time() - age,) * 2)

    def look(self) -> list[str]:
        """Look once; which files were opened."""
        self.hand.asked.clear()
        assert self.indexing.look()
        return self.hand.asked

    def found(self, query: str) -> list[str]:
        return [hit.path for hit in self.index.search(query, 10)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_only_what_changed_is_read_again(shelf: Shelf):
    shelf.put("a.md", "first words")
    shelf.put("b.md", "other words")
    assert not shelf.index.whole()
    assert shelf.look() == ["a.md", "b.md"]
    assert shelf.index.whole()
    assert shelf.look() == []
    shelf.put("a.md", "new words!!", age=1800)
    assert shelf.look() == ["a.md"]
    assert (shelf.found("first"), shelf.found("new")) == ([], ["a.md"])
    shelf.put("a.md", "new words!!", age=900)  # touched, and the same
    assert shelf.look() == ["a.md"]
    assert shelf.look() == []
    (shelf.root / "b.md").rename(shelf.root / "c.md")
    assert shelf.look() == ["c.md"]
    assert shelf.found("other") == ["c.md"]
    (shelf.root / "a.md").unlink()
    assert shelf.look() == []
    assert shelf.found("new") == []


def test_a_file_that_was_changed_just_now_is_looked_at_again(shelf: Shelf):
    shelf.put("a.md", "old", age=0)
    assert shelf.look() == ["a.md"]
    info = (shelf.root / "a.md").stat()
    (shelf.root / "a.md").write_text("new")
    os.utime(shelf.root / "a.md", ns=(info.st_atime_ns, info.st_mtime_ns))  # within the clock's grain
    assert shelf.look() == ["a.md"]
    assert shelf.found("new") == ["a.md"]


def test_a_file_that_cannot_be_read_is_named_once(shelf: Shelf, caplog: pytest.LogCaptureFixture):
    shelf.put("a.pdf", "no pdf")
    shelf.put("b.md", "fine")
    for _ in range(3):
        shelf.look()
        os.utime(shelf.root / "a.pdf")  # so that it is opened each time
    Indexing(shelf.root, shelf.index, shelf.hand).look()
    named = [one for one in caplog.messages if "a.pdf" in one]
    assert named == ["knowledge: a.pdf is left out: it is no PDF, or broken"]
    shelf.put("a.pdf", "", age=10)
    (shelf.root / "a.pdf").unlink()
    shelf.put("a.md", "mended")
    shelf.look()
    assert shelf.index.count() == 2


def test_a_file_that_became_unreadable_is_found_no_more(shelf: Shelf):
    shelf.put("a.md", "words")
    shelf.look()
    shelf.put("a.md", "\0\1", age=60)
    shelf.look()
    assert shelf.found("words") == []


def test_a_folder_that_is_away_loses_nothing(shelf: Shelf, caplog: pytest.LogCaptureFixture):
    shelf.put("a.md", "words")
    shelf.look()
    away = shelf.root.rename(shelf.root.with_name("away"))
    assert not shelf.indexing.look()
    assert not shelf.indexing.look()
    assert shelf.found("words") == ["a.md"]
    assert [one for one in caplog.messages if "cannot be looked into" in one] == [
        "knowledge: the folder cannot be looked into (FileNotFoundError); what was read is kept"
    ]
    away.rename(shelf.root)
    assert shelf.look() == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_within_that_is_closed_loses_nothing(shelf: Shelf):
    (shelf.root / "sub").mkdir()
    shelf.put("sub/a.md", "words")
    shelf.look()
    (shelf.root / "sub").chmod(0)
    try:
        shelf.look()
    finally:
        (shelf.root / "sub").chmod(0o700)
    assert shelf.found("words") == ["sub/a.md"]


def test_two_processes_at_one_folder_read_it_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    shelf.put("a.md", "words")
    other = Indexing(shelf.root, Index(shelf.file), Hand())
    assert shelf.index.begin("somebody", str(shelf.root))
    assert not other.look()
    now = time.time()
    monkeypatch.setattr(index.time, "time", lambda: now + index.LEASE + 1)  # they died
    assert other.look()
    assert shelf.look() == []
    assert shelf.found("words") == ["a.md"]


def test_another_folder_begins_anew(shelf: Shelf, tmp_path: Path):
    shelf.put("a.md", "words")
    shelf.look()
    (tmp_path / "second").mkdir()
    Indexing(tmp_path / "second", shelf.index, Hand()).look()
    assert shelf.found("words") == []


def test_a_broken_index_is_made_anew(shelf: Shelf, caplog: pytest.LogCaptureFixture):
    shelf.put("a.md", "words")
    shelf.look()
    shelf.file.write_bytes(b"no database at all, " * 500)
    shelf.file.with_name("k.db-wal").unlink(missing_ok=True)
    assert not shelf.indexing.look()
    assert "its index was broken" in caplog.text
    assert shelf.look() == ["a.md"]
    assert shelf.found("words") == ["a.md"]


def test_an_index_of_another_version_is_made_anew(shelf: Shelf):
    shelf.put("a.md", "words")
    shelf.look()
    with sqlite3.connect(shelf.file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert shelf.found("words") == []
    assert shelf.look() == ["a.md"]


def test_an_index_that_can_lie_nowhere_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    indexing = Indexing(tmp_path, Index(tmp_path / "none" / "k.db"), Hand())
    assert not indexing.look()
    assert "its index cannot be used (OperationalError); KNOWLEDGE_INDEX says" in caplog.text


def test_a_look_that_is_stopped_is_not_whole(shelf: Shelf):
    shelf.put("a.md", "words")
    shelf.put("b.md", "words")
    read_one = shelf.hand.read

    def stop(file: Path, name: str, known: str) -> Reading:
        shelf.indexing.stop()
        return read_one(file, name, known)

    shelf.hand.read = stop  # type: ignore[method-assign]
    shelf.indexing.look()
    assert shelf.hand.asked == ["a.md"]
    assert not shelf.index.whole()


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "threadkeeper.tools.knowledge")


def test_several_who_begin_at_once_make_one_index(tmp_path: Path):
    """The journal's change does not wait for its turn, as other writes do."""
    for number in range(10):
        made, failed, gate = Index(tmp_path / f"{number}.db"), list[Exception](), threading.Barrier(4)

        def begin(index: Index = made, gate: threading.Barrier = gate, failed: list[Exception] = failed) -> None:
            gate.wait()
            try:
                index.begin("owner", "root")
            except sqlite3.Error as error:
                failed.append(error)

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
