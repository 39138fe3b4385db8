"""What the service keeps: assistants, threads with their messages, runs with their steps, files."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .clock import Clock
from .errors import not_found
from .faults import Fate
from .sight import Call, Output, Usage

_ALPHABET = string.ascii_letters + string.digits
ACTIVE = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


def new_id(prefix: str) -> str:
    """Random, not counted: a restarted server must not hand out an id that somebody still holds."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))


@dataclass
class Assistant:
    id: str
    created_at: int
    settings: dict[str, Any]
    metadata: dict[str, str]

    def body(self) -> dict[str, Any]:
        kept = self.settings
        return {
            "id": self.id,
            "object": "assistant",
            "created_at": self.created_at,
            "name": kept.get("name"),
            "description": kept.get("description"),
            "model": kept["model"],
            "instructions": kept.get("instructions"),
            "tools": kept.get("tools") or [],
            "top_p": kept.get("top_p", 1.0),
            "temperature": kept.get("temperature", 1.0),
            "tool_resources": kept.get("tool_resources") or {},
            "metadata": self.metadata,
            "response_format": kept.get("response_format", "auto"),
        }


@dataclass
class Message:
    id: str
    created_at: int
    thread_id: str
    role: str
    content: list[dict[str, Any]]
    metadata: dict[str, str]
    attachments: list[Any] = field(default_factory=list[Any])
    assistant_id: str | None = None
    run_id: str | None = None
    batch: int = 0
    """How many runs the thread had had: what was said together has the same number."""

    @property
    def text(self) -> str:
        return "\n".join(part["text"]["value"] for part in self.content if part["type"] == "text")

    def body(self) -> dict[str, Any]:
        # The real service leaves out status, completed_at and incomplete_*, whatever the SDK's model says.
        return {
            "id": self.id,
            "object": "thread.message",
            "created_at": self.created_at,
            "assistant_id": self.assistant_id,
            "thread_id": self.thread_id,
            "run_id": self.run_id,
            "role": self.role,
            "content": self.content,
            "attachments": self.attachments,
            "metadata": self.metadata,
        }


@dataclass
class Step:
    id: str
    created_at: int
    run: Run
    details: dict[str, Any]
    status: str = "in_progress"
    completed_at: int | None = None
    cancelled_at: int | None = None
    failed_at: int | None = None
    last_error: dict[str, str] | None = None
    usage: Usage | None = None

    def tell(self) -> None:
        """Say in its run's stream how it stands."""
        self.run.tell(f"thread.run.step.{self.status}", self.body())

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "thread.run.step",
            "created_at": self.created_at,
            "run_id": self.run.id,
            "assistant_id": self.run.assistant_id,
            "thread_id": self.run.thread_id,
            "type": self.details["type"],
            "status": self.status,
            "cancelled_at": self.cancelled_at,
            "completed_at": self.completed_at,
            # The service says expires_at, the SDK's model expired_at.
            "expires_at": self.run.expires_at,
            "failed_at": self.failed_at,
            "last_error": self.last_error,
            "step_details": self.details,
            "usage": self.usage.body() if self.usage else None,
        }


