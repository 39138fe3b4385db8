"""The cards that Teams shows: what is written on them, and that nothing from outside can be more than words."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels import teams_cards
from bot.texts import Texts
from bot.types import Asked, Control, JsonObject
from tests.teams.cards import action_of, broken_rules, words_of

ASKED = Asked("appr-1", "create_ticket", {"title": "Printer on fire", "priority": "high"}, "Ada")
HOSTILE = [
    "**bold** _it_ `code`",
    "[Approve](https://evil.example)",
    "![](https://evil.example/pixel.png)",
    "<at>Everyone</at>",
    "@everyone",
    "{{DATE(2020-01-01T00:00:00Z, SHORT)}}",
    "a\u202egnp.exe",
    "line one\nApproved by Ada\u2028x",
    "\x00\x1b[2J\u200d\ufeff",
]


def activity_of(card: JsonObject) -> dict[str, Any]:
    attachment = {"contentType": teams_cards.ADAPTIVE, "content": card}
    return {"type": "message", "attachments": [attachment], "summary": card["fallbackText"]}


def test_a_question_says_who_asked_what_will_be_done_and_with_what() -> None:
    card = teams_cards.question(ASKED, Texts())
    assert words_of(card) == [
        "**May I do this?**",
        "create_ticket",
        "title: Printer on fire",
        "priority: high",
        "Asked by Ada",
    ]
    assert card["fallbackText"] == "May I use create_ticket for Ada? Approve or decline."
    assert [one["title"] for one in card["actions"]] == ["Approve", "Decline"]
    assert [action_of(card, verb)["data"] for verb in ("approve", "decline")] == [{"approval": "appr-1"}] * 2
    assert not broken_rules(activity_of(card), personal=False)


def test_a_decided_question_says_what_was_decided_and_has_no_buttons() -> None:
    asked = Asked(ASKED.approval, ASKED.tool, ASKED.arguments, ASKED.asker, Texts().approval_outcome("approved", "Bo"))
    card = teams_cards.question(asked, Texts())
    assert words_of(card)[-1] == "Approved by Bo."
    assert words_of(card)[1:3] == ["create_ticket", "title: Printer on fire"]
    assert "actions" not in card
    assert card["fallbackText"] == "Approved by Bo."
    assert not broken_rules(activity_of(card), personal=True)


def test_words_with_controls_are_one_card() -> None:
    card = teams_cards.with_controls("Done. **undo** works.", (Control.UNDO, Control.START_OVER), Texts())
    assert card is not None
    assert words_of(card) == ["Done. **undo** works."]
    assert [(one["verb"], one["title"], one["data"]) for one in card["actions"]] == [
        ("undo", "Undo", {}),
        ("start_over", "Start over", {}),
    ]
    assert not broken_rules(activity_of(card), personal=True)


def test_words_that_are_too_many_for_a_card_are_none() -> None:
    assert teams_cards.with_controls("x" * 14_000, (Control.UNDO,), Texts()) is None


@pytest.mark.parametrize("words", HOSTILE)
def test_words_from_outside_are_words(words: str) -> None:
    card = teams_cards.question(Asked("a", words, {words: words}, words), Texts())
    blocks = [one for one in card["body"] if one["type"] == "TextBlock"]
    assert [one["text"] for one in blocks] == ["**May I do this?**"]  # all else is in runs, which are no Markdown
    shown = json.dumps([card["body"], card["fallbackText"]], ensure_ascii=False)
    for active in ("](", "![", "<at", "</", "@every", "{{", "\\n", "\u202e", "\u2028", "\\u0000"):
        assert active not in shown
    if "Approved by Ada" in words:
        assert "Approved by Ada" not in words_of(card)


def test_what_is_not_shown_is_counted() -> None:
    many = {f"name{number}": "x" for number in range(25)}
    card = teams_cards.question(Asked("a", "tool", {"body": "y" * 1_500} | many, "Ada"), Texts())
    assert words_of(card)[2] == f"body: {'y' * 1_000} … and 500 more characters"
    assert words_of(card)[-2] == "and 6 more"
    assert words_of(teams_cards.question(Asked("a", "t", {"none": ""}, "Ada"), Texts()))[2] == "none: (empty)"


@given(
    tool=st.text(min_size=1, max_size=200),
    arguments=st.dictionaries(st.text(max_size=150), st.text(max_size=400).map(lambda text: text * 12), max_size=25),
    asker=st.text(min_size=1, max_size=300),
    outcome=st.text(max_size=200),
)
def test_every_question_is_a_card_that_teams_takes(
    tool: str, arguments: dict[str, str], asker: str, outcome: str
) -> None:
    card = teams_cards.question(Asked("a" * 22, tool, arguments, asker, outcome), Texts())
    assert not broken_rules(activity_of(card), personal=False)
    shown = "".join(run["text"] for line in card["body"] for run in line.get("inlines", ()))
    assert all(unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp") for char in shown)


def test_the_largest_question_still_fits() -> None:
    arguments = {f"{number:03}" + "名" * 97: "字" * 5_000 for number in range(20)}
    card = teams_cards.question(Asked("a", "工" * 500, arguments, "名" * 500), Texts())
    assert teams_cards.size(card) <= teams_cards.CARD_BYTES
    assert "more characters" in words_of(card)[2]
