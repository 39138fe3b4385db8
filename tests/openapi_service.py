"""A service that answers over real HTTP and keeps what it was asked, and the files that describe it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import RawTestServer

from adapters.openapi import OpenApiAdapter, OpenApiTool, read_pair
from adapters.toolbox import Toolbox

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request as it arrived. `target` is the path and the query as they stood on the line."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """The service. `answers` are given in turn, the last one again and again."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[Handler] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.raw_path, dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    @property
    def targets(self) -> list[str]:
        return [f"{one.method} {one.target}" for one in self.asked]


def says(body: object = None, status: int = 200, **headers: str) -> Handler:
    """An answer: JSON, or text where it is text, or nothing."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request: web.BaseRequest) -> web.Response:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=told)
        if body is None:
            return web.Response(status=status, headers=told)
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=told)
        return web.json_response(body, status=status, headers=told)

    return answer


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """No answer: the connection ends."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def serving(*answers: Handler) -> AsyncIterator[Service]:
    service = Service(answers=list(answers) or [says({"ok": True})])
    server = RawTestServer(service.handle, host="127.0.0.1")
    await server.start_server(access_log=None)
    service.address = f"http://127.0.0.1:{server.port}"
    try:
        yield service
    finally:
        await server.close()


def operation(**more: Any) -> dict[str, Any]:
    return {"operationId": "do", "summary": "Do it.", "responses": {"200": {"description": "Done"}}, **more}


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "Test", "version": "1"}, "paths": paths, **more}


def parameter(name: str, place: str = "query", kind: Any = "string", **more: Any) -> dict[str, Any]:
    schema = kind if isinstance(kind, dict) else {"type": kind}
    return {"name": name, "in": place, "required": place == "path", "schema": schema, **more}


def body(schema: dict[str, Any], media_type: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema, **more}}}


class Waits:
    """Instead of waiting it keeps for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@dataclass
class Made:
    """The toolbox over a described service, and what is behind it."""

    toolbox: Toolbox
    tools: list[OpenApiTool]
    problems: list[str]
    waits: Waits


def write_pair(folder: Path, described: dict[str, Any] | str, toml: str, name: str = "test") -> tuple[Path, Path]:
    text, kind = (described, "yaml") if isinstance(described, str) else (json.dumps(described), "json")
    file, options = folder / f"{name}.openapi.{kind}", folder / f"{name}.openapi.toml"
    file.write_text(text, encoding="utf-8")
    options.write_text(toml, encoding="utf-8")
    return file, options


@asynccontextmanager
async def offered(
    folder: Path,
    service: Service,
    described: dict[str, Any] | str,
    toml: str = "",
    environ: dict[str, str] | None = None,
) -> AsyncIterator[Made]:
    """The document's operations, all that are named `do` unless the toml says otherwise, ready to be called."""
    head = f'address = "{service.address}/api"\nallow_private = true\n'
    if "operations =" not in toml:
        head += 'operations = ["do"]\n'
    file, options = write_pair(folder, described, head + toml)
    found = read_pair(file, options, "test.openapi.json", environ or {})
    waits = Waits()
    async with Toolbox([OpenApiAdapter(found.tools, found.options, environ or {}, waits)]) as toolbox:
        yield Made(toolbox, found.tools, found.problems, waits)
