# pyright: basic
"""What stands beside the words of a message for Teams: the AI label, the sources, the sensitivity, the thumbs.

One root entity holds the first three; Teams refuses a message that has two of them. The stock `Entity` loses every
key but `type`, so the keys are declared here.
https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/integrate-ai/ai-content-labels
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from botbuilder.schema import Entity

from bot.reply import marks_in
from bot.types import Citation, JsonObject

MOST_CITATIONS = 20
MOST_NAME, MOST_ABSTRACT, MOST_KEYWORD = 80, 160, 28
"""Characters, counted as the client does: in UTF-16."""

FEEDBACK: JsonObject = {"feedbackLoop": {"type": "default"}}
"""channelData that puts thumbs below a message, with Teams' own form behind them.

https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/integrate-ai/user-feedback-controls
"""


class AiMessage(Entity):
    """The label that the Store demands on an agent's words, with the sources whose marks stand in them."""

    _attribute_map = {  # noqa: RUF012 (the SDK's serialiser reads it)
        "type": {"key": "type", "type": "str"},
        "at_type": {"key": "@type", "type": "str"},
        "at_context": {"key": "@context", "type": "str"},
        "additional_type": {"key": "additionalType", "type": "[str]"},
        "usage_info": {"key": "usageInfo", "type": "object"},
        "citation": {"key": "citation", "type": "[object]"},
    }

    def __init__(self, text: str = "", citations: Sequence[Citation] = (), sensitivity: str = "") -> None:
        super().__init__(type="https://schema.org/Message")
        self.at_type = "Message"
        self.at_context = "https://schema.org"
        self.additional_type = ["AIGeneratedContent"]
        self.usage_info = {"@type": "CreativeWork", "@id": sensitivity} if sensitivity else None
        self.citation = claims(text, citations) or None


def claims(text: str, citations: Sequence[Citation]) -> list[JsonObject]:
    """The sources whose marks stand in the text, by the marks' numbers; one that nothing names would be refused."""
    known: dict[str, Citation] = {}
    for one in citations:
        known.setdefault(one.mark, one)
    named = [mark for mark in marks_in(text) if mark in known and int(mark[1:-1]) > 0][:MOST_CITATIONS]
    return [
        {"@type": "Claim", "position": int(mark[1:-1]), "appearance": _appearance(known[mark])}
        for mark in sorted(named, key=lambda mark: int(mark[1:-1]))
    ]


def _appearance(source: Citation) -> JsonObject:
    """A name and an abstract must be there, also where the agent gave none."""
    url = _web(source.url)
    host = (urlsplit(url).hostname or "") if url else ""
    name = cut(source.title, MOST_NAME) or cut(host, MOST_NAME) or source.mark
    appearance: JsonObject = {
        "@type": "DigitalDocument",
        "name": name,
        "abstract": cut(source.quote, MOST_ABSTRACT) or cut(url, MOST_ABSTRACT) or name,
    }
    if url:
        appearance["url"] = url
    if host:
        appearance["keywords"] = [cut(host, MOST_KEYWORD)]
    return appearance


def _web(url: str) -> str:
    """The address, if a person may follow it."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return ""
    return url if sound and url.isprintable() and not any(char.isspace() for char in url) else ""


def cut(words: str, most: int) -> str:
    """The words in one line of at most so many UTF-16 units; what was longer ends in an ellipsis."""
    line = " ".join(words.split())
    if len(line.encode("utf-16-le", "surrogatepass")) <= 2 * most:
        return line
    kept = line.encode("utf-16-le", "surrogatepass")[: 2 * (most - 1)].decode("utf-16-le", "ignore")
    return f"{kept.rstrip()}…"
