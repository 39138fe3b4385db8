"""The keys that the Bot Framework signs with, fetched without holding up anything else.

The SDK's own cache fetches with `requests` on the event loop, without a timeout, so a slow endpoint stops the
bot; and it answers a key id that it does not know with an IndexError until its keys are a day old, so a rotation
is an outage of up to 24 h. https://github.com/microsoft/botbuilder-python/issues/1210
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bot.channels.fields import list_at, objects_at, string_at
from bot.errors import ServiceUnavailable
from bot.ports import Clock
from bot.types import Json, JsonObject

FETCH_TIMEOUT = 5.0
MAX_AGE = 24 * 3600.0
MISS_INTERVAL = 60.0
"""How often a key id that nobody knows, which anyone can send, may cause a fetch."""
FAILURE_INTERVAL = 5.0
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, and the channels that it may sign for."""

    public: RSAPublicKey
    endorsements: frozenset[str]


class SigningKeys:
    """A cache of the published keys: one fetch at a time, refreshed daily and when a key id is new."""

    def __init__(self, session: Callable[[], aiohttp.ClientSession], metadata_url: str, clock: Clock) -> None:
        self._session = session
        self._metadata_url = metadata_url
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._loaded_at: float | None = None
        self._failed_at: float | None = None
        self._missed_at: float | None = None
        self._fetch: asyncio.Task[None] | None = None

    async def get(self, key_id: str) -> SigningKey | None:
        """The key of this id; None if there is no such key.

        Raises:
            ServiceUnavailable: the keys cannot be had, so nobody knows.
        """
        if not self._fresh(self._loaded_at, MAX_AGE) and not self._fresh(self._failed_at, FAILURE_INTERVAL):
            await self._refresh()
        if self._loaded_at is None:
            raise ServiceUnavailable("the signing keys cannot be fetched", FAILURE_INTERVAL)
        if key_id not in self._keys and not self._fresh(self._missed_at, MISS_INTERVAL):
            self._missed_at = self._clock.monotonic()
            await self._refresh()
        elif key_id not in self._keys and self._fetch is not None:
            await self._refresh()  # someone else's question is under way; its answer is ours too
        return self._keys.get(key_id)

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _fresh(self, since: float | None, seconds: float) -> bool:
        return since is not None and self._clock.monotonic() - since < seconds

    async def _refresh(self) -> None:
        """Fetch, or wait for the fetch that is under way; a caller that goes away does not end it."""
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._load(), name="signing keys")
        await asyncio.shield(self._fetch)

    async def _load(self) -> None:
        """Old keys stay when the new ones cannot be had."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                metadata = await self._json(self._metadata_url)
                keys = await self._json(self._keys_url(string_at(metadata, "jwks_uri")))
            self._keys = {k: v for jwk in objects_at(keys, "keys") for k, v in _read(jwk)}
            self._loaded_at, self._failed_at = self._clock.monotonic(), None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            self._failed_at = self._clock.monotonic()
        finally:
            self._fetch = None

    def _keys_url(self, url: str) -> str:
        """Keys come over TLS, unless the metadata itself did not (a test's loopback)."""
        if urlsplit(url).scheme not in ("https", urlsplit(self._metadata_url).scheme):
            raise ValueError("jwks_uri is not https")
        return url

    async def _json(self, url: str) -> JsonObject:
        async with self._session().get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("too large")
        document: Json = json.loads(bytes(body))
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return cast("JsonObject", document)


def _read(jwk: JsonObject) -> list[tuple[str, SigningKey]]:
    """An RSA key with an id, or nothing: one odd key must not cost the others."""
    if string_at(jwk, "kty") != "RSA" or not string_at(jwk, "kid"):
        return []
    try:
        public = jwt.PyJWK(jwk, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        return []
    if not isinstance(public, RSAPublicKey):
        return []
    endorsements = frozenset(e for e in list_at(jwk, "endorsements") if isinstance(e, str))
    return [(string_at(jwk, "kid"), SigningKey(public, endorsements))]
