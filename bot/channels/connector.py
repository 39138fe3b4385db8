"""Requests to the channel's connector, no faster than it allows, and repeated only where nothing can be shown twice.

`POST .../activities` is not idempotent, so it is repeated after 429 and where nobody was reached; else the failure
says whether the delivery may have been shown, and the turn decides. Rate limits and statuses:
https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn, cast
from urllib.parse import unquote

import aiohttp
from yarl import URL

from bot.channels.bot_token import BotToken
from bot.channels.fields import object_at, string_at
from bot.channels.pace import Pace, Place
from bot.channels.service_hosts import ServiceHosts
from bot.channels.stream_refusals import refusal
from bot.errors import DeliveryFailed, DeliveryRefused, OperatorError
from bot.ports import Clock
from bot.types import Json, JsonObject

SEND_TIMEOUT = 14.0
"""Seconds that a request may take with all that goes before it: waiting, the token, its repetitions."""
CONNECT_TIMEOUT = 5.0
PATIENCE = 3.0
"""Seconds of waiting, in all, before a request is given up for now. A turn asks if it may still speak before it calls
us, so it must not be long; and it covers the limits of one and two seconds. The turn is taken up again for more."""
PAUSE = 0.5
"""Seconds before the first repetition where the service names none; twice as many before the next."""
LEAST = 2.0
"""Seconds below which a request is not begun any more."""
MAX_RETRY_AFTER = 3600.0
_MAY_BE_SHOWN = frozenset((408, 500, 502, 503, 504))
_NOT_NOW = frozenset((412, 425, 429))
_TRY_AGAIN = frozenset((412, 429, 502, 503, 504))
"""What Teams asks to be tried again. On POST only 429 says for certain that nothing was shown."""
_IDEMPOTENT = frozenset(("GET", "PUT", "DELETE"))
_tenant: ContextVar[str] = ContextVar("tenant", default="")


@contextmanager
def on_behalf_of(tenant: str) -> Generator[None]:
    """Count the requests made in this block for a tenant. (The SDK, which stands between, passes none along.)"""
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


class NotTaken(DeliveryFailed):
    """The connector did not take it. `status` is its answer, None where there was none."""

    def __init__(
        self, message: str, retry_after: float | None = None, *, sent: bool = False, status: int | None = None
    ) -> None:
        super().__init__(message, retry_after, sent=sent)
        self.status = status


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
        pace: Pace | None = None,
    ) -> None:
        self._session = session
        self._hosts = hosts
        self._token = token
        self._clock = clock
        self._pace = pace or Pace(clock)
        self._most = SEND_TIMEOUT

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None) -> Taken:
        """Make the request, as soon as it may be made. Typing, and text that grows, waits for nothing.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never, or not to this host.
            OperatorError: the credential is refused.
        """
        if not self._hosts.permits(url):
            raise DeliveryRefused("The host of the stored serviceUrl is not in ALLOWED_SERVICE_HOSTS.")
        place, aside = _place(url), _is_aside(body)
        deadline, patience = self._clock.monotonic() + self._most, PATIENCE
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE, None):
            if aside:
                self._pace.aside(place)
            else:
                patience -= await self._pace.wait(place, patience)
            try:
                return await self._once(method, url, headers, body, deadline)
            except NotTaken as failure:
                wanted = self._rest(place, method, failure, pause)
                if aside or wanted is None or wanted > patience:
                    raise
        raise AssertionError("the last failure was raised")

    def _rest(self, place: Place, method: str, failure: NotTaken, pause: float | None) -> float | None:
        """How long to leave the conversation alone before the request is repeated; None: it must not be."""
        unreached = failure.status is None and not failure.sent
        again = unreached or failure.status in (_TRY_AGAIN if method in _IDEMPOTENT else (429,))
        wanted = failure.retry_after
        if wanted is None and again and pause is not None:
            wanted = pause * random.uniform(0.75, 1.25)  # noqa: S311 (so that many do not come back together)
        if wanted is not None:
            self._pace.leave_alone(place, wanted)
        return wanted if again and pause is not None else None

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None, deadline: float
    ) -> Taken:
        sent = {k: v for k, v in headers.items() if k.lower() not in ("content-length", "authorization")}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {await self._token.get()}"
        left = deadline - self._clock.monotonic()
        if left < min(LEAST, self._most):
            raise DeliveryFailed("no time was left to send it")
        try:
            async with self._session().request(
                method,
                URL(url, encoded=True),
                headers=sent,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=left, sock_connect=CONNECT_TIMEOUT),
            ) as response:
                return await self._taken(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            raise NotTaken(f"the connector cannot be reached ({type(fault).__name__})") from None
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise NotTaken(f"the connector did not answer ({type(fault).__name__})", sent=True) from None

    async def _taken(self, response: aiohttp.ClientResponse) -> Taken:
        if not 200 <= response.status < 300:
            await self._refused(response)
        body = await _object(response)
        if (dropped := refusal(response.status, body)) is not None:
            raise dropped
        return Taken(200 if response.status == 204 else response.status, body)

    async def _refused(self, response: aiohttp.ClientResponse) -> NoReturn:
        status = response.status
        body = await _object(response)
        code = _code(body)
        said = f"{status} {code}".strip()
        if status == 401:
            if self._token is not None:
                await self._token.forget()
            raise OperatorError(
                "The Bot Connector refused the bot's token (401).",
                "MICROSOFT_APP_ID, MICROSOFT_APP_PASSWORD, MICROSOFT_APP_TYPE and MICROSOFT_APP_TENANT_ID must be "
                "those of the app that the Azure Bot resource names.",
            )
        never = status == 501  # it is not built, and will not be a moment later
        if not never and (status in _MAY_BE_SHOWN or status in _NOT_NOW or 300 <= status < 400 or status >= 500):
            may_be_shown = status >= 500 or status in _MAY_BE_SHOWN
            pause = self._pause(response)
            raise NotTaken(f"the connector answered {said}", pause, sent=may_be_shown, status=status)
        raise refusal(status, body) or DeliveryRefused(f"The connector answered {said}.")

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


def _place(url: str) -> Place:
    """The conversation that a request is about. The threads of a Teams channel count together.

    https://learn.microsoft.com/answers/questions/848444/about-teams-rate-limits
    """
    service, _, rest = url.partition("/v3/conversations/")
    conversation = unquote(rest.partition("/")[0].partition("?")[0]).partition(";messageid=")[0]
    return Place(_tenant.get(), f"{service} {conversation}")


def _is_aside(body: str | bytes | None) -> bool:
    """Typing, or text that grows: an activity of this type, whose last word is a message."""
    try:
        activity: Json = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(activity, dict) and string_at(cast("JsonObject", activity), "type") == "typing"
