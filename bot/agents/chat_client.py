"""One request to an OpenAI-compatible endpoint, and one reading of each of its failures.

Nothing is retried, but for what a server does not take (streams, counts in them): that is left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from openai import APIError, APIStatusError, AsyncOpenAI, AsyncStream, DefaultAioHttpClient, OpenAIError, Timeout

from bot.agents import azure
from bot.agents.chat_answer import Completion, Pieces, completion_of
from bot.agents.failures import CONTENT_FILTER, Refused, failure_of
from bot.agents.live import Grow
from bot.errors import CONTEXT_TOO_LONG, OperatorError, ServiceUnavailable, ThreadkeeperError
from bot.settings import Settings
from bot.types import JsonObject

log = logging.getLogger("threadkeeper.agents")

SCOPE = "https://cognitiveservices.azure.com/.default"
AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
CONNECT_SECONDS = 10.0
STALL_SECONDS = 60.0
"""A stream that has begun and is silent for so long is cut. Before it begins, a local model may read for longer."""

FINAL = (CONTENT_FILTER, CONTEXT_TOO_LONG)
"""Codes of refusals that have nothing to do with how the question was asked."""

_PATH = "/chat/completions"
_TOO_LONG = re.compile(
    r"exceed_context_size|context (?:length|size|window)|maximum context|prompt (?:is )?too long", re.IGNORECASE
)
_NO_TOOLS = re.compile(r"does not support tools|enable-auto-tool-choice", re.IGNORECASE)
_T = TypeVar("_T")


class Broken(Exception):
    """A stream that had begun did not come to its end."""


def is_azure(base_url: str) -> bool:
    """Whether the endpoint takes a token of Entra."""
    url = urlsplit(base_url)
    return url.scheme == "https" and (url.hostname or "").lower().endswith(AZURE_HOSTS)


def open_client(
    settings: Settings, environ: Mapping[str, str] = os.environ, credential: AsyncTokenCredential | None = None
) -> ChatClient:
    """The client of OPENAI_BASE_URL. Asks nothing of it yet. A `credential` that is given is closed with it."""
    base_url = settings.openai_base_url
    key = settings.openai_api_key.get_secret_value()
    if credential is None and not key and is_azure(base_url):
        credential = azure.credential_for(base_url, production=not settings.local, environ=environ)
    client = AsyncOpenAI(
        base_url=base_url,
        # A server on this machine asks for none, and the SDK insists on one.
        api_key=key or (azure.token_source(credential, SCOPE) if credential else "none"),
        max_retries=0,
        timeout=Timeout(float(settings.run_deadline_seconds), connect=CONNECT_SECONDS),
        http_client=DefaultAioHttpClient(follow_redirects=False),
    )
    return ChatClient(client, credential, float(settings.run_deadline_seconds))


class ChatClient:
    """Asks the model. Knows, for its own life, what the server does not take."""

    def __init__(
        self, client: AsyncOpenAI, credential: AsyncTokenCredential | None, seconds: float, stall: float = STALL_SECONDS
    ) -> None:
        """`seconds` bound a request as a whole."""
        self._client = client
        self._credential = credential
        self._seconds = seconds
        self._stall = stall
        self._streams = True
        self._counts = True

    async def complete(self, body: JsonObject, grow: Grow | None = None) -> Completion:
        """The model's answer; `grow` is called with its text so far, where the server streams.

        Raises:
            Refused: a 4xx that is the request's own fault; its code is CONTENT_FILTER or CONTEXT_TOO_LONG for these.
            ServiceBusy: 429.
            ServiceUnavailable: 408, 409, 5xx, no answer, or one that cannot be read.
            OperatorError: the key, the model or the address is wrong.
        """
        if grow is None or not self._streams:
            return await self._plain(body)
        try:
            return await self._streamed(body, grow)
        except Broken:
            return await self._plain(body)  # what came may be half of a word, or of a call
        except Refused as refused:
            if refused.code in FINAL:
                raise
        completion = await self._plain(body)
        self._streams = False  # only now is it known that the stream was what it refused
        log.info("the server of the model takes no streams; answers come in one piece")
        return completion

    async def _streamed(self, body: JsonObject, grow: Grow) -> Completion:
        body = body | {"stream": True}
        if not self._counts:
            return await self._stream(body, grow)
        try:
            return await self._stream(body | {"stream_options": {"include_usage": True}}, grow)
        except Refused as refused:
            if refused.code in FINAL:
                raise
        completion = await self._stream(body, grow)
        self._counts = False
        return completion

    async def _plain(self, body: JsonObject) -> Completion:
        async def ask() -> Completion:
            return completion_of(await self._client.post(_PATH, body=body, cast_to=object))

        return await self._guarded(ask())

    async def _stream(self, body: JsonObject, grow: Grow) -> Completion:
        """Raises Broken where the stream began; what `complete` raises where it did not."""
        opening = self._client.post(_PATH, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object])
        stream = await self._guarded(opening)
        try:
            if "text/event-stream" not in stream.response.headers.get("content-type", ""):
                completion = await self._guarded(_in_one_piece(stream))
                self._streams = False
                return completion
            try:
                return await self._guarded(self._read(stream, grow))
            except ServiceUnavailable:
                broken = Broken()
            raise broken
        finally:
            await stream.close()

    async def _read(self, stream: AsyncStream[object], grow: Grow) -> Completion:
        pieces = Pieces()
        async with asyncio.timeout(None) as patience:
            async for chunk in cast(AsyncIterator[object], stream):
                patience.reschedule(asyncio.get_running_loop().time() + self._stall)
                if pieces.add(chunk):
                    grow(pieces.text or pieces.refusal)
        if not pieces.finish:
            raise ValueError("it ended in the middle")
        return pieces.completion()

    async def _guarded(self, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except APIStatusError as error:
            failure = _failure(error.status_code, error.response.headers, error.body)
        except APIError as error:  # no connection, no answer in time, or an error in the midst of a stream
            failure = _in_stream(error)
        except (OpenAIError, aiohttp.ClientError, OSError) as error:
            failure = ServiceUnavailable(f"No answer from the model ({type(error).__name__}).")
        except (ValueError, AttributeError, TypeError, KeyError) as error:  # not JSON, or not the JSON of an answer
            failure = ServiceUnavailable(f"An answer that cannot be read ({type(error).__name__}).")
        # Raised outside the handlers: the SDK's error holds the request and the body, and would hang on as the context.
        raise failure

    async def close(self) -> None:
        """Give back connections and the credential."""
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()


async def _in_one_piece(stream: AsyncStream[object]) -> Completion:
    """What a server answers that takes no notice of `stream`."""
    return completion_of(json.loads(await stream.response.aread()))


# -- failures -----------------------------------------------------------------------------------------------


def _failure(status: int, headers: Mapping[str, str], body: object) -> ThreadkeeperError:
    code, words = _said(body)
    failure = failure_of(status, headers, body)
    cured = _operator(status, code, words)
    # llama.cpp says of a prompt that is too long 500 or 400, others 413, and each in words of its own
    if cured is None and (status == 413 or _TOO_LONG.search(f"{code} {words}")):
        return Refused(status, CONTEXT_TOO_LONG, "")
    return cured or failure


def _in_stream(error: APIError) -> ThreadkeeperError:
    """No connection, no answer in time, or an error in the midst of a stream, which another request may meet too."""
    code, words = _said(error.body)
    told = failure_of(400, {}, error.body)
    if isinstance(told, Refused) and told.code in FINAL:
        return told
    if _TOO_LONG.search(f"{code} {words}"):
        return Refused(400, CONTEXT_TOO_LONG, "")
    return ServiceUnavailable(f"No answer from the model ({type(error).__name__}).")


def _operator(status: int, code: str, words: str) -> OperatorError | None:
    """What only an operator can mend."""
    if status in (401, 403):
        return OperatorError(
            f"The model's server does not let the bot in ({status}).",
            "Set OPENAI_API_KEY to a key of the server in OPENAI_BASE_URL. Without a key in Azure: give the app's "
            'identity the role "Cognitive Services OpenAI User" on the resource.',
        )
    if status == 404 or code in ("model_not_found", "DeploymentNotFound"):
        return OperatorError(
            f"The model's server has no such model, or no such address ({status}).",
            "Set MODEL_DEPLOYMENT_NAME to a model that the server has, and OPENAI_BASE_URL to the address before "
            "/chat/completions, such as http://127.0.0.1:11434/v1 or https://NAME.openai.azure.com/openai/v1.",
        )
    if 300 <= status < 400:
        return OperatorError(
            f"The model's server is elsewhere ({status}).",
            "Set OPENAI_BASE_URL to the address that it redirects to: nobody is followed with a key.",
        )
    if status == 402 or code == "insufficient_quota":
        return OperatorError(
            f"The account behind OPENAI_API_KEY has no credit left ({status}).",
            "Add credit, or set OPENAI_API_KEY to another account's key.",
        )
    if 400 <= status < 500 and _NO_TOOLS.search(words):
        return OperatorError(
            f"The model, as its server runs it, cannot call tools ({status}).",
            "Set MODEL_DEPLOYMENT_NAME to one that can, or switch tool calling on at the server (for vLLM: "
            "--enable-auto-tool-choice and --tool-call-parser).",
        )
    return None


def _said(body: object) -> tuple[str, str]:
    """The error's code (or type) and text, to be compared; the SDK has unwrapped it where it was wrapped."""
    error = cast(JsonObject, body) if isinstance(body, dict) else {}
    code = next((c for c in (error.get("code"), error.get("type")) if isinstance(c, str) and c), "")
    return code, str(error.get("message") or error.get("detail") or "")
