"""What an activity says: mentions, tenants, files, cards, installations, Slack's envelope."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botbuilder.core import TurnContext
from botbuilder.schema import Activity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.channels import invokes
from bot.channels.activities import Ignored, Invoke, read, sent_at, tenant_of
from bot.channels.service_hosts import ServiceHosts
from bot.errors import BadRequest
from bot.types import Conversation, ConversationKind, JsonObject, Message, MessageKind, Person
from tests.teams import APP_ID, TENANT, abs_slack, group_message, installed, message
from tests.teams.activities import ANN, BOT, SLACK_TOKEN, mention

URL = "https://smba.trafficmanager.net/emea/"


def taken(activity: JsonObject) -> Message:
    arrival = read(activity, APP_ID)
    assert isinstance(arrival, Message), arrival
    return arrival


def ignored(activity: JsonObject) -> str:
    arrival = read(activity, APP_ID)
    assert isinstance(arrival, Ignored), arrival
    return arrival.kind


# -- who, where, when ---------------------------------------------------------------------------------------


def test_a_personal_message() -> None:
    said = taken(message(URL))
    assert said.conversation == Conversation("msteams", TENANT, "a:1personal", ConversationKind.PERSONAL)
    assert said.person == Person("0ann-object-id", "Ann", "de-DE", "Europe/Berlin")
    assert (said.id, said.text, said.kind, said.sent_at) == ("1700000000001", "hello", MessageKind.TEXT, 1795233600123)


@pytest.mark.invariant("I10")
def test_the_tenant_is_kept_where_the_sdk_loses_it() -> None:
    """Stock: `conversation.tenant_id` is None (it reads `tenantID`), and the reference has no tenant at all."""
    activity = message(URL)
    stock = Activity().deserialize(activity)
    assert TENANT not in json.dumps(TurnContext.get_conversation_reference(stock).serialize())

    said = taken(activity)
    assert (said.conversation.tenant, said.address["tenant"], said.address["appId"]) == (TENANT, TENANT, APP_ID)
    assert taken(message(URL, conversation={"id": "a:1", "tenantId": "forged"})).conversation.tenant == TENANT


def test_a_guest_without_an_object_id_is_known_by_the_channels_id() -> None:
    assert taken(message(URL, **{"from": {"id": "29:guest"}})).person.id == "29:guest"


def test_a_channels_thread_is_its_own_conversation() -> None:
    place = {"conversationType": "channel", "isGroup": True, "id": "19:c@thread.tacv2;messageid=170"}
    said = taken(group_message(URL, conversation=place))
    assert said.conversation.id == "19:c@thread.tacv2;messageid=170"
    assert said.conversation.kind is ConversationKind.CHANNEL
    assert said.address["conversation"]["id"] == said.conversation.id


def test_the_address_is_the_reference_and_nothing_else() -> None:
    assert taken(message(URL)).address == {
        "serviceUrl": URL,
        "channelId": "msteams",
        "conversation": {"id": "a:1personal", "conversationType": "personal"},
        "bot": BOT,
        "user": ANN,
        "activityId": "1700000000001",
        "locale": "de-DE",
        "tenant": TENANT,
        "appId": APP_ID,
    }


def test_without_an_id_a_redelivery_has_the_same_one() -> None:
    first, again = (taken(message(URL, id="")) for _ in range(2))
    assert first.id == again.id
    assert first.id != taken(message(URL, "other words", id="")).id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T04:00:00.1234567Z", 1795233600123),
        ("2026-11-21T04:00:00Z", 1795233600000),
        ("2026-11-21T05:00:00+01:00", 1795233600000),
        ("2026-11-21T04:00:00", 1795233600000),
        ("", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_timestamps(text: str, expected: int | None) -> None:
    assert sent_at(text) == expected or (expected is None and text.startswith("0001"))


# -- mentions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "entity", "expected"),
    [
        ("<at>Help Bot</at>&nbsp;what is Help Bot?", mention(), "what is Help Bot?"),
        ("<at>Help Bot</at> what is <at>Help Bot</at>", mention(), "what is <at>Help Bot</at>"),
        ('<at id="0">Help Bot</at> hi', mention("Help Bot"), "hi"),
        ('<at id="0">Help Bot</at> hi', mention('<at id="0">Help Bot</at>'), "hi"),
        ("Help Bot hi Help Bot", mention("Help Bot"), "hi Help Bot"),
        ("<at>Help Bot</at> hi", {"type": "mention", "mentioned": BOT}, "hi"),
        ("hi there", mention(), "hi there"),
        ("a (b) <at>Bot (1)</at>", mention("<at>Bot (1)</at>"), "a (b)"),
    ],
)
def test_exactly_the_bots_mention_goes(text: str, entity: JsonObject, expected: str) -> None:
    """Stock removes every occurrence of the name, and leaves `&nbsp;` and empty `<at>` tags."""
    assert taken(group_message(URL, text, entity)).text == expected


def test_what_the_stock_removal_does() -> None:
    activity = Activity().deserialize(group_message(URL, "<at>Help Bot</at>&nbsp;what is Help Bot?"))
    assert TurnContext.remove_recipient_mention(activity) == "&nbsp;what is ?"


def test_other_peoples_mentions_stay() -> None:
    other = mention("<at>Ann</at>", ANN)
    said = taken(group_message(URL, "<at>Help Bot</at> ask <at>Ann</at>", mention(), other))
    assert said.text == "ask <at>Ann</at>"
    assert ignored(group_message(URL, "ask <at>Ann</at>", other)) == "not mentioned"


def test_broken_mentions_are_no_mentions() -> None:
    """Stock: KeyError without `mentioned`."""
    for broken in ({"type": "mention"}, {"type": "mention", "mentioned": None}, {"type": "mention", "mentioned": {}}):
        assert ignored(group_message(URL, "hi", broken)) == "not mentioned"
    assert ignored(group_message(URL, "hi", entities="none")) == "not mentioned"


# -- without words ------------------------------------------------------------------------------------------

FILE = {"contentType": "application/vnd.microsoft.teams.file.download.info", "name": "report.pdf"}
HTML = {"contentType": "text/html", "content": "<p>hello</p>"}


@pytest.mark.parametrize(
    ("text", "change", "kind", "files"),
    [
        ("hello", {"attachments": [HTML]}, MessageKind.TEXT, ()),
        ("hello", {"attachments": [{"contentType": "messageReference"}]}, MessageKind.TEXT, ()),
        (None, {"attachments": [FILE, HTML]}, MessageKind.FILES, ("report.pdf",)),
        ("see this", {"attachments": [FILE]}, MessageKind.FILES, ("report.pdf",)),
        (None, {"attachments": [{"contentType": "image/png"}]}, MessageKind.FILES, ("image",)),
        (None, {"value": {"choice": 1}}, MessageKind.CARD, ()),
        ("yes", {"value": {"choice": 1}}, MessageKind.TEXT, ()),
        (None, {}, MessageKind.EMPTY, ()),
        ("  &nbsp; ", {}, MessageKind.EMPTY, ()),
        (None, {"attachments": [HTML]}, MessageKind.EMPTY, ()),
    ],
)
def test_files_cards_and_nothing(text: str | None, change: JsonObject, kind: MessageKind, files: Any) -> None:
    """Stock: TypeError in the mention's removal where there is no text."""
    said = taken(message(URL, text, **change))
    assert (said.kind, said.files) == (kind, files)


