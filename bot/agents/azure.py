"""What every Azure client here shares: the HTTP session, the credential, and one reading of each failure.

Nothing is retried: whoever asks knows whether a request may be repeated, this module does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential, get_bearer_token_provider

from bot.agents.failures import failure_of, retry_after
from bot.errors import OperatorError, ServiceUnavailable, ThreadkeeperError
from bot.settings import is_loopback
from bot.types import JsonObject

SCOPE = "https://ai.azure.com/.default"
CONNECTIONS = 512
"""Enough for every turn of a busy replica to look at its run at once; aiohttp's own 100 would queue unseen."""

_CONNECT_SECONDS = 10.0
_TOKEN_SECONDS = 30.0
_OWN_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")
# Without this the SDK parses an error's body as JSON first, and a proxy's HTML page hides the status.
_EVERY_ERROR = dict.fromkeys(range(300, 600), HttpResponseError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A request's JSON object, and how many seconds the service would like to be left alone."""

    body: JsonObject
    retry_after: float | None = None


# -- who we are ---------------------------------------------------------------------------------------------


class FixedToken:
    """The credential for a local double, which takes any token."""

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken("local", int(time.time()) + 3600)

    async def close(self) -> None: ...

    async def __aenter__(self) -> FixedToken:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...


class LoopbackBearer(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Sends the token over plain http, which azure-core's own policy refuses; to this machine only."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        super().__init__()
        self._credential = credential

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        if not is_loopback(urlsplit(request.http_request.url).hostname or ""):
            raise ServiceRequestError("a token is sent over http to this machine only")
        token = await self._credential.get_token(SCOPE)
        request.http_request.headers["Authorization"] = f"Bearer {token.token}"
        return await self.next.send(request)


def credential_for(endpoint: str, *, production: bool, environ: Mapping[str, str] = os.environ) -> AsyncTokenCredential:
    """The credential for an endpoint; the caller closes it.

    A managed identity that the environment names is used directly: the default chain would try every other way
    first and, when it fails, say so in ten paragraphs.
    """
    if is_plain(endpoint):
        return FixedToken()
    client_id = environ.get("AZURE_CLIENT_ID", "")
    if production and client_id and not any(environ.get(name) for name in _OWN_SECRETS):
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential()


def is_plain(endpoint: str) -> bool:
    """Whether the endpoint is a double on this machine, spoken to over http."""
    url = urlsplit(endpoint)
    return url.scheme == "http" and is_loopback(url.hostname or "")


def token_source(credential: AsyncTokenCredential, scope: str) -> Callable[[], Awaitable[str]]:
    """Tokens for a client that is not Azure's own; each is kept until it is old.

    Its callers see `OperatorError` where there is none, and `ServiceUnavailable` where nobody answers.
    """
    provider = get_bearer_token_provider(credential, scope)

    async def token() -> str:
        return await _guarded(provider(), _TOKEN_SECONDS)

    return token


# -- the session --------------------------------------------------------------------------------------------


def open_session() -> aiohttp.ClientSession:
    """The session that all clients share. It belongs to the running loop; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        auto_decompress=False,  # azure-core decompresses
    )


def client_options(session: aiohttp.ClientSession, endpoint: str, credential: AsyncTokenCredential) -> dict[str, Any]:
    """Keywords for an Azure client: our session, no retries (the SDK would repeat POSTs), no redirects."""
    options: dict[str, Any] = {
        "transport": AioHttpTransport(session=session, session_owner=False, connection_timeout=_CONNECT_SECONDS),
        "retry_total": 0,
        "permit_redirects": False,
    }
    if is_plain(endpoint):
        options["authentication_policy"] = LoopbackBearer(credential)
    return options


# -- one request --------------------------------------------------------------------------------------------


_T = TypeVar("_T")


class _Item(Protocol):
    def as_dict(self) -> dict[str, Any]: ...


class _Paged(Protocol):
    def by_page(self, continuation_token: str | None = None) -> AsyncIterator[AsyncIterator[_Item]]: ...


async def request(operation: Callable[..., Awaitable[Any]], *args: Any, seconds: float, **kwargs: Any) -> Answer:
    """One request through an SDK operation, as the JSON that came back.

    The models of the SDK are passed over: they call required what the service leaves out. `seconds` bounds the
    whole request (the SDK's own timeouts bound only each read).

    Raises:
        Refused: a 4xx other than those below.
        ServiceBusy: 429.
        ServiceUnavailable: 408, 409, 5xx, no answer in time, or one that cannot be read.
        OperatorError: no token, or one that is not let in.
    """
    answers: list[Answer] = []

    def keep(response: PipelineResponse[HttpRequest, AsyncHttpResponse], *_: object) -> None:
        http = response.http_response
        answers.append(Answer(_object(http.json()), retry_after(http.headers)))

    await _guarded(operation(*args, cls=keep, error_map=_EVERY_ERROR, **kwargs), seconds)
    if not answers:
        raise ServiceUnavailable("The service answered without a body.")
    return answers[0]


class Body:
    """The body of an answer, read piece by piece. Whoever opened it closes it."""

    def __init__(self, response: AsyncHttpResponse, pieces: AsyncIterator[bytes]) -> None:
        self._response = response
        self._pieces = pieces

    async def next(self, seconds: float) -> bytes | None:
        """The next piece, None at the end; `seconds` is how long the service may be silent. Raises as `request`."""
        return await _guarded(anext(self._pieces, None), seconds)

    async def close(self) -> None:
        """Leave it, read to its end or not."""
        pieces: object = self._pieces
        if isinstance(pieces, AsyncGenerator):
            await cast(AsyncGenerator[bytes], pieces).aclose()
        await self._response.close()


async def opened(operation: Callable[..., Awaitable[Any]], *args: Any, seconds: float, **kwargs: Any) -> Body:
    """One request through an SDK operation, whose answer's body comes in pieces. Raises as `request`."""
    bodies: list[Body] = []

    def keep(
        response: PipelineResponse[HttpRequest, AsyncHttpResponse], pieces: AsyncIterator[bytes], *_: object
    ) -> None:
        bodies.append(Body(response.http_response, pieces))

    await _guarded(operation(*args, cls=keep, error_map=_EVERY_ERROR, stream=True, **kwargs), seconds)
    return bodies[0]


async def page(
    operation: Callable[..., Any], *args: Any, seconds: float, after: str | None = None, **kwargs: Any
) -> list[JsonObject]:
    """One page of a list, that behind the item `after`. The SDK's pager would go on: it ignores `has_more`.

    Raises: as `request`.
    """

    async def first() -> list[JsonObject]:
        paged = cast(_Paged, operation(*args, error_map=_EVERY_ERROR, **kwargs))
        items = await anext(paged.by_page(continuation_token=after))
        return [_object(item.as_dict()) async for item in items]

    return await _guarded(first(), seconds)


async def _guarded(work: Awaitable[_T], seconds: float) -> _T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except HttpResponseError as error:
        failure = _failure(error)
    except (AzureError, aiohttp.ClientError, OSError) as error:
        within = f" within {seconds:g} s" if isinstance(error, TimeoutError) else ""
        failure = ServiceUnavailable(f"No answer from the service{within} ({type(error).__name__}).")
    except (ValueError, AttributeError) as error:  # not JSON, or not the JSON that the SDK expects
        failure = ServiceUnavailable(f"An answer that cannot be read ({type(error).__name__}).")
    # Raised outside the handlers: the SDK's error holds headers and the body, and would hang on as the context.
    raise failure


def _failure(error: HttpResponseError) -> ThreadkeeperError:
    if isinstance(error, ClientAuthenticationError):
        return no_token(error)  # a 401 of the service is no longer of this type, see _EVERY_ERROR
    headers = cast(Mapping[str, str], getattr(error.response, "headers", None) or {})
    return failure_of(error.status_code or 0, headers, _body(error.response))


def _body(response: Any) -> object:
    try:
        return json.loads(response.text())
    except (AzureError, ValueError, AttributeError):
        return None


def no_token(error: Exception) -> OperatorError:
    """The credential gave none."""
    return OperatorError(
        f"There is no token for Foundry ({type(error).__name__}).",
        "In Azure: give the app a managed identity and set AZURE_CLIENT_ID to its client id. "
        "On your own machine: az login.",
    )


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast(JsonObject, value)


def id_of(body: JsonObject) -> str:
    """The id of an object that the service made or named.

    Raises:
        ServiceUnavailable: it has none, so nothing is known of the request's effect.
    """
    value = body.get("id")
    if not isinstance(value, str) or not value:
        raise ServiceUnavailable("An answer that cannot be read (no id).")
    return value
