"""What the new API keeps: agents with their versions, conversations with their items, responses, container files."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .errors import foundry, invalid
from .faults import Fate
from .sight import OPENING, Output, Usage

ACTIVE = frozenset({"queued", "in_progress"})


@dataclass
class Version:
    """One definition of an agent; it never changes."""

    name: str
    version: str
    created_at: int
    definition: dict[str, Any]
    description: str = ""
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def id(self) -> str:
        return f"{self.name}:{self.version}"

    def body(self) -> dict[str, Any]:
        return {
            "metadata": self.metadata,
            "object": "agent.version",
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "created_at": self.created_at,
            "definition": self.definition,
        }


@dataclass
class Agent:
    name: str
    versions: list[Version] = field(default_factory=list[Version])
    counted: int = 0
    """The last number given out: that of a deleted version does not come again."""

    @property
    def id(self) -> str:
        return self.name

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    def version(self, number: str) -> Version:
        for version in self.versions:
            if version.version == number:
                return version
        raise no_agent(self.name, number)

    def body(self) -> dict[str, Any]:
        return {"object": "agent", "id": self.id, "name": self.name, "versions": {"latest": self.latest.body()}}


@dataclass(eq=False)
class Item:
    """Something said, called or answered. It looks one way in its conversation and another in its response."""

    content: dict[str, Any]
    """With `id` and `type`, and what every view shows."""
    conversation_id: str | None = None
    response_id: str | None = None
    agent: Version | None = None
    batch: int = OPENING
    """How many responses the conversation had had: what was said together has the same number."""

    @property
    def id(self) -> str:
        return self.content["id"]

    @property
    def type(self) -> str:
        return self.content["type"]

    @property
    def text(self) -> str:
        """The words of a message."""
        parts = self.content.get("content") or []
        return "\n".join(part.get("text") or part.get("refusal") or "" for part in parts if part["type"] in _WORDS)

    def body(self) -> dict[str, Any]:
        """As the conversation lists it; [R] test_conversation_items_crud."""
        body = dict(self.content)
        if self.response_id:
            created_by: dict[str, Any] = {"response_id": self.response_id}
            if self.agent:
                created_by["agent"] = {
                    "type": "agent_id",
                    "name": self.agent.name,
                    "version": self.agent.version,
                }
            body["created_by"] = created_by
        if self.conversation_id:
            body["partition_key"] = self.conversation_id.removeprefix("conv_")[:16]
        return body

    def output(self) -> dict[str, Any]:
        """As its response shows it; [R] test_agent_tools_with_conversations."""
        body = dict(self.content) | {"response_id": self.response_id}
        return body | {"agent_reference": reference(self.agent)} if self.agent else body


_WORDS = frozenset({"input_text", "output_text", "text", "refusal"})


def reference(agent: Version) -> dict[str, str]:
    return {"type": "agent_reference", "name": agent.name, "version": agent.version}


@dataclass
class Conversation:
    id: str
    created_at: int
    metadata: dict[str, str]
    items: list[Item] = field(default_factory=list[Item])
    responses: list[Response] = field(default_factory=lambda: [])

    @property
    def active(self) -> Response | None:
        # A conversation has one at most, and it is the last.
        return self.responses[-1] if self.responses and self.responses[-1].active else None

    def item(self, object_id: str) -> Item:
        for item in self.items:
            if item.id == object_id:
                return item
        raise _missing("Item", object_id)

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "conversation",
            "metadata": self.metadata,
            "created_at": self.created_at,
        }


@dataclass
class Ending:
    """How a response ends once everything before it has been told."""

    status: str
    usage: Usage | None = None
    error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None


@dataclass
class Response:
    id: str
    created_at: int
    conversation: Conversation | None
    context: list[Item]
    """What came before it, where no conversation holds that."""
    given: list[Item]
    settings: dict[str, Any]
    agent: Version | None
    metadata: dict[str, str]
    background: bool
    stream: bool
    store: bool
    phase_began: float
    status: str = "queued"
    completed_at: int | None = None
    output: list[Item] = field(default_factory=list[Item])
    ending: Ending | None = None
    error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None
    usage: Usage | None = None
    rounds: list[list[Output]] = field(default_factory=list[list[Output]])
    """The calls of this turn that have been answered, response by response."""
    fates: list[Fate] = field(default_factory=list[Fate])
    """Shared with the responses that go on with this turn: what a test decided strikes once."""
    skipped: int = 0
    """How many of the oldest items it does not read."""
    stuck: bool = False
    cancel_at: float | None = None
    driven: bool = False
    """A connection waits for it and alone brings it forward."""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    coming: deque[tuple[float, dict[str, Any], Item | None]] = field(
        default_factory=deque[tuple[float, dict[str, Any], Item | None]]
    )
    """Events that have their time, each with the item that it finishes."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    def take(self, kind: str) -> Fate | None:
        """What a test has decided for this turn and point, if anything of this kind; it is used up."""
        for fate in self.fates:
            if fate.kind == kind and fate.rounds <= len(self.rounds):
                self.fates.remove(fate)
                return fate
        return None

    def tell(self, type: str, **fields: Any) -> None:
        """Add an event to those that a stream sends."""
        self.events.append({"type": type, "sequence_number": len(self.events), **fields})
        self.moved.set()

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": self.status,
            "background": self.background,
            "completed_at": self.completed_at,
            "error": self.error,
            "incomplete_details": self.incomplete_details,
            **self.settings,
            "output": [item.output() for item in self.output],
            "store": self.store,
            "metadata": self.metadata,
            "usage": _usage(self.usage) if self.usage else None,
            "conversation": {"id": self.conversation.id} if self.conversation else None,
        }
        if self.agent:
            body["agent_reference"] = reference(self.agent)
        return body


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


@dataclass
class ContainerFile:
    """A file that code of the model has written."""

    id: str
    container_id: str
    created_at: int
    filename: str
    content: bytes

    def body(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "container.file",
            "created_at": self.created_at,
            "bytes": len(self.content),
            "container_id": self.container_id,
            "path": f"/mnt/data/{self.filename}",
            "source": "assistant",
        }


def _missing(noun: str, object_id: str) -> Exception:
    return invalid(f"{noun} with id '{object_id}' not found.", status=404)


def no_agent(name: str, version: str = "") -> Exception:
    # "Agent … with version not found" is what is reported where no version was named.
    return foundry("not_found", f"Agent {name} with version {version} not found".replace("  ", " "), status=404)


class Project:
    """Everything that the new API knows, in memory."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.conversations: dict[str, Conversation] = {}
        self.responses: dict[str, Response] = {}
        self.containers: dict[tuple[str, str], ContainerFile] = {}
        self.forgotten: dict[str, Conversation] = {}
        """Deleted conversations. The API no longer knows them; tests may still look."""

    def agent(self, name: str) -> Agent:
        if name not in self.agents:
            raise no_agent(name)
        return self.agents[name]

    def conversation(self, object_id: str) -> Conversation:
        if object_id not in self.conversations:
            raise _missing("Conversation", object_id)
        return self.conversations[object_id]

    def response(self, object_id: str) -> Response:
        if object_id not in self.responses:
            raise _missing("Response", object_id)
        return self.responses[object_id]

    def container_file(self, container_id: str, file_id: str) -> ContainerFile:
        if (container_id, file_id) not in self.containers:
            raise _missing("Container file", file_id)
        return self.containers[container_id, file_id]

    def forget(self, object_id: str) -> None:
        """Delete a conversation, if it is there."""
        if object_id in self.conversations:
            self.forgotten[object_id] = self.conversations.pop(object_id)
