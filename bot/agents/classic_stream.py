"""Runs of the classic service, read along: their events, and the text that grows in them.

The SDK's own event handlers are not used: they answer tool calls themselves, and go on past what they cannot read.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import cast

from azure.ai.agents.aio import AgentsClient
from cachetools import TTLCache

from bot.agents.azure import Answer, Body, id_of, opened
from bot.agents.citations import growing
from bot.agents.classic_run import TERMINAL
from bot.agents.failures import failure_of
from bot.agents.fields import mapping, mappings
from bot.agents.live import Grow, Live
from bot.errors import ServiceUnavailable, ThreadkeeperError
from bot.types import Handle, JsonObject, Step

SILENCE_SECONDS = 60.0
"""A stream that says nothing for so long is given up, and its run looked at."""
_RESTS = TERMINAL | {"requires_action"}
_KEPT, _KEPT_SECONDS = 10_000, 3_600.0

Ended = Callable[[Handle, Answer], Awaitable[Step]]
"""Makes a step of a run as its stream left it."""


class Streams:
    """The streams of one agent's runs."""

    def __init__(self, client: AgentsClient, live: Live, ended: Ended) -> None:
        self._runs = client.runs
        self._live = live
        self._ended = ended
        # What was said before a round of calls: it stands in the answer, and so before the text that grows after.
        self._written: TTLCache[str, Writing] = TTLCache(_KEPT, _KEPT_SECONDS)

    async def create(self, thread_id: str, body: JsonObject, seconds: float) -> str:
        """Create a run, read until its id is known, and read on in the background. Raises as `azure.request`."""
        events = Events(await opened(self._runs.create, thread_id, body, seconds=seconds))
        try:
            run_id = id_of(await events.run(seconds))
        except BaseException:
            await events.close()
            raise
        self._follow(Handle(thread_id, run_id), events)
        return run_id

    async def answer(self, handle: Handle, body: JsonObject, seconds: float) -> None:
        """Submit outputs, and read on in the background. Raises as `azure.request`."""
        operation = self._runs.submit_tool_outputs
        events = Events(await opened(operation, handle.thread_id, handle.run_id, body, seconds=seconds))
        self._follow(handle, events)

    def _follow(self, handle: Handle, events: Events) -> None:
        self._live.follow(handle.run_id, lambda grow: self._read(handle, events, grow))

    async def _read(self, handle: Handle, events: Events, grow: Grow) -> Step | None:
        writing = self._written.pop(handle.run_id, None) or Writing()
        try:
            run = await _at_rest(events, writing, grow)
        finally:
            await events.close()
        if run is None:
            return None  # a stream that is cut may end without a word
        if run.get("status") not in TERMINAL:
            self._written[handle.run_id] = writing
        return await self._ended(handle, Answer(run))


async def _at_rest(events: Events, writing: Writing, grow: Grow) -> JsonObject | None:
    """The run once it is over or waits for tools; None where the stream ends before."""
    while (event := await events.next(SILENCE_SECONDS)) is not None:
        name, data = event
        if name == "thread.message.delta":
            writing.add(data)
            grow(growing(writing.text))
        elif is_run(name) and data.get("status") in _RESTS:
            return data
    return None


def is_run(name: str) -> bool:
    """Whether an event of this name brings the run as it stands."""
    return name.startswith("thread.run.") and not name.startswith("thread.run.step.")


class Events:
    """The server-sent events of a body, by their names. Raises as `azure.request`, at any event."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._held = b""

    async def run(self, seconds: float) -> JsonObject:
        """The run, at the first event that brings it."""
        while (event := await self.next(seconds)) is not None:
            if is_run(event[0]):
                return event[1]
        raise ServiceUnavailable("A stream that tells of no run.")

    async def next(self, seconds: float) -> tuple[str, JsonObject] | None:
        """The next event, None at the end; `seconds` is how long the service may be silent."""
        while True:
            first, found, rest = self._held.partition(b"\n\n")
            if not found:
                piece = await self._body.next(seconds)
                if piece is None:
                    return None
                # An end of line may be cut in two by the pieces.
                self._held = (self._held + piece).replace(b"\r\n", b"\n")
                continue
            self._held = rest
            name, data = _lines(first)
            if data == "[DONE]":
                return None
            if data:
                return name, _event(name, data)

    async def close(self) -> None:
        """Leave it; the run goes on."""
        await self._body.close()


def _lines(event: bytes) -> tuple[str, str]:
    name, data = "", list[str]()
    for line in event.decode("utf-8", "replace").split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
    return name, "\n".join(data)


def _event(name: str, data: str) -> JsonObject:
    try:
        value: object = json.loads(data)
    except ValueError:
        value = None
    if name == "error":
        raise _failure(value)
    if not isinstance(value, dict):
        raise ServiceUnavailable(f"An event that cannot be read ({name[:64]}).")
    return cast(JsonObject, value)


def _failure(value: object) -> ThreadkeeperError:
    """What an error means that came after the answer's status: whose fault it is stands in its type alone."""
    outer = mapping(value)
    ours = (mapping(outer.get("error")) or outer).get("type") == "invalid_request_error"
    return failure_of(400 if ours else 500, {}, value)


class Writing:
    """The text of a run while it is written: the deltas of its messages, put together."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], list[str]] = {}

    @property
    def text(self) -> str:
        """All parts, in the order in which they began."""
        return "\n\n".join("".join(pieces) for pieces in self._parts.values())

    def add(self, delta: JsonObject) -> None:
        """Take one delta of a message."""
        for part in mappings(mapping(delta.get("delta")).get("content")):
            words = mapping(part.get("text")).get("value") or part.get("refusal")
            if isinstance(words, str):
                place = (str(delta.get("id")), int(part.get("index") or 0))
                self._parts.setdefault(place, []).append(words)
