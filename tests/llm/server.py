"""POST /v1/chat/completions, plain and streamed. It keeps nothing but what it was asked: tests assert."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

from tests.foundry.models import default
from tests.foundry.sight import Answer, Calls, Failure, Incomplete, Model, Usage
from tests.llm.reading import invalid, sight_of

Kind = Literal[
    "status",
    "cut",
    "malformed",
    "html",
    "hold",
    "stream_cut",
    "stream_ended",
    "stream_garbled",
    "stream_error",
    "stream_pause",
]
PIECE = 8
"""So many characters a piece of a stream has."""


@dataclass
class Fault:
    """One thing that goes wrong. Those of a stream strike after so many `pieces`, and leave plain requests alone."""

    kind: Kind
    count: int | None = 1
    skip: int = 0
    """How many requests it lets pass first."""
    status: int = 500
    error: Any = field(default_factory=lambda: {"message": "Sorry, something went wrong.", "type": "server_error"})
    headers: dict[str, str] = field(default_factory=dict)
    pieces: int = 1
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """`hold`, `stream_pause`: the request, or its stream, waits for it."""

    def take(self, streamed: bool) -> bool:
        if self.count == 0 or (self.kind.startswith("stream_") and not streamed):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count = self.count - 1 if self.count is not None else None
        return True


@dataclass
class Asked:
    """A request as it came."""

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))


class LLMServer:
    """Refuses what a strict server refuses: a conversation with a call without its output, or one that is too long.

    `streams` and `counts` say if it takes `stream` and `stream_options`; `one_piece`: it takes no notice of `stream`.
    """

    def __init__(self, *, model: Model = default, key: str = "", port: int = 0) -> None:
        self.model = model
        self.key = key
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.streams = True
        self.counts = True
        self.one_piece = False
        self.usage = True
        self.ids = True
        self.sees = True
        self.context: int | None = None
        self.finish: str | None = None
        self.extra: dict[str, Any] = {}
        self.news = asyncio.Event()
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def inject(self, kind: Kind, **more: Any) -> Fault:
        self.faults.append(Fault(kind, **more))
        return self.faults[-1]

    async def until_asked(self, count: int) -> None:
        """Wait for so many requests in all."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.news.clear()
                await self.news.wait()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked = Asked(body, dict(request.headers))
        self.asked.append(asked)
        self.news.set()
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, {"message": f"Incorrect API key provided: {self.key[:4]}***", "code": "invalid_api_key"})
        fault = next((fault for fault in self.faults if fault.take(asked.streamed)), None)
        if fault is not None and (struck := await _strike(request, fault)) is not None:
            return struck
        if (refused := self._refused(body)) is not None:
            return refused
        choice, usage = self._choice(body)
        if asked.streamed and not self.one_piece:
            return await self._stream(request, body, choice, usage, fault)
        return web.json_response(
            {"id": "chatcmpl-1", "object": "chat.completion", "model": body["model"], "choices": [choice]}
            | ({"usage": usage} if self.usage else {})
        )

    def _refused(self, body: dict[str, Any]) -> web.Response | None:
        if body.get("stream") and not self.streams:
            return _error(400, {"message": "Streaming is not supported.", "type": "invalid_request_error"})
        if "stream_options" in body and not self.counts:
            return web.json_response({"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]}, status=422)
        if (problem := invalid(body["messages"])) is not None:
            return _error(400, {"message": problem, "type": "invalid_request_error"})
        if not self.sees and "image_url" in json.dumps(body["messages"]):
            return _error(400, {"message": "This model does not support image input.", "code": "invalid_value"})
        size = len(json.dumps(body["messages"])) // 4
        if self.context is not None and size > self.context:
            words = f"This model's maximum context length is {self.context} tokens; your messages have {size}."
            return _error(400, {"message": words, "code": "context_length_exceeded", "param": "messages"})
        return None

    def _choice(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
        """What the model says, as a choice, and what it cost."""
        sight = sight_of(body)
        act = self.model(sight)
        message: dict[str, Any] = {"role": "assistant", "content": None}
        finish, spent = "stop", sight.usage("")
        match act:
            case Answer(text=text, refused=refused):
                message |= {"content": None, "refusal": text} if refused else {"content": text}
                spent = act.usage or sight.usage(text)
            case Calls(calls=calls, text=text):
                number = len(self.asked)
                wanted = [call.body(f"call_{number}_{place}" if self.ids else "") for place, call in enumerate(calls)]
                message |= {"content": text, "tool_calls": wanted}
                finish, spent = "tool_calls", act.usage or sight.usage("")
            case Incomplete(reason=reason, text=text):
                message["content"] = text
                finish = "content_filter" if reason == "content_filter" else "length"
            case Failure():
                raise AssertionError(f"the script has no more steps for {sight.asked}")
        return {"index": 0, "message": message | self.extra, "finish_reason": self.finish or finish}, _usage(spent)

    async def _stream(
        self,
        request: web.Request,
        body: dict[str, Any],
        choice: dict[str, Any],
        usage: dict[str, int],
        fault: Fault | None,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, piece in enumerate(_pieces(choice)):
            if fault is not None and number == fault.pieces and await _break(request, response, fault):
                return response
            await _send(response, {"object": "chat.completion.chunk", "choices": [piece]})
        if self.usage and body.get("stream_options", {}).get("include_usage"):
            await _send(response, {"object": "chat.completion.chunk", "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


def _pieces(choice: dict[str, Any]) -> list[dict[str, Any]]:
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("content", "refusal"):
        text = message.get(name) or ""
        deltas += [{name: text[at : at + PIECE]} for at in range(0, len(text), PIECE)]
    for index, call in enumerate(message.get("tool_calls") or ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        deltas.append({"tool_calls": [{"index": index, "id": call["id"], "function": {"name": name, "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + PIECE]}}]}
            for at in range(0, len(arguments), PIECE)
        ]
    pieces = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    return [*pieces, {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


async def _strike(request: web.Request, fault: Fault) -> web.StreamResponse | None:
    """What comes in place of an answer; None if the fault strikes later, or only held it up."""
    match fault.kind:
        case "status":
            return _error(fault.status, fault.error, fault.headers)
        case "cut":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        case "malformed":
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        case "html":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        case "hold":
            await fault.release.wait()
    return None


async def _break(request: web.Request, response: web.StreamResponse, fault: Fault) -> bool:
    match fault.kind:
        case "stream_cut":
            assert request.transport is not None
            request.transport.close()
        case "stream_garbled":
            await response.write(b"data: {nothing\n\n")
        case "stream_error":
            await _send(response, {"error": fault.error})
        case "stream_ended":
            pass
        case "stream_pause":
            await fault.release.wait()
            return False
        case _:
            return False
    return True


def _error(status: int, error: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": error}, status=status, headers=headers)


def _usage(spent: Usage) -> dict[str, int]:
    total = spent.prompt + spent.completion
    return {"prompt_tokens": spent.prompt, "completion_tokens": spent.completion, "total_tokens": total}
