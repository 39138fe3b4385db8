"""What Teams takes of cards and of buttons, how it tells of a press, and how it wants a press to be answered.

https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.teams.activities import Activity, invoke

ADAPTIVE = "application/vnd.microsoft.card.adaptive"
CARD_BYTES = 28 * 1024
NEWEST = (1, 5)
"""Of the cards that Teams shows on every device."""
MOST_ACTIONS = 6
MOST_SUGGESTED = 3
SHAPES = {ADAPTIVE: dict, "application/vnd.microsoft.activity.message": str, "application/vnd.microsoft.error": dict}


def broken_rules(activity: Activity, *, personal: bool) -> list[str]:
    """What Teams would refuse, or show otherwise than it was meant."""
    attached = activity.get("attachments") or []
    cards = [one["content"] for one in attached if one["contentType"] == ADAPTIVE]
    return [*_suggested(activity, bool(attached), personal), *_beside(activity, len(attached), cards), *_in(cards)]


def _suggested(activity: Activity, attached: bool, personal: bool) -> Iterator[str]:
    suggested = activity.get("suggestedActions")
    if suggested is None:
        return
    actions = suggested["actions"]
    if attached:
        yield "suggested actions beside an attachment"
    if not personal:
        yield "suggested actions where others read along"
    if not 0 < len(actions) <= MOST_SUGGESTED:
        yield f"{len(actions)} suggested actions"
    if not suggested.get("to") or any(
        one["type"] != "imBack" or not one["title"] or not one["value"] for one in actions
    ):
        yield "a suggested action without words, or for nobody"


def _beside(activity: Activity, attached: int, cards: list[Activity]) -> Iterator[str]:
    if cards and attached != 1:
        yield "more than one attachment: Teams makes several messages of it, and gives the id of none"
    if cards and activity.get("text"):
        yield "words beside a card: Teams makes two messages of it, and gives the id of none"
    if cards and not activity.get("summary"):
        yield "a card without words for the notification"


def _in(cards: list[Activity]) -> Iterator[str]:
    for card in cards:
        if len(json.dumps(card, ensure_ascii=False).encode("utf-16-le")) > CARD_BYTES:
            yield "a card of more than 28 KB"
        version = tuple(int(part) for part in card["version"].split("."))
        if card["type"] != "AdaptiveCard" or not (1, 4) <= version <= NEWEST or not card.get("fallbackText"):
            yield "no card of a version that has Action.Execute, or one without words in its place"
        if not card["body"]:
            yield "an empty card"
        for element in card["body"]:
            yield from _element(element)
        actions = card.get("actions", [])
        if len(actions) > MOST_ACTIONS or ("actions" in card and not actions):
            yield f"{len(actions)} actions"
        for action in actions:
            yield from _action(action)


def _element(element: Activity) -> Iterator[str]:
    if element["type"] == "TextBlock":
        if not element["text"] or element.get("wrap") is not True:
            yield "words that are cut off on a telephone"
    elif element["type"] == "RichTextBlock":
        if not element["inlines"] or any(one["type"] != "TextRun" or not one["text"] for one in element["inlines"]):
            yield "a line of nothing"
    else:
        yield f"an element {element['type']}"


def _action(action: Activity) -> Iterator[str]:
    if action["type"] != "Action.Execute" or not action.get("title") or not isinstance(action.get("verb"), str):
        yield "an action that is not Action.Execute with a title and a verb"
    if not isinstance(action.get("data"), dict) or set(action["data"]) - {"approval"}:
        yield "an action that holds more than an id"
    if action.get("fallback", {}).get("type") != "Action.Submit":
        yield "an action that older clients cannot send"


def words_of(card: Activity) -> list[str]:
    """What a person reads on it, line by line, less its buttons."""
    return [
        element["text"] if element["type"] == "TextBlock" else "".join(run["text"] for run in element["inlines"])
        for element in card["body"]
    ]


def card_of(activity: Activity) -> Activity:
    """The one card of a message."""
    [attachment] = activity["attachments"]
    assert attachment["contentType"] == ADAPTIVE
    return attachment["content"]


def action_of(card: Activity, verb: str) -> Activity:
    """The button with this verb."""
    [action] = [one for one in card.get("actions", ()) if one["verb"] == verb]
    return action


def press(url: str, card: Activity, verb: str, card_id: str, **changes: Any) -> Activity:
    """What Teams tells of a press: the button as the card has it, and the message that the card is."""
    pressed = action_of(card, verb)
    value = {
        "action": {"type": "Action.Execute", "id": "", "verb": pressed["verb"], "data": pressed["data"]},
        "trigger": "manual",
    }
    return invoke(url, "adaptiveCard/action", value) | {"replyToId": card_id} | changes


def answer_to(status: int, body: Any) -> tuple[int, str, Any]:
    """Status, type and value of the answer to a press, which must have the form that the client reads."""
    assert status == 200, f"the client shows an error of its own: {status}"
    assert set(body) == {"statusCode", "type", "value"}, body
    assert isinstance(body["value"], SHAPES[body["type"]]), body
    if body["type"] == ADAPTIVE:
        assert not list(_in([body["value"]]))
    return body["statusCode"], body["type"].rpartition(".")[2], body["value"]
