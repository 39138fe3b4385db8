"""Splitting an answer: nothing lost, nothing too long, code readable in each part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.reply import fence_after, split, utf16_size

LINES = st.one_of(
    st.text(alphabet="ab \u00e9\U0001f600*_#", max_size=200),
    st.sampled_from(
        ["", "", "```", "```python", "~~~", "    indented", "- item", "| a | b |", "````", "`````py x", "~~~~"]
    ),
)
ANSWERS = st.lists(LINES, max_size=60).map("\n".join)


@given(text=ANSWERS, limit=st.integers(200, 2_000))
def test_every_part_fits_and_has_words(text: str, limit: int):
    parts = split(text, limit)
    assert parts
    assert all(utf16_size(part) <= limit for part in parts)
    assert len(parts) == 1 or all(part.strip() for part in parts)


@given(text=ANSWERS, limit=st.integers(200, 2_000))
def test_the_words_are_all_there_in_order(text: str, limit: int):
    def words(value: str) -> str:
        return "".join(line for line in value.split("\n") if not line.lstrip().startswith(("```", "~~~"))).replace(
            " ", ""
        )

    assert words("\n".join(split(text, limit))) == words(text)


@given(text=st.text(alphabet="ab \n", max_size=3_000), limit=st.integers(200, 1_000))
def test_a_short_answer_is_left_alone(text: str, limit: int):
    if utf16_size(text) <= limit:
        assert split(text, limit) == [text]


def test_it_is_cut_between_paragraphs():
    text = "\n\n".join(["word " * 20] * 10)
    for part in split(text, 600)[:-1]:
        assert part.endswith("word ") or part.endswith("word")


def test_a_fence_is_closed_and_opened_again():
    code = "```python\n" + "\n".join(f"line_{n} = {n}" for n in range(200)) + "\n```\nafter"
    parts = split(code, 800)
    assert len(parts) > 2
    for part in parts:
        assert part.count("```") % 2 == 0
    assert all(part.startswith("```python\n") for part in parts)


@given(text=ANSWERS, limit=st.integers(200, 2_000))
def test_no_part_but_the_last_leaves_a_fence_open(text: str, limit: int):
    for part in split(text, limit)[:-1]:
        fence = ""
        for line in part.split("\n"):
            fence = fence_after(line, fence)
        assert fence == ""


def test_a_longer_fence_is_closed_by_as_long_a_one():
    parts = split("````md\n" + "```\n" * 100 + "````", 400)
    assert len(parts) > 1
    assert all(part.startswith("````md\n") and part.endswith("\n````") for part in parts)


def test_what_stands_behind_a_fence_does_not_crowd_out_the_code():
    parts = split(f"```{'x' * 70}\n" + "a\n" * 100 + "```", 200)
    assert len(parts) < 10
    assert "".join(parts).count("a") == 100


def test_one_line_between_backticks_is_no_fence():
    text = "```ls -l```\n\n" + "word " * 100
    assert "```" not in "".join(split(text, 300)[1:])


def test_a_word_without_end_is_cut_between_characters():
    parts = split("\U0001f600" * 500, 200)
    assert "".join(parts) == "\U0001f600" * 500


def test_a_limit_that_can_hold_nothing_is_refused():
    with pytest.raises(ValueError, match="room"):
        split("x", 10)
