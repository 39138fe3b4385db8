"""The thread of a lane, and what the next one knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bot.types.values import Json


class ThreadReason(StrEnum):
    """Why a thread was opened, or became the current one."""

    FIRST = "first"
    START_OVER = "start over"
    UNDO = "undo"
    MESSAGES = "messages"
    TOKENS = "tokens"
    IDLE = "idle"
    MOVED = "agent or project changed"
    LOST = "lost at the service"
    STUCK = "a run would not end"


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as our store knows it: `remote_id` is the agent service's id, `id` our own."""

    id: int
    lane: str
    generation: int
    backend: str
    project: str
    remote_id: str
    reason: ThreadReason
    opened_at: float
    used_at: float
    messages: int = 0
    prompt_tokens: int = 0
    previous_id: int | None = None
    summary: str | None = None
    unusable: ThreadReason | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The line of one thread's turns, and the mapping from it to the current thread."""

    key: str
    channel: str
    tenant: str
    generation: int
    thread: Thread | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a thread's history."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of a thread that lies in our own store. Only what a user or the assistant says is its history.

    `item` is the entry as a model is given it, where it is more than its text: calls, outputs, files.
    """

    role: Literal["user", "assistant", "call", "output", "file", "filtered"]
    text: str
    item: Json = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What the next thread must remember: a summary, or the last messages where there is none."""

    summary: str | None = None
    messages: tuple[Said, ...] = ()

    @property
    def form(self) -> str:
        """How the memory was carried: 'summary', 'messages' or 'nothing'."""
        if self.summary:
            return "summary"
        return "messages" if self.messages else "nothing"
