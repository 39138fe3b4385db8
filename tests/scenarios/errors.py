"""What becomes of a message when the agent service fails: the list that the tests try and the docs show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ANSWERED = "answered; nobody notices"
AGAIN = "taken up again after a wait"
ANOTHER = "asked again in the same turn"
PARKED = "waits for the operator, uses no attempt"
ROLLED = "answered in a new thread"
TRIMMED = "answered; the beginning is left out"
SORRY = "an apology with its reference"

CLASSIC, NEW, CHAT = "foundry-classic", "foundry", "chat-completions"


@dataclass(frozen=True)
class Case:
    """One failure: how it is brought about, and what becomes of the message at each service; None: it has no such."""

    name: str
    at: str
    fault: dict[str, Any] = field(default_factory=dict)
    classic: str | None = AGAIN
    new: str | None = AGAIN
    chat: str | None = ANSWERED
    streamed: bool = False
    forgets: tuple[str, ...] = ()
    """Where what was said before is lost by it."""

    def expected(self, service: str) -> str | None:
        return {CLASSIC: self.classic, NEW: self.new, CHAT: self.chat}[service]


def _status(name: str, status: int, outcome: str = AGAIN, *, chat: str | None = None, **more: Any) -> Case:
    forgets = more.pop("forgets", ())
    fault = {"kind": "status", "status": status} | more
    return Case(name, "start", fault, outcome, outcome, chat or outcome, forgets=forgets)


FILTERED = {"code": "content_filter", "message": "The response was filtered."}
TOO_LONG = {"code": "context_length_exceeded", "message": "This model's maximum context length is 8192 tokens."}

CASES = (
    _status("401", 401, PARKED),
    _status("403", 403, PARKED),
    _status("404 of the agent or the model", 404, PARKED, agent_missing=True),
    Case("404 of the thread", "lose", {}, ROLLED, ROLLED, ROLLED, forgets=(CLASSIC, NEW, CHAT)),
    _status("408", 408, chat=ANSWERED),
    _status("429, Retry-After 1 s", 429, retry_after=1, chat=ANSWERED),
    _status("429, Retry-After 120 s", 429, retry_after=120, chat=ANSWERED),
    _status("500", 500, chat=ANSWERED),
    _status("503", 503, chat=ANSWERED),
    Case("an answer that is not JSON", "start", {"kind": "malformed"}),
    Case("the connection cut, nothing done", "start", {"kind": "cut"}),
    Case("the connection cut, everything done", "start", {"kind": "cut", "when": "after"}, chat=None),
    Case("the stream cut in the middle", "start", {"kind": "stream_cut"}, ANSWERED, ANSWERED, ANSWERED, streamed=True),
    _status("400, content filter", 400, SORRY, **FILTERED),
    _status("400, the thread is too long for the model", 400, ROLLED, chat=TRIMMED, forgets=(CHAT,), **TOO_LONG),
    _status("400, anything else", 400, SORRY, code="invalid_request_error", message="No."),
    Case("the run failed: rate_limit_exceeded", "run", {"code": "rate_limit_exceeded"}, ANOTHER, ANOTHER, None),
    Case("the run failed: server_error", "run", {"code": "server_error"}, ANOTHER, ANOTHER, None),
    Case("the run failed: content_filter", "run", {"code": "content_filter"}, SORRY, SORRY, None),
    Case("the run failed: context_length_exceeded", "run", {"code": "context_length_exceeded"}, ROLLED, ROLLED, None),
    Case("the run failed: anything else", "run", {"code": "invalid_prompt"}, SORRY, SORRY, None),
)


def table() -> str:
    """The list as the docs show it."""
    lines = [f"| failure | {CLASSIC} | {NEW} | {CHAT} |", "|---|---|---|---|"]
    lines += [f"| {case.name} | {case.classic or '—'} | {case.new or '—'} | {case.chat or '—'} |" for case in CASES]
    return "\n".join(lines)
