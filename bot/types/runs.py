"""A run at the agent service, from the question to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.types.messages import Attachment, File
from bot.types.replies import Reply
from bot.types.tools import ToolCall, ToolSpec
from bot.types.usage import Usage


@dataclass(frozen=True, slots=True)
class RunMark:
    """What travels with a run as metadata, so that a turn finds its own work again after a crash."""

    turn: str
    attempt: str
    reference: str

    def metadata(self) -> dict[str, str]:
        """The form in which the service keeps it."""
        return {"turn": self.turn, "attempt": self.attempt, "reference": self.reference}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run is started with. `tools` None: call none at all.

    `held`: an earlier attempt of this turn brought the message; it is added only where the thread lacks it.
    `stream`: somebody reads along, so the text is wanted as it grows. `note` is for this run only.
    """

    mark: RunMark
    text: str
    tools: tuple[ToolSpec, ...] | None = ()
    note: str | None = None
    held: bool = False
    stream: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Takes:
    """Which attachments an agent can be given: content types (`image/*` means all of them), and bytes of one."""

    types: frozenset[str] = frozenset()
    size: int = 0

    def fits(self, attachment: Attachment) -> bool:
        """Whether this one may be given to the agent, by its declared type and size; `image/*` is some image."""
        kind = attachment.content_type.partition(";")[0].strip().lower()
        family = kind.partition("/")[0]
        some = kind.endswith("/*") and any(one.startswith(f"{family}/") for one in self.types)
        known = some or kind in self.types or f"{family}/*" in self.types
        return known and attachment.size <= self.size


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a run is looked at. Answering tool calls may give a new one."""

    thread_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Working:
    """The run goes on. `retry_after` is the service's wish in seconds; `state` its own word for it."""

    state: str
    retry_after: float | None = None
    text: str = ""
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class NeedsTools:
    """The run waits for these calls to be answered, all in one submission."""

    calls: tuple[ToolCall, ...]
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over and this is what it said."""

    reply: Reply
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run is over without an answer. `code` is the service's error code, `state` its final status."""

    state: str
    code: str = ""
    retry_after: float | None = None


Step = Working | NeedsTools | Finished | Stopped


@dataclass(frozen=True, slots=True)
class Found:
    """What a turn's earlier life left at the service: its run, only its message, or nothing."""

    handle: Handle | None = None
    message: bool = False
