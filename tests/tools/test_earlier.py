"""What was said in earlier threads, found again; of this conversation alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import Earlier
from adapters.discovery import load
from adapters.function import FunctionAdapter, FunctionTool
from adapters.toolbox import Toolbox
from tests.contracts.toolbox import call
from tests.tools.kept import caller
from tools.earlier import SHOWN, found, search_earlier

TOOLS = Toolbox([FunctionAdapter([FunctionTool(search_earlier)], environ={})])
NOVEMBER = 1_793_919_600.0  # Thursday, 5 November 2026, 23:00 UTC


def said(*exchanges: tuple[str, str]) -> list[Earlier]:
    """Newest first, as it is given."""
    entries: list[Earlier] = []
    for number, (asked, answered) in enumerate(exchanges):
        at = NOVEMBER + number * 86_400
        entries += [Earlier("user", asked, at), Earlier("assistant", answered, at)]
    return entries[::-1]


TALK = said(
    ("My flight goes to Zürich.", "I noted your flight to Zürich."),
    ("What is the capital of Peru?", "Lima."),
    ("And of Chile?", "Santiago is its capital."),
)


async def search(entries: list[Earlier], time_zone: str = "", **arguments: object) -> str:
    output = await TOOLS.call(call("search_earlier", **arguments), caller("Ada", earlier=entries, time_zone=time_zone))
    return output.output


async def test_an_answer_is_told_with_its_question_and_its_day():
    assert await search(TALK, query="zurich flights flight") == (
        "In a thread last used on Thursday, 5 November 2026:\n"
        "The person: My flight goes to Zürich.\nYou: I noted your flight to Zürich."
    )
    assert "Friday, 6 November 2026" in await search(TALK, "Asia/Tokyo", query="flight")
    assert "Thursday, 5 November" in await search(TALK, "No/Where", query="flight")


async def test_the_best_comes_first_and_then_the_newest():
    told = await search(TALK, query="capital of Chile")
    assert told.index("Santiago") < told.index("Lima")
    assert (await search(TALK, query="capital", most=1)).count("In a thread") == 1
    assert "Santiago" in await search(TALK, most=1)


async def test_nothing_is_said_to_be_nothing():
    assert (await search([], query="x")).startswith("There are no earlier threads")
    assert "last 6 entries" in await search(TALK, query="zebra")
    assert "most must be from 1 to 10" in await search(TALK, query="x", most=11)


async def test_of_a_long_entry_what_stands_around_the_word_is_told():
    long = said(("word " * 2000 + "needle in it" + " word" * 2000, "Yes."))
    told = await search(long, query="needle")
    assert "needle in it" in told
    assert "… word" in told
    assert len(told) < SHOWN + 300


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=30))), st.text(max_size=30))
def test_no_entry_is_told_twice(entries: list[tuple[str, str]], query: str):
    earlier = [Earlier(role, text, NOVEMBER) for role, text in entries]  # type: ignore[arg-type]
    places = found(earlier, query, 10)
    assert len(places) == len(set(places)) <= 10


def test_it_is_offered():
    assert "search_earlier" in [spec.name for spec in load(environ={}).toolbox.specs()]


@pytest.mark.parametrize("query", ['"', "%", "\0", "'; --", "*" * 500])
async def test_any_text_is_a_query(query: str):
    assert "failed" not in await search(TALK, query=query)
