"""What is offered below the bot's own words: words to say next, and controls that may be pressed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.types import Control, Ended, MessageKind, Part

WELCOME = ("help", "tools", "start over")
"""At most three: Teams shows no more."""
WAITING = (Control.STOP,)
"""Below words that say why an answer has to wait."""


def with_offers(
    parts: Sequence[Part], kind: MessageKind, control: Control | None, ended: Ended, *, by_admin: bool = False
) -> list[Part]:
    """The parts of a turn's words, the last with what belongs below it: after a welcome, and a conversation begun anew.

    `by_admin`: an admin began it anew, whose act is not the person's to undo.
    """
    if not parts:
        return []
    *before, last = parts
    if control is Control.START_OVER and ended is Ended.CONFIRMED and not by_admin:
        last = replace(last, controls=(Control.UNDO,))
    elif control is None and kind is MessageKind.WELCOME:
        last = replace(last, buttons=WELCOME)
    return [*before, last]
