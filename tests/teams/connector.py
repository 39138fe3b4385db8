"""The connector: what the bot sends arrives here, and is refused where Teams would refuse it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.teams.cards import broken_rules
from tests.teams.labels import sound
from tests.teams.streams import FakeChats

MESSAGE_BYTES = 100_000
Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Delivery:
    """One request of the bot's."""

    method: str
    conversation: str
    activity_id: str | None
    activity: dict[str, Any]
    authorization: str | None
    peer: int
    at: float
    answered: int


def status(code: int, *, retry_after: str | None = None, error: str = "", body: str | None = None) -> Fault:
    """Answer with this status."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        if body is not None:
            return web.Response(status=code, text=body, headers=headers)
        said = {"error": {"code": error, "message": "quotes what people wrote"}}
        return web.json_response(said, status=code, headers=headers)

    return answer


def redirect(location: str, code: int = 307) -> Fault:
    """Send the client elsewhere."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={"Location": location})

    return answer


def hold(until: asyncio.Event) -> Fault:
    """Answer when the test says so."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        await until.wait()
        return web.json_response({"id": "late"}, status=201)

    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    """Take it, and break off without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


async def cut_body(request: web.Request) -> web.StreamResponse:
    """Say 201, and break off in the body."""
    response = web.StreamResponse(status=201, headers={"Content-Length": "100", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": ')
    assert request.transport is not None
    request.transport.close()
    return response


class FakeConnector:
    """Takes deliveries; `faults` strike the next ones, one each. What breaks a rule of cards fails the test."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.deliveries: list[Delivery] = []
        self.faults: deque[Fault] = deque()
        self.chats = FakeChats(now)
        self.token: Callable[[], str] | None = None
        self.broken: list[str] = []
        self.members: dict[str, dict[str, Any]] = {}
        self.asked_about: list[str] = []
        self._now = now
        self._changed = asyncio.Condition()
        app = web.Application(client_max_size=1 << 22)
        for path in ("activities", "activities/{activity}"):
            app.router.add_route("*", f"/teams/v3/conversations/{{conversation}}/{path}", self._handle)
        app.router.add_get("/teams/v3/conversations/{conversation}/members/{member}", self._member)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def close(self) -> None:
        await self._server.close()
        assert not self.broken, f"Teams would not take this: {self.broken}"

    @property
    def url(self) -> str:
        """The serviceUrl."""
        return str(self._server.make_url("/teams/"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [d.activity for d in self.deliveries if d.activity.get("type") == "message" and d.answered < 300]

    @property
    def typing(self) -> list[Delivery]:
        return [d for d in self.deliveries if d.activity.get("type") == "typing"]

    async def wait_for(self, count: int) -> None:
        """Until so many requests were made."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: len(self.deliveries) >= count), 5)

    def late(self, until: asyncio.Event) -> Fault:
        """Take it, and answer when the test says so."""

        async def answer(request: web.Request) -> web.StreamResponse:
            await until.wait()
            return self._judged(request, await request.json(), len(self.deliveries))

        return answer

    async def taken_but_cut(self, request: web.Request) -> web.StreamResponse:
        """Take it, and break off without an answer."""
        self._judged(request, await request.json(), len(self.deliveries))
        return await cut(request)

    async def _member(self, request: web.Request) -> web.StreamResponse:
        """Who that is, as a chat's roster has them."""
        member = request.match_info["member"]
        self.asked_about.append(member)
        if self.faults:
            return await self.faults.popleft()(request)
        if member not in self.members:
            error = {"code": "MemberNotFoundInConversation", "message": "The member is not in this conversation."}
            return web.json_response({"error": error}, status=404)
        return web.json_response({"id": member} | self.members[member])

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        activity = await request.json() if request.can_read_body else {}
        place = len(self.deliveries)
        await self._record(request, activity, place, 0)
        if self.faults:
            response = await self.faults.popleft()(request)
        else:
            response = self._judged(request, activity, place)
        await self._record(request, activity, place, response.status)
        return response

    async def _record(self, request: web.Request, activity: dict[str, Any], place: int, answered: int) -> None:
        peer = request.transport.get_extra_info("peername")[1] if request.transport else 0
        delivery = Delivery(
            method=request.method,
            conversation=request.match_info["conversation"],
            activity_id=request.match_info.get("activity"),
            activity=activity,
            authorization=request.headers.get("Authorization"),
            peer=peer,
            at=self._now(),
            answered=answered,
        )
        async with self._changed:
            self.deliveries[place : place + 1] = [delivery]
            self._changed.notify_all()

    def _judged(self, request: web.Request, activity: dict[str, Any], place: int) -> web.Response:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token()}":
            return web.json_response({"error": {"code": "Unauthorized"}}, status=401)
        if len(activity.get("text", "").encode("utf-16-le")) > MESSAGE_BYTES:
            return web.json_response({"error": {"code": "MessageSizeTooBig"}}, status=413)
        if not sound(activity):
            return web.json_response({"error": {"code": "BadSyntax"}}, status=400)
        info = request.match_info
        told = activity.get("conversation", {}).get("conversationType")
        broken = broken_rules(activity, personal=told == "personal")
        if broken:
            self.broken += broken
            return web.json_response({"error": {"code": "BadSyntax"}}, status=400)
        return self.chats.judged(
            request.method, info["conversation"], info.get("activity"), activity, f"delivered-{place + 1}"
        )
