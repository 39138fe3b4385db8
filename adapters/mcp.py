"""Tools of MCP servers, as `NAME.mcp.toml` files name them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, overload

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


class Problems(Sequence[str]):
    """What could not be loaded, and what of the servers is not to be had at the moment it is asked."""

    def __init__(self, loaded: Sequence[str], servers: McpAdapter) -> None:
        self._loaded = loaded
        self._servers = servers

    def _now(self) -> list[str]:
        return [*self._loaded, *self._servers.problems()]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._now()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


def opened(
    files: Sequence[tuple[Path, str]], taken: Collection[str], variables: Mapping[str, str], problems: list[str]
) -> tuple[McpAdapter, Problems]:
    """The adapter for these files, each with the source that it is known by. `problems` gets those of the others.

    The problems given back are those, and always the servers' own of the moment.
    """
    good: list[ServerFile] = []
    for file, source in files:
        try:
            good.append(read(file, source, variables))
        except BadFile as error:
            problems += [f"{source}: {problem}" for problem in error.problems]
    adapter = McpAdapter(good, taken)
    return adapter, Problems(problems, adapter)
