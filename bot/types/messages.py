"""What a person said, where, and what came with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bot.types.values import Json, JsonObject


class ConversationKind(StrEnum):
    """Where a message was said. Only `PERSONAL` is between one person and the bot."""

    PERSONAL = "personal"
    GROUP = "group"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A place to talk, as the channel knows it."""

    channel: str
    tenant: str
    id: str
    kind: ConversationKind = ConversationKind.PERSONAL


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks. `id` is unique within the tenant and the channel, and lasting."""

    id: str
    name: str = ""
    locale: str = ""
    time_zone: str = ""


class MessageKind(StrEnum):
    """What arrived. Everything but `TEXT` is answered by the bot itself, without the agent."""

    TEXT = "text"
    WELCOME = "welcome"
    WELCOME_GROUP = "welcome_group"
    FILES = "files"
    CARD = "card"
    EMPTY = "empty"
    TOO_MANY = "too_many"
    EDITED = "edited"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file or an image that a person sent along. `size` in bytes, 0 where the channel does not say.

    The content is `data` (base64) where the channel brought it, and is forgotten with the message's words. Else
    `source` is the channel's own note of where it lies, empty where it cannot be had. It is stored, so it holds no
    pre-signed address, and is never logged.
    """

    name: str
    content_type: str
    size: int
    data: str = field(default="", repr=False)
    source: JsonObject = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file with its content."""

    name: str
    content_type: str
    data: bytes = field(repr=False)


class Change(StrEnum):
    """What became of a message after it was sent."""

    EDITED = "edited"
    DELETED = "deleted"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Revision:
    """That an earlier message of the same place, `of`, has changed."""

    of: str
    change: Change


@dataclass(frozen=True, slots=True)
class Message:
    """What a person said.

    `id` is the channel's own id, which a redelivery repeats; `sent_at` its timestamp in milliseconds since the
    epoch, or None where the channel gives none. `address` is what the channel needs to answer, free of secrets.
    `revises`: it is no message of its own, but the new state of an earlier one. `decides`: the approval whose button
    was pressed, where "approve" or "decline" was not typed.
    """

    id: str
    conversation: Conversation
    person: Person
    text: str
    address: JsonObject
    kind: MessageKind = MessageKind.TEXT
    sent_at: int | None = None
    files: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    revises: Revision | None = None
    decides: str = ""