def test_only_a_mention_is_empty() -> None:
    assert taken(group_message(URL, "<at>Help Bot</at>")).kind is MessageKind.EMPTY


def test_what_no_database_takes_is_dropped() -> None:
    assert taken(message(URL, "a\x00b\ud800c")).text == "ab?c"


# -- installations, and what is not for us ------------------------------------------------------------------


def test_welcome_once_per_install() -> None:
    """Stock takes `add-upgrade`, sent with every update of the app, for an installation."""
    group = {"conversationType": "groupChat", "id": "19:g"}
    assert taken(installed(URL)).kind is MessageKind.WELCOME
    assert taken(installed(URL, conversation=group)).kind is MessageKind.WELCOME_GROUP
    for action in ("add-upgrade", "remove", "remove-upgrade", ""):
        assert ignored(installed(URL, action)) == "installationUpdate"
    assert ignored(message(URL, type="conversationUpdate", membersAdded=[ANN, BOT])) == "conversationUpdate"


@pytest.mark.parametrize("sender", [BOT, {"id": "28:another-bot"}, {"id": "x", "role": "bot"}])
def test_bots_are_not_answered(sender: JsonObject) -> None:
    assert ignored(message(URL, **{"from": sender})) == "own"


def test_private_words_in_a_group_are_not_answered_in_public() -> None:
    assert ignored(group_message(URL, recipient=BOT | {"isTargeted": True})) == "targeted"


# -- Slack through Azure Bot Service ------------------------------------------------------------------------


