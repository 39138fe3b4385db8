"""Who spoke, what is said to them first, and what admins did."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.types.replies import RemoteFile
from bot.types.values import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Known:
    """A person who has spoken: how an admin finds them."""

    channel: str
    tenant: str
    id: str
    name: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class Mails:
    """What a directory has of a person: the e-mail address, and the name they sign in with, often the same."""

    address: str = ""
    login: str = ""


@dataclass(frozen=True, slots=True)
class Saying:
    """Words to a person who has not asked. The same `key` again is the same act; `actor` goes to the audit."""

    key: str
    person: Known
    lane: str
    text: str
    actor: str


@dataclass(frozen=True, slots=True)
class FileOffer:
    """A file of the agent's that a person was asked about: only they may take it, in that conversation."""

    id: str
    channel: str
    tenant: str
    person: str
    conversation: str
    file: RemoteFile


@dataclass(frozen=True, slots=True)
class Act:
    """What an admin did: a row of the audit. `turn` is the message that asked for it, None for a command."""

    actor: str
    act: str
    subject: str
    turn: int | None = None
    detail: JsonObject = field(default_factory=dict[str, Json])
    at: float = 0.0
