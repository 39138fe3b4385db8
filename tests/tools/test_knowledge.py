"""The search of the documents, as an agent is given it; and files that say themselves which tools they have."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

from adapters.discovery import load
from adapters.toolbox import Toolbox
from tests.contracts.toolbox import CALLER, SECRET, call
from tests.tools.papers import paragraph, pdf, word
from tools import knowledge
from tools.knowledge import MOST_BYTES, NAME, Knowledge, index_file, offered, told
from tools.library.index import Hit, Kept
from tools.library.passages import Passage
from tools.library.worker import Reading


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    made.mkdir()
    (made / "leave.md").write_text("# Leave\n\n## Parental leave\n\nTwelve weeks, fully paid.")
    (made / "travel.pdf").write_bytes(pdf(["Cover", "Trains are booked by the desk."], [("Travel", 2)]))
    (made / "pay.docx").write_bytes(word(paragraph("Salaries come on the 25th.")))
    (made / "broken.pdf").write_bytes(b"nothing")
    for file in made.iterdir():
        os.utime(file, (time.time() - 3600,) * 2)
    return made


async def test_documents_are_searched_with_their_places(
    documents: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """All of it: the thread, the process that reads, the index."""
    async with Toolbox([Knowledge(documents, tmp_path / "k.db")]) as tools:
        first = await tools.call(call(NAME, query="how long is parental leave?"), CALLER)
        assert (first.error, first.output) == (
            None,
            "[leave.md, Leave > Parental leave]\nTwelve weeks, fully paid.",
        )
        train = await tools.call(call(NAME, query="train", most=1), CALLER)
        assert train.output == "[travel.pdf, page 2, Travel]\nTrains are booked by the desk."
        assert (await tools.call(call(NAME, query="salary Salaries"), CALLER)).output.startswith("[pay.docx]\n")
        nothing = await tools.call(call(NAME, query="zebra"), CALLER)
        assert nothing.output.startswith("No passage in 3 files holds any of these words.")
    assert [one for one in caplog.messages if "left out" in one] == [
        "knowledge: broken.pdf is left out: it is no PDF, or broken"
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "query: say what"),
        ({"query": " "}, "query: say what"),
        ({"query": 5}, "query: say what"),
        ({"query": "x" * 1001}, "query: at most 1000"),
        ({"query": "x", "most": 0}, "most: a whole number from 1 to 10"),
        ({"query": "x", "most": True}, "most: a whole number"),
        ({"query": "x", "page": 1}, "page: there is no such argument"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(documents: Path, tmp_path: Path, given: dict[str, object], why: str):
    tools = Toolbox([Knowledge(documents, tmp_path / "k.db")])
    output = await tools.call(call(NAME, **given), CALLER)
    assert output.error == "bad_arguments"
    assert why in output.output


async def test_null_is_what_was_left_out(documents: Path, tmp_path: Path):
    tools = Toolbox([Knowledge(documents, tmp_path / "k.db")])
    assert (await tools.call(call(NAME, query="x", most=None), CALLER)).error is None


async def test_who_searches_before_all_is_read_is_told_so(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reading, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(self: object, file: Path, name: str, known: str) -> Reading:
        if name == "pay.docx":
            loop.call_soon_threadsafe(reading.set)
            go_on.wait(30)
        return Reading("h", [Passage(f"words of {name}")])

    monkeypatch.setattr("tools.library.worker.Worker.read", slow)
    monkeypatch.setattr(knowledge, "FIRST_LOOK", 0.0)
    async with Toolbox([Knowledge(documents, tmp_path / "k.db")]) as tools:
        await asyncio.wait_for(reading.wait(), 30)
        early = (await tools.call(call(NAME, query="leave"), CALLER)).output
        go_on.set()
    assert early.startswith("The documents are still being read: 2 of 4 files are read.")
    assert "[leave.md]\nwords of leave.md" in early


async def test_an_index_that_cannot_be_used_is_told_without_its_reason(documents: Path, tmp_path: Path):
    tools = Toolbox([Knowledge(documents, tmp_path / "none" / "k.db")])
    output = await tools.call(call(NAME, query="leave"), CALLER)
    assert (output.error, output.output[:42]) == ("failed", "The documents cannot be searched now. Say ")


async def test_two_bots_at_one_folder_and_one_index_find_the_same(documents: Path, tmp_path: Path):
    file = tmp_path / "k.db"
    async with Toolbox([Knowledge(documents, file)]) as one, Toolbox([Knowledge(documents, file, pause=0.05)]) as other:
        while not Knowledge(documents, file)._index.whole():
            await asyncio.sleep(0.02)
        outputs = [(await tools.call(call(NAME, query="weeks"), CALLER)).output for tools in (one, other)]
    assert outputs == ["[leave.md, Leave > Parental leave]\nTwelve weeks, fully paid."] * 2


def test_what_is_told_fits_into_a_result():
    hits = [Hit(f"{n}.md", Passage("休" * 1200)) for n in range(10)]
    assert len(told("q", hits, 10).encode()) <= MOST_BYTES + 1000
    assert told("q", hits, 10).count(".md]") > 2


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "file"),
    [
        ({}, "threadkeeper.knowledge.db"),
        ({"DATABASE_URL": "sqlite+aiosqlite:///data/bot.db"}, "data/bot.knowledge.db"),
        ({"DATABASE_URL": "sqlite+aiosqlite:////var/bot.db?x=1"}, "/var/bot.knowledge.db"),
        ({"DATABASE_URL": "postgresql+asyncpg://u:p@host/name"}, "threadkeeper.knowledge.db"),
        ({"DATABASE_URL": "sqlite+aiosqlite:///bot.db", "KNOWLEDGE_INDEX": "/k/i.db"}, "/k/i.db"),
    ],
)
def test_the_index_lies_beside_the_database(variables: dict[str, str], file: str):
    assert index_file(variables) == Path(file)


def test_without_a_folder_nothing_is_offered(documents: Path):
    assert list(offered({})) == list(offered({"KNOWLEDGE_DIR": ""})) == []
    assert NAME not in [spec.name for spec in load(environ={}).toolbox.specs()]
    specs = {
        spec.name: spec.source for spec in load(environ={}, settings={"KNOWLEDGE_DIR": str(documents)}).toolbox.specs()
    }
    assert specs[NAME] == "tools/knowledge.py"


def put(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(dedent(text))
    return folder


TWO = '''
from adapters import tool

@tool
def here() -> str:
    """Here."""

@tool
def there() -> str:
    """There."""

def offered(variables):
    return [here] if variables.get("WHERE") == "here" else [there]
'''


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_file_says_which_of_its_tools_there_are(tmp_path: Path, where: str):
    loaded = load(put(tmp_path / "own", TWO), environ={"WHERE": "elsewhere"}, settings={"WHERE": where})
    assert [spec.name for spec in loaded.toolbox.specs() if spec.source == "own/mine.py"] == [where]
    assert loaded.problems == []


def test_a_file_that_cannot_say_is_named_without_what_it_read(tmp_path: Path):
    loaded = load(put(tmp_path / "own", f"def offered(variables):\n    raise ValueError({SECRET!r})"), environ={})
    assert list(loaded.problems) == ["own/mine.py: ValueError at line 2"]


def test_what_another_file_offers_is_not_offered_twice(tmp_path: Path):
    loaded = load(put(tmp_path / "own", "from tools.tickets import offered"), environ={"TICKETS": "records"})
    assert loaded.problems == []


def test_a_kept_problem_is_no_passage(tmp_path: Path):
    made = Knowledge(tmp_path, tmp_path / "k.db")
    made._index.keep(Kept("a.pdf", 1, 1, "h", "it is encrypted"), ())
    assert made._searched("a", 5).startswith("No passage in 0 files")
