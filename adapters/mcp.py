"""Tools of MCP servers, as `NAME.mcp.toml` files name them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.contract import NotCalled
from adapters.mcp_file import BadFile, ServerFile, read
from adapters.mcp_server import Pace, Server
from bot.types import Caller, ToolCall, ToolSpec

START_SECONDS = 5.0
"""How long the start of the bot waits for its servers, all at once."""
_LOUD = ("mcp", "client")
"""Loggers of the package, which quote what servers send."""


class McpAdapter:
    """The tools of some servers. They come and go with their servers; the names of others are left to them."""

    def __init__(
        self,
        files: Sequence[ServerFile],
        taken: Collection[str] = (),
        pace: Pace | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._servers = [Server(file, pace or Pace()) for file in files]
        self._taken = frozenset(taken)
        self._start_seconds = start_seconds

    def specs(self) -> Sequence[ToolSpec]:
        """The tools that are known now; those of a server that is away are the ones it had."""
        return [server.tools[name].spec for name, server in self._owners().items()]

    def problems(self) -> Sequence[str]:
        """Which servers are away, and which of their tools are left out."""
        problems = [problem for server in self._servers for problem in server.problems()]
        for server in self._servers:
            source = server.file.source
            for name in server.tools:
                owner = self._owners().get(name)
                if owner is not server:
                    whose = owner.file.source if owner else "another tool"
                    problems.append(f"{source}: {name} is left out: {whose} has that name; set another prefix")
        return problems

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Call a tool of one of the servers.

        Raises:
            NotCalled: the server is away, or the arguments do not fit.
            ToolFailed: it failed, with words for the agent.
            Exception: it failed.
        """
        server = self._owners().get(call.name)
        if server is None:
            raise NotCalled("its server has just taken it away. Do without it.")
        return await server.call(call, caller)

    def asks(self, call: ToolCall) -> bool:
        """See `adapters.contract.Asks`."""
        server = self._owners().get(call.name)
        if server is None:
            raise NotCalled("its server has just taken it away. Do without it.")
        return server.asks(call)

    def _owners(self) -> dict[str, Server]:
        owners: dict[str, Server] = {}
        for server in self._servers:
            for name in server.tools:
                if name not in self._taken:
                    owners.setdefault(name, server)
        return owners

    async def __aenter__(self) -> Self:
        """Begin with all servers, and wait a little for them; one that is slow comes later."""
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        for server in self._servers:
            server.start()
        tried = [asyncio.create_task(server.tried()) for server in self._servers]
        try:
            if tried:  # none, where no file can be used
                await asyncio.wait(tried, timeout=self._start_seconds)
        except asyncio.CancelledError:
            await self.__aexit__(None, None, None)
            raise
        finally:
            for task in tried:
                task.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(server.stop() for server in self._servers))


def opened(
    files: Sequence[tuple[Path, str]], taken: Collection[str], variables: Mapping[str, str]
) -> tuple[McpAdapter, list[str]]:
    """The adapter for these files, each with the source that it is known by, and what is wrong with the others."""
    good: list[ServerFile] = []
    problems: list[str] = []
    for file, source in files:
        try:
            good.append(read(file, source, variables))
        except BadFile as error:
            problems += [f"{source}: {problem}" for problem in error.problems]
    return McpAdapter(good, taken), problems
