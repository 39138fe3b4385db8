"""The agent services a bot can be pointed at by AGENT_BACKEND, as a scenario needs them: each a local server."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from tests.foundry import Fault, FoundryServer, Incomplete, Rules
from tests.llm import LLMServer

When = Literal["before", "after"]


class Service(Protocol):
    """What a scenario asks of the service behind the bot."""

    overrides: dict[str, Any]
    """The settings that point a bot at it."""

    def threads(self) -> list[str]:
        """The threads there are."""
        ...

    def roles(self, thread: str) -> list[str]:
        """Who said something in it, in order."""
        ...

    def questions(self, thread: str) -> int:
        """How many runs were begun for a message of it."""
        ...

    def requests(self) -> int:
        """How many requests it has had."""
        ...

    def lose(self, thread: str) -> None:
        """Delete it behind the bot's back."""
        ...

    def tools(self, names: list[str]) -> None:
        """Give the agent these tools, where it does not get them with each run."""
        ...

    def start_fails(self, kind: str, when: When = "before", **more: Any) -> None:
        """The next request that starts a run goes wrong."""
        ...

    def answer_fails(self, kind: str, when: When) -> None:
        """The next request that gives tool outputs back goes wrong."""
        ...

    def open_fails(self, kind: str, count: int) -> None:
        """The next requests that open a thread go wrong."""
        ...

    def run_fails(self, kind: str, **more: Any) -> None:
        """The next run ends otherwise."""
        ...

    def agent_is_missing(self) -> None:
        """The agent, or the model, is deleted at the service."""
        ...

    def mended(self) -> None:
        """Nothing is wrong any more."""
        ...


class Classic:
    """Threads and runs."""

    def __init__(self, server: FoundryServer) -> None:
        self.server = server
        self._agents: dict[str, Any] = {}
        server.add_assistant(assistant_id="asst_1")
        self.overrides = {
            "agent_backend": "foundry-classic",
            "project_endpoint": server.endpoint,
            "agent_id": "asst_1",
        }

    def threads(self) -> list[str]:
        return list(self.server.state.threads)

    def roles(self, thread: str) -> list[str]:
        return [message.role for message in self.server.messages_of(thread)]

    def questions(self, thread: str) -> int:
        return len(self.server.runs_of(thread))

    def requests(self) -> int:
        return len(self.server.requests)

    def lose(self, thread: str) -> None:
        self.server.lose_thread(thread)

    def tools(self, names: list[str]) -> None:
        pass

    def start_fails(self, kind: str, when: When = "before", **more: Any) -> None:
        self.server.inject(Fault(kind, "POST", "/threads/*/runs", when=when, **more))  # type: ignore[arg-type]

    def answer_fails(self, kind: str, when: When) -> None:
        self.server.inject(Fault(kind, "POST", "/threads/*/runs/*/submit_tool_outputs", when=when))  # type: ignore[arg-type]

    def open_fails(self, kind: str, count: int) -> None:
        self.server.inject(Fault(kind, "POST", "/threads", count=count))  # type: ignore[arg-type]

    def run_fails(self, kind: str, **more: Any) -> None:
        self.server.inject(Fault(kind, **more))  # type: ignore[arg-type]

    def agent_is_missing(self) -> None:
        self._agents = dict(self.server.state.assistants)
        self.server.state.assistants.clear()

    def mended(self) -> None:
        self.server.faults.clear()
        self.server.state.assistants.update(self._agents)


class Conversations:
    """Conversations and responses."""

    CREATE = "/openai/v1/responses"

    def __init__(self, server: FoundryServer) -> None:
        self.server = server
        self._agents: dict[str, Any] = {}
        self.tools([])
        self.overrides = {"agent_backend": "foundry", "project_endpoint": server.endpoint, "agent_name": "keeper"}

    def threads(self) -> list[str]:
        return list(self.server.project.conversations)

    def roles(self, thread: str) -> list[str]:
        bodies = [item.body() for item in self.server.items_of(thread)]
        return [body["role"] for body in bodies if body.get("type") == "message" and body["role"] != "developer"]

    def questions(self, thread: str) -> int:
        responses = self.server.responses_of(thread)
        return sum(1 for response in responses if "turn" in response.metadata)

    def requests(self) -> int:
        return len(self.server.requests)

    def lose(self, thread: str) -> None:
        self.server.lose_conversation(thread)

    def tools(self, names: list[str]) -> None:
        parameters = {"type": "object", "properties": {}}
        tools = [
            {"type": "function", "name": name, "description": f"The tool {name}.", "parameters": parameters}
            for name in names
        ]
        self.server.add_agent("keeper", tools=tools)

    def start_fails(self, kind: str, when: When = "before", **more: Any) -> None:
        self.server.inject(Fault(kind, "POST", self.CREATE, when=when, **more))  # type: ignore[arg-type]

    def answer_fails(self, kind: str, when: When) -> None:
        self.server.inject(Fault(kind, "POST", self.CREATE, when=when, skip=1))  # type: ignore[arg-type]

    def open_fails(self, kind: str, count: int) -> None:
        self.server.inject(Fault(kind, "POST", "/openai/v1/conversations", count=count))  # type: ignore[arg-type]

    def run_fails(self, kind: str, **more: Any) -> None:
        self.server.inject(Fault(kind, **more))  # type: ignore[arg-type]

    def agent_is_missing(self) -> None:
        self._agents = dict(self.server.project.agents)
        self.server.project.agents.clear()

    def mended(self) -> None:
        self.server.faults.clear()
        self.server.project.agents.update(self._agents)


