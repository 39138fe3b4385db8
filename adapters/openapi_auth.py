"""How requests are signed: with a key, a token, a user and a password, or a token fetched with client credentials."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self, cast
from urllib.parse import quote, urlencode

from adapters.http_guard import Answer, Guarded, NoAnswer, NotSent, Request
from adapters.openapi_document import text
from adapters.openapi_options import ApiKey, Auth, Basic, Bearer, ClientCredentials
from bot.errors import ThreadkeeperError
from bot.types import JsonObject

_EARLY = 60.0
"""Seconds before its end after which a token is not used any more."""
_LIFETIME = 300.0
"""Seconds for which a token is taken to be good where its service does not say."""


class NotSigned(ThreadkeeperError):
    """No token was to be had, with why; an operator can act. The call was not made."""


def unset(auth: Auth, environ: Mapping[str, str]) -> list[str]:
    """The variables that the file names and the environment lacks, or that cannot stand in a header."""
    names = [getattr(auth, key, None) for key in ("env", "user_env", "client_id_env")]
    return [name for name in names if name and not _sound(environ.get(name, ""))]


def _sound(value: str) -> bool:
    return bool(value.strip()) and value.strip().isprintable() and value.isascii()


class Signer:
    """Signs the requests for one service."""

    def __init__(
        self,
        auth: Auth,
        environ: Mapping[str, str],
        *,
        private: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the secrets from the environment. `now` in seconds."""
        self._auth = auth
        self._now = now
        self._secret = _of(environ, getattr(auth, "env", None))
        self._user = _of(environ, getattr(auth, "user_env", None)) or getattr(auth, "user", "")
        self._client = _of(environ, getattr(auth, "client_id_env", None)) or getattr(auth, "client_id", "")
        self._token = ""
        self._until = 0.0
        self._fetching = asyncio.Lock()
        self._tokens = Guarded(auth.token_address, private=private) if isinstance(auth, ClientCredentials) else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told to anyone, whoever says it."""
        basic = base64.b64encode(f"{self._user}:{self._secret}".encode()).decode() if self._secret else ""
        return tuple(one for one in (self._secret, quote(self._secret, safe=""), self._token, basic) if one)

    @property
    def fills(self) -> frozenset[tuple[str, str]]:
        """Places and names of what the agent need not fill, in small letters."""
        auth = self._auth
        return frozenset({(auth.place, auth.name.lower())}) if isinstance(auth, ApiKey) else frozenset()

    async def sign(self, request: Request) -> Request:
        """The request with what shows who we are.

        Raises:
            NotSigned: no token was to be had.
        """
        auth = self._auth
        if isinstance(auth, ApiKey):
            return _with_key(request, auth, self._secret)
        if isinstance(auth, Bearer):
            return _authorized(request, f"Bearer {self._secret}")
        if isinstance(auth, Basic):
            pair = f"{self._user}:{self._secret}".encode()
            return _authorized(request, f"Basic {base64.b64encode(pair).decode()}")
        if isinstance(auth, ClientCredentials):
            return _authorized(request, f"Bearer {await self._current(auth)}")
        return request

    def forget(self) -> None:
        """The service refused the token: fetch another one next time."""
        self._until = 0.0

    async def _current(self, auth: ClientCredentials) -> str:
        async with self._fetching:  # one fetches, the others wait for it
            if self._now() >= self._until:
                started = self._now()
                token, lifetime = await self._fetched(auth)
                self._token, self._until = token, started + max(lifetime - _EARLY, lifetime / 2)
            return self._token

    async def _fetched(self, auth: ClientCredentials) -> tuple[str, float]:
        assert self._tokens is not None
        fields = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if auth.send == "body":
            fields |= {"client_id": self._client, "client_secret": self._secret}
        else:  # both are form-encoded before they are joined: RFC 6749, 2.3.1
            pair = f"{quote(self._client, safe='')}:{quote(self._secret, safe='')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        body = urlencode({key: value for key, value in fields.items() if value}).encode()
        try:
            answer = await self._tokens.send(Request("POST", auth.token_address, headers, body))
        except (NotSent, NoAnswer) as error:
            raise NotSigned(f"the token service gave no token: {error}") from None
        return _token(answer)

    async def __aenter__(self) -> Self:
        if self._tokens is not None:
            await self._tokens.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tokens is not None:
            await self._tokens.__aexit__(kind, error, trace)


def _of(environ: Mapping[str, str], name: str | None) -> str:
    return environ.get(name, "").strip() if name else ""


def _token(answer: Answer) -> tuple[str, float]:
    """The token and its seconds, from the token service's answer (RFC 6749, 5.1)."""
    if answer.status != 200:
        raise NotSigned(f"the token service answered {answer.status}")
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    found = cast("JsonObject", value) if isinstance(value, dict) else {}
    token, lifetime = text(found.get("access_token")), found.get("expires_in")
    if not token or not _sound(token):
        raise NotSigned("the token service answered without a token")
    try:
        return token, float(lifetime) if lifetime else _LIFETIME  # some send it as a text
    except (TypeError, ValueError):
        return token, _LIFETIME


def _authorized(request: Request, value: str) -> Request:
    return replace(request, headers={**request.headers, "Authorization": value})


def _with_key(request: Request, auth: ApiKey, secret: str) -> Request:
    if auth.place == "header":
        return replace(request, headers={**request.headers, auth.name: secret})
    if auth.place == "cookie":
        known = request.headers.get("Cookie")
        pair = f"{auth.name}={quote(secret, safe='')}"
        return replace(request, headers={**request.headers, "Cookie": f"{known}; {pair}" if known else pair})
    joint = "&" if "?" in request.url else "?"
    return replace(request, url=f"{request.url}{joint}{quote(auth.name, safe='')}={quote(secret, safe='')}")
