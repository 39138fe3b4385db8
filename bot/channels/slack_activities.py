"""Slack through Azure Bot Service: what its activities say of sender, place and words.

`channelData` holds Slack's own envelope as `SlackMessage`, an interactive `Payload`, and `ApiToken`, a live bot
token, which is never read here. `conversation.id` is `bot:team:channel[:thread]`.
https://microsoft.github.io/Agents-for-js/interfaces/_microsoft_agents-hosting-extensions-slack.SlackChannelData.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.channels.fields import object_at, objects_at, string_at
from bot.types import ConversationKind, JsonObject


@dataclass(frozen=True, slots=True)
class Sender:
    """Who: user ids are unique within their team only."""

    team: str
    user: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message from Slack that is meant for the bot. `id` is the same for both events of one mention."""

    id: str
    sender: Sender
    kind: ConversationKind
    text: str
    files: tuple[str, ...]
    sent_at: int | None


def sender_of(activity: JsonObject) -> Sender:
    """Team and user. The user's own team goes before the envelope's: in a shared channel they differ."""
    data = object_at(activity, "channelData")
    envelope, payload = object_at(data, "SlackMessage"), object_at(data, "Payload")
    event, clicker = object_at(envelope, "event"), object_at(payload, "user")
    user, _, team = string_at(object_at(activity, "from"), "id").partition(":")
    return Sender(
        team=string_at(event, "user_team")
        or string_at(event, "team")
        or string_at(envelope, "team_id")
        or string_at(clicker, "team_id")
        or string_at(object_at(payload, "team"), "id")
        or team,
        user=string_at(event, "user") or string_at(clicker, "id") or user,
    )


def read(activity: JsonObject, *, personal: bool) -> Said | str:
    """The message, or why it is none to us. `personal` is what the activity itself says of the place.

    Slack's `message.channels` brings every word of a channel, so the bot filters for its own mention.
    """
    envelope = object_at(object_at(activity, "channelData"), "SlackMessage")
    event = object_at(envelope, "event")
    if string_at(event, "bot_id") or string_at(event, "subtype") not in ("", "file_share"):
        return "own" if string_at(event, "bot_id") else string_at(event, "subtype")
    kind = _kind(activity, event, personal=personal)
    text = string_at(event, "text") or string_at(activity, "text")
    mention = _own_mention(envelope, event, text)
    mentioned = mention is not None or string_at(event, "type") == "app_mention" or _told(activity)
    if kind is not ConversationKind.PERSONAL and not mentioned:
        return "not mentioned"
    sender = sender_of(activity)
    if not sender.team or not sender.user:
        return "no sender"
    stamp, channel = string_at(event, "ts"), string_at(event, "channel")
    return Said(
        id=f"{channel}:{stamp}" if stamp and channel else "",
        sender=sender,
        kind=kind,
        text=_plain(text if mention is None else text.replace(mention, "", 1)),
        files=tuple(string_at(f, "name") or "file" for f in objects_at(event, "files")),
        sent_at=_milliseconds(stamp),
    )


def _kind(activity: JsonObject, event: JsonObject, *, personal: bool) -> ConversationKind:
    place = string_at(event, "channel_type")
    parts = string_at(object_at(activity, "conversation"), "id").split(":")
    channel = string_at(event, "channel") or (parts[2] if len(parts) > 2 else "")
    if place == "im" or channel.startswith("D"):
        return ConversationKind.PERSONAL
    if place in ("mpim", "group") or channel.startswith("G"):
        return ConversationKind.GROUP
    if place or channel.startswith("C"):
        return ConversationKind.CHANNEL
    return ConversationKind.PERSONAL if personal else ConversationKind.CHANNEL


def _own_mention(envelope: JsonObject, event: JsonObject, text: str) -> str | None:
    """The bot's own mention as it stands in the text; `authorizations` names the bot's user."""
    own = {
        string_at(granted, "user_id")
        for granted in objects_at(envelope, "authorizations")
        if granted.get("is_bot") is True and string_at(granted, "user_id")
    }
    for found in re.finditer(r"<@([A-Z0-9]+)(?:\|[^>]*)?>", text):
        if found[1] in own or (not own and string_at(event, "type") == "app_mention"):
            return found[0]
    return None


def _told(activity: JsonObject) -> bool:
    own = string_at(object_at(activity, "recipient"), "id")
    return own != "" and any(
        string_at(e, "type") == "mention" and string_at(object_at(e, "mentioned"), "id") == own
        for e in objects_at(activity, "entities")
    )


def _plain(text: str) -> str:
    """Slack escapes these three and no others: https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def _milliseconds(stamp: str) -> int | None:
    return round(float(stamp) * 1000) if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stamp, re.ASCII) else None
