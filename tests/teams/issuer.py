"""The Bot Framework's signing keys, and tokens signed with them."""

from __future__ import annotations

import asyncio
import json
import time
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.teams.activities import APP_ID

ISSUER = "https://api.botframework.com"
CHANNELS = ("msteams", "slack")


@cache
def _key(number: int) -> rsa.RSAPrivateKey:
    """Making one is slow, and the tests need only that the numbers differ."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class FakeIssuer:
    """An OpenID configuration and a key set that can rotate, go down, hang or talk nonsense."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.down = False
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.documents: dict[str, Any] = {}
        self._published: list[dict[str, Any]] = []
        self._made = 0
        self.rotate()
        app = web.Application()
        app.router.add_get("/openid", self._openid)
        app.router.add_get("/keys", self._keys)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("/openid"))

    def rotate(self, *, endorsements: tuple[str, ...] | None = CHANNELS, publish: bool = True) -> str:
        """Sign with a new key from now on; the old ones are withdrawn."""
        self._made += 1
        self.key = _key(self._made)
        self.kid = f"key-{self._made}"
        jwk = json.loads(RSAAlgorithm.to_jwk(self.key.public_key())) | {"kid": self.kid, "use": "sig"}
        if endorsements is not None:
            jwk["endorsements"] = list(endorsements)
        if publish:
            self._published = [jwk]
        return self.kid

    def publish_also(self, jwk: dict[str, Any]) -> None:
        """One more key in the set."""
        self._published.insert(0, jwk)

    def token(self, service_url: str, *, kid: str | None = None, drop: tuple[str, ...] = (), **claims: Any) -> str:
        """A token as the service makes it, changed as the test says."""
        now = int(time.time())
        said: dict[str, Any] = {
            "iss": ISSUER,
            "aud": APP_ID,
            "nbf": now - 60,
            "exp": now + 3600,
            "serviceurl": service_url,
        } | claims
        for name in drop:
            said.pop(name)
        return jwt.encode(said, self.key, algorithm="RS256", headers={"kid": kid or self.kid})

    async def _arrived(self, name: str) -> web.Response | None:
        self.requests.append(name)
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            return web.Response(status=503)
        return web.json_response(self.documents[name]) if name in self.documents else None

    async def _openid(self, request: web.Request) -> web.Response:
        broken = await self._arrived("openid")
        keys = str(request.url.with_path("/keys"))
        return broken or web.json_response({"issuer": ISSUER, "jwks_uri": keys})

    async def _keys(self, request: web.Request) -> web.Response:
        return await self._arrived("keys") or web.json_response({"keys": self._published})
