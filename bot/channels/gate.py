"""Who may speak to the bot: nobody is listened to before this says so.

The rules are those of https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
They are kept here, with PyJWT, and not by the SDK's JwtTokenValidation, which cannot be used cleanly: its caches
and settings are class attributes shared by everything in the process; it takes tokens without `exp`; it skips the
check of serviceUrl or channelId where an activity leaves them out; it takes the bot's own multi-tenant token, as
one "from the emulator", without looking at serviceUrl; and it fails with IndexError, KeyError or ValueError, which
become 500 and a trace in the log for anybody who sends garbage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import jwt
from aiohttp import web

from bot.channels.activities import EMULATOR, SLACK, TEAMS, tenant_of
from bot.channels.fields import string_at
from bot.channels.service_hosts import ServiceHosts
from bot.channels.signing_keys import SigningKey, SigningKeys
from bot.errors import BadRequest, DeliveryRefused
from bot.settings import Settings, is_loopback
from bot.types import JsonObject

LEEWAY_SECONDS = 300
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a valid token grants: it speaks for one service address, and its key for some channels."""

    service_url: str
    channels: frozenset[str]


class Gate:
    """The inbound checks. In local mode there is no token, so only this machine may speak."""

    def __init__(self, settings: Settings, keys: SigningKeys, hosts: ServiceHosts, issuer: str) -> None:
        self._app_id = settings.microsoft_app_id
        self._tenants = frozenset(settings.allowed_tenants)
        self._channels = frozenset((TEAMS, SLACK, EMULATOR) if settings.local else (TEAMS, SLACK))
        self._local = settings.local
        self._keys = keys
        self._hosts = hosts
        self._issuer = issuer

    async def sender(self, request: web.Request) -> Credentials | None:
        """Verify who sends, by the headers alone, before a byte of the body is read; None in local mode.

        Raises:
            BadRequest: 401, or 403 for what does not come from this machine in local mode.
            ServiceUnavailable: the signing keys cannot be had.
        """
        if self._local:
            check_local(request)
            return None
        return await self._verified(request.headers.get("Authorization", ""))

    def check(self, credentials: Credentials | None, activity: JsonObject) -> None:
        """Verify that this sender may say this.

        Raises:
            BadRequest: 400 for what is no activity, 403 for what is not allowed.
        """
        for field in ("type", "channelId", "serviceUrl"):
            if not string_at(activity, field):
                raise BadRequest(400, f"{field} is missing.")
        channel, service_url = string_at(activity, "channelId"), string_at(activity, "serviceUrl")
        if channel not in self._channels:
            raise BadRequest(403, "This channel is not one the bot listens to.")
        if credentials is not None and channel not in credentials.channels:
            raise BadRequest(403, "The key of this token is not endorsed for the channel.")
        if credentials is not None and service_url != credentials.service_url:
            raise BadRequest(403, "serviceUrl is not the one the token was made for.")
        if not self._hosts.permits(service_url):
            raise BadRequest(403, "The host of serviceUrl is not in ALLOWED_SERVICE_HOSTS.")
        if not self._admits(tenant_of(activity)):
            raise BadRequest(403, "The tenant is not in ALLOWED_TENANTS.")

    def check_address(self, address: JsonObject, channel: str) -> None:
        """Verify a stored address again before it is used: settings may have changed since, or the row.

        An empty serviceUrl must not come through either: the SDK would send the token to api.botframework.com.

        Raises:
            DeliveryRefused: it is not one that the bot would take a message from.
        """
        if string_at(address, "channelId") != channel or address.get("appId") != self._app_id:
            raise DeliveryRefused("The stored address belongs to another bot or channel.")
        if not self._admits(string_at(address, "tenant")):
            raise DeliveryRefused("The stored address is of a tenant that is not in ALLOWED_TENANTS.")
        if not self._hosts.permits(string_at(address, "serviceUrl")):
            raise DeliveryRefused("The host of the stored serviceUrl is not in ALLOWED_SERVICE_HOSTS.")

    def _admits(self, tenant: str) -> bool:
        return not self._tenants or tenant in self._tenants

    async def _verified(self, header: str) -> Credentials:
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise BadRequest(401, "The Authorization header must be a bearer token of the Bot Framework.")
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except _BROKEN:
            raise BadRequest(401, "The token cannot be read.") from None
        key = await self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise BadRequest(401, "The token is signed by an unknown key.")
        claims = self._claims(token, key)
        return Credentials(string_at(claims, "serviceurl"), key.endorsements)

    def _claims(self, token: str, key: SigningKey) -> JsonObject:
        try:
            return jwt.decode(
                token,
                key.public,
                algorithms=["RS256"],
                audience=self._app_id,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise BadRequest(401, "The token has expired.") from None
        except jwt.InvalidAudienceError:
            raise BadRequest(401, "The token is for another app than MICROSOFT_APP_ID.") from None
        except jwt.InvalidIssuerError:
            raise BadRequest(401, "The token was not issued by the Bot Framework.") from None
        except _BROKEN:
            raise BadRequest(401, "The token is not valid.") from None


def check_local(request: web.Request) -> None:
    """Local mode: the peer is this machine, asks for this machine, and is no web page.

    A page in a browser reaches loopback too: by a name that it rebinds (so `Host` must be a loopback name), or
    by a plain cross-site request (so no `Origin`). A tunnel's agent also runs on this machine, and would open
    the unverified endpoint to the world (so nothing forwarded).

    Raises:
        BadRequest: 403.
    """
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    address = cast("tuple[object, ...]", peer) if isinstance(peer, tuple) else ("",)
    if not is_loopback(str(address[0])):
        raise BadRequest(403, "Without MICROSOFT_APP_ID only this machine may speak to the bot.")
    if not is_loopback(_host_name(request.headers.get("Host", ""))):
        raise BadRequest(403, "Without MICROSOFT_APP_ID the Host header must name this machine.")
    if "Origin" in request.headers:
        raise BadRequest(403, "Web pages may not speak to the bot.")
    if any(header in request.headers for header in _FORWARDED):
        raise BadRequest(403, "Without MICROSOFT_APP_ID the bot cannot stand behind a proxy or tunnel.")


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
