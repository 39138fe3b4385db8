"""The local Foundry: a real HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from . import checks
from .classic import Classic
from .clock import Clock, RealClock
from .containers import Containers
from .control import Control
from .conversations import Conversations
from .door import BASE, Door
from .faults import Fault, Faults
from .files import Files
from .models import default
from .project import ContainerFile, Conversation, Item, Project, Response, Version
from .records import Recorded
from .responder import Responder
from .responses import Responses
from .runner import Rules, Runner
from .sight import Model, Sight
from .state import Assistant, File, Message, Run, State, Thread, new_id
from .switches import Switches
from .versions import Versions


class FoundryServer:
    """Speaks the classic agent API as azure-ai-agents 1.1.0 uses it, and the new one (conversations, responses)
    as azure-ai-projects 2.10.0 and its openai client do, at the same endpoint.

    It records what it is asked and keeps what it is told; tests assert. Leaving `async with` (or `stop`)
    closes the socket only: a server that is started again holds what it held, at the same address.
    """

    def __init__(
        self,
        *,
        model: Model = default,
        models: Mapping[str, Model] | None = None,
        clock: Clock | None = None,
        rules: Rules | None = None,
        switches: Switches | None = None,
        token: str | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`models` are models by deployment name; `model` stands for every other name."""
        self.clock: Clock = clock or RealClock()
        self.state = State(self.clock)
        """What the classic API keeps, and the files."""
        self.project = Project()
        """What the new API keeps."""
        self.rules = rules or Rules()
        self.switches = switches or Switches()
        self.faults = Faults()
        self._runner = Runner(self.state, self.rules, model, models or {})
        self._responder = Responder(self.state, self.project, self._runner, self.switches)
        self._versions = Versions(self.state, self.project)
        self._door = Door(self.state, self.project, self.clock, self.faults)
        self._door.token = token
        self._port = port
        self._tls = tls
        self._site: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        app = web.Application(middlewares=[self._door.middleware()], client_max_size=64 * 1024**2)
        app.on_response_prepare.append(self._door.sign)
        for part in (
            Classic(self.state, self._runner, self.faults, self.clock),
            Files(self.state),
            self._versions,
            Conversations(self.state, self.project, self._responder),
            Responses(self.project, self._responder, self.faults, self.clock),
            Containers(self.project),
            Control(self),
        ):
            app.add_routes(part.routes())
        # Slow requests must not hold up the end of a test.
        self._site = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._site.setup()
        site = web.TCPSite(self._site, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._site.addresses[0][1]

    async def stop(self) -> None:
        """Close the socket and every connection; from here on connections are refused."""
        if self._site:
            await self._site.cleanup()
            self._site = None

    @property
    def address(self) -> str:
        """The server's root, without a slash; /_control/... hangs here."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    @property
    def endpoint(self) -> str:
        """What stands as PROJECT_ENDPOINT."""
        return self.address + BASE

    @property
    def model(self) -> Model:
        return self._runner.model

    @model.setter
    def model(self, model: Model) -> None:
        self._runner.model = model

    @property
    def token(self) -> str | None:
        return self._door.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._door.token = token

    @property
    def ahead(self) -> float:
        """By how many seconds its answers' Date is ahead of this machine's clock."""
        return self._door.ahead

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        self._door.ahead = seconds

    @property
    def requests(self) -> list[Recorded]:
        """Every request to the API so far, refused ones too."""
        return self._door.requests

    def requests_to(self, method: str, path: str) -> list[Recorded]:
        """The requests a fault with this method and path would match."""
        pattern = Fault("status", method=method, path=path)
        return [record for record in self.requests if pattern.matches(record.method, record.path)]

    async def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until `condition` holds; it is asked again whenever a request has come or been dealt with.

        Raises TimeoutError after `timeout` seconds of real time.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                self._door.moved.clear()
                await self._door.moved.wait()

    def inject(self, fault: Fault) -> Fault:
        """Let something go wrong; the returned fault counts in `struck` how often it did."""
        return self.faults.add(fault)

    def add_assistant(
        self,
        *,
        model: str = "gpt-4o",
        name: str | None = None,
        instructions: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        assistant_id: str | None = None,
    ) -> str:
        """An assistant without a request; its id."""
        settings: dict[str, Any] = {"model": model, "name": name, "instructions": instructions}
        settings["tools"] = checks.tools([dict(tool) for tool in tools])
        assistant = Assistant(assistant_id or new_id("asst_"), self.state.now(), settings, {})
        self.state.assistants[assistant.id] = assistant
        return assistant.id

    def add_agent(
        self,
        name: str,
        *,
        model: str = "gpt-4o",
        instructions: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **definition: Any,
    ) -> Version:
        """A version of an agent of the new API, without a request. Tools may be in the classic form."""
        flat = [{"type": "function", **tool["function"]} if "function" in tool else dict(tool) for tool in tools]
        given: dict[str, Any] = {"kind": "prompt", "model": model, "instructions": instructions, "tools": flat}
        return self._versions.add(name, {"definition": given | definition})

    def add_file(self, filename: str, content: bytes, purpose: str = "assistants_output") -> str:
        """A file without a request, such as one that code of the model has written; its id."""
        file = File(new_id("assistant-"), self.state.now(), filename, purpose, content)
        self.state.files[file.id] = file
        return file.id

    def add_container_file(self, container_id: str, filename: str, content: bytes) -> str:
        """A file for an annotation `container_file_citation` to name; its id."""
        file = ContainerFile(new_id("cfile_"), container_id, self.state.now(), filename, content)
        self.project.containers[container_id, file.id] = file
        return file.id

    def files(self) -> list[File]:
        """The files that are there, oldest first."""
        return list(self.state.files.values())

    def lose_conversation(self, conversation_id: str) -> None:
        """Delete a conversation behind the client's back."""
        self.project.forget(conversation_id)

    def items_of(self, conversation_id: str) -> list[Item]:
        """The conversation's items, oldest first; those of a deleted one too, none of an unknown one."""
        conversation = self._held(conversation_id)
        return list(conversation.items) if conversation else []

    def responses_of(self, conversation_id: str) -> list[Response]:
        """The conversation's responses, oldest first; those of a deleted one too, none of an unknown one."""
        conversation = self._held(conversation_id)
        return list(conversation.responses) if conversation else []

    def lose_thread(self, thread_id: str) -> None:
        """Delete a thread behind the client's back."""
        self.state.forget(thread_id)

    def messages_of(self, thread_id: str) -> list[Message]:
        """The thread's messages, oldest first; those of a deleted thread too, none of an unknown one."""
        thread = self._known(thread_id)
        return list(thread.messages) if thread else []

    def runs_of(self, thread_id: str) -> list[Run]:
        """The thread's runs, oldest first; those of a deleted thread too, none of an unknown one."""
        thread = self._known(thread_id)
        return list(thread.runs) if thread else []

    def sights_of(self, run_id: str) -> list[Sight]:
        """What the run's model was shown, round by round; a response's, once."""
        return [sight for seen_by, sight in self._runner.sights if seen_by == run_id]

    def _known(self, thread_id: str) -> Thread | None:
        return self.state.threads.get(thread_id) or self.state.forgotten.get(thread_id)

    def _held(self, conversation_id: str) -> Conversation | None:
        return self.project.conversations.get(conversation_id) or self.project.forgotten.get(conversation_id)
