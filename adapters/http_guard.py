"""HTTP to one named service and to nothing else: the address of every connection is checked as it is made."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from bot.errors import ThreadkeeperError

CONNECT_SECONDS = 5.0
MOST_BYTES = 2 * 1024 * 1024
"""Bytes of an answer that are read, once unpacked."""
MOST_REDIRECTS = 5
_CHUNK = 64 * 1024

_METADATA = frozenset(
    # Azure, AWS and Google (link-local too); AWS over IPv6; Azure's wire server; Alibaba; Oracle's older one.
    ip_address(one)
    for one in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192")
)
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""What IANA gives out as global unicast: https://www.iana.org/assignments/ipv6-address-space"""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `url` is whole and percent-encoded; it and the headers may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the headers' names are in small letters. `whole` is False where the body was longer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)
    whole: bool = True


class NotSent(ThreadkeeperError):
    """Nothing reached the service. The words are for the agent and the log."""


class NoAnswer(ThreadkeeperError):
    """The service may have acted, but no whole answer came."""


class _Refused(OSError):
    """An address that is not to be called, with why."""


def refusal(address: str, *, private: bool, plain: bool) -> str:
    """Why this IP address is not called, empty where it may be.

    Args:
        address: The IP address, as a resolver gives it.
        private: Private addresses and those of this machine are wanted.
        plain: The connection is not encrypted, which only private addresses are good for.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped  # the system connects to just that
    for inner in _within(ip):
        if told := refusal(str(inner), private=private, plain=plain):
            return told
    if ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return "its address is one that is never called"
    if _is_public(ip):
        return "it has a public address, which is called with https only" if plain else ""
    if isinstance(ip, IPv4Address) and ip.is_reserved:
        return "its address is one that is never called"
    return "" if private else "it has a private address, and allow_private is not set"


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_global and (isinstance(ip, IPv4Address) or ip in _UNICAST or ip in _NAT64)


def _within(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to by way of others."""
    if isinstance(ip, IPv4Address):
        return []
    found = [ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        found.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def address_problem(address: str, *, private: bool) -> str:
    """What is wrong with the address of a service, empty where nothing is. No name is looked up."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "is no address; write it as https://api.example.com/v1"
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or not c.isprintable() for c in address):
        return "is no address; write it as https://api.example.com/v1"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return "must be without a user, a query and a fragment; credentials belong to [auth]"
    if parts.scheme == "http" and not private:
        return "must begin with https; http is for private addresses, with allow_private = true"
    try:
        return refusal(host, private=private, plain=parts.scheme == "http")
    except ValueError:  # a name, whose addresses are checked at each connection
        return ""


class Guarded:
    """HTTP to the origin of one address. No cookies are kept: they would be one person's in another's call."""

    def __init__(self, address: str, *, private: bool = False) -> None:
        self._origin = URL(address).origin()
        self._private = private
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            # No total: whoever calls bounds the time. No proxy of the environment: it would connect in our place.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            trust_env=False,
            skip_auto_headers=("Content-Type",),  # else a POST without a body has one
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._session = None

    def _socket(self, info: Any) -> socket.socket:
        # The last step before connecting: what is checked here is what is connected to, whatever a name said earlier.
        family, kind, protocol, _, address = info
        if why := refusal(str(address[0]), private=self._private, plain=self._origin.scheme == "http"):
            raise _Refused(why)
        return socket.socket(family=family, type=kind, proto=protocol)

    async def send(self, request: Request, limit: int = MOST_BYTES) -> Answer:
        """Send it once, and follow redirects of a GET or HEAD within the origin. Any other redirect is the answer.

        Raises:
            NotSent: nothing reached the service.
            NoAnswer: it may have.
            RuntimeError: not entered.
        """
        url = URL(request.url, encoded=True)
        for _ in range(MOST_REDIRECTS):
            answer = await self._sent(request, url, limit)
            target = _target(url, answer)
            if target is None or request.method not in ("GET", "HEAD") or target.origin() != self._origin:
                return answer
            url = target
        return await self._sent(request, url, limit)

    async def _sent(self, request: Request, url: URL, limit: int) -> Answer:
        if self._session is None:
            raise RuntimeError("not entered")
        if url.origin() != self._origin:
            raise NotSent("its address is another than the one that is allowed")
        try:
            async with self._session.request(
                request.method,
                url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                middlewares=(_Once(),),
            ) as response:
                body, whole = await _read(response, limit)
                return Answer(response.status, _headers(response), body, whole)
        except aiohttp.ClientConnectorError as error:
            why = str(error.os_error) if isinstance(error.os_error, _Refused) else "it cannot be reached"
            raise NotSent(why) from None
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientSSLError, aiohttp.InvalidURL):
            raise NotSent("it cannot be reached") from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise NoAnswer("it broke off") from None


class _Once:
    """Lets a request out once: aiohttp sends PUT and DELETE again by itself where a connection ends early."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._sent:
            raise aiohttp.ClientError("not sent again")
        self._sent = True
        return await handler(request)


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > limit:
            response.close()
            return bytes(body[:limit]), False
    return bytes(body), True


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        known = found.get(name.lower())
        found[name.lower()] = value if known is None else f"{known}, {value}"
    return found


def _target(url: URL, answer: Answer) -> URL | None:
    """Where a redirect points, None where it is none."""
    if answer.status not in (301, 302, 303, 307, 308) or not (location := answer.headers.get("location")):
        return None
    try:
        target = URL(urljoin(str(url), location))
        target.origin()  # refused where it is none
    except ValueError:
        return None
    return target
