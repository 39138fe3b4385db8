"""Messages as rows: the payload, and the two keys by which a redelivery is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from bot.types import Attachment, Conversation, ConversationKind, JsonObject, Message, MessageKind, Person


class Unreadable(Exception):
    """A row holds a message of another version of the program, or none at all."""

    def __init__(self, turn: int) -> None:
        super().__init__(f"turn {turn}")
        self.turn = turn


def encode(message: Message) -> JsonObject:
    """The message as JSON."""
    return asdict(message)


def decode(payload: JsonObject) -> Message:
    """The message that `encode` was given."""
    conversation = payload["conversation"]
    return Message(
        id=payload["id"],
        conversation=Conversation(**{**conversation, "kind": ConversationKind(conversation["kind"])}),
        person=Person(**payload["person"]),
        text=payload["text"],
        address=payload["address"],
        kind=MessageKind(payload["kind"]),
        sent_at=payload["sent_at"],
        files=tuple(payload["files"]),
        attachments=tuple(Attachment(**one) for one in payload.get("attachments", ())),
    )


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def message_key(message: Message) -> str:
    """The same for every delivery under the same id. An id alone is not unique across conversations."""
    place = message.conversation
    return _fingerprint(place.channel, place.tenant, place.id, message.id)


def message_digest(message: Message) -> str | None:
    """The same for a redelivery under a new id: who said what, where, in which millisecond."""
    if message.sent_at is None:
        return None
    place = message.conversation
    return _fingerprint(
        place.channel, place.tenant, place.id, message.person.id, message.sent_at, message.kind, message.text
    )
