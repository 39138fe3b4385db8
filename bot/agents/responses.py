"""Responses at the service: made in the form that it takes, read along where somebody wants to, and looked at.

What the service can do is learnt from its answers, for the life of the process: whether it runs responses in the
background, whether one may be made without input, whether they can be looked at at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from cachetools import TTLCache
from openai import AsyncOpenAI

from bot.agents.azure import id_of
from bot.agents.citations import growing
from bot.agents.conversations import Conversations
from bot.agents.failures import Refused
from bot.agents.fields import mapping
from bot.agents.live import Grow, Live
from bot.agents.openai_requests import Events, closing, open_events, request
from bot.agents.response import RUNNING, calls_of, is_about, is_marked, made_by
from bot.agents.writing import Writing
from bot.errors import RunGone, ServiceUnavailable
from bot.types import Handle, JsonObject, RunMark, Step

GET_SECONDS = 15.0
SILENCE_SECONDS = 60.0
"""A stream that says nothing for so long is given up, and its response looked at."""
THOUGHT_SECONDS = 240.0
"""A response in the foreground ends with its stream, so a model that thinks in silence is given longer."""
BLIND_AFTER = 3
"""After so many 500s in a row for responses, while conversations can be read, those are read in their place."""
BLIND_SECONDS = 300.0
"""Then it is tried again: it may have been an hour's trouble."""

Ended = Callable[[str, JsonObject], Awaitable[Step]]
"""Makes a step of a response that is over, by its id."""


class Responses:
    """The responses of one agent."""

    def __init__(
        self, client: AsyncOpenAI, conversations: Conversations, reference: JsonObject, live: Live, post_seconds: float
    ) -> None:
        self._client = client
        self._raw = client.responses.with_raw_response
        self._conversations = conversations
        self._reference = reference
        self._live = live
        self._post_seconds = post_seconds
        self._background = True
        self._empty_input = False
        self._failed_retrieves = 0
        self._blind: TTLCache[str, bool] = TTLCache(1, BLIND_SECONDS)

    async def create(
        self, thread_id: str, items: Sequence[JsonObject], marks: dict[str, str], *, stream: bool, ended: Ended
    ) -> str:
        """Create one; its id. Where it can only run in the foreground it is always read along.

        Raises: as `openai_requests.request`.
        """
        for _ in range(3):
            body = self._body(thread_id, items, marks)
            try:
                if stream or not self._background:
                    return await self._follow(body, ended)
                return id_of(await request(self._raw.create, seconds=self._post_seconds, **body))
            except Refused as refused:
                if self._background and is_about(refused, "background"):
                    self._background = False
                elif not items and not self._empty_input and is_about(refused, "input"):
                    self._empty_input = True
                else:
                    raise
        raise ServiceUnavailable("The service takes none of the forms of a response.")

    def _body(self, thread_id: str, items: Sequence[JsonObject], marks: dict[str, str]) -> JsonObject:
        body: JsonObject = {
            "conversation": thread_id,
            "background": self._background,
            "store": True,
            "truncation": "auto",
            "metadata": marks,
            "extra_body": {"agent_reference": self._reference},
        }
        if items or self._empty_input:
            body["input"] = items or ""
        return body

    async def _follow(self, body: JsonObject, ended: Ended) -> str:
        """Create it as a stream, read until its id is known, and read on in the background."""
        events = await open_events(self._client, body, self._post_seconds)
        try:
            first = await events.next(self._post_seconds)
            run_id = id_of(_response_in(first or {}))
        except BaseException:
            await events.close()
            raise
        background = body["background"]
        self._live.follow(run_id, lambda grow: self._read(run_id, events, grow, ended, background=background))
        return run_id

    async def _read(self, run_id: str, events: Events, grow: Grow, ended: Ended, *, background: bool) -> Step | None:
        writing = Writing()
        silence = SILENCE_SECONDS if background else THOUGHT_SECONDS
        async with closing(events):
            while (event := await events.next(silence)) is not None:
                if writing.add(event):
                    grow(growing(writing.text))
                response = _response_in(event)
                if response and response.get("status") not in RUNNING:
                    return await ended(run_id, response)
        return None  # a stream that is cut may end without a word

    async def get(self, handle: Handle) -> JsonObject:
        """The response; put together from the conversation's items where the service cannot give it.

        Raises:
            RunGone: there is no such response.
            ThreadGone: nor is there its conversation.
        """
        if "blind" in self._blind:
            return await self._from_items(handle)
        try:
            response = await request(self._raw.retrieve, handle.run_id, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status != 404:
                raise
            raise RunGone("The service has no such response.") from None
        except ServiceUnavailable:
            response = await self._from_items(handle)  # if this fails too, it is not about responses
            self._could_not_retrieve()
            if response["status"] in RUNNING:
                raise
            return response
        self._failed_retrieves = 0
        return response

    def _could_not_retrieve(self) -> None:
        self._failed_retrieves += 1
        if self._failed_retrieves >= BLIND_AFTER:
            self._blind["blind"] = True

    async def _from_items(self, handle: Handle) -> JsonObject:
        items = await self._conversations.items(handle.thread_id)
        pieces = [item for item in items if made_by(item) == handle.run_id and item.get("role") != "user"][::-1]
        done = bool(calls_of(pieces)) or any(item.get("type") == "message" for item in pieces)
        status = "completed" if done else "in_progress"
        return {"status": status, "output": pieces, "conversation": {"id": handle.thread_id}, "background": True}

    async def cancel(self, handle: Handle) -> JsonObject | None:
        """Ask for its end; how it stands then, None where there is no such response (any more).

        A failure says nothing: there are services on which none can be cancelled. Looking tells what came of it.
        """
        if self._background:  # the others end with their stream
            with suppress(Refused, ServiceUnavailable):
                return await request(self._raw.cancel, handle.run_id, seconds=self._post_seconds)
        with suppress(RunGone):
            return await self.get(handle)
        return None

    async def marked(self, ids: Sequence[str], mark: RunMark) -> str | None:
        """Which of these bears the mark."""
        if "blind" in self._blind:
            return None
        asked = (request(self._raw.retrieve, one, seconds=GET_SECONDS) for one in ids)
        for response in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(response, Refused):
                continue
            if isinstance(response, BaseException):
                if isinstance(response, ServiceUnavailable):
                    self._could_not_retrieve()
                raise response
            if is_marked(response, mark):
                return id_of(response)
        return None


def _response_in(event: JsonObject) -> JsonObject:
    """The response that an event of a stream tells of; empty where it tells of something else."""
    return dict(mapping(event.get("response")))
