"""Thumbs up and down, as Teams sends them: stored before they are answered, answered as Teams demands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.channels.invokes import FEEDBACK, MOST_WORDS, feedback_of
from bot.errors import ServiceUnavailable
from bot.events import ActivityIgnored, Unexpected
from bot.types import Conversation, ConversationKind, Feedback
from tests.teams import TENANT, invoke
from tests.teams.rig import Rig

URL = "https://smba.trafficmanager.net/emea/"
GROUP = {"conversationType": "groupChat", "isGroup": True, "id": "19:group@thread.v2"}


def thumb(url: str, reaction: Any = "like", words: Any = '{"feedbackText": "Nice!"}', **changes: Any) -> dict[str, Any]:
    """https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/integrate-ai/user-feedback-controls"""
    value = {"actionName": "feedback", "actionValue": {"reaction": reaction, "feedback": words}}
    return invoke(url, FEEDBACK, value) | {"replyToId": "1700000000009"} | changes


async def test_it_is_stored_and_answered_with_an_empty_object(rig: Rig) -> None:
    assert await rig.post(thumb(rig.url)) == (200, {})
    [told] = rig.judged
    place = Conversation("msteams", TENANT, "a:1personal")
    assert (told.conversation, told.person.id) == (place, "0ann-object-id")
    assert (told.delivered, told.reaction, told.text) == ("1700000000009", "like", "Nice!")
    assert told.said_at == 1795233600123


async def test_in_a_group_it_is_somebodys(rig: Rig) -> None:
    await rig.post(thumb(rig.url, "dislike", conversation=GROUP))
    [told] = rig.judged
    assert told.conversation.kind is ConversationKind.GROUP
    assert (told.conversation.id, told.person.id, told.reaction) == ("19:group@thread.v2", "0ann-object-id", "dislike")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", ""),
        (None, ""),
        ("not JSON", ""),
        ("[1]", ""),
        ("[" * 100_000, ""),
        ('{"feedbackText": 7}', ""),
        ({"feedbackText": "an object"}, "an object"),
        ('{"feedbackText": "  \\u0000a\\ud800  "}', "a?"),
        (json.dumps({"feedbackText": "x" * 9_000}), "x" * MOST_WORDS),
    ],
)
async def test_odd_words_do_not_lose_the_thumb(rig: Rig, words: Any, text: str) -> None:
    assert await rig.post(thumb(rig.url, words=words)) == (200, {})
    assert [told.text for told in rig.judged] == [text]


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"value": ["feedback"]},
        {"value": {"actionName": "feedback"}},
        {"value": {"actionName": "other", "actionValue": {"reaction": "like"}}},
        {"value": {"actionName": "feedback", "actionValue": {"reaction": ["like"]}}},
        {"value": {"actionName": "feedback", "actionValue": {"reaction": "love"}}},
        {"conversation": None},
        {"from": {}},
    ],
)
async def test_malformed_ones_are_answered_alike_and_counted(rig: Rig, change: dict[str, Any]) -> None:
    assert await rig.post(thumb(rig.url) | change) == (200, {})
    assert rig.judged == []
    ignored = ActivityIgnored(reference="", lane="", channel="msteams", kind="malformed feedback")
    assert rig.events == [ignored]


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("fault", [ServiceUnavailable("database down: Nice!"), RuntimeError("Nice!")])
async def test_what_is_not_stored_is_not_thanked_for(rig: Rig, fault: Exception) -> None:
    """The person sees that it failed and can say it again; Teams keeps nothing."""
    rig.fault = fault
    status, said = await rig.post(thumb(rig.url))
    assert status == 503
    assert "Nice" not in json.dumps(said)
    assert rig.events == [Unexpected(reference="", lane="", where="feedback", error=type(fault).__name__)]


@pytest.mark.parametrize("value", [None, {"actionName": "feedback", "actionValue": {"reaction": "like"}}, ["x"], 7])
async def test_a_form_of_our_own_is_a_sentence(rig: Rig, value: Any) -> None:
    status, said = await rig.post(invoke(rig.url, "message/fetchTask", value))
    assert status == 200
    assert set(said) == {"task"}
    assert said["task"]["type"] == "message"
    assert said["task"]["value"]


@pytest.mark.invariant("I13")
def test_what_people_wrote_is_in_no_representation() -> None:
    told = feedback_of(thumb(URL, words='{"feedbackText": "secret words"}'))
    assert told is not None
    assert told.text == "secret words"
    assert "secret words" not in repr(told)


FIELDS = st.sampled_from(["actionName", "actionValue", "reaction", "feedback", "value", "id", "from", "conversation"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON, changes=st.dictionaries(FIELDS | st.sampled_from(["replyToId", "timestamp", "entities"]), JSON))
def test_no_invoke_breaks_the_reader(value: Any, changes: dict[str, Any]) -> None:
    told = feedback_of(thumb(URL) | {"value": value} | changes)
    assert told is None or isinstance(told, Feedback)
    told = feedback_of(thumb(URL, words=value) | changes)
    if told is not None:
        told.text.encode()
