"""What is read of a document: its words, its headings, its pages; and what is refused, in words that quote nothing."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.papers import paragraph, pdf, style, word
from tools.library import child, word_file
from tools.library.passages import MOST_CHARACTERS, PASSAGE, Passage, Piece, Unreadable, passages
from tools.library.reader import READERS, read
from tools.library.worker import Worker


def told(name: str, data: bytes | str) -> list[tuple[str, int, str]]:
    found = read(name, data.encode() if isinstance(data, str) else data)
    return [(one.heading, one.page, one.body) for one in found]


# -- text and Markdown ----------------------------------------------------------------------------------------


def test_markdown_is_read_below_its_headings():
    text = """---
title: settings of a tool
---
Before all.

# Leave **of all kinds** #

Everyone has leave.
On two lines.

Parental [leave](https://example.com/x)
----------------

```sh
# no heading
```

### Deeper

- a list
## Sick

Call us.
"""
    assert told("a.md", text) == [
        ("", 0, "Before all."),
        ("Leave of all kinds", 0, "Everyone has leave.\nOn two lines."),
        ("Leave of all kinds > Parental leave", 0, "```sh\n# no heading\n```"),
        ("Leave of all kinds > Parental leave > Deeper", 0, "- a list"),
        ("Leave of all kinds > Sick", 0, "Call us."),
    ]


@pytest.mark.parametrize(
    "data",
    [
        "Grüße an alle".encode(),
        b"\xef\xbb\xbf" + "Grüße an alle".encode(),
        "Grüße an alle".encode("utf-16"),
        "Grüße an alle".encode("utf-32"),
        "Grüße an alle".encode("cp1252"),
    ],
)
def test_a_text_is_read_in_whatever_it_was_written(data: bytes):
    assert told("a.txt", data) == [("", 0, "Grüße an alle")]


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"\0\1\2"])
def test_a_file_without_text_is_refused(data: bytes):
    with pytest.raises(Unreadable, match=r"^it is (empty|no text)$"):
        read("a.txt", data)


# -- HTML -----------------------------------------------------------------------------------------------------


def test_html_is_what_a_reader_sees():
    page = """<!doctype html><html><head><title>T</title><style>p { color: red }</style>
    <script>alert("stolen") </script></head><body><nav>Home</nav>
    <h1>Leave &amp; <b>pay</b></h1><p>Everyone <i>has</i>
    leave.<script src=x></script><br>Two lines.</p>
    <h2>Table</h2><table><tr><th>Kind</th><th>Days</th></tr><tr><td>sick</td><td>10</td></tr></table>
    <pre>a  b
  c</pre><noscript>none</noscript><template><p>hidden</p></template><svg><text>drawn</text></svg></body></html>"""
    assert told("a.html", page) == [
        ("", 0, "Home"),
        ("Leave & pay", 0, "Everyone has leave.\nTwo lines."),
        ("Leave & pay > Table", 0, "Kind | Days\n\nsick | 10\n\na  b\n  c"),
    ]


def test_html_says_its_own_encoding():
    page = '<meta charset="iso-8859-2"><p>Łódź</p>'.encode("iso-8859-2")
    assert told("a.htm", page) == [("", 0, "Łódź")]
    assert told("a.htm", b'<meta charset="no-such"><p>plain</p>') == [("", 0, "plain")]


# -- Word -----------------------------------------------------------------------------------------------------


def test_word_is_read_below_its_headings_whatever_they_are_called():
    styles = style("berschrift1", "heading 1") + style("Eigene", "Unser Kapitel", level=1) + style("T", "Title")
    body = (
        paragraph("Handbook", "T")
        + paragraph("Leave", "berschrift1")
        + paragraph("Everyone has leave.")
        + paragraph("Parental", "Eigene")
        + "<w:p><w:r><w:t>Twelve</w:t><w:tab/><w:t>weeks</w:t><w:br/><w:t>paid</w:t></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
        "<w:tbl><w:tr><w:tc>"
        + paragraph("a")
        + paragraph("b")
        + "</w:tc><w:tc>"
        + paragraph("c")
        + "</w:tc></w:tr></w:tbl>"
    )
    assert told("a.docx", word(body, styles)) == [
        ("Leave", 0, "Everyone has leave."),
        ("Leave > Parental", 0, "Twelve\tweeks\npaid\n\na b | c"),
    ]


def test_a_text_box_is_read_once():
    box = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    choice = '<mc:Both xmlns:mc="m"><mc:Choice>{0}</mc:Choice><mc:Fallback>{0}</mc:Fallback></mc:Both>'
    body = f"<w:p><w:r><w:t>before </w:t>{choice.format(box)}<w:t>after</w:t></w:r></w:p>"
    assert told("a.docx", word(body)) == [("", 0, "before boxed\nafter")]


def test_the_strict_form_and_another_main_part_are_read():
    strict = "http://purl.oclc.org/ooxml/wordprocessingml/main"
    assert told("a.docx", word(paragraph("strict"), main="word/document2.xml", namespace=strict)) == [("", 0, "strict")]


def test_a_word_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(word_file, "MOST_XML", 1_000_000)
    bomb = word(paragraph("x") * 2 + f"<w:p><w:r><w:t>{'a' * 3_000_000}</w:t></w:r></w:p>")
    assert len(bomb) < 10_000
    with pytest.raises(Unreadable, match="unpacks to more"):
        read("a.docx", bomb)


def archive(*parts: tuple[str, str]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as out:
        for name, text in parts:
            out.writestr(name, text)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "encrypted, or of the old format"),
        (b"PK\3\4 broken", "no Word file, or broken"),
        (archive(("a.txt", "x")), "no Word file, or broken"),
        (archive(("_rels/.rels", "<a/>"), ("word/document.xml", "<w:p")), "its text is broken"),
        (archive(("_rels/.rels", '<!DOCTYPE a [<!ENTITY b "c">]><a/>')), "what no Word file has"),
        (archive(*[(f"{n}", "") for n in range(10_001)]), "too many parts"),
    ],
)
def test_a_broken_word_file_is_refused(data: bytes, why: str):
    with pytest.raises(Unreadable, match=why):
        read("a.docx", data)


# -- PDF ------------------------------------------------------------------------------------------------------


def test_a_pdf_is_read_by_pages_below_its_bookmarks():
    data = pdf(["Welcome", "Eltern-\nzeit is twelve\nweeks.", "Sick"], [("Handbook", 1), ("Leave", 2)])
    assert told("a.pdf", data) == [
        ("Handbook", 1, "Welcome"),
        ("Handbook > Leave", 2, "Elternzeit is twelve\nweeks."),
        ("Handbook > Leave", 3, "Sick"),
    ]


def test_a_pdf_that_opens_without_a_password_is_read_and_another_is_refused():
    with pytest.raises(Unreadable, match="it is encrypted"):
        read("a.pdf", pdf(["secret"], password="x"))


@pytest.mark.parametrize(
    ("data", "why"), [(b"%PDF-1.7 broken", "no PDF, or broken"), (b"", "no PDF"), (pdf([""]), "its pages are pictures")]
)
def test_a_broken_pdf_is_refused(data: bytes, why: str):
    with pytest.raises(Unreadable, match=why):
        read("a.pdf", data)


# -- passages -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(max_size=3000), st.sampled_from([(), ("a",), ("a", "b")]), st.integers(0, 2))))
def test_passages_are_bounded_and_lose_no_word(given: list[tuple[str, tuple[str, ...], int]]):
    found = list(passages(Piece(*one) for one in given))
    assert all(0 < len(one.body) <= PASSAGE * 1.1 for one in found)
    kept = "".join("".join(one.body.split()) for one in found)
    assert kept == "".join("".join(text.split()) for text, _, _ in given)


def test_a_passage_ends_at_a_sentence():
    text = "This is a sentence of some length. " * 100
    assert all(one.body.endswith(".") for one in passages([Piece(text)]))


def test_what_stands_behind_too_much_is_left_out():
    pieces = [Piece("a" * 1_000_000)] * 7
    assert sum(len(one.body) for one in passages(pieces)) == MOST_CHARACTERS


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(suffix: str, data: bytes):
    with contextlib.suppress(Unreadable):
        assert read(f"a{suffix}", data)


# -- the process that reads -----------------------------------------------------------------------------------


def answers(*orders: tuple[Path, str]) -> list[list[object]]:
    out = io.BytesIO()
    child.serve(io.BytesIO(b"\n".join(json.dumps([str(p), p.name, known]).encode() for p, known in orders)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_orders_are_answered_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good, bad = tmp_path / "a.md", tmp_path / "b.pdf"
    good.write_text("# H\n\nwords")
    bad.write_bytes(b"nothing")
    [digest, passage, end, *rest] = answers((good, ""), (bad, ""), (tmp_path / "none.txt", ""))
    assert (passage, end) == (["H", 0, "words"], [""])
    assert rest[1:] == [["it is no PDF, or broken"], ["it cannot be opened"]]
    assert answers((good, str(digest[0]))) == [digest, [""]]
    monkeypatch.setattr(child, "read", lambda name, data: 1 / 0)
    assert answers((good, ""))[1:] == [["it cannot be read (ZeroDivisionError)"]]


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Processes of ours, in the place of which a slow one and one that dies stand."""
    file = tmp_path / "a.txt"
    file.write_text("words")
    with Worker() as worker:
        read_one = worker.read(file, "a.txt", "")
        assert (read_one.passages, read_one.problem) == ([Passage("words")], "")
        assert worker.read(file, "a.txt", read_one.hash).passages is None
    monkeypatch.setattr("tools.library.worker._HOME", tmp_path)
    (tmp_path / "slow.py").write_text("import sys\nfor line in sys.stdin: pass")
    with Worker(0.3, "slow") as worker:
        assert "longer than 0.3 s" in worker.read(file, "a.txt", "").problem
    (tmp_path / "dies.py").write_text("import sys\nsys.stdin.readline()\nprint('[\"' + 'a' * 64 + '\"]', flush=True)")
    with Worker(30, "dies") as worker:
        assert worker.read(file, "a.txt", "").problem == "reading it needs too much"
        worker.stop()
        assert worker.read(file, "a.txt", "").problem == "the bot is stopping"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows bounds no memory of a process")
def test_a_file_that_needs_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.library.worker._HOME", tmp_path)
    home = Path(child.__file__).parent.parent.parent
    (tmp_path / "greedy.py").write_text(
        f"import sys; sys.path.insert(0, {str(home)!r})\n"
        "from tools.library import child\n"
        "child.read = lambda name, data: bytearray(8 << 30)\n"
        "child.bound()\nchild.serve(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    file = tmp_path / "a.txt"
    file.write_text("words")
    with Worker(30, "greedy") as worker:
        assert worker.read(file, "a.txt", "").problem == "it needs too much memory"