@dataclass
class Run:
    id: str
    created_at: int
    thread_id: str
    assistant_id: str
    settings: dict[str, Any]
    """model, instructions, tools and the rest as this run uses them."""
    metadata: dict[str, str]
    phase_began: float
    expires_at: int | None
    status: str = "queued"
    started_at: int | None = None
    cancelled_at: int | None = None
    failed_at: int | None = None
    completed_at: int | None = None
    last_error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None
    usage: Usage | None = None
    pending: list[tuple[str, Call]] = field(default_factory=list[tuple[str, Call]])
    rounds: list[list[Output]] = field(default_factory=list[list[Output]])
    steps: list[Step] = field(default_factory=list[Step])
    fates: list[Fate] = field(default_factory=list[Fate])
    streamed: bool = False
    """Whether its events are kept, and its text comes in pieces: the last request about it asked for a stream."""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    coming: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque[tuple[float, Callable[[], None]]])
    """What has its time: the pieces of a text, and what follows the last one."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Add an event to those that a stream sends."""
        if self.streamed:
            self.events.append({"type": name, "data": data})
        self.moved.set()

    def tell_status(self) -> None:
        self.tell(f"thread.run.{self.status}", self.body() if self.streamed else {})

    def fate(self, kind: str) -> Fate | None:
        """What a test has decided for this run, if anything of this kind."""
        return next((fate for fate in self.fates if fate.kind == kind), None)

    def step(self, object_id: str) -> Step:
        return _find(self.steps, object_id, "run step")

    def body(self) -> dict[str, Any]:
        own = {name: value for name, value in self.settings.items() if name != "additional_instructions"}
        return {
            "id": self.id,
            "object": "thread.run",
            "created_at": self.created_at,
            "assistant_id": self.assistant_id,
            "thread_id": self.thread_id,
            "status": self.status,
            "started_at": self.started_at,
            "expires_at": self.expires_at,
            "cancelled_at": self.cancelled_at,
            "failed_at": self.failed_at,
            "completed_at": self.completed_at,
            "required_action": self._required_action(),
            "last_error": self.last_error,
            **own,
            "metadata": self.metadata,
            "incomplete_details": self.incomplete_details,
            "usage": self.usage.body() if self.usage else None,
        }

    def _required_action(self) -> dict[str, Any] | None:
        if self.status != "requires_action":
            return None
        calls = [call.body(call_id) for call_id, call in self.pending]
        return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}


_Kept = TypeVar("_Kept", Message, Run, Step)


@dataclass
class Thread:
    id: str
    created_at: int
    metadata: dict[str, str]
    tool_resources: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[Message] = field(default_factory=list[Message])
    runs: list[Run] = field(default_factory=list[Run])

    @property
    def active_run(self) -> Run | None:
        # A thread has one at most, and it is the last.
        return self.runs[-1] if self.runs and self.runs[-1].active else None

    def add(self, *messages: Message) -> None:
        """Messages join the thread, and the files attached to them its tools."""
        self.messages.extend(messages)
        for attachment in (attachment for message in messages for attachment in message.attachments):
            kinds = [tool["type"] for tool in attachment["tools"]]
            if "code_interpreter" in kinds:
                held = self.tool_resources.setdefault("code_interpreter", {"file_ids": []})
                held["file_ids"].append(attachment["file_id"])
            if "file_search" in kinds:
                self.tool_resources.setdefault("file_search", {"vector_store_ids": [new_id("vs_")]})

    def message(self, object_id: str) -> Message:
        return _find(self.messages, object_id, "message")

    def run(self, object_id: str) -> Run:
        return _find(self.runs, object_id, "run")

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "thread",
            "created_at": self.created_at,
            "metadata": self.metadata,
            "tool_resources": self.tool_resources,
        }


@dataclass
class File:
    id: str
    created_at: int
    filename: str
    purpose: str
    content: bytes

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


def _find(items: list[_Kept], object_id: str, noun: str) -> _Kept:
    for item in items:
        if item.id == object_id:
            return item
    raise not_found(noun, object_id)


class State:
    """Everything the service knows, in memory."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.assistants: dict[str, Assistant] = {}
        self.threads: dict[str, Thread] = {}
        self.files: dict[str, File] = {}
        self.forgotten: dict[str, Thread] = {}
        """Deleted threads. The API no longer knows them; tests may still look."""

    def now(self) -> int:
        return int(self.clock.time())

    def assistant(self, object_id: str) -> Assistant:
        if object_id not in self.assistants:
            raise not_found("assistant", object_id)
        return self.assistants[object_id]

    def thread(self, object_id: str) -> Thread:
        if object_id not in self.threads:
            raise not_found("thread", object_id)
        return self.threads[object_id]

    def file(self, object_id: str) -> File:
        if object_id not in self.files:
            raise not_found("file", object_id)
        return self.files[object_id]

    def forget(self, object_id: str) -> None:
        """Delete a thread, if it is there."""
        if object_id in self.threads:
            self.forgotten[object_id] = self.threads.pop(object_id)
