"""Edits and deletions, and what is said where others read along: which of it is taken, and as what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.channels.activities import Ignored, read
from bot.events import ActivityIgnored
from bot.threads import thread_key
from bot.types import Change, JsonObject, Message, MessageKind, Revision
from tests.channels.conftest import MakeRig
from tests.teams import APP_ID, abs_slack, group_message, message
from tests.teams.activities import ANN, BOT, mention
from tests.teams.rig import Rig

URL = "https://smba.trafficmanager.net/emea/"


def edited(url: str, text: str = "other words", **changes: Any) -> JsonObject:
    return message(url, text, type="messageUpdate", channelData=_data("editMessage")) | changes


def deleted(url: str, **changes: Any) -> JsonObject:
    return message(url, None, type="messageDelete", channelData=_data("softDeleteMessage")) | changes


def restored(url: str, **changes: Any) -> JsonObject:
    return message(url, type="messageUpdate", channelData=_data("undeleteMessage")) | changes


def _data(event: str) -> JsonObject:
    return message(URL)["channelData"] | {"eventType": event}


def taken(activity: JsonObject, *, receives_all: bool = False) -> Message:
    arrival = read(activity, APP_ID, receives_all=receives_all)
    assert isinstance(arrival, Message), arrival
    return arrival


def ignored(activity: JsonObject, *, receives_all: bool = False) -> str:
    arrival = read(activity, APP_ID, receives_all=receives_all)
    assert isinstance(arrival, Ignored), arrival
    return arrival.kind


# -- edits and deletions ------------------------------------------------------------------------------------


def test_an_edit_says_what_it_changes() -> None:
    said = taken(edited(URL))
    assert (said.text, said.kind, said.revises) == (
        "other words",
        MessageKind.TEXT,
        Revision("1700000000001", Change.EDITED),
    )
    assert said.address["activityId"] == "1700000000001"
    assert said.conversation == taken(message(URL)).conversation


def test_a_deletion_has_no_words_and_nothing_to_reply_to() -> None:
    said = taken(deleted(URL, text="still sent along"))
    assert (said.text, said.revises) == ("", Revision("1700000000001", Change.DELETED))
    assert said.address["activityId"] is None
    assert "still sent along" not in repr(said)


def test_a_restored_message_has_its_words() -> None:
    said = taken(restored(URL))
    assert (said.text, said.revises) == ("hello", Revision("1700000000001", Change.RESTORED))


@pytest.mark.invariant("I2")
def test_a_redelivery_has_the_same_id_and_the_next_edit_another() -> None:
    first = taken(edited(URL, "a", timestamp="2026-11-21T04:00:01Z")).id
    assert taken(edited(URL, "a", timestamp="2026-11-21T04:00:01Z")).id == first
    others = {
        taken(edited(URL, "b", timestamp="2026-11-21T04:00:01Z")).id,
        taken(edited(URL, "a", timestamp="2026-11-21T04:00:02Z")).id,
        taken(deleted(URL)).id,
        taken(restored(URL)).id,
        taken(message(URL)).id,
    }
    assert len(others | {first}) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"channelData": _data("brandNew")},
        {"channelData": None},
        {"id": ""},
        {"from": dict(BOT)},
        {"recipient": BOT | {"isTargeted": True}},
        {"type": "messageDelete"},
    ],
)
def test_what_is_no_known_change_is_ignored(change: JsonObject) -> None:
    ignored(edited(URL) | change)


def test_slack_has_other_ways() -> None:
    event = abs_slack(URL) | {"type": "messageUpdate"}
    assert ignored(event | {"channelData": event["channelData"] | {"eventType": "editMessage"}}) == "messageUpdate"


def test_an_edit_in_a_group_may_have_lost_its_mention() -> None:
    """It is for the store to say if the message was one of ours; of what was not, it keeps nothing."""
    with_it = group_message(URL, "<at>Help Bot</at> hi", type="messageUpdate", channelData=_data("editMessage"))
    assert (taken(with_it).text, taken(with_it | {"text": "hi", "entities": []}).text) == ("hi", "hi")


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("activity", [edited, deleted, restored])
async def test_acknowledged_only_once_it_is_stored(rig: Rig, activity: Any) -> None:
    rig.fault = RuntimeError("disk full")
    assert (await rig.post(activity(rig.url)))[0] == 503
    rig.fault = None
    assert (await rig.post(activity(rig.url)))[0] == 202
    assert len(rig.accepted) == 1


# -- where others read along --------------------------------------------------------------------------------


def quoting(whom: str, text: str = "and then?") -> JsonObject:
    quoted = {"messageId": "1772050244572", "senderId": whom, "preview": "the answer"}
    return group_message(URL, text, entities=[{"type": "quotedReply", "quotedReply": quoted}])


def test_a_reply_to_the_bot_needs_no_mention_where_all_messages_arrive() -> None:
    assert taken(quoting(BOT["id"]), receives_all=True).text == "and then?"
    assert ignored(quoting(BOT["id"])) == "not mentioned"


@pytest.mark.parametrize(
    "activity",
    [
        quoting(ANN["id"]),
        group_message(URL, "lunch?", entities=[]),
        group_message(URL, "ask Help Bot", entities=[]),
        group_message(URL, "<at>Help Bot</at> hi", mention(of=ANN)),
        group_message(URL, "hi", entities=[{"type": "quotedReply"}]),
        group_message(URL, "hi", entities=[{"type": "quotedReply", "quotedReply": {"senderId": None}}]),
        group_message(URL, "hi", recipient={}, entities=[{"type": "quotedReply", "quotedReply": {}}]),
    ],
)
def test_what_people_say_to_each_other_is_not_taken(activity: JsonObject) -> None:
    assert ignored(activity, receives_all=True) == "not mentioned"


async def test_what_people_say_to_each_other_is_acknowledged_and_not_kept(make_rig: MakeRig) -> None:
    rig = await make_rig(teams_receive_all=True)
    assert (await rig.post(group_message(rig.url, "lunch?", entities=[])))[0] == 200
    assert rig.accepted == []
    assert rig.events == [ActivityIgnored(reference="", lane="", channel="msteams", kind="not mentioned")]
    assert "lunch" not in json.dumps(repr(rig.events))
    quote = quoting(BOT["id"]) | {"serviceUrl": rig.url}
    assert (await rig.post(quote))[0] == 202


@pytest.mark.invariant("I10")
@pytest.mark.parametrize("groups", ["person", "shared"])
def test_a_personal_thread_is_never_used_where_others_read_along(groups: Any) -> None:
    personal = taken(message(URL))
    channel = {"conversationType": "channel", "isGroup": True, "id": "19:c@thread.tacv2;messageid=1"}
    places = [group_message(URL), group_message(URL, conversation=channel), quoting(BOT["id"])]
    keys = {thread_key((m := taken(one, receives_all=True)).conversation, m.person, groups) for one in places}
    assert thread_key(personal.conversation, personal.person, groups) not in keys
    assert len(keys) == 2


async def test_what_is_private_in_a_group_is_acknowledged_and_left(rig: Rig) -> None:
    private = group_message(rig.url, recipient=BOT | {"isTargeted": True})
    assert (await rig.post(private))[0] == 200
    assert rig.accepted == []
    assert rig.events == [ActivityIgnored(reference="", lane="", channel="msteams", kind="targeted")]