class Chat:
    """An OpenAI-compatible endpoint, which keeps nothing: threads and runs lie in the bot's own database."""

    def __init__(self, server: LLMServer, folder: Path) -> None:
        self.server = server
        self._database = folder / "bot.db"
        self.overrides = {
            "agent_backend": "chat-completions",
            "openai_base_url": server.base_url,
            "model_deployment_name": "model",
        }

    def threads(self) -> list[str]:
        return [name for (name,) in self._read("SELECT id FROM agent_threads ORDER BY created_at")]

    def roles(self, thread: str) -> list[str]:
        entries = self._read("SELECT role, text FROM agent_entries WHERE thread_id = ? ORDER BY id", thread)
        return [role for role, text in entries if role in ("user", "assistant") and text]

    def questions(self, thread: str) -> int:
        return len(self._read("SELECT id FROM agent_runs WHERE thread_id = ?", thread))

    def requests(self) -> int:
        return len(self.server.asked)

    def lose(self, thread: str) -> None:
        self._read("DELETE FROM agent_threads WHERE id = ?", thread)

    def tools(self, names: list[str]) -> None:
        pass

    def start_fails(self, kind: str, when: When = "before", **more: Any) -> None:
        headers = {"Retry-After": str(more["retry_after"])} if "retry_after" in more else {}
        error = {name: more[name] for name in ("code", "message") if name in more} or {"message": "Sorry."}
        streamed = {"pieces": 2} if kind.startswith("stream_") else {}
        self.server.inject(kind, status=more.get("status", 500), error=error, headers=headers, **streamed)  # type: ignore[arg-type]

    def answer_fails(self, kind: str, when: When) -> None:
        self.server.inject(kind, skip=1)  # type: ignore[arg-type]

    def open_fails(self, kind: str, count: int) -> None:
        assert kind == "unauthorized"
        self.server.inject("status", status=401, count=count)

    def run_fails(self, kind: str, **more: Any) -> None:
        if kind == "run_stuck":
            self.server.inject("hold")
        elif kind == "run_failed":
            self.server.inject("status", status=400, error={"message": "Filtered.", "code": more["code"]})
        else:
            usual = self.server.model
            said = iter([Incomplete("max_completion_tokens", more["text"])])
            self.server.model = lambda sight: next(said, None) or usual(sight)

    def agent_is_missing(self) -> None:
        error = {"message": "The model 'model' does not exist.", "code": "model_not_found"}
        self.server.inject("status", status=404, error=error, count=None)

    def mended(self) -> None:
        self.server.faults.clear()

    def _read(self, statement: str, *values: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self._database)) as connection, connection:
            return connection.execute(statement, values).fetchall()


@asynccontextmanager
async def opened_service(name: str, folder: Path) -> AsyncGenerator[Service]:
    """The service of a backend; words behind it are its form. The folder holds the bot's database."""
    if name == "chat-completions":
        async with LLMServer() as endpoint:
            yield Chat(endpoint, folder)
        return
    async with FoundryServer(rules=Rules()) as server:
        if name == "foundry-classic":
            yield Classic(server)
            return
        server.switches.background = name != "foundry foreground"
        server.switches.input_joins = "start" if name == "foundry joining at once" else "end"
        yield Conversations(server)


WITH_RUNS = ("foundry-classic", "foundry", "foundry foreground", "foundry joining at once")
"""Services that tell of a run that failed; at the others the request itself fails."""
SERVICES = (*WITH_RUNS, "chat-completions")
