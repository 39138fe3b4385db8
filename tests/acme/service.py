"""A small GraphQL service on loopback: it tells its schema, and has a few fields to ask for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import RawTestServer


def _argument(name: str, kind: str) -> dict[str, Any]:
    named = {"kind": "SCALAR", "name": kind}
    return {"name": name, "description": "", "type": {"kind": "NON_NULL", "name": None, "ofType": named}}


def _field(name: str, **arguments: str) -> dict[str, Any]:
    args = [_argument(key, kind) for key, kind in arguments.items()]
    return {"name": name, "description": f"The field {name}.", "args": args}


QUERIES = [_field("echo", text="String"), _field("breaks"), _field("hangs"), _field("meets", number="Int")]
MUTATIONS = [_field("rename", title="String")]


@dataclass
class GraphQLService:
    """What was asked of it, and how it answers."""

    secret: str
    address: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    arrived: int = 0
    three: asyncio.Event = field(default_factory=asyncio.Event)
    never: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.json()
        query, variables = body["query"], body["variables"]
        if "__schema" in query:
            schema = {"queryType": {"fields": QUERIES}, "mutationType": {"fields": MUTATIONS}}
            return web.json_response({"data": {"__schema": schema}})
        name = re.search(r"{\s*(\w+)", query)
        assert name is not None
        self.asked.append((name[1], variables))
        answer: dict[str, Callable[[], Any]] = {
            "echo": lambda: variables["text"],
            "rename": lambda: {"title": variables["title"]},
            "meets": lambda: variables["number"],
        }
        match name[1]:
            case "breaks":
                return web.json_response({"errors": [{"message": self.secret}], "data": None})
            case "hangs":
                await self.never.wait()
            case "meets":
                self.arrived += 1
                if self.arrived == 3:
                    self.three.set()
                await self.three.wait()
            case _:
                pass
        return web.json_response({"data": {name[1]: answer[name[1]]()}})


@asynccontextmanager
async def graphql(secret: str) -> AsyncIterator[GraphQLService]:
    service = GraphQLService(secret)
    server = RawTestServer(service.handle, host="127.0.0.1")
    await server.start_server(access_log=None)
    service.address = f"http://127.0.0.1:{server.port}/graphql"
    try:
        yield service
    finally:
        service.never.set()
        service.three.set()
        await server.close()
