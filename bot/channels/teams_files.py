"""Files that people send along in Teams: where an activity says they lie, and fetching them from there.

A file lies in the person's OneDrive, behind an address that is pre-signed: whoever has it has the file, so it is a
secret, kept in memory alone (docs/decisions/0012-pre-signed-addresses-stay-in-memory.md). An image in the words lies
at the connector and is had with the bot's token, so its address is none.
https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from bot.channels.bot_token import BotToken
from bot.channels.fields import object_at, objects_at, string_at
from bot.channels.local_files import clean_name, type_of
from bot.channels.service_hosts import ServiceHosts
from bot.errors import DeliveryRefused, ServiceUnavailable, TooLarge
from bot.ports import Clock
from bot.types import Attachment, JsonObject, Message

DOWNLOAD = "application/vnd.microsoft.teams.file.download.info"
NO_FILES = ("text/", "messagereference", "forwardedmessagereference", "application/vnd.microsoft.card.")
"""Attachments that nobody attached: Teams adds text/html to rich text, messageReference to a quoting reply."""

HELD, HELD_SECONDS = 10_000, 3600.0
"""So many addresses are remembered, for so long: about as long as they are good for."""
FETCH_SECONDS, PUT_SECONDS = 30.0, 60.0
MOST_REDIRECTS = 3
_CHUNK = 64 * 1024
_NOT_NOW = frozenset((408, 425, 429, 500, 502, 503, 504))


# -- where they lie -----------------------------------------------------------------------------------------


def attached(activity: JsonObject) -> tuple[Attachment, ...]:
    """What came along. One whose `source` and `data` are empty cannot be had, such as a file sent in a group.

    A `source` may hold a pre-signed address: it goes nowhere before `Addresses.keep` took that out.
    """
    found = objects_at(activity, "attachments")
    kinds = [(one, string_at(one, "contentType").lower()) for one in found]
    return tuple(_attachment(one, kind) for one, kind in kinds if kind and not kind.startswith(NO_FILES))


def _attachment(one: JsonObject, kind: str) -> Attachment:
    name, where = string_at(one, "name"), string_at(one, "contentUrl")
    if kind == DOWNLOAD:
        content = object_at(one, "content")
        name = clean_name(name or f"file.{string_at(content, 'fileType') or 'bin'}")
        return Attachment(name, type_of(name, ""), 0, source=_source(string_at(content, "downloadUrl"), "signature"))
    if not kind.startswith("image/"):
        return Attachment(clean_name(name or kind.replace("/", " ")), kind, 0)
    name = clean_name(name or "image")
    if where.startswith("data:"):  # the Agents Playground's images come whole
        return _whole(name, where)
    return Attachment(name, kind, 0, source=_source(where, "token"))


def _source(address: str, by: Literal["signature", "token"]) -> JsonObject:
    return {"address": address, "by": by} if address else {}


def _whole(name: str, where: str) -> Attachment:
    head, _, data = where.partition(",")
    kind = head.removeprefix("data:").partition(";")[0]
    try:
        size = len(b64decode(data, validate=True))
    except ValueError:
        return Attachment(name, "image/*", 0)
    return Attachment(name, kind or "image/*", size, data=data)


@dataclass(frozen=True, slots=True)
class _Held:
    address: str
    by: str
    until: float


class Addresses:
    """Pre-signed addresses, in this process's memory alone: the oldest give way, and none is kept for long.

    Their keys are made from the message, so that a redelivery after a restart brings them back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}  # the oldest first

    def keep(self, message: Message) -> Message:
        """The message without its pre-signed addresses, which are remembered here."""
        kept = tuple(self._kept(message, number, one) for number, one in enumerate(message.attachments))
        return replace(message, attachments=kept) if kept else message

    def _kept(self, message: Message, number: int, one: Attachment) -> Attachment:
        address = string_at(one.source, "address")
        if not address or (one.source.get("by") == "token" and not _signed(address)):
            return one
        place = message.conversation
        named = "\n".join((place.channel, place.tenant, place.id, message.id, str(number)))
        key = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()
        self._held.pop(key, None)
        self._held[key] = _Held(address, string_at(one.source, "by"), self._clock.monotonic() + HELD_SECONDS)
        while len(self._held) > HELD or next(iter(self._held.values())).until < self._clock.monotonic():
            del self._held[next(iter(self._held))]
        return replace(one, source={"held": key})

    def find(self, source: JsonObject) -> tuple[str, str]:
        """The address, and by what it is had.

        Raises:
            DeliveryRefused: it is not known here (any more).
        """
        if "address" in source:
            return string_at(source, "address"), string_at(source, "by")
        held = self._held.get(string_at(source, "held"))
        if held is None or held.until < self._clock.monotonic():
            raise DeliveryRefused("The address of the attachment is not known any more.")
        return held.address, held.by


