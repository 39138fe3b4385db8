"""The local chat page: a few files, read once, and nothing from anywhere else."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

_FOLDER = Path(__file__).parent / "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/static/asks.js": ("asks.js", "text/javascript"),
    "/static/attach.js": ("attach.js", "text/javascript"),
    "/static/beside.js": ("beside.js", "text/javascript"),
    "/static/chat.css": ("chat.css", "text/css"),
    "/static/chat.js": ("chat.js", "text/javascript"),
    "/static/log.js": ("log.js", "text/javascript"),
    "/static/markdown.js": ("markdown.js", "text/javascript"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": ("default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes() -> list[web.RouteDef]:
    """The page's addresses. Only these files are served; a path never reaches the file system."""
    return [web.get(path, _serve(_FOLDER / name, kind)) for path, (name, kind) in _FILES.items()]


def _serve(file: Path, content_type: str) -> Handler:
    body = file.read_bytes()

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return handler
