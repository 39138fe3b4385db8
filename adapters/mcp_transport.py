"""The way to one MCP server: a process of ours, or streamable HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from adapters.mcp_file import ServerFile
from adapters.mcp_process import process

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 300.0
"""How long a stream of a server may be silent; then it is opened anew."""


def opened(file: ServerFile, ended: Callable[[], None], answered: Callable[[int], None]) -> Transport:
    """The way there, to be entered once.

    Args:
        file: How the server is reached.
        ended: Called when a process ends. HTTP has no such end: a request that fails ends the session by an error.
        answered: Called with the status of each HTTP answer.
    """
    return _http(file, answered) if file.url else process(file, ended)


@asynccontextmanager
async def _http(file: ServerFile, answered: Callable[[int], None]) -> AsyncGenerator[tuple[Any, Any]]:
    async def note(response: httpx2.Response) -> None:
        answered(response.status_code)

    longest = max([file.timeout, *(options.timeout or 0 for options in file.options.values())])
    client = httpx2.AsyncClient(
        headers=dict(file.headers),
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=max(SILENCE_SECONDS, longest + CONNECT_SECONDS)),
        limits=httpx2.Limits(max_connections=None),  # a call that hangs must not keep others waiting for a connection
        event_hooks={"response": [note]},
    )
    async with client, streamable_http_client(file.url, http_client=client) as streams:
        yield streams
