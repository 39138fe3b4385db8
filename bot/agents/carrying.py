"""How a thread begins that goes on from another one."""

from __future__ import annotations

from bot.texts import Texts
from bot.types import Carried, Said


def opening(carried: Carried, texts: Texts, most: int) -> list[Said]:
    """The first entries of the thread, at most so many."""
    if carried.summary:
        return [Said("user", texts.carried_summary(carried.summary))]
    entries = [entry for entry in carried.messages if entry.text.strip()]
    if not entries:
        return []
    room = most - 1
    first = texts.carried_messages()
    # What does not fit as messages of its own is carried all the same, within the first entry.
    for entry in entries[:-room]:
        first += f"\n\n{entry.role}: {entry.text}"
    return [Said("user", first), *entries[-room:]]
