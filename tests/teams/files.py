"""A person's OneDrive and the connector's views of images: what lies there, and who asks with which token."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SIGNED = "tempauth=the-signature-of-the-address"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    authorization: str | None
    range: str | None = None


class FakeFiles:
    """Serves `content` by path, takes what is PUT; `answers` stand in for a path's content."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.brought: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        app = web.Application(client_max_size=1 << 25)
        app.router.add_route("*", "/{name:.*}", self._handle)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def close(self) -> None:
        await self._server.close()

    def url(self, name: str) -> str:
        """The pre-signed address. Its signature is escaped in a way that must reach the host as it is."""
        return f"{self._server.make_url('/')}{name}?{SIGNED}%2F%3D"

    def view(self, name: str) -> str:
        """The address of an image, which is had with the bot's token."""
        return f"{self._server.make_url('/')}{name}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        asked = Asked(
            request.method,
            name,
            request.raw_path.partition("?")[2],
            request.headers.get("Authorization"),
            request.headers.get("Content-Range"),
        )
        self.asked.append(asked)
        if name in self.answers:
            return await self.answers[name](request)
        if request.method == "PUT":
            self.brought[name] = await request.read()
            return web.json_response({}, status=201)
        if name not in self.content:
            return web.Response(status=404)
        return web.Response(body=self.content[name])


def endless(passed: list[int]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A body that says nothing of its length and goes on until the reader leaves."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while len(passed) < 10_000:
                await response.write(b"x" * 1000)
                passed.append(1000)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        return response

    return answer


def png(width: int = 2, height: int = 2) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x10\x20\x30" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def file_attachment(url: str, name: str = "report.pdf") -> dict[str, Any]:
    """What Teams says of a file."""
    content = {"downloadUrl": url, "uniqueId": "1150D938-8870", "fileType": name.rpartition(".")[2]}
    return {
        "contentType": "application/vnd.microsoft.teams.file.download.info",
        "contentUrl": "https://contoso.sharepoint.com/personal/ann/report.pdf",
        "name": name,
        "content": content,
    }


def image_attachment(url: str) -> dict[str, Any]:
    """What Teams says of an image in the words."""
    return {"contentType": "image/*", "contentUrl": url}
