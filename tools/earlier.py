"""What the person and the agent said to each other before the thread that the agent is in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log
from zoneinfo import ZoneInfo

from adapters import Earlier, ToolContext, ToolFailed, tool
from tools.library.words import Term, folded, terms

MOST = 10
SHOWN = 600
"""Characters of each entry."""


@tool(timeout=60)
async def search_earlier(context: ToolContext, query: str = "", most: int = 5) -> str:
    """Search what this person and you said to each other in earlier threads, which you do not remember.

    Use it when they refer to something said before that you do not know. It reaches back to their last "start over".

    Args:
        query: Words that were said. Empty: what was said last.
        most: How many places to give, up to 10.
    """
    if not 1 <= most <= MOST:
        raise ToolFailed(f"most must be from 1 to {MOST}.")
    entries = await context.earlier()
    if not entries:
        return "There are no earlier threads since the conversation began, or since the last start over."
    places = found(entries, query, most)
    if not places:
        return f"Nobody said any of these words in the last {len(entries)} entries of the earlier threads. Try others."
    return "\n\n".join(told(entries, place, query, context.time_zone) for place in places)


def found(entries: Sequence[Earlier], query: str, most: int) -> list[int]:
    """The places of the entries that fit best, which are `newest first`; of two that fit alike the newer one.

    A question and its answer are told together, so only one of the two is given.
    """
    wanted = terms(query)
    if not wanted:
        ranked = list(range(len(entries)))
    else:
        texts = [f" {' '.join(folded(entry.text).split())}" for entry in entries]
        weights = {term.text: _weight(term, texts) for term in wanted}
        scores = [sum(weights[term.text] for term in wanted if term.text in text) for text in texts]
        ranked = [place for place in sorted(range(len(texts)), key=lambda at: (-scores[at], at)) if scores[place] > 0]
    chosen: list[int] = []
    told_of: set[int] = set()
    for place in ranked:
        pair = set(_pair(entries, place))
        if not pair & told_of:
            chosen.append(place)
            told_of |= pair
    return chosen[:most]


def _weight(term: Term, texts: Sequence[str]) -> float:
    """A word that stands in few entries tells more."""
    return log(1 + len(texts) / (1 + sum(term.text in text for text in texts)))


def _pair(entries: Sequence[Earlier], place: int) -> Sequence[int]:
    """The question and the answer that an entry belongs to, in the order in which they were said."""
    if entries[place].role == "user":
        answered = place > 0 and entries[place - 1].role == "assistant"
        return (place, place - 1) if answered else (place,)
    asked = place + 1 < len(entries) and entries[place + 1].role == "user"
    return (place + 1, place) if asked else (place,)


def told(entries: Sequence[Earlier], place: int, query: str, time_zone: str) -> str:
    """An entry with what it answers, or what answered it, and the day of its thread."""
    when = datetime.fromtimestamp(entries[place].at, UTC).astimezone(_zone(time_zone))
    lines = [f"In a thread last used on {when:%A}, {when.day} {when:%B %Y}:"]
    for at in _pair(entries, place):
        speaker = "The person" if entries[at].role == "user" else "You"
        lines.append(f"{speaker}: {_shown(entries[at].text, query)}")
    return "\n".join(lines)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, LookupError):  # what a channel gives may be anything
        return ZoneInfo("UTC")


def _shown(text: str, query: str) -> str:
    """The text, or of a long one what stands around the first word that was looked for."""
    if len(text) <= SHOWN:
        return text
    plain = text.casefold()
    places = [plain.find(term.text.split()[0]) for term in terms(query)]
    first = min((place for place in places if place >= 0), default=0)
    start = max(0, min(first - SHOWN // 4, len(text) - SHOWN))
    shown = text[start : start + SHOWN].strip()
    return f"{'… ' if start else ''}{shown}{' …' if start + SHOWN < len(text) else ''}"
