"""An MCP server as a process of ours: its pipes while it runs, and the end of all that it started.

The package has a transport of its own, which leaves running what a server started and did not end itself, takes lines
of any length, and does not tell of the process's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from adapters.mcp_file import ServerFile

log = logging.getLogger("threadkeeper.tools")

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

MOST_LINE = 8 * 1024 * 1024
"""Bytes of one message."""
GRACE = 2.0
"""Seconds after the end of its input, and again after SIGTERM, until SIGKILL."""
WATCH = 0.2
"""Seconds between two looks whether it is there."""
_LOOK = 0.01
_CHUNK = 64 * 1024


@asynccontextmanager
async def process(file: ServerFile, ended: Callable[[], None]) -> AsyncGenerator[Streams]:
    """Start it, in the folder of its file; it sees a few harmless variables and those that its file names.

    `ended` is called when it is gone, closes its output, or no longer takes input. Leaving ends it, with all that it
    started.

    Raises:
        OSError: it cannot be started.
    """
    started = await asyncio.create_subprocess_exec(
        file.command,
        *file.args,
        cwd=file.folder,
        env=get_default_environment() | dict(file.env),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=MOST_LINE,
        start_new_session=True,  # a group of its own, to be ended whole; Ctrl-C in our terminal is not for it
    )
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, started, incoming, file.name, ended)
            tasks.start_soon(_write, started, outgoing, ended)
            tasks.start_soon(_drain, started, file.name)
            tasks.start_soon(_watch, started, incoming, ended)
            try:
                yield read, write
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(started)
        for stream in (incoming, read, write, outgoing):
            stream.close()


async def _read(started: Process, incoming: Incoming, name: str, ended: Callable[[], None]) -> None:
    assert started.stdout is not None
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the session is over
        async with incoming:
            while line := await _line(started.stdout, name):
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    log.debug("%s wrote a line that is no message", name)
                    continue
                await incoming.send(SessionMessage(message))
    ended()


async def _watch(started: Process, incoming: Incoming, ended: Callable[[], None]) -> None:
    """Close what comes from it once it is gone: a process that it left behind may hold its output open for ever."""
    while started.returncode is None:  # noqa: ASYNC110 - its `wait` waits for those who hold its pipes, too
        await anyio.sleep(WATCH)
    await anyio.sleep(WATCH)  # what it wrote last is still read
    incoming.close()
    ended()


async def _line(stream: asyncio.StreamReader, name: str) -> bytes:
    """The next line, empty at the end. One that is too long is left out: its call ends with its time."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            log.warning("%s wrote a message of over %d bytes, which is left out", name, MOST_LINE)


async def _write(
    started: Process, outgoing: MemoryObjectReceiveStream[SessionMessage], ended: Callable[[], None]
) -> None:
    assert started.stdin is not None
    async with outgoing:
        async for message in outgoing:
            try:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                started.stdin.write(text.encode() + b"\n")
                await started.stdin.drain()
            except (ConnectionError, RuntimeError):  # RuntimeError: the transport is closed
                ended()
                return


async def _drain(started: Process, name: str) -> None:
    """Take what it writes to standard error, so that it never waits for a reader. None of it is kept."""
    assert started.stderr is not None
    while chunk := await started.stderr.read(_CHUNK):
        log.debug("%s wrote %d bytes to its standard error", name, len(chunk))


async def _end(started: Process) -> None:
    """Close its input, as the protocol ends a session; then end the group by force, as much as is needed."""
    assert started.stdin is not None
    started.stdin.close()
    if not await _gone(started, GRACE):
        _signal(started, signal.SIGTERM)
        if not await _gone(started, GRACE):
            _signal(started, signal.SIGKILL)
            await _gone(started, GRACE)
    with contextlib.suppress(ConnectionError):
        await started.stdin.wait_closed()


async def _gone(started: Process, seconds: float) -> bool:
    """Whether it and its group end within the time. Not by waiting: who holds its pipes would keep us."""
    deadline = anyio.current_time() + seconds
    while started.returncode is None or _signal(started, 0):
        if anyio.current_time() >= deadline:
            return False
        await anyio.sleep(_LOOK)
    return True


def _signal(started: Process, number: int) -> bool:
    """Signal its group; whether anyone was there. 0 only looks."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(started.pid, number)
        elif number:
            started.kill()
        return hasattr(os, "killpg")
    except (ProcessLookupError, PermissionError):
        return False
