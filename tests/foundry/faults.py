"""Injected faults: what goes wrong, for which requests, how often."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Kind = Literal[
    "status",
    "cut",
    "slow",
    "malformed",
    "unauthorized",
    "permission_denied",
    "forbidden",
    "thread_gone",
    "run_failed",
    "run_expired",
    "run_incomplete",
    "run_stuck",
    "cancel_stuck",
    "stream_cut",
    "stream_ended",
    "stream_garbled",
    "stream_error",
    "stream_stalled",
]
RUN_KINDS = frozenset({"run_failed", "run_expired", "run_incomplete", "run_stuck", "cancel_stuck"})
STREAM_KINDS = frozenset({"stream_cut", "stream_ended", "stream_garbled", "stream_error", "stream_stalled"})


@dataclass(frozen=True)
class Fate:
    """What a test has decided about a run before it began."""

    kind: str
    code: str = "server_error"
    message: str = "Sorry, something went wrong."
    reason: str = "max_completion_tokens"
    text: str | None = None
    rounds: int = 0
    """It strikes once the run has had this many rounds of tool calls answered."""


@dataclass
class Fault:
    """One thing that goes wrong.

    `method` and `path` say which requests: the path counts from the project (`/threads/*/runs`), `*` is one
    segment, `**` any number. The kinds that begin with run_ or cancel_ are decided when a run (or the response
    that begins a turn) is created: their path, unless given, is every way to create one. The kinds that begin
    with stream_ strike responses and runs that are streamed, once so many `events` or the first `event` of a type
    are sent: the connection is cut; it ends without a last event; a line is no JSON; an error event comes, and the
    response or run fails; nothing comes for some `seconds`.
    """

    kind: Kind
    method: str = "*"
    path: str = "/**"
    count: int | None = 1
    """How many requests it strikes; None: for ever."""
    skip: int = 0
    """How many matching requests it lets pass first."""
    when: Literal["before", "after"] = "before"
    """Before the work is done, or after it: then the server has done it and the client does not know."""
    status: int = 500
    retry_after: float | None = None
    code: str | None = None
    message: str | None = None
    seconds: float = 0.0
    reason: str = "max_completion_tokens"
    text: str | None = None
    rounds: int = 0
    answer: Any = None
    """The whole JSON body, for the kind `status`, in place of the usual one with `code` and `message`."""
    events: int = 2
    event: str | None = None
    """A type of event (response.output_text.delta, thread.message.delta): counts in place of `events`."""
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"no fault of the kind '{self.kind}'; there are: {', '.join(get_args(Kind))}")
        if self.when not in ("before", "after"):
            raise ValueError("when is 'before' or 'after'")

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Fault:
        """From JSON. Raises ValueError for a field or a kind that does not exist."""
        unknown = body.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a fault has no field '{min(unknown)}'")
        if "kind" not in body:
            raise ValueError("a fault needs a kind")
        return cls(**body)

    def body(self) -> dict[str, Any]:
        return asdict(self)

    def fate(self) -> Fate:
        code = self.code or "server_error"
        message = self.message or "Sorry, something went wrong."
        return Fate(self.kind, code, message, self.reason, self.text, self.rounds)

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and _pattern(self.path).fullmatch(path) is not None

    def take(self, method: str, path: str) -> bool:
        """Whether it strikes this request; counts it if so."""
        if self.count == 0 or not self.matches(method, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        self.struck += 1
        return True


def _pattern(path: str) -> re.Pattern[str]:
    # "/**/" also stands for a single "/", so that "/threads/**/runs" takes in "/threads/runs".
    escaped = re.escape(path).replace(r"/\*\*/", "/(?:.+/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]+")
    return re.compile(escaped)


class Faults:
    """The faults that wait for their requests, in the order in which they were put."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        self._waiting.clear()

    def all(self) -> list[Fault]:
        return list(self._waiting)

    def strike(self, method: str, path: str) -> Fault | None:
        """What strikes this request, if anything: the first fault that matches; the rest wait."""
        special = RUN_KINDS | STREAM_KINDS
        return next((f for f in self._waiting if f.kind not in special and f.take(method, path)), None)

    def stream(self, method: str, path: str) -> Fault | None:
        """What strikes the stream that this request opens, if anything."""
        return next((f for f in self._waiting if f.kind in STREAM_KINDS and f.take(method, path)), None)

    def fates(self, method: str, path: str) -> list[Fate]:
        """What is decided for the run that this request creates."""
        return [fault.fate() for fault in self._waiting if fault.kind in RUN_KINDS and fault.take(method, path)]
