"""The people and the conversations of the local channel, which are fixed."""

from __future__ import annotations

from dataclasses import dataclass

from bot.types import Attachment, Conversation, ConversationKind, Message, MessageKind, Person

PEOPLE = (Person("alex", "Alex"), Person("sam", "Sam"))
PERSONAL, TEAM = "personal", "team"


@dataclass(frozen=True, slots=True)
class Place:
    """One person in one conversation."""

    person: Person
    conversation: Conversation

    def message(
        self, message_id: str, text: str, attachments: tuple[Attachment, ...] = (), decides: str = ""
    ) -> Message:
        """What this person says here, and sends along."""
        kind = MessageKind.TEXT if text.strip() or attachments else MessageKind.EMPTY
        address = {"conversation": self.conversation.id, "person": self.person.id}
        where = (self.conversation, self.person)
        return Message(message_id, *where, text, address, kind, attachments=attachments, decides=decides)


def all_places() -> dict[tuple[str, str], Place]:
    """Every person in every conversation, by both names."""
    team = Conversation("local", "local", TEAM, ConversationKind.GROUP)
    places: dict[tuple[str, str], Place] = {}
    for person in PEOPLE:
        personal = Conversation("local", "local", f"{PERSONAL}-{person.id}")
        places[person.id, PERSONAL] = Place(person, personal)
        places[person.id, TEAM] = Place(person, team)
    return places
