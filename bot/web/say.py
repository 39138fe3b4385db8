"""POST /api/say: another program has the bot say something to a person. It has a key of its own, or is not there."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from bot.errors import BadRequest, NotSaid
from bot.events import Emit, RequestRefused
from bot.types import Accepted, Json, JsonObject, reference_of

PATH = "/api/say"
KEY_CHARACTERS = 200
WAIT = "60"
"""Seconds, in which an answer before these words has mostly ended."""

Say = Callable[[str, str, str], Awaitable[Accepted]]
"""Takes the person, the words and the key by which they are said once."""

_STATUS = {"unknown_person": 404, "empty": 400, "too_long": 413, "too_many": 429}
"""Of all other codes: 409, for it is what is stored that stands against it."""


def say_routes(say: Say, key: str, emit: Emit) -> list[web.RouteDef]:
    """The address, where there is a key to it."""
    return [web.post(PATH, _SayApi(say, key, emit).post)] if key else []


class _SayApi:
    def __init__(self, say: Say, key: str, emit: Emit) -> None:
        self._say = say
        self._digest = hashlib.sha256(key.encode()).digest()
        self._emit = emit

    async def post(self, request: web.Request) -> web.Response:
        """Check the key before a byte of the body is read, then take the words."""
        if not self._may(request.headers.get("Authorization", "")):
            return self._refused(401, "unauthorized", "Send the header Authorization: Bearer, with SAY_API_KEY.")
        try:
            person, text, key = await _asked(request)
            accepted = await self._say(person, text, key)
        except BadRequest as fault:
            return self._refused(fault.status, "bad_request", fault.reason)
        except NotSaid as fault:
            return self._refused(_STATUS.get(fault.code, 409), fault.code, fault.reason)
        return web.json_response({"reference": reference_of(accepted.turn), "fresh": accepted.fresh}, status=202)

    def _may(self, header: str) -> bool:
        """In a time that says nothing of how much of the key was right, nor of its length."""
        scheme, _, given = header.partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(digest, self._digest) and scheme.lower() == "bearer"

    def _refused(self, status: int, code: str, reason: str) -> web.Response:
        self._emit(RequestRefused(reference="", lane="", path=PATH, status=status))
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": WAIT}}.get(status)
        return web.json_response({"error": reason, "code": code}, status=status, headers=headers)


async def _asked(request: web.Request) -> tuple[str, str, str]:
    if request.content_type != "application/json":
        raise BadRequest(415, "Send the Content-Type application/json.")
    try:
        body: Json = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise BadRequest(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest(400, "The body must be a JSON object with person, text and idempotency_key.")
    fields = cast("JsonObject", body)
    person, text, key = (_text(fields, name) for name in ("person", "text", "idempotency_key"))
    if len(key) > KEY_CHARACTERS:
        raise BadRequest(400, f"idempotency_key may have {KEY_CHARACTERS} characters.")
    return person, text, key


def _text(fields: JsonObject, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(400, f"{name} must be a string that is not empty.")
    return value
