"""What an activity says: the Bot Framework's JSON read into our nouns. Pure: no input, however odd, raises
anything but `BadRequest`.

The JSON is read directly and not through the SDK's models: those cost 2 s of CPU for 1 MiB of empty members,
lose `conversation.tenantId` (they look for `tenantID`), and carry `channelData`, which on Slack holds a live
bot token, into everything made from them. Schema: https://github.com/microsoft/botframework-sdk/blob/main/specs/
botframework-activity/botframework-activity.md
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.channels import slack_activities
from bot.channels.fields import object_at, objects_at, string_at
from bot.channels.mentions import own_mentions, quotes_us, without_mention
from bot.channels.teams_files import attached
from bot.errors import BadRequest
from bot.types import (
    Change,
    Conversation,
    ConversationKind,
    Json,
    JsonObject,
    Message,
    MessageKind,
    Person,
    Revision,
    without_none,
)

TEAMS = "msteams"
SLACK = "slack"
EMULATOR = "emulator"
FILE_CONSENT = "fileConsent/invoke"
EXECUTE = "adaptiveCard/action"

_KINDS = {
    "personal": ConversationKind.PERSONAL,
    "groupchat": ConversationKind.GROUP,
    "channel": ConversationKind.CHANNEL,
}

_CHANGES = {
    ("messageUpdate", "editMessage"): Change.EDITED,
    ("messageUpdate", "undeleteMessage"): Change.RESTORED,
    ("messageDelete", "softDeleteMessage"): Change.DELETED,
}
"""By an activity's type and its channelData.eventType."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """A request that Teams waits for: its answer goes back in the response itself."""

    channel: str
    name: str
    value: Json


@dataclass(frozen=True, slots=True)
class Ignored:
    """An activity that is no message to us. `kind` says which."""

    channel: str
    kind: str


Arrival = Message | Invoke | Ignored


def read(activity: JsonObject, app_id: str, *, receives_all: bool = False) -> Arrival:
    """What to do with a verified activity. `app_id` is kept beside the address it is answered with.

    `receives_all`: what people say to each other arrives too, so a reply to the bot needs no mention.

    Raises:
        BadRequest: a message lacks what is needed to answer it.
    """
    channel, kind = string_at(activity, "channelId"), string_at(activity, "type")
    if kind == "invoke":
        return Invoke(channel, string_at(activity, "name"), activity.get("value"))
    if kind == "installationUpdate":
        # "add-upgrade" is an update of the app, and the SDK's handler takes it for an installation
        installed = string_at(activity, "action") == "add"
        return _welcome(activity, app_id) if installed else Ignored(channel, kind)
    change = _CHANGES.get((kind, string_at(object_at(activity, "channelData"), "eventType")))
    if kind != "message" and (change is None or not string_at(activity, "id")):
        return Ignored(channel, kind)
    if _from_a_bot(activity):
        return Ignored(channel, "own")
    if object_at(activity, "recipient").get("isTargeted") is True:
        return Ignored(channel, "targeted")  # private in a group; an answer of ours would be seen by all
    if channel == SLACK:
        return _slack_message(activity, app_id) if kind == "message" else Ignored(channel, kind)
    if change is not None:
        return _revised(activity, app_id, change)
    for_us = bool(own_mentions(activity)) or (receives_all and quotes_us(activity)) or _is_submitted(activity)
    if _conversation(activity).kind is not ConversationKind.PERSONAL and not for_us:
        return Ignored(channel, "not mentioned")
    return _message(activity, app_id)


def clicked(activity: JsonObject, app_id: str) -> Message:
    """Who clicked on something, and where. There are no words.

    Raises:
        BadRequest: it lacks what is needed to answer it.
    """
    return _made(activity, app_id, MessageKind.CARD, "", ())


def tenant_of(activity: JsonObject) -> str:
    """The organisation it comes from: the Entra tenant, or the Slack team. Empty where it does not say.

    Teams passes channelData.tenant.id in all contexts; `conversation.tenantId` is not always there.
    """
    if string_at(activity, "channelId") == SLACK:
        return slack_activities.sender_of(activity).team
    return string_at(object_at(object_at(activity, "channelData"), "tenant"), "id")


def _from_a_bot(activity: JsonObject) -> bool:
    """Our own words, or another bot's (their ids begin with 28:): answering those can go on for ever."""
    sender = object_at(activity, "from")
    own = string_at(object_at(activity, "recipient"), "id")
    name = string_at(sender, "id")
    return string_at(sender, "role") == "bot" or (name != "" and name == own) or name.startswith("28:")


def _is_submitted(activity: JsonObject) -> bool:
    """Whether a card's button sent it, which mentions nobody."""
    return not string_at(activity, "text") and bool(string_at(object_at(activity, "value"), "verb"))


def _welcome(activity: JsonObject, app_id: str) -> Message:
    personal = _conversation(activity).kind is ConversationKind.PERSONAL
    kind = MessageKind.WELCOME if personal else MessageKind.WELCOME_GROUP
    return _made(activity, app_id, kind, "", ())


def _revised(activity: JsonObject, app_id: str, change: Change) -> Message:
    """The new state of an earlier message, whose id the activity has. (An edit may have lost its mention.)"""
    of = string_at(activity, "id")
    told = json.dumps([string_at(activity, key) for key in ("timestamp", "localTimestamp", "text")])
    # the same for a redelivery, another one for the next edit
    name = f"{of}/{change}/{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    if change is Change.DELETED:
        made = _made(activity, app_id, MessageKind.TEXT, "", ())
        made = replace(made, address=made.address | {"activityId": None})  # there is nothing left to reply to
    else:
        made = _message(activity, app_id)
    return replace(made, id=name, revises=Revision(of, change))


