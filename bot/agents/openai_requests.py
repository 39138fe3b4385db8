"""Requests through the openai package to Foundry: plain ones and streams, with one reading of each failure.

Nothing is retried, and no model of the SDK stands between the answer and us: services leave out what they require.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import openai
from azure.core.exceptions import ClientAuthenticationError
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI

from bot.agents.azure import no_token
from bot.agents.failures import failure_of
from bot.errors import ServiceUnavailable
from bot.types import JsonObject, RemoteFile

CONNECTIONS = 512

Raw = Callable[..., Awaitable[Any]]
"""An operation of `client.<resource>.with_raw_response`."""


def client_options() -> dict[str, Any]:
    """Keywords for `get_openai_client`: no retries (it would repeat POSTs), a pool for every turn of a busy replica."""
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS // 4)
    client = openai.DefaultAsyncHttpxClient(limits=limits, follow_redirects=False)
    return {"max_retries": 0, "http_client": client}


async def request(operation: Raw, *args: Any, seconds: float, **kwargs: Any) -> JsonObject:
    """One request, as the JSON object that came back. `seconds` bounds it whole.

    Raises:
        Refused: a 4xx other than those below.
        ServiceBusy: 429.
        ServiceUnavailable: 408, 409, 5xx, no answer in time, or one that cannot be read.
        OperatorError: no token, or one that is not let in.
    """
    answer = await _guarded(operation(*args, **kwargs), seconds)
    try:
        body: object = answer.http_response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ServiceUnavailable("An answer that cannot be read (not a JSON object).")
    return cast(JsonObject, body)


async def file_content(client: AsyncOpenAI, file: RemoteFile, *, seconds: float, most: int) -> bytes | None:
    """The bytes of a file, from its container where it has one; None if they are more than `most`.

    Raises: as `request`.
    """
    if file.container:
        contents = client.containers.files.content.with_raw_response
        answer = await _guarded(contents.retrieve(file.id, container_id=file.container), seconds)
    else:
        answer = await _guarded(client.files.with_raw_response.content(file.id), seconds)
    data: bytes = answer.http_response.content
    return data if len(data) <= most else None


def decoded(text: object) -> bytes | None:
    """The bytes that an answer holds as base64; None if it holds none."""
    with contextlib.suppress(ValueError):
        return b64decode(text) if isinstance(text, str) else None
    return None


class Events:
    """A stream of server-sent events, one JSON object each. Raises as `request`, at any event."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._events: AsyncIterator[Any] = aiter(stream)

    async def next(self, seconds: float) -> JsonObject | None:
        """The next event, None at the end; `seconds` is how long the service may be silent."""

        async def one() -> JsonObject | None:
            event = await anext(self._events, None)
            if event is None:
                return None
            # Foundry sends objects where the SDK expects texts (created_by); that is no concern of ours.
            return cast(JsonObject, event.to_dict(mode="json", warnings=False))

        return await _guarded(one(), seconds)

    async def close(self) -> None:
        """Leave it; the service ends a response that nobody reads, unless it runs in the background."""
        await self._stream.close()


async def open_events(client: AsyncOpenAI, body: JsonObject, seconds: float) -> Events:
    """Create a response as a stream. Raises as `request`."""
    return Events(await _guarded(client.responses.create(**body, stream=True), seconds))


@asynccontextmanager
async def closing(events: Events) -> AsyncGenerator[Events]:
    """The events, closed at the end of the block whatever happens in it."""
    try:
        yield events
    finally:
        await events.close()


async def _guarded(work: Awaitable[Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except APIStatusError as error:
        failure: Exception = failure_of(error.status_code, error.response.headers, error.body)
    except ClientAuthenticationError as error:
        failure = no_token(error)
    except (APITimeoutError, TimeoutError):
        failure = ServiceUnavailable(f"No answer from the service within {seconds:g} s.")
    except APIConnectionError as error:
        failure = ServiceUnavailable(f"No answer from the service ({type(error).__name__}).")
    except openai.APIError as error:  # an error event within a stream
        failure = failure_of(500, {}, error.body)
    except (
        openai.OpenAIError,
        httpx2.HTTPError,
        OSError,
        ValueError,
    ) as error:  # cut in the middle, or not what the SDK can read
        failure = ServiceUnavailable(f"An answer that cannot be read ({type(error).__name__}).")
    # Raised outside the handlers: the SDK's error holds headers and the body, and would hang on as the context.
    raise failure
