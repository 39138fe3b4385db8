"""POST /api/messages: verify the sender, store the message, acknowledge. Bad input is answered, never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import cast

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.channels import invokes, teams_presses
from bot.channels.activities import EXECUTE, FILE_CONSENT, Ignored, Invoke, clicked, read
from bot.channels.fields import object_at, string_at
from bot.channels.gate import Gate
from bot.channels.teams_files import Addresses
from bot.errors import BadRequest, ServiceUnavailable
from bot.events import ActivityIgnored, Emit, RequestRefused, Unexpected
from bot.ports import Accept, Judge
from bot.texts import Texts
from bot.types import Feedback, Json, JsonObject, Message, MessageKind

PATH = "/api/messages"
MAX_BODY = 256 * 1024
BODY_TIMEOUT = 10.0
"""Below the 15 s after which Teams delivers again."""


Consented = Callable[[Message, JsonObject, str], Awaitable[invokes.Answer]]
"""Somebody's yes or no to a file: who and where, what the client says of it, and the card's message."""


class Endpoint:
    """The inbound side of the channel."""

    def __init__(
        self,
        gate: Gate,
        app_id: str,
        addresses: Addresses,
        consented: Consented,
        *,
        accept: Accept,
        emit: Emit,
        texts: Texts,
        receives_all: bool = False,
        judge: Judge | None = None,
    ) -> None:
        self._judge = judge
        self._receives_all = receives_all
        self._gate = gate
        self._app_id = app_id
        self._addresses = addresses
        self._consented = consented
        self._accept = accept
        self._emit = emit
        self._texts = texts

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [web.post(PATH, self._post)]

    async def _post(self, request: web.Request) -> web.Response:
        try:
            activity = await self._verified(request)
            return await self._handled(activity)
        except BadRequest as refusal:
            self._emit(RequestRefused(reference="", lane="", path=PATH, status=refusal.status))
            return _problem(refusal.status, refusal.reason)
        except ServiceUnavailable as fault:
            self._emit(RequestRefused(reference="", lane="", path=PATH, status=503))
            # not 401: the platform delivers again what failed here, and drops what was refused
            return _problem(503, f"Try again: {fault}.", fault.retry_after)
        except Exception as fault:  # a fault of ours: no trace, which could quote what people wrote, and no 500
            self._emit(Unexpected(reference="", lane="", where="endpoint", error=type(fault).__name__))
            return _problem(503, "The request could not be handled. Try again.")

    async def _verified(self, request: web.Request) -> JsonObject:
        """The activity, once its sender is known and allowed to say it."""
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            raise BadRequest(415, "Content-Type must be application/json, without Content-Encoding.")
        if (request.content_length or 0) > MAX_BODY:
            raise BadRequest(413, f"The body is larger than {MAX_BODY} bytes.")
        credentials = await self._gate.sender(request)
        activity = _parsed(await _body(request))
        self._gate.check(credentials, activity)
        return activity

    async def _handled(self, activity: JsonObject) -> web.Response:
        arrival = read(activity, self._app_id, receives_all=self._receives_all)
        match arrival:
            case Message(kind=MessageKind.CARD):
                value = object_at(activity, "value")
                return await self._stored(teams_presses.submitted(arrival, value) or arrival)
            case Message():
                return await self._stored(arrival)
            case Invoke():
                return await self._answered(arrival, activity)
            case Ignored(channel, kind):
                self._emit(ActivityIgnored(reference="", lane="", channel=channel, kind=kind[:64]))
                return web.Response(status=200)

    async def _answered(self, invoke: Invoke, activity: JsonObject) -> web.Response:
        """What the invoke itself is answered; feedback once it is stored."""
        if invoke.name == invokes.FEEDBACK and self._judge is not None:
            given = invokes.feedback_of(activity)
            if given is None:
                self._emit(ActivityIgnored(reference="", lane="", channel=invoke.channel, kind="malformed feedback"))
            elif not await self._kept(given, self._judge):
                return _problem(503, "The feedback could not be stored. Try again.")
        if invoke.name == FILE_CONSENT:
            value, card = object_at(activity, "value"), string_at(activity, "replyToId")
            answer = await self._consented(clicked(activity, self._app_id), value, card)
        elif invoke.name == EXECUTE:
            answer = await self._pressed(activity)
        else:
            answer = invokes.answer(invoke)
        return web.json_response(answer.body, status=answer.status)

    async def _pressed(self, activity: JsonObject) -> invokes.Answer:
        """What a card's button did, once that is stored."""
        said = teams_presses.pressed(activity, self._app_id)
        if said is None:
            return teams_presses.not_ours(activity, self._texts)
        try:
            accepted = await self._accept(said)
        except Exception as fault:
            self._emit(Unexpected(reference="", lane="", where="accept", error=type(fault).__name__))
            return teams_presses.not_stored(self._texts)
        return teams_presses.answered(said, accepted, self._texts)

    async def _kept(self, given: Feedback, judge: Judge) -> bool:
        try:
            await judge(given)
        except Exception as fault:
            self._emit(Unexpected(reference="", lane="", where="feedback", error=type(fault).__name__))
            return False
        return True

    async def _stored(self, message: Message) -> web.Response:
        """202 says that it is on disk, so whatever keeps it from there must not be a 2xx."""
        try:
            await self._accept(self._addresses.keep(message))
        except Exception as fault:
            self._emit(Unexpected(reference="", lane="", where="accept", error=type(fault).__name__))
            return _problem(503, "The message could not be stored. Try again.")
        return web.Response(status=202)


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise BadRequest(413, f"The body is larger than {MAX_BODY} bytes.")
    except TimeoutError:
        raise BadRequest(400, f"The body did not arrive within {BODY_TIMEOUT:.0f} seconds.") from None
    except (aiohttp.ClientPayloadError, web.RequestPayloadError, HttpProcessingError):
        raise BadRequest(400, "The body was cut off.") from None
    return bytes(body)


def _parsed(body: bytes) -> JsonObject:
    try:
        document: Json = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):  # nested a thousand deep, json gives up with the latter
        raise BadRequest(400, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise BadRequest(400, "The body is not a JSON object.")
    return cast("JsonObject", document)


def _problem(status: int, reason: str, retry_after: float | None = None) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:.0f}"
    return web.json_response({"error": reason}, status=status, headers=headers)
