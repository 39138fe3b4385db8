"""Conversations at the service, and the items in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from openai import AsyncOpenAI

from bot.agents.azure import id_of
from bot.agents.failures import Refused
from bot.agents.fields import mappings
from bot.agents.openai_requests import request
from bot.agents.response import CANCELLED_OUTPUT, calls_of, entry, output, unanswered
from bot.errors import OperatorError, ThreadGone
from bot.types import JsonObject, Said, ToolOutput

GET_SECONDS = 15.0
PAGE = 100
MOST_ITEMS = 20
"""As many items as the service takes in one request."""


class Conversations:
    """The conversations of one project. `confirm` raises `OperatorError` where a 404 means more than one of them."""

    def __init__(self, client: AsyncOpenAI, confirm: Callable[[], Awaitable[None]], post_seconds: float) -> None:
        self._raw = client.conversations.with_raw_response
        self._items = client.conversations.items.with_raw_response
        self._confirm = confirm
        self._post_seconds = post_seconds

    async def create(self, said: Sequence[Said], marks: dict[str, str]) -> str:
        """Make one that begins with these entries; its id. One request, where they are as many as that takes."""
        items = [entry(one) for one in said]
        body: JsonObject = {"metadata": marks} | ({"items": items[:MOST_ITEMS]} if items else {})
        try:
            thread_id = id_of(await request(self._raw.create, seconds=self._post_seconds, **body))
            await self.add(thread_id, items[MOST_ITEMS:])
            return thread_id
        except Refused as refused:
            if refused.status != 404:
                raise
        raise OperatorError(
            "The Foundry project was not found.",
            "Check PROJECT_ENDPOINT: it looks like https://NAME.services.ai.azure.com/api/projects/PROJECT.",
        )

    async def exists(self, thread_id: str) -> None:
        """Raise `ThreadGone` if it does not."""
        await self._of(request(self._raw.retrieve, thread_id, seconds=GET_SECONDS))

    async def delete(self, thread_id: str) -> None:
        """Delete it; one that is gone is no failure."""
        with suppress(ThreadGone):
            await self._of(request(self._raw.delete, thread_id, seconds=self._post_seconds))

    async def items(self, thread_id: str, *, after: str | None = None) -> list[JsonObject]:
        """A page of its items, newest first.

        Raises:
            ThreadGone: the agent exists, the conversation does not.
        """
        options: dict[str, Any] = {"after": after} if after else {}
        asked = request(self._items.list, thread_id, order="desc", limit=PAGE, seconds=GET_SECONDS, **options)
        return mappings((await self._of(asked)).get("data"))

    async def item(self, thread_id: str, item_id: str) -> JsonObject:
        """One of its items."""
        return await request(self._items.retrieve, item_id, conversation_id=thread_id, seconds=GET_SECONDS)

    async def add(self, thread_id: str, items: Sequence[JsonObject]) -> None:
        """Add items, in as many requests as it takes."""
        for first in range(0, len(items), MOST_ITEMS):
            some = list(items[first : first + MOST_ITEMS])
            await self._of(request(self._items.create, thread_id, items=some, seconds=self._post_seconds))

    async def close_calls(self, thread_id: str) -> None:
        """Answer every open call, so that the conversation can go on."""
        calls = calls_of(unanswered(await self.items(thread_id)))
        await self.add(thread_id, [output(ToolOutput(call.id, CANCELLED_OUTPUT)) for call in calls])

    async def _of(self, asked: Awaitable[JsonObject]) -> JsonObject:
        try:
            return await asked
        except Refused as refused:
            if refused.status != 404:
                raise
        await self._confirm()
        raise ThreadGone("The service has no such conversation.")
