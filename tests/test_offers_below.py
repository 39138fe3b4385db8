"""What is offered below the bot's own words."""

from __future__ import annotations

import pytest

from bot.offers_below import WELCOME, with_offers
from bot.types import Control, Ended, MessageKind, Part

SAID = [Part("one"), Part("two")]


def test_below_a_welcome_there_are_words_to_say() -> None:
    first, last = with_offers(SAID, MessageKind.WELCOME, None, Ended.COMMAND)
    assert (first, last) == (Part("one"), Part("two", buttons=WELCOME))
    assert 0 < len(WELCOME) <= 3


def test_a_conversation_begun_anew_can_be_undone() -> None:
    first, last = with_offers(SAID, MessageKind.TEXT, Control.START_OVER, Ended.CONFIRMED)
    assert (first, last) == (Part("one"), Part("two", controls=(Control.UNDO,)))


def test_what_an_admin_began_anew_is_not_the_persons_to_undo() -> None:
    assert with_offers(SAID, MessageKind.TEXT, Control.START_OVER, Ended.CONFIRMED, by_admin=True) == SAID


@pytest.mark.parametrize(
    ("kind", "control", "ended"),
    [
        (MessageKind.TEXT, None, Ended.ANSWERED),
        (MessageKind.TEXT, None, Ended.APOLOGY),
        (MessageKind.WELCOME_GROUP, None, Ended.COMMAND),
        (MessageKind.TEXT, Control.UNDO, Ended.CONFIRMED),
        (MessageKind.TEXT, Control.STOP, Ended.CONFIRMED),
        (MessageKind.TEXT, Control.START_OVER, Ended.DEAD),
    ],
)
def test_below_all_else_there_is_nothing(kind: MessageKind, control: Control | None, ended: Ended) -> None:
    assert with_offers(SAID, kind, control, ended) == SAID


def test_where_nothing_is_said_nothing_is_offered() -> None:
    assert with_offers([], MessageKind.TEXT, Control.START_OVER, Ended.CONFIRMED) == []
