"""One MCP server: a task that owns its session, begins it anew where it is lost, and keeps the list of its tools."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
from mcp import Client, MCPError
from mcp.client import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import CallToolResult, Implementation, Tool, ToolListChangedNotification

from adapters.contract import NotCalled, arguments_of
from adapters.mcp_file import ServerFile
from adapters.mcp_questions import Questions
from adapters.mcp_result import result_of
from adapters.mcp_tool import McpTool, Offer, offered
from adapters.mcp_transport import opened
from adapters.mcp_troubles import away, failure_of, is_expired, reason_of
from bot.types import Caller, JsonObject, ToolCall

log = logging.getLogger("threadkeeper.tools")

KEY = "threadkeeper/idempotency-key"
"""Where a call's key stands in its `_meta`: the same when the same call is made again."""
MOST_PAGES = 100
_NOT_YET = "it is not there yet; its tools appear when it is"
_US = Implementation(name="threadkeeper", version="0.1.0")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. Between two beginnings it is `first` at first and twice as long each time, up to `most`.

    `connect` bounds a beginning; one that lasted `steady` was good. The list is asked for again after `refresh`, where
    nothing was said of a change. `again`: how long a call waits for a session in place of one that has run out;
    `drain`: how long that one is kept for the calls that are in it.
    """

    connect: float = 60.0
    first: float = 0.5
    most: float = 60.0
    steady: float = 60.0
    refresh: float = 300.0
    listen: float = 5.0
    pause: float = 0.1
    again: float = 5.0
    drain: float = 1.0
    close: float = 5.0


class Server:
    """One server. `start` begins, `stop` ends it; what it offers is kept while it is away."""

    def __init__(self, file: ServerFile, pace: Pace) -> None:
        self.file = file
        self._pace = pace
        self._questions = Questions()
        self._offer = Offer()
        self._trouble = ""
        self._client: Client | None = None
        self._status = 0
        self._life: anyio.CancelScope | None = None
        self._calls = 0
        self._idle = asyncio.Event()
        self._wake = asyncio.Event()
        self._there = asyncio.Event()
        self._tried = asyncio.Event()
        self._lost = self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def tools(self) -> dict[str, McpTool]:
        """Its tools by the names that the agent uses, as they were listed last."""
        return self._offer.tools

    def problems(self) -> list[str]:
        """Why it, or a tool of it, is not to be had now."""
        return [f"{self.file.source}: {words}" for words in filter(None, (self._trouble, *self._offer.problems))]

    def start(self) -> None:
        """Begin, without waiting."""
        self._trouble = _NOT_YET
        self._task = asyncio.create_task(self._live(), name=f"mcp {self.file.name}")

    async def tried(self) -> None:
        """Until it is there, or was found not to be."""
        await self._tried.wait()

    async def stop(self) -> None:
        """End the session and its process, by force where it must be."""
        if self._task is None:
            return
        self._stopping = True
        self._wake.set()
        if self._client is None:
            self._cancel()
        for force in (self._cancel, self._task.cancel):
            # Never by the task's cancellation first: it would break off the ending of the process.
            done, _ = await asyncio.wait({self._task}, timeout=self._pace.close)
            if done:
                return
            force()
        await asyncio.wait({self._task}, timeout=self._pace.close)

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Make one call; whoever waits for it bounds the time. To stop waiting tells the server so.

        Raises:
            NotCalled: the server is away, or the arguments do not fit.
            ToolFailed: it failed, with words for the agent.
            RuntimeError, ValidationError: its result is not what the server itself says that it is.
        """
        tool = self.tools.get(call.name)
        if tool is None:
            raise NotCalled("its server has just taken it away. Do without it.")
        arguments = tool.arguments(arguments_of(call))
        with self._questions.during(caller) as asked:
            try:
                return result_of(await self._made(tool, arguments, caller), asked)
            except MCPError as error:
                log.warning("tool %s: its server gave the error %d (%s)", call.name, error.code, caller.reference)
                raise failure_of(error, call.name, self.file.name, caller.reference) from None

    def asks(self, call: ToolCall) -> bool:
        """Whether a person is to agree: where its file says so.

        Raises:
            NotCalled: the arguments do not fit, or the server has taken the tool away.
        """
        tool = self.tools.get(call.name)
        if tool is None:
            raise NotCalled("its server has just taken it away. Do without it.")
        tool.arguments(arguments_of(call))
        return tool.spec.approve

    async def _made(self, tool: McpTool, arguments: JsonObject, caller: Caller) -> CallToolResult:
        for last in (False, True):
            client = self._client
            if client is None:
                raise NotCalled(away(self.file.name))
            try:
                with self._counted():
                    return await client.call_tool(tool.name, arguments, meta={KEY: caller.key})
            except MCPError as error:
                if last or not is_expired(error):
                    raise
                await self._anew(client)
        raise AssertionError("unreachable")

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _anew(self, client: Client) -> None:
        """Wait a little for another session than this one, of which the server knows nothing any more."""
        if self._client is client:
            self._lose()
        with anyio.move_on_after(self._pace.again):
            await self._there.wait()

    def _lose(self) -> None:
        self._client = None
        self._there.clear()
        self._lost = True
        self._wake.set()

    def _cancel(self) -> None:
        if self._life is not None:
            self._life.cancel()

    async def _live(self) -> None:
        with anyio.CancelScope() as self._life:
            delay = self._pace.first
            while not self._stopping:
                began = anyio.current_time()
                await self._lived()
                if self._stopping:
                    return
                if anyio.current_time() - began > self._pace.steady:
                    delay = self._pace.first
                await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - to spread, not to hide
                delay = min(delay * 2, self._pace.most)

    async def _lived(self) -> None:
        """One session, from its beginning until it is lost or we stop."""
        self._lost, self._status = False, 0
        reason = "it ended"
        # One scope around all of it: a scope of its own for the beginning could not be left before the session is.
        with anyio.CancelScope(deadline=anyio.current_time() + self._pace.connect) as scope:
            try:
                async with self._session() as client, anyio.create_task_group() as tasks:
                    await self._list(client)
                    scope.deadline = math.inf
                    tasks.start_soon(self._listen, client)
                    await self._serve(client)
                    tasks.cancel_scope.cancel()
            except Exception as error:
                reason = reason_of(error, self._status, self.file.command)
        if scope.cancelled_caught:
            reason = f"it gave no list of its tools within {self._pace.connect:g} s"
        self._away(reason)

    def _session(self) -> Client:
        return Client(
            opened(self.file, self._lose, self._note),
            message_handler=self._hear,
            elicitation_callback=self._questions.answer,
            client_info=_US,
            cache=None,
        )

    async def _serve(self, client: Client) -> None:
        """Be there, and follow the changes of the list, until it is lost or we stop."""
        self._client = client
        self._trouble = ""
        self._there.set()
        self._tried.set()
        log.info("%s is there, with %d tools", self.file.source, len(self.tools))
        while not (self._lost or self._stopping):
            with anyio.move_on_after(self._pace.refresh):
                await self._wake.wait()
            self._wake.clear()
            if self._lost or self._stopping:
                break
            await anyio.sleep(self._pace.pause)  # many changes in a row are one
            await self._list(client)
        if self._calls and not self._stopping:  # calls that hear the same, each by itself
            with anyio.move_on_after(self._pace.drain):
                await self._idle.wait()

    async def _list(self, client: Client) -> None:
        """Ask for the tools, page by page.

        Raises:
            MCPError, ValidationError: the server gives none.
            TimeoutError: it takes too long.
        """
        listed: list[Tool] = []
        cursor: str | None = None
        with anyio.fail_after(self._pace.connect):
            for _ in range(MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                listed += page.tools
                cursor = page.next_cursor
                if not cursor:
                    break
        self._offer = offered(listed, self.file)

    async def _listen(self, client: Client) -> None:
        """Hear of changes of the list where the protocol wants that to be asked for (since 2026-07-28)."""
        tools = client.server_capabilities.tools
        while tools is not None and tools.list_changed:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    self._wake.set()  # what changed before was not heard
                    async for _ in changes:
                        self._wake.set()
            except ListenNotSupportedError:
                return
            except (MCPError, SubscriptionLost, TimeoutError):
                log.debug("%s: its changes are not heard now", self.file.source)
            await anyio.sleep(self._pace.listen)

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._wake.set()

    def _note(self, status: int) -> None:
        self._status = status

    def _away(self, reason: str) -> None:
        self._client = None
        self._there.clear()
        self._tried.set()
        if self._stopping:
            return
        trouble = f"{reason}; it is tried again and again"
        if trouble != self._trouble:
            log.warning("%s: %s", self.file.source, trouble)
        self._trouble = trouble