def _message(activity: JsonObject, app_id: str) -> Message:
    mentions = own_mentions(activity)
    text = string_at(activity, "text")
    if mentions:
        text = without_mention(text, mentions[0])
    text = text.replace("&nbsp;", " ").replace("\u00a0", " ").strip()
    came = attached(activity)
    files = tuple(one.name for one in came)
    if any(one.source or one.data for one in came):
        return replace(_made(activity, app_id, MessageKind.TEXT, text, ()), attachments=came)
    return _made(activity, app_id, _kind(activity, text, files), text, files)


def _slack_message(activity: JsonObject, app_id: str) -> Arrival:
    said = slack_activities.read(activity, personal=_conversation(activity).kind is ConversationKind.PERSONAL)
    if isinstance(said, str):
        return Ignored(SLACK, said)
    kind = _kind(activity, said.text, said.files)
    person = Person(said.sender.user, string_at(object_at(activity, "from"), "name"))
    conversation = Conversation(SLACK, said.sender.team, _conversation(activity).id, said.kind)
    return Message(
        id=said.id or _id(activity),
        conversation=conversation,
        person=person,
        text=said.text,
        address=_address(activity, app_id),
        kind=kind,
        sent_at=said.sent_at or sent_at(string_at(activity, "timestamp")),
        files=said.files,
    )


def _kind(activity: JsonObject, text: str, files: tuple[str, ...]) -> MessageKind:
    if files:
        return MessageKind.FILES  # also where there are words: answered alone they would be answered wrongly
    if text:
        return MessageKind.TEXT
    return MessageKind.CARD if activity.get("value") is not None else MessageKind.EMPTY


def _made(activity: JsonObject, app_id: str, kind: MessageKind, text: str, files: tuple[str, ...]) -> Message:
    return Message(
        id=_id(activity),
        conversation=_conversation(activity),
        person=_person(activity),
        text=text,
        address=_address(activity, app_id),
        kind=kind,
        sent_at=sent_at(string_at(activity, "timestamp")),
        files=files,
    )


def _id(activity: JsonObject) -> str:
    """The activity's id, or where it has none one that the same activity, delivered again, has too."""
    given = string_at(activity, "id")
    if given:
        return given
    canonical = json.dumps(activity, sort_keys=True, default=str)
    return "sha256-" + hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def _conversation(activity: JsonObject) -> Conversation:
    """Kept whole: the id of a Teams channel's thread ends in `;messageid=`, which is the thread."""
    told = object_at(activity, "conversation")
    conversation_id = string_at(told, "id")
    if conversation_id in ("", ".", ".."):  # the last two would change the path that answers are sent to
        raise BadRequest(400, "conversation.id is missing.")
    otherwise = ConversationKind.GROUP if told.get("isGroup") is True else ConversationKind.PERSONAL
    kind = _KINDS.get(string_at(told, "conversationType").lower(), otherwise)
    return Conversation(string_at(activity, "channelId"), tenant_of(activity), conversation_id, kind)


def _person(activity: JsonObject) -> Person:
    """By Entra object id: `from.id` is another one for every bot. Anonymous guests have only the latter."""
    sender = object_at(activity, "from")
    person_id = string_at(sender, "aadObjectId") or string_at(sender, "id")
    if not person_id:
        raise BadRequest(400, "from.id is missing.")
    infos = [e for e in objects_at(activity, "entities") if string_at(e, "type") == "clientInfo"]
    client: JsonObject = infos[0] if infos else {}
    return Person(
        id=person_id,
        name=string_at(sender, "name"),
        locale=string_at(activity, "locale") or string_at(client, "locale"),
        time_zone=string_at(activity, "localTimezone") or string_at(client, "timezone"),
    )


def said_by(activity: JsonObject) -> tuple[Conversation, Person]:
    """Where it was said, and by whom.

    Raises:
        BadRequest: it does not say so.
    """
    return _conversation(activity), _person(activity)


def _address(activity: JsonObject, app_id: str) -> JsonObject:
    """The conversation reference's essentials, the tenant and the app id. Named one by one, so that nothing
    else comes along: no channelData, whose ApiToken is a live Slack token.
    """
    conversation = object_at(activity, "conversation")
    return {
        "serviceUrl": string_at(activity, "serviceUrl"),
        "channelId": string_at(activity, "channelId"),
        "conversation": without_none(
            {
                "id": string_at(conversation, "id"),
                "conversationType": string_at(conversation, "conversationType") or None,
                "isGroup": True if conversation.get("isGroup") is True else None,
            }
        ),
        "bot": _account(object_at(activity, "recipient")),
        "user": _account(object_at(activity, "from")),
        "activityId": string_at(activity, "id") or None,
        "locale": string_at(activity, "locale") or None,
        "tenant": tenant_of(activity),
        "appId": app_id,
    }


def _account(account: JsonObject) -> JsonObject:
    return {key: string_at(account, key) for key in ("id", "name", "aadObjectId") if string_at(account, key)}


def sent_at(timestamp: str) -> int | None:
    """Milliseconds since the epoch of an ISO 8601 time, None where it is none; UTC where it has no offset."""
    try:
        moment = datetime.fromisoformat(timestamp)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
