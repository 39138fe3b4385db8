"""Whether words in a group are for the bot: they mention it, or quote what it said."""

from __future__ import annotations

import re

from bot.channels.fields import object_at, objects_at, string_at
from bot.types import JsonObject


def own_mentions(activity: JsonObject) -> list[JsonObject]:
    """The mentions of the bot itself: a name in the text is none, nor is a mention of somebody else."""
    own = string_at(object_at(activity, "recipient"), "id")
    return [
        entity
        for entity in objects_at(activity, "entities")
        if string_at(entity, "type") == "mention" and string_at(object_at(entity, "mentioned"), "id") == own != ""
    ]


def quotes_us(activity: JsonObject) -> bool:
    """Whether it is a reply to a message of the bot's.

    https://learn.microsoft.com/dotnet/api/microsoft.teams.apps.schema.entities.quotedreplydata
    """
    own = string_at(object_at(activity, "recipient"), "id")
    return any(
        string_at(object_at(entity, "quotedReply"), "senderId") == own != ""
        for entity in objects_at(activity, "entities")
        if string_at(entity, "type") == "quotedReply"
    )


def without_mention(text: str, mention: JsonObject) -> str:
    """The text less this one mention, once. Its own words stay where they are said again.

    The SDK's remove_recipient_mention deletes every occurrence of the bot's name, raises KeyError on a mention
    without `mentioned` and TypeError where there is no text.
    """
    said = string_at(mention, "text")
    if said.startswith("<at") and said in text:
        return text.replace(said, "", 1)
    name = re.sub(r"</?at\b[^>]*>", "", said).strip() or string_at(object_at(mention, "mentioned"), "name")
    if not name:
        return text
    tagged = re.sub(rf"<at\b[^>]*>\s*{re.escape(name)}\s*</at>", "", text, count=1)
    if tagged != text or not said:
        return tagged
    return text.replace(said, "", 1)
