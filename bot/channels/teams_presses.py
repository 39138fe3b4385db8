"""Pressed buttons of our cards in Teams: what they say, and what the client is answered. Pure.

A press is a message like any other: stored, handled as the control that it names, and done once. The client waits for
the answer, which it shows: https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from bot.channels import teams_cards
from bot.channels.activities import clicked
from bot.channels.fields import object_at, string_at
from bot.channels.invokes import Answer
from bot.texts import Texts
from bot.types import Accepted, Control, Decision, JsonObject, Message, MessageKind

MESSAGE = "application/vnd.microsoft.activity.message"
ERROR = "application/vnd.microsoft.error"
_DECIDES = (Control.APPROVE.value, Control.DECLINE.value)
_DECIDED = (Decision.APPROVED, Decision.DECLINED)
_CONTROLS = (Control.START_OVER.value, Control.UNDO.value, Control.STOP.value)
MOST_ID = 200
"""Characters of an approval's id. What is longer is none of ours."""


def pressed(activity: JsonObject, app_id: str) -> Message | None:
    """What pressing said; None where it was no button of ours.

    A redelivery may have a new id, so a press is told by its card, its button and its person: it is done once, and of
    a decision the same is answered again.

    Raises:
        BadRequest: it lacks what is needed to answer it.
    """
    action = object_at(object_at(activity, "value"), "action")
    verb, approval = string_at(action, "verb"), string_at(object_at(action, "data"), "approval")
    if not action:
        return None
    said = _said(clicked(activity, app_id), verb, approval)
    card = string_at(activity, "replyToId")
    return replace(said, id=_once(said, card)) if said is not None and card else said


def submitted(message: Message, value: JsonObject) -> Message | None:
    """The same of a client that knows no `Action.Execute` and sends a message instead."""
    return _said(message, string_at(value, "verb"), string_at(value, "approval"))


def _said(by: Message, verb: str, approval: str) -> Message | None:
    if verb in _DECIDES and not 0 < len(approval) <= MOST_ID:
        return None
    if verb not in _DECIDES and verb not in _CONTROLS:
        return None
    # an invoke's id is no message's, to which one could reply
    address = by.address | {"activityId": None}
    decides = approval if verb in _DECIDES else ""
    return replace(by, text=verb.replace("_", " "), kind=MessageKind.TEXT, decides=decides, address=address)


def _once(said: Message, card: str) -> str:
    told = json.dumps([card, said.text, said.decides, said.person.id])
    return f"press-{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:32]}"


def answered(said: Message, accepted: Accepted, texts: Texts) -> Answer:
    """What the person is shown for a press that was taken."""
    decision = accepted.decision
    if decision is None:
        return _told(texts.pressed() if accepted.fresh else texts.pressed_before(said.text))
    words = texts.press_came_to(decision)
    return _shown(teams_cards.decided(words)) if decision in _DECIDED else _told(words)


def not_ours(activity: JsonObject, texts: Texts) -> Answer:
    """An action of a card that is not, or not any more, one of ours."""
    if not object_at(object_at(activity, "value"), "action"):
        return refused(400, "BadRequest", "value.action is missing.")
    return _told(texts.card_not_taken())


def not_stored(texts: Texts) -> Answer:
    """It could not be stored; the person may press again."""
    return refused(500, "ServiceUnavailable", texts.press_not_taken())


def refused(status: int, code: str, message: str) -> Answer:
    """HTTP 200 all the same: the outcome of an action stands in the body."""
    return Answer(200, {"statusCode": status, "type": ERROR, "value": {"code": code, "message": message}})


def _shown(card: JsonObject) -> Answer:
    return Answer(200, {"statusCode": 200, "type": teams_cards.ADAPTIVE, "value": card})


def _told(words: str) -> Answer:
    return Answer(200, {"statusCode": 200, "type": MESSAGE, "value": words})
