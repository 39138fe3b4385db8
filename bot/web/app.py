"""The HTTP application: health, metrics, the channels' routes, and in local mode the chat page behind its guard."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.errors import BadRequest, ServiceUnavailable
from bot.settings import is_loopback
from bot.web.page import page_routes

Ready = Callable[[], Awaitable[list[str]]]
"""What keeps the bot from working now, each with its cure; an empty list when nothing does."""

Metrics = Callable[[], Awaitable[tuple[bytes, str]]]
"""What /metrics shows, and its content type."""

MAX_BODY = 256 * 1024
"""Of every route that does not read its body itself; the local page's messages may bring files."""
MODE_HEADER = "X-Threadkeeper-Mode"
"""On /healthz: says that a Threadkeeper answers here, and whether it is in local mode."""

_UNGUARDED = ("/healthz", "/readyz", "/api/messages")
"""Probes come by any name; the Bot Framework's endpoint has checks of its own."""

_log = logging.getLogger("threadkeeper.web")


def create_app(
    *,
    routes: Iterable[web.AbstractRouteDef],
    ready: Ready,
    page: bool,
    metrics: Metrics | None = None,
    closing: Iterable[Callable[[], Awaitable[None]]] = (),
) -> web.Application:
    """The application. `page` is local mode; `closing` are called first when the server stops.

    What holds a request open (an event stream) must end it in a `closing`, or the stop waits for it.
    """
    middlewares = [_errors, _guard] if page else [_errors]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.add_routes([*_health(ready, "local" if page else "serving"), *routes])
    if metrics is not None:
        app.add_routes([_metrics(metrics)])
    if page:
        app.add_routes(page_routes())

    async def close_all(_app: web.Application) -> None:
        for close in closing:
            await close()

    app.on_shutdown.append(close_all)
    return app


def _health(ready: Ready, mode: str) -> list[web.RouteDef]:
    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers={MODE_HEADER: mode})

    async def readyz(_request: web.Request) -> web.Response:
        problems = await ready()
        if problems:
            return web.json_response({"status": "not ready", "problems": problems}, status=503)
        return web.json_response({"status": "ready"})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _metrics(metrics: Metrics) -> web.RouteDef:
    async def show(_request: web.Request) -> web.Response:
        body, content_type = await metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    return web.get("/metrics", show)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes JSON that says what the sender can do, and nothing of ours."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        if refused.status < 400:
            raise
        kept = {"Allow": refused.headers["Allow"]} if "Allow" in refused.headers else None
        return web.json_response({"error": refused.reason}, status=refused.status, headers=kept)
    except BadRequest as refused:
        return web.json_response({"error": refused.reason}, status=refused.status)
    except ServiceUnavailable as error:
        _note(request, error)
        wait = {"Retry-After": str(max(1, round(error.retry_after or 5)))}
        return web.json_response({"error": "Not now; send it again."}, status=503, headers=wait)
    except Exception as error:
        _note(request, error)
        return web.json_response({"error": "Internal Server Error"}, status=500)


def _note(request: web.Request, error: Exception) -> None:
    """Log the type and the place alone: the words of an exception may hold what a person said."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else "?"
    _log.error("%s %s failed: %s at %s", request.method, path, type(error).__name__, place)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Local mode trusts whoever reaches the port; this keeps other web sites from reaching it by a browser.

    A foreign Host is DNS rebinding, a foreign Origin another site's page. The content type makes a browser
    ask before it sends a request of another site, and it is never told yes.
    """
    if request.path not in _UNGUARDED:
        host = request.headers.get("Host", "")
        if not is_loopback(_name_of(host)):
            raise BadRequest(403, "Only this machine may speak here: use http://localhost.")
        if request.method not in ("GET", "HEAD"):
            if request.headers.get("Origin", f"http://{host}") != f"http://{host}":
                raise BadRequest(403, "This request comes from another site.")
            if request.content_type != "application/json":
                raise BadRequest(415, "Send the Content-Type application/json.")
    return await handler(request)


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
