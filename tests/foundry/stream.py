"""What is told as server-sent events, and the waiting for what a connection drives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from aiohttp import web

from .clock import Clock
from .door import RECORD
from .faults import Fault

_LOOK = 0.005
"""Seconds of real time between two looks whether the client is still there: aiohttp has no event for it."""


class Source(Protocol):
    """Something that goes on, and tells of it in events, each a dict with a `type`."""

    @property
    def events(self) -> Sequence[dict[str, Any]]: ...

    @property
    def active(self) -> bool:
        """Whether more events may come."""
        ...

    @property
    def moved(self) -> asyncio.Event: ...

    def step(self) -> bool:
        """One step forward, if there is one to take now."""
        ...

    def due(self) -> float:
        """When it can go on."""
        ...

    def fail(self, error: dict[str, str]) -> bytes:
        """Let it fail; the event that says so."""
        ...

    def drop(self) -> None:
        """Nobody is connected any more."""
        ...

    def frame(self, event: dict[str, Any]) -> bytes:
        """An event as it is sent."""
        ...

    @property
    def garbled(self) -> bytes:
        """An event that is none."""
        ...

    @property
    def last(self) -> bytes:
        """What is sent behind the last event."""
        ...


class Streamer:
    """Brings something forward at the pace of one connection."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def finish(self, request: web.Request, source: Source) -> None:
        """Wait for the end, sending nothing."""
        try:
            while source.active and not _is_gone(request):
                if not source.step():
                    await self._wait(request, source)
        finally:
            source.drop()

    async def send(
        self, request: web.Request, source: Source, fault: Fault | None, after: int = -1
    ) -> web.StreamResponse:
        """The events behind number `after`, those that are there and those that come."""
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        sent = after + 1
        try:
            await stream.prepare(request)
            while True:
                while sent < len(source.events):
                    await _write(stream, source.frame(source.events[sent]))
                    sent += 1
                    if fault and _strikes(fault, source.events[after + 1 : sent]):
                        request[RECORD].fault = fault.kind
                        if not await self._strike(request, source, stream, fault):
                            return stream
                        fault = None
                if not source.active:
                    break
                if not source.step() and not await self._wait(request, source):
                    break
            await stream.write(source.last)
            await stream.write_eof()
        except ConnectionError:
            pass
        finally:
            source.drop()
        return stream

    async def _strike(self, request: web.Request, source: Source, stream: web.StreamResponse, fault: Fault) -> bool:
        """Whether the stream goes on."""
        match fault.kind:
            case "stream_stalled":
                return await self._race(request, self.clock.sleep(fault.seconds))
            case "stream_ended":
                await stream.write_eof()
                return False
            case "stream_error":
                error = {"code": fault.code or "server_error", "message": fault.message or "Something went wrong."}
                await _write(stream, source.fail(error))
                await stream.write_eof()
                return False
            case "stream_garbled":
                await stream.write(source.garbled)
        _abort(request)
        return False

    async def _wait(self, request: web.Request, source: Source) -> bool:
        """Until it can go on; False once the client has gone."""
        source.moved.clear()
        pause = source.due() - self.clock.time()
        return await self._race(request, self.clock.sleep(pause), source.moved.wait())

    async def _race(self, request: web.Request, *waits: Coroutine[Any, Any, Any]) -> bool:
        gone = asyncio.create_task(_gone(request))
        tasks = [gone, *(asyncio.create_task(wait) for wait in waits)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return not _is_gone(request)


def _strikes(fault: Fault, sent: Sequence[dict[str, Any]]) -> bool:
    if fault.event is not None:
        return sent[-1]["type"] == fault.event
    return len(sent) >= fault.events


async def _write(stream: web.StreamResponse, frame: bytes) -> None:
    await stream.write(frame)
    # Whether the client has gone is noticed between two events only.
    await asyncio.sleep(0)


async def _gone(request: web.Request) -> None:
    while not _is_gone(request):
        await asyncio.sleep(_LOOK)


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _abort(request: web.Request) -> None:
    with contextlib.suppress(AttributeError):
        request.transport.abort()  # pyright: ignore[reportOptionalMemberAccess]
