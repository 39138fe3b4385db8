"""Requests to the channel's connector, each made once: what may be repeated is for the turn to decide.

`POST .../activities` is not idempotent, so a failure says whether the delivery may have been shown. Rate limits and
statuses: https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn, cast

import aiohttp
from yarl import URL

from bot.channels.bot_token import BotToken
from bot.channels.fields import object_at, string_at
from bot.channels.service_hosts import ServiceHosts
from bot.errors import DeliveryFailed, DeliveryRefused, OperatorError
from bot.ports import Clock
from bot.types import Json, JsonObject

SEND_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
MAX_RETRY_AFTER = 3600.0
_MAY_BE_SHOWN = frozenset((408, 500, 502, 503, 504))
_NOT_NOW = frozenset((412, 425, 429))


@dataclass(frozen=True, slots=True)
class Taken:
    """The connector took it: a status of success, and the JSON object that came with it."""

    status: int
    body: JsonObject


class Connector:
    """One aiohttp session for all conversations. Checks the host before it adds the token; follows no redirect."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        hosts: ServiceHosts,
        token: BotToken | None,
        clock: Clock,
    ) -> None:
        self._session = session
        self._hosts = hosts
        self._token = token
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=SEND_TIMEOUT, sock_connect=CONNECT_TIMEOUT)

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None) -> Taken:
        """Make the request.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never, or not to this host.
            OperatorError: the credential is refused.
        """
        if not self._hosts.permits(url):
            raise DeliveryRefused("The host of the stored serviceUrl is not in ALLOWED_SERVICE_HOSTS.")
        sent = {k: v for k, v in headers.items() if k.lower() not in ("content-length", "authorization")}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {await self._token.get()}"
        try:
            async with self._session().request(
                method,
                URL(url, encoded=True),
                headers=sent,
                data=body,
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                return await self._taken(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            raise DeliveryFailed(f"the connector cannot be reached ({type(fault).__name__})") from None
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise DeliveryFailed(f"the connector did not answer ({type(fault).__name__})", sent=True) from None

    async def _taken(self, response: aiohttp.ClientResponse) -> Taken:
        if not 200 <= response.status < 300:
            await self._refused(response)
        return Taken(200 if response.status == 204 else response.status, await _object(response))

    async def _refused(self, response: aiohttp.ClientResponse) -> NoReturn:
        status = response.status
        code = _code(await _object(response))
        said = f"{status} {code}".strip()
        if status == 401:
            if self._token is not None:
                await self._token.forget()
            raise OperatorError(
                "The Bot Connector refused the bot's token (401).",
                "MICROSOFT_APP_ID, MICROSOFT_APP_PASSWORD, MICROSOFT_APP_TYPE and MICROSOFT_APP_TENANT_ID must be "
                "those of the app that the Azure Bot resource names.",
            )
        if status in _MAY_BE_SHOWN or status in _NOT_NOW or 300 <= status < 400 or status >= 500:
            may_be_shown = status >= 500 or status in _MAY_BE_SHOWN
            raise DeliveryFailed(f"the connector answered {said}", self._pause(response), sent=may_be_shown)
        raise DeliveryRefused(f"The connector answered {said}.")

    def _pause(self, response: aiohttp.ClientResponse) -> float | None:
        """Retry-After in seconds, which may be a date."""
        value = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
            return min(float(value), MAX_RETRY_AFTER)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(moment.timestamp() - self._clock.now(), 0.0), MAX_RETRY_AFTER)


async def _object(response: aiohttp.ClientResponse) -> JsonObject:
    """The JSON object of a response; empty where there is none, or it was cut: the status has been said."""
    try:
        document: Json = json.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        return {}
    return cast("JsonObject", document) if isinstance(document, dict) else {}


def _code(body: JsonObject) -> str:
    """The service's own word for the failure, where it is a word: its sentences can quote what people wrote."""
    code = string_at(object_at(body, "error"), "code")
    return code if re.fullmatch(r"\w{1,64}", code, re.ASCII) else ""
