"""Answers to invokes: requests of the Teams client that the response itself must answer, in a form per name.

The SDK's CloudAdapter cannot send any of them: it serialises the body twice and answers 500.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from bot.channels.activities import Invoke, said_by, sent_at
from bot.channels.fields import object_at, string_at
from bot.errors import BadRequest
from bot.texts import Texts
from bot.types import Feedback, Json, JsonObject, storable

FEEDBACK = "message/submitAction"
MOST_WORDS = 4_000
"""Characters of feedback that are kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON body of the response."""

    status: int
    body: JsonObject


def feedback_of(activity: JsonObject) -> Feedback | None:
    """What a person thinks of an answer, of an invoke `FEEDBACK`; None where it is something else, or malformed.

    `value` is {"actionName": "feedback", "actionValue": {"reaction": "like", "feedback": "{\\"feedbackText\\": ...}"}}:
    the words are JSON in JSON.
    """
    value = object_at(activity, "value")
    said = object_at(value, "actionValue")
    reaction = string_at(said, "reaction")
    if string_at(value, "actionName") != "feedback" or reaction not in ("like", "dislike"):
        return None
    try:
        conversation, person = said_by(activity)
    except BadRequest:
        return None
    words = string_at(_parsed(said.get("feedback")), "feedbackText").strip()[:MOST_WORDS]
    delivered, at = string_at(activity, "replyToId"), sent_at(string_at(activity, "timestamp"))
    return Feedback(conversation, person, delivered, reaction, storable(words), at)


def _parsed(words: Json) -> JsonObject:
    try:
        form: Json = json.loads(words) if isinstance(words, str) else words
    except (ValueError, RecursionError):
        return {}
    return cast("JsonObject", form) if isinstance(form, dict) else {}


def _feedback(_value: Json) -> Answer:
    """A thumb up or down, read by `feedback_of`. Anything but 200 and an empty object is an error in the person's face.

    https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/integrate-ai/user-feedback-controls
    """
    return Answer(200, {})


def _dialog(_value: Json) -> Answer:
    """A dialog was asked for: one that holds a sentence. (Feedback asks for one where its form is not Teams' own.)

    https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/task-modules/task-modules-bots
    """
    return Answer(200, {"task": {"type": "message", "value": Texts().card_not_taken()}})


_ANSWERS: dict[str, Callable[[Json], Answer]] = {
    FEEDBACK: _feedback,
    "task/fetch": _dialog,
    "task/submit": _dialog,
    "message/fetchTask": _dialog,
}


def answer(invoke: Invoke) -> Answer:
    """What to respond; 501 for what we do not know, as the SDK's own handlers do."""
    known = _ANSWERS.get(invoke.name)
    return known(invoke.value) if known else Answer(501, {"error": "This invoke is not supported."})