def _signed(address: str) -> bool:
    """Whether an address has a query, and so perhaps a signature; one that cannot be read counts as such."""
    try:
        return bool(urlsplit(address).query)
    except ValueError:
        return True


# -- fetching and bringing ----------------------------------------------------------------------------------


class FileRequests:
    """Requests for files: pre-signed ones to ALLOWED_FILE_HOSTS without a token, others to the connector with it."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        *,
        services: ServiceHosts,
        files: ServiceHosts,
        token: BotToken | None,
    ) -> None:
        self._session = session
        self._services = services
        self._files = files
        self._token = token

    async def get(self, address: str, by: str, most: int) -> bytes:
        """At most so many bytes from there.

        Raises:
            ServiceUnavailable, OperatorError: not now.
            DeliveryRefused, TooLarge: never.
        """
        with_token = by == "token"
        headers = {"Accept-Encoding": "identity"}
        for _ in range(1 if with_token else MOST_REDIRECTS):
            _must(self._services if with_token else self._files, address)
            if with_token and self._token is not None:
                headers["Authorization"] = f"Bearer {await self._token.get()}"
            got = await self._got(address, headers, most)
            if isinstance(got, bytes):
                return got
            address = urljoin(address, got)
        raise DeliveryRefused("The attachment lies behind a redirect.")

    async def _got(self, address: str, headers: dict[str, str], most: int) -> bytes | str:
        """The content, or where it says that it is. Of failures only the type is told: their words hold the address."""
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS, sock_connect=5.0)
        try:
            async with self._session().get(
                URL(address, encoded=True), headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                if 300 <= response.status < 400:
                    return response.headers.get("Location", "")
                _judge(response.status)
                return await _read(response, most)
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise ServiceUnavailable(f"the attachment could not be fetched ({type(fault).__name__})") from None

    async def put(self, address: str, data: bytes) -> None:
        """Bring a file to where the person said; again, it replaces itself.

        Raises:
            ServiceUnavailable: not now.
            DeliveryRefused: never.
        """
        _must(self._files, address)
        last = len(data) - 1
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"bytes 0-{last}/{len(data)}"}
        timeout = aiohttp.ClientTimeout(total=PUT_SECONDS, sock_connect=5.0)
        try:
            async with self._session().put(
                URL(address, encoded=True), headers=headers, data=data, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status not in (200, 201):
                    _judge(response.status if response.status >= 400 else 400)
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise ServiceUnavailable(f"the file could not be brought ({type(fault).__name__})") from None


@dataclass(frozen=True, slots=True)
class Files:
    """What is known of addresses, and the requests to them."""

    addresses: Addresses
    requests: FileRequests

    async def fetch(self, attachment: Attachment, most: int) -> bytes:
        """At most so many bytes of it.

        Raises:
            ServiceUnavailable, OperatorError: not now.
            DeliveryRefused, TooLarge: never.
        """
        address, by = self.addresses.find(attachment.source)
        return await self.requests.get(address, by, most)


def _must(hosts: ServiceHosts, address: str) -> None:
    if not hosts.permits(address):
        raise DeliveryRefused("The file lies at a host that is not allowed.")


def _judge(status: int) -> None:
    if status in _NOT_NOW or status >= 500:
        raise ServiceUnavailable(f"the file's host answered {status}")
    if status != 200:
        raise DeliveryRefused(f"The file's host answered {status}.")


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    if (response.content_length or 0) > most:
        raise TooLarge("The attachment is too large.")
    read = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        read += chunk
        if len(read) > most:
            raise TooLarge("The attachment is too large.")
    return bytes(read)
