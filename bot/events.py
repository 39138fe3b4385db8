"""What happened. Events carry names, numbers and states, never what a person or the agent said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a turn: `reference` names the turn, `lane` the line it stands in."""

    reference: str
    lane: str


@dataclass(frozen=True, slots=True)
class MessageAccepted(Event):
    """A message is on disk. `fresh` is False for a redelivery, which changes nothing."""

    channel: str
    kind: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class WordsTaken(Event):
    """Words to a person who has not asked are on disk. `fresh` is False where they were before."""

    channel: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class ActivityIgnored(Event):
    """The channel sent something that is no message to us; it was acknowledged and nothing was done."""

    channel: str
    kind: str


@dataclass(frozen=True, slots=True)
class RequestRefused(Event):
    """A request of a channel was answered with this status, and nothing was done. `path` is our own."""

    path: str
    status: int


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    """A turn was claimed. `attempt` counts from 1; `messages` says how many wait in it together."""

    attempt: int
    messages: int
    waited: float


@dataclass(frozen=True, slots=True)
class TurnEnded(Event):
    """A turn's final write is done."""

    ended: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TurnReleased(Event):
    """A turn goes back to its lane and is taken up again after `delay` seconds."""

    delay: float
    error: str
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseLost(Event):
    """Another process has taken the turn; this one stopped without writing."""


@dataclass(frozen=True, slots=True)
class ApprovalAsked(Event):
    """A person was asked whether a tool may be called; the turn waits."""

    tool: str


@dataclass(frozen=True, slots=True)
class ApprovalDecided(Event):
    """The wait is over. `outcome` is 'approved', 'declined' or 'expired'."""

    tool: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ControlApplied(Event):
    """A control acted: the lane's generation now, and how many waiting messages it dropped."""

    control: str
    generation: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ThreadOpened(Event):
    """The lane has a new current thread. `carried` is 'summary', 'messages' or 'nothing'."""

    backend: str
    thread: str
    reason: str
    carried: str


@dataclass(frozen=True, slots=True)
class ThreadsDeleted(Event):
    """Threads were deleted at the service and here: by age, or as someone wished. `left` are tried again later."""

    deleted: int
    left: int


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run is open at the service (or was found there after a crash: `adopted`)."""

    backend: str
    thread: str
    run: str
    attempt: str
    adopted: bool


@dataclass(frozen=True, slots=True)
class RunLooked(Event):
    """The run was looked at; `state` is the service's word."""

    run: str
    state: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The run is over. Tokens are 0 where the service did not say."""

    run: str
    state: str
    rounds: int
    seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToolStarted(Event):
    """A tool is about to be called; its row is committed."""

    tool: str
    call: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class ToolEnded(Event):
    """A tool call has its output. `error` names the kind of failure, None where it worked."""

    tool: str
    call: str
    seconds: float
    size: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Delivered(Event):
    """One part of an answer was taken by the channel."""

    channel: str
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class FeedbackGiven(Event):
    """A person said what they think of an answer: `new`, `changed`, or `again` (a redelivery, which changes nothing).

    `reference` is empty where the answer is not known.
    """

    channel: str
    reaction: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Unexpected(Event):
    """A fault of ours: `where` it was caught and the exception's type. The trace goes to the log alone."""

    where: str
    error: str


Emit = Callable[[Event], None]
"""Told at once and in order; must neither block nor raise."""


def fan_out(listeners: Sequence[Emit]) -> Emit:
    """One `Emit` that tells each of the listeners in turn, also those that are added to them later."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit
