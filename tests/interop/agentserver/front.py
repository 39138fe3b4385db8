"""Conversations, which Microsoft's server package does not have, in front of its responses.

Ours: /conversations, their items, and the agent's name. Forwarded as they come, both ways: /responses and below. The
items of a conversation are read from Microsoft's server: the input and the output of every response that was created in
it. Items that are added otherwise go along with the next response, in front of its input, since nobody else holds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web

BASE = "/api/projects/p"
OPENAI = BASE + "/openai/v1"
_ID = re.compile(rb'"id":\s*"(caresp_[^"]+)"')


@dataclass
class _Conversation:
    id: str
    metadata: dict[str, str]
    known: list[str | dict[str, Any]] = field(default_factory=list[str | dict[str, Any]])
    """Ids of responses, and items that were added otherwise, in order."""
    waiting: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Added, and not yet given to a response."""

    def add(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        added = [{"id": f"item_{uuid4().hex}", "status": "completed", **item} for item in items]
        self.known += added
        self.waiting += items
        return added

    def body(self) -> dict[str, Any]:
        return {"id": self.id, "object": "conversation", "metadata": self.metadata, "created_at": 0}


class Front:
    """The application; `address` is that of Microsoft's server."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.conversations: dict[str, _Conversation] = {}
        self.forwarded: list[str] = []
        self._address = address
        self._session = session

    def routes(self) -> list[web.RouteDef]:
        conversation = OPENAI + "/conversations/{conversation}"
        return [
            web.get(BASE + "/agents/{agent}", self.agent),
            web.post(OPENAI + "/conversations", self.create),
            web.get(conversation, self.get),
            web.delete(conversation, self.delete),
            web.get(conversation + "/items", self.items),
            web.post(conversation + "/items", self.add),
            web.route("*", OPENAI + "/responses{rest:.*}", self.forward),
        ]

    async def agent(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "agent", "name": request.match_info["agent"]})

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        conversation = _Conversation(f"conv_{uuid4().hex}", body.get("metadata") or {})
        conversation.add(body.get("items") or [])
        self.conversations[conversation.id] = conversation
        return web.json_response(conversation.body())

    def _named(self, name: str) -> _Conversation:
        if name not in self.conversations:
            error = {"message": f"Conversation with id '{name}' not found.", "type": "invalid_request_error"}
            raise web.HTTPNotFound(text=json.dumps({"error": error}), content_type="application/json")
        return self.conversations[name]

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._named(request.match_info["conversation"]).body())

    async def delete(self, request: web.Request) -> web.Response:
        self.conversations.pop(self._named(request.match_info["conversation"]).id)
        return web.json_response({"deleted": True})

    async def add(self, request: web.Request) -> web.Response:
        conversation = self._named(request.match_info["conversation"])
        return web.json_response({"data": conversation.add((await request.json())["items"])})

    async def items(self, request: web.Request) -> web.Response:
        listed: list[dict[str, Any]] = []
        for known in self._named(request.match_info["conversation"]).known:
            listed += await self._left_by(known) if isinstance(known, str) else [known]
        after = request.query.get("after")
        newest = listed[::-1]
        start = next((place + 1 for place, item in enumerate(newest) if item["id"] == after), 0)
        return web.json_response({"data": newest[start:][: int(request.query["limit"])]})

    async def _left_by(self, response_id: str) -> list[dict[str, Any]]:
        """What a response took and made, where it came to an end, as Microsoft's server tells it."""
        response = await self._asked(f"/responses/{response_id}")
        if response["status"] not in ("completed", "incomplete"):
            return []
        given = await self._asked(f"/responses/{response_id}/input_items?order=asc&limit=100")
        made_by = {"created_by": {"response_id": response_id}}
        return [item | made_by for item in [*given["data"], *response["output"]]]

    async def _asked(self, path: str) -> dict[str, Any]:
        async with self._session.get(self._address + OPENAI + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        body, conversation = await request.read(), None
        if request.method == "POST" and not request.match_info["rest"]:
            asked = json.loads(body)
            conversation = self._named(asked["conversation"])
            given = asked.get("input") or []
            body = json.dumps(asked | {"input": [*conversation.waiting, *given] or ""}).encode()
            conversation.waiting = []
        headers = {"Content-Type": "application/json"}
        async with self._session.request(
            request.method, self._address + request.path_qs, data=body, headers=headers
        ) as answer:
            self.forwarded.append(f"{request.method} {request.match_info['rest']} {answer.status}")
            passed = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
            await passed.prepare(request)
            async for piece in answer.content.iter_any():
                if conversation is not None and (found := _ID.search(piece)):
                    conversation.known.append(found[1].decode())
                    conversation = None
                await passed.write(piece)
            await passed.write_eof()
            return passed


@asynccontextmanager
async def opened_front(address: str) -> AsyncGenerator[tuple[str, Front]]:
    """A front of the server at this address: its endpoint, and what it saw."""
    async with aiohttp.ClientSession() as session:
        front = Front(address, session)
        app = web.Application()
        app.add_routes(front.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}{BASE}", front
        finally:
            await runner.cleanup()
