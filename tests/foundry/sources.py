"""What both APIs stream: a response, and a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from .project import Ending, Response
from .responder import Responder
from .runner import Runner
from .state import Run, Thread


class ResponseSource:
    """A response of the new API. A foreground one ends with its connection."""

    garbled = b'event: response.output_text.delta\ndata: {"type": "response.outp\n\n'
    last = b""

    def __init__(self, responder: Responder, response: Response) -> None:
        self._responder = responder
        self._response = response

    @property
    def events(self) -> Sequence[dict[str, Any]]:
        return self._response.events

    @property
    def active(self) -> bool:
        return self._response.active

    @property
    def moved(self) -> asyncio.Event:
        return self._response.moved

    def step(self) -> bool:
        return self._responder.step(self._response, reading=True)

    def due(self) -> float:
        return self._responder.due(self._response)

    def fail(self, error: dict[str, str]) -> bytes:
        number = self._response.events[-1]["sequence_number"] + 1
        self._responder.end(self._response, Ending("failed", error=error))
        return self.frame({"type": "error", "sequence_number": number, **error, "param": None})

    def drop(self) -> None:
        self._responder.drop(self._response)

    def frame(self, event: dict[str, Any]) -> bytes:
        return _frame(event["type"], event)


class RunSource:
    """A run of the classic API, which goes on without its connection, and rests at calls."""

    garbled = b'event: thread.message.delta\ndata: {"id": "msg_\n\n'
    last = b"event: done\ndata: [DONE]\n\n"

    def __init__(self, runner: Runner, thread: Thread, run: Run) -> None:
        self._runner = runner
        self._thread = thread
        self._run = run

    @property
    def events(self) -> Sequence[dict[str, Any]]:
        return self._run.events

    @property
    def active(self) -> bool:
        return self._run.active and self._run.status != "requires_action"

    @property
    def moved(self) -> asyncio.Event:
        return self._run.moved

    def step(self) -> bool:
        return self._runner.step(self._thread, self._run, reading=True)

    def due(self) -> float:
        return self._runner.due(self._run)

    def fail(self, error: dict[str, str]) -> bytes:
        self._runner.fail(self._run, error)
        return _frame("error", {"error": {**error, "type": "server_error", "param": None}})

    def drop(self) -> None:
        pass

    def frame(self, event: dict[str, Any]) -> bytes:
        return _frame(event["type"], event["data"])


def _frame(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
