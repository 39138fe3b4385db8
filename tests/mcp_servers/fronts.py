"""HTTP servers that are not as they should be, and one that forgets its sessions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Forgetful:
    """Speaks the protocol of 2025-06-18 with sessions, by hand; `forget` is what a restart does."""

    sessions: set[str] = field(default_factory=set[str])
    begun: int = 0
    calls: int = 0

    def forget(self) -> None:
        self.sessions.clear()

    async def answer(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405)
        message: dict[str, Any] = json.loads(await request.text())
        method, number = message["method"], message.get("id")
        if method == "server/discover":
            return web.Response(status=400)
        if method == "initialize":
            self.begun += 1
            self.sessions.add(str(self.begun))
            info = {"name": "forgetful", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            return self._json(number, result, {"Mcp-Session-Id": str(self.begun)})
        if request.headers.get("Mcp-Session-Id") not in self.sessions:
            return web.Response(status=404)
        if number is None:
            return web.Response(status=202)
        if method == "tools/list":
            return self._json(number, {"tools": [{"name": "count", "inputSchema": {"type": "object"}}]})
        self.calls += 1
        return self._json(number, {"content": [{"type": "text", "text": str(self.calls)}]})

    def _json(self, number: object, result: object, headers: dict[str, str] | None = None) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": number, "result": result}, headers=headers)


async def nonsense(request: web.Request) -> web.Response:
    """A page where a server should be."""
    return web.Response(text="<html>hunter2</html>", content_type="text/html")


async def garbled(request: web.Request) -> web.Response:
    """JSON, but none of the protocol's."""
    return web.json_response({"hunter2": ["hunter2"]})


async def elsewhere(request: web.Request) -> web.Response:
    """A way to another place, with what came along."""
    return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{request.query.get('to', 1)}/mcp"})


@asynccontextmanager
async def fronted(port: int, answer: Any) -> AsyncIterator[str]:
    """The address at which `answer` answers everything."""
    app = web.Application()
    app.router.add_route("*", "/mcp", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        await runner.cleanup()
