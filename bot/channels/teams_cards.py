"""Adaptive Cards for Teams: a question before a tool is called, and words with controls below them. Pure.

All that comes from outside stands in text runs, which are no Markdown: a tool's arguments can then form no link, no
image and no mention, on no client. `Action.Execute` is of version 1.4; https://learn.microsoft.com/microsoftteams/
platform/task-modules-and-cards/cards/universal-actions-for-adaptive-cards/work-with-universal-actions-for-adaptive-cards
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from bot.texts import Texts
from bot.types import Asked, Control, JsonObject

ADAPTIVE = "application/vnd.microsoft.card.adaptive"
VERSION = "1.5"
CARD_BYTES = 28 * 1024
"""Of a card's JSON, in UTF-16, which is how Teams counts. What it takes of a whole message is more, but was less."""
MOST_ARGUMENTS = 20
MOST_NAME, MOST_VALUE = 100, 1_000
"""Characters of an argument that are shown; how much more there is, is said."""
LEAST_VALUE = 60
"""Characters to which a value is cut where the card would be too large otherwise."""

_ACTIVE = re.compile(r"\{(?=\{)|\](?=[(\[])|<(?=[/\w])|!(?=\[)|@(?=\w)")
"""What begins a function, a link, a tag, an image or a mention: a space of no width takes it apart."""


def question(asked: Asked, texts: Texts) -> JsonObject:
    """Who asked, what will be done, and Approve and Decline, or what came of it. The buttons hold the id alone."""
    most = MOST_VALUE
    card = _question(asked, texts, most)
    while size(card) > CARD_BYTES and most > LEAST_VALUE:
        most //= 2
        card = _question(asked, texts, most)
    return card


def with_controls(text: str, controls: Sequence[Control], texts: Texts) -> JsonObject | None:
    """The bot's own words with buttons below them; None where they are too many for a card."""
    actions = [_execute(control.value, texts.control(control), {}) for control in controls]
    card = _card([_words(text)], actions, fallback=text)
    return card if size(card) <= CARD_BYTES else None


def decided(words: str) -> JsonObject:
    """What is shown at once to whoever pressed; the whole card is put in its place a moment later."""
    return _card([_runs([_run(words, bold=True)])], [], fallback=words)


def size(card: JsonObject) -> int:
    """Bytes, as `CARD_BYTES` counts."""
    return len(json.dumps(card, ensure_ascii=False).encode("utf-16-le", "surrogatepass"))


def _question(asked: Asked, texts: Texts, most: int) -> JsonObject:
    shown = list(asked.arguments.items())[:MOST_ARGUMENTS]
    left = len(asked.arguments) - len(shown)
    body: list[JsonObject] = [
        _words(texts.approval_heading(decided=bool(asked.outcome))),
        _runs([_run(plain(asked.tool, MOST_NAME), bold=True)]),
        *(_argument(name, value, texts, most) for name, value in shown),
    ]
    if left:
        body.append(_runs([_run(texts.more_arguments(left), soft=True)]))
    body.append(_runs([_run(texts.asked_by(plain(asked.asker, MOST_NAME)), soft=True)]))
    if asked.outcome:
        body.append(_runs([_run(_outcome(asked), bold=True)]))
    held: JsonObject = {"approval": asked.approval}
    actions = [
        _execute(Control.APPROVE.value, texts.control(Control.APPROVE), held, style="positive"),
        _execute(Control.DECLINE.value, texts.control(Control.DECLINE), held, style="destructive"),
    ]
    return _card(body, [] if asked.outcome else actions, fallback=summary(asked, texts))


def summary(asked: Asked, texts: Texts) -> str:
    """In one line, for notifications and for clients without cards."""
    line = texts.approval_summary(plain(asked.asker, MOST_NAME), plain(asked.tool, MOST_NAME))
    return _outcome(asked) or line


def _outcome(asked: Asked) -> str:
    """What came of it, less the marks of emphasis that a text has."""
    return plain(asked.outcome.strip("_"), MOST_VALUE)


def _argument(name: str, value: str, texts: Texts, most: int) -> JsonObject:
    rest = len(value) - most
    runs = [_run(f"{plain(name, MOST_NAME)}: ", bold=True), _run(plain(value, most) or texts.no_value())]
    return _runs([*runs, _run(f" {texts.more_characters(rest)}", soft=True)] if rest > 0 else runs)


def plain(words: str, most: int) -> str:
    """Words from outside in one line, as they are: nothing that turns their order, hides, or is a card's function.

    A client replaces `{{DATE(...)}}` also where it reads no Markdown, and may read Markdown in a card's fallback.
    """
    line = " ".join(words[:most].split())
    kept = "".join(char for char in line if unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))
    return _ACTIVE.sub(lambda found: f"{found[0][0]}\u200b{found[0][1:]}", kept)


def _card(body: Sequence[JsonObject], actions: Sequence[JsonObject], *, fallback: str) -> JsonObject:
    card: JsonObject = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": VERSION,
        "fallbackText": fallback,
        "body": list(body),
    }
    return card | {"actions": list(actions)} if actions else card


def _words(text: str) -> JsonObject:
    """The bot's own words, with the Markdown that they have."""
    return {"type": "TextBlock", "text": text, "wrap": True}


def _runs(runs: Sequence[JsonObject]) -> JsonObject:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(words: str, *, bold: bool = False, soft: bool = False) -> JsonObject:
    run: JsonObject = {"type": "TextRun", "text": words or "–"}  # one without words is no run
    return run | ({"weight": "Bolder"} if bold else {}) | ({"isSubtle": True} if soft else {})


def _execute(verb: str, title: str, data: Mapping[str, str], *, style: str = "default") -> JsonObject:
    """A client that knows no `Action.Execute` sends the same as a message."""
    held: JsonObject = {"verb": verb, **data}
    submit: JsonObject = {"type": "Action.Submit", "title": title, "data": held}
    action: JsonObject = {"type": "Action.Execute", "title": title, "verb": verb, "data": dict(data)}
    return action | ({} if style == "default" else {"style": style}) | {"fallback": submit}
