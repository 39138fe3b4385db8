"""A response as server-sent events, and the waiting for one that a connection drives."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from .clock import Clock
from .door import RECORD
from .faults import Fault
from .project import Ending, Response
from .responder import Responder

_LOOK = 0.005
"""Seconds of real time between two looks whether the client is still there: aiohttp has no event for it."""


class Streamer:
    """Brings a response forward at the pace of one connection."""

    def __init__(self, responder: Responder, clock: Clock) -> None:
        self.responder = responder
        self.clock = clock

    async def finish(self, request: web.Request, response: Response) -> None:
        """Wait for the end of a foreground response; it ends with its connection."""
        try:
            while response.active and not _is_gone(request):
                if not self.responder.step(response, reading=True):
                    await self._wait(request, response)
        finally:
            self.responder.drop(response)

    async def send(
        self, request: web.Request, response: Response, fault: Fault | None, after: int = -1
    ) -> web.StreamResponse:
        """The events behind number `after`, those that are there and those that come."""
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        sent = after + 1
        try:
            await stream.prepare(request)
            while True:
                while sent < len(response.events):
                    await _write(stream, response.events[sent])
                    sent += 1
                    if fault and _strikes(fault, response.events[after + 1 : sent]):
                        request[RECORD].fault = fault.kind
                        if not await self._strike(request, response, stream, fault):
                            return stream
                        fault = None
                if not response.active:
                    break
                if not self.responder.step(response, reading=True) and not await self._wait(request, response):
                    break
            await stream.write_eof()
        except ConnectionError:
            pass
        finally:
            self.responder.drop(response)
        return stream

    async def _strike(self, request: web.Request, response: Response, stream: web.StreamResponse, fault: Fault) -> bool:
        """Whether the stream goes on."""
        match fault.kind:
            case "stream_stalled":
                return await self._race(request, self.clock.sleep(fault.seconds))
            case "stream_ended":
                await stream.write_eof()
                return False
            case "stream_error":
                error = {"code": fault.code or "server_error", "message": fault.message or "Something went wrong."}
                number = response.events[-1]["sequence_number"] + 1
                await _write(stream, {"type": "error", "sequence_number": number, **error, "param": None})
                self.responder.end(response, Ending("failed", error=error))
                await stream.write_eof()
                return False
            case "stream_garbled":
                await stream.write(b'event: response.output_text.delta\ndata: {"type": "response.outp\n\n')
        _abort(request)
        return False

    async def _wait(self, request: web.Request, response: Response) -> bool:
        """Until the response can go on; False once the client has gone."""
        response.moved.clear()
        pause = self.responder.due(response) - self.clock.time()
        return await self._race(request, self.clock.sleep(pause), response.moved.wait())

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


def _strikes(fault: Fault, sent: list[dict[str, Any]]) -> bool:
    if fault.event is not None:
        return sent[-1]["type"] == fault.event
    return len(sent) >= fault.events


async def _write(stream: web.StreamResponse, event: dict[str, Any]) -> None:
    data = json.dumps(event, ensure_ascii=False)
    await stream.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
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
