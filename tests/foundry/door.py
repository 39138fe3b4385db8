"""What every request passes on its way in and out: the record, identity, the api-version, injected faults."""

from __future__ import annotations

import asyncio
import time
import uuid
from email.utils import formatdate
from typing import Any, NoReturn, cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .clock import Clock
from .errors import ServiceError, azure, by_status, forbidden, permission_denied, unauthorized
from .faults import Fault, Faults
from .project import Project
from .records import KEPT_HEADERS, Recorded, parsed
from .state import State

BASE = "/api/projects/p"
OPENAI = BASE + "/openai/v1"
"""Below it the new API's data plane, which has no api-version."""
RECORD = web.RequestKey("RECORD", Recorded)
UNSEEN = web.RequestKey("UNSEEN", bool)
"""Whether the answer will be thrown away, so that nothing must be streamed."""
VERSIONS = frozenset({"v1", "2025-05-01", "2025-05-15-preview"})


class Door:
    """One middleware around the whole API; it lets the control routes pass unseen."""

    def __init__(self, state: State, project: Project, clock: Clock, faults: Faults) -> None:
        self.state = state
        self.project = project
        self.clock = clock
        self.faults = faults
        self.token: str | None = None
        """The only bearer token to be accepted; None: any."""
        self.ahead = 0.0
        """By how many seconds the server's clock, as its answers tell it, is ahead of ours."""
        self.requests: list[Recorded] = []
        self.moved = asyncio.Event()
        """Set whenever a request has come or been dealt with."""

    def middleware(self) -> Middleware:
        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not request.path.startswith(BASE + "/"):
                return await handler(request)
            record = request[RECORD] = await self._record(request)
            try:
                self._admit(request)
                response = await self._serve(request, handler, record)
            except ServiceError as error:
                response = web.json_response(error.body, status=error.status, headers=error.headers)
            except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
                refusal = by_status(404)
                response = web.json_response(refusal.body, status=error.status)
            finally:
                self.moved.set()
            if request.transport is not None and not request.transport.is_closing():
                record.status = response.status
            return response

        return door

    async def sign(self, request: web.Request, response: web.StreamResponse) -> None:
        """The time, and the ids by which an answer of the data plane can be asked after."""
        response.headers["Date"] = formatdate(time.time() + self.ahead, usegmt=True)
        if request.path.startswith(OPENAI + "/"):
            response.headers["x-request-id"] = response.headers["apim-request-id"] = str(uuid.uuid4())

    async def _record(self, request: web.Request) -> Recorded:
        # A body read here could not be read again part by part.
        multipart = request.content_type.startswith("multipart/")
        body = None if multipart else parsed(await request.read())
        headers = {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
        path = request.path.removeprefix(BASE)
        record = Recorded(request.method, path, dict(request.query), body, headers, self.clock.time())
        self.requests.append(record)
        self.moved.set()
        return record

    def _admit(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token.strip() or (self.token is not None and token != self.token):
            raise unauthorized()
        if request.path.startswith(OPENAI + "/"):
            return
        version = request.query.get("api-version")
        if version is None:
            raise azure(400, "BadRequest", "Missing required query parameter: api-version")
        if version not in VERSIONS:
            raise azure(400, "BadRequest", "API version not supported")

    async def _serve(self, request: web.Request, handler: Handler, record: Recorded) -> web.StreamResponse:
        fault = self.faults.strike(record.method, record.path)
        if fault is None:
            return await handler(request)
        record.fault = fault.kind
        if fault.when == "before":
            return await self._strike(request, fault) or await handler(request)
        request[UNSEEN] = fault.kind not in ("slow", "thread_gone")
        try:
            response = await handler(request)
        except ServiceError as error:
            response = web.json_response(error.body, status=error.status, headers=error.headers)
        return await self._strike(request, fault) or response

    async def _strike(self, request: web.Request, fault: Fault) -> web.Response | None:
        """What the client gets instead; None where the request goes on."""
        match fault.kind:
            case "slow":
                # A client that gives up meanwhile does not undo the work: it is done when the wait is over.
                await self.clock.sleep(fault.seconds)
            case "thread_gone":
                self.state.forget(request.match_info.get("thread", ""))
                self.project.forget(request.match_info.get("conversation") or _named(request[RECORD].body))
            case "cut":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case "malformed":
                return web.Response(body=b'{"id": "run_', content_type="application/json")
            case _:
                _refuse(request, fault)
        return None


def _refuse(request: web.Request, fault: Fault) -> NoReturn:
    match fault.kind:
        case "unauthorized":
            raise unauthorized()
        case "permission_denied":
            raise permission_denied(request.method)
        case "forbidden":
            raise forbidden()
        case _:
            error = by_status(fault.status, fault.retry_after, fault.code, fault.message)
            raise error if fault.answer is None else ServiceError(fault.status, fault.answer, error.headers)


def _named(body: Any) -> str:
    """The conversation that a response is created in."""
    named = cast(dict[str, Any], body).get("conversation") if isinstance(body, dict) else None
    named = cast(dict[str, Any], named).get("id") if isinstance(named, dict) else named
    return named if isinstance(named, str) else ""
