"""How a thread begins that goes on from another one."""

from __future__ import annotations

from bot.texts import Texts
from bot.types import Carried, Said


def opening(carried: Carried, texts: Texts, most: int | None = None) -> list[Said]:
    """The first entries of the thread, at most so many."""
    entries = [entry for entry in carried.messages if entry.text.strip()]
    if carried.summary:
        first = texts.carried_summary(carried.summary)
    elif entries:
        first = texts.carried_messages()
    else:
        return []
    room = len(entries) if most is None else most - 1
    # What does not fit as messages of its own is carried all the same, within the first entry.
    for entry in entries[:-room] if room else ():
        first += f"\n\n{entry.role}: {entry.text}"
    return [Said("user", first), *(entries[-room:] if room else ())]