def test_slack_is_keyed_by_team_and_user() -> None:
    said = taken(abs_slack(URL))
    assert (said.conversation.tenant, said.person.id) == ("T1", "U1")
    assert (said.conversation.id, said.conversation.kind) == ("B1:T1:D1", ConversationKind.PERSONAL)
    assert said.sent_at == 1700000000000


def test_a_guest_of_a_shared_channel_is_of_their_own_team() -> None:
    said = taken(abs_slack(URL, "<@U0BOT> hi", channel="C1", user_team="T9"))
    assert (said.conversation.tenant, tenant_of(abs_slack(URL, user_team="T9"))) == ("T9", "T9")


@pytest.mark.invariant("I13")
def test_slacks_live_token_goes_nowhere() -> None:
    """Stock: channelData, and with it the token, is part of the activity that is logged and stored."""
    said = taken(abs_slack(URL))
    assert "xoxb" in SLACK_TOKEN
    assert "xoxb" not in repr(said)
    assert "xoxb" not in json.dumps(said.address)
    assert "channelData" not in said.address


def test_slack_channels_are_heard_only_when_mentioned() -> None:
    assert ignored(abs_slack(URL, "lunch?", channel="C1")) == "not mentioned"
    assert ignored(abs_slack(URL, "ask <@U9>", channel="C1")) == "not mentioned"
    said = taken(abs_slack(URL, "<@U0BOT> is <@U0BOT|helpbot> &lt;up&gt; &amp; well, <@U9>?", channel="C1"))
    assert said.text == "is <@U0BOT|helpbot> <up> & well, <@U9>?"
    assert said.conversation.kind is ConversationKind.CHANNEL


@pytest.mark.invariant("I2")
def test_both_events_of_one_slack_mention_have_one_id() -> None:
    first = taken(abs_slack(URL, "<@U0BOT> hi", channel="C1"))
    second = taken(abs_slack(URL, "<@U0BOT> hi", channel="C1", type="app_mention") | {"id": "another-abs-id"})
    assert first.id == second.id


@pytest.mark.parametrize("event", [{"bot_id": "B7"}, {"subtype": "message_changed"}, {"subtype": "bot_message"}])
def test_slack_edits_and_bots_are_ignored(event: JsonObject) -> None:
    assert ignored(abs_slack(URL, **event))


def test_slack_files() -> None:
    said = taken(abs_slack(URL, "", subtype="file_share", files=[{"name": "a.pdf", "url_private": "https://secret"}]))
    assert (said.kind, said.files) == (MessageKind.FILES, ("a.pdf",))
    assert "secret" not in repr(said)


def test_slack_clicks() -> None:
    clicked = abs_slack(URL) | {
        "channelData": {"Payload": {"user": {"id": "U1", "team_id": "T1"}}, "ApiToken": SLACK_TOKEN},
        "text": "",
        "value": {"action": "x"},
    }
    said = taken(clicked)
    assert (said.kind, said.person.id, said.conversation.tenant) == (MessageKind.CARD, "U1", "T1")


# -- laws ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = [
    "type",
    "channelId",
    "id",
    "text",
    "from",
    "recipient",
    "conversation",
    "entities",
    "attachments",
    "channelData",
    "value",
    "action",
    "timestamp",
    "locale",
    "name",
    "user",
    "team",
    "event",
    "SlackMessage",
    "Payload",
    "tenant",
    "mentioned",
    "contentType",
    "authorizations",
    "files",
    "ts",
    "channel",
]
VALUES = st.sampled_from(["message", "msteams", "slack", "invoke", "installationUpdate", "add", "mention", "28:x"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_activity_breaks_the_reader(data: st.DataObject) -> None:
    """Stock: 500 for a bad timestamp, a mention without fields, entities that are no list, …"""
    objects = st.dictionaries(st.sampled_from(FIELDS), JSON | VALUES, max_size=8)
    nested = st.dictionaries(st.sampled_from(FIELDS), objects | st.lists(objects, max_size=2) | JSON | VALUES)
    base = data.draw(st.sampled_from([message(URL), group_message(URL), abs_slack(URL), installed(URL)]))
    activity = base | data.draw(nested)
    try:
        arrival = read(activity, APP_ID)
    except BadRequest:
        return
    if isinstance(arrival, Invoke):
        json.dumps(invokes.answer(arrival).body)
    if isinstance(arrival, Message):
        json.dumps(arrival.address).encode()
        arrival.text.encode()


@given(st.text(), st.sampled_from(["https://", "https://smba.trafficmanager.net", "//", ""]))
def test_no_address_breaks_the_host_check(text: str, start: str) -> None:
    assert ServiceHosts(("smba.trafficmanager.net",)).permits(start + text) in (True, False)
