"""What of a growing text is settled: each look begins with the one before, whatever the text does."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bot.channels.steady import SteadyText
from bot.channels.teams_text import dialect
from bot.reply import utf16_size

LIMIT = 400
WORDS = ["word", "**bold**", "[label](https://example.org/x)", "`code`", "\n\n", "\n", "# Head", "```\ncode\n```", "|"]


def looks(texts: list[str]) -> list[str]:
    """What was shown after each of these."""
    text = SteadyText(dialect, LIMIT)
    shown: list[str] = []
    for newest in texts:
        text.newest = newest
        text.shown = text.next()
        shown.append(text.shown)
    return shown


@given(st.lists(st.text(max_size=300), max_size=12))
def test_what_was_shown_is_never_taken_back(texts: list[str]) -> None:
    shown = looks(texts)
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert all(utf16_size(one) <= LIMIT for one in shown)


@given(st.lists(st.sampled_from(WORDS), max_size=20), st.integers(1, 7))
def test_it_comes_to_the_whole_text(words: list[str], step: int) -> None:
    """Unless something that was shown changed: then it stays, and is the beginning of nothing."""
    whole = " ".join(words).strip()
    shown = looks([*(whole[:end].strip() for end in range(0, len(whole), step)), whole, whole])
    final = dialect(whole)
    if shown and final.startswith(shown[-1]) and utf16_size(final) <= LIMIT:
        assert shown[-1] == final.rstrip()


def test_half_a_link_is_not_shown() -> None:
    shown = looks(["see [the", "see [the handbook](https://ex", "see [the handbook](https://example.org/h)"])
    assert all("](" not in one for one in shown)


def test_a_pause_shows_all_there_is() -> None:
    assert looks(["one", "one two", "one two"]) == ["", "one", "one two"]
