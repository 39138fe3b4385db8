"""A server made with the package's own server side: over stdio, or over streamable HTTP where a port is given."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.types import INTERNAL_ERROR, CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_met: list[int] = []
_three = asyncio.Event()
cancelled: list[str] = []


def made(name: str, **properties: str) -> Tool:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    hints = ToolAnnotations(read_only_hint=True) if name == "echo" else None
    return Tool(name=name, description=f"Tool {name}.", input_schema=schema, annotations=hints)


TOOLS = [
    made("meets", number="integer"),
    made("echo", text="string"),
    made("breaks"),
    made("hangs"),
    made("cancelled"),
    made("grows"),
    made("header"),
    made("key"),
]


async def met(number: int) -> str:
    _met.append(number)
    if len(_met) >= 3:
        _three.set()
    await _three.wait()
    return str(number)


async def call(context: Any, params: Any) -> CallToolResult:
    words = await _call(context, params, params.arguments or {})
    return CallToolResult(content=[TextContent(text=words)])


async def _call(context: Any, params: Any, arguments: dict[str, Any]) -> str:
    match params.name:
        case "echo":
            return str(arguments["text"])
        case "meets":
            return await met(arguments["number"])
        case "hangs":
            try:
                await asyncio.Event().wait()
            except BaseException:
                cancelled.append("hangs")
                raise
        case "cancelled":
            return " ".join(cancelled)
        case "key":
            return str((context.meta or {}).get("threadkeeper/idempotency-key"))
        case "header":
            return str(context.request.headers.get("x-api-key"))
        case "grows":
            TOOLS.append(made("added"))
            await BUS.publish(ToolsListChanged())
            return "grown"
        case "added":
            return "I am new."
        case _:
            raise MCPError(INTERNAL_ERROR, "hunter2")
    return ""


async def listed(context: Any, params: Any) -> ListToolsResult:
    return ListToolsResult(tools=TOOLS)


BUS = InMemorySubscriptionBus()
SERVER: Server[Any] = Server(
    "packaged", on_list_tools=listed, on_call_tool=call, on_subscriptions_listen=ListenHandler(BUS)
)


async def main() -> None:
    if len(sys.argv) > 1:
        app = SERVER.streamable_http_app()

        async def signed_in(request: Request, after: Any) -> Response:
            right = request.headers.get("authorization") == "Bearer letmein"
            return await after(request) if right else PlainTextResponse("hunter2", 401)

        if sys.argv[2:] == ["--token"]:
            app.add_middleware(BaseHTTPMiddleware, dispatch=signed_in)
        await uvicorn.Server(uvicorn.Config(app, port=int(sys.argv[1]), log_level="error")).serve()
        return
    async with stdio_server() as (read, write):
        await SERVER.run(read, write, SERVER.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
