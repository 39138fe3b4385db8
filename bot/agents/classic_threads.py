"""Threads at the classic service, their messages and the runs on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from azure.ai.agents.aio import AgentsClient

from bot.agents.azure import id_of, page, request
from bot.agents.classic_files import Files
from bot.agents.classic_message import files_in, said
from bot.agents.classic_run import TERMINAL, is_marked
from bot.agents.definition import Directory
from bot.agents.failures import Refused
from bot.errors import ServiceUnavailable, ThreadGone, ThreadkeeperError
from bot.types import Found, Handle, JsonObject, RunMark, Said

GET_SECONDS = 15.0
PAGE = 100


class Threads:
    """The threads of one project. `directory` tells a missing thread from a missing agent."""

    def __init__(self, client: AgentsClient, directory: Directory, files: Files, post_seconds: float) -> None:
        self._client = client
        self._directory = directory
        self._files = files
        self._post_seconds = post_seconds

    async def create(self, entries: Sequence[Said], marks: dict[str, str]) -> str:
        """Make one that begins with these entries; its id."""
        messages = [{"role": entry.role, "content": entry.text} for entry in entries]
        body: JsonObject = {"messages": messages, "metadata": marks}
        try:
            answer = await request(self._client.threads.create, body, seconds=self._post_seconds)
        except Refused as refused:
            if refused.status != 404:
                raise
            await self._directory.confirm()  # says which setting is wrong, where it is one
            raise ServiceUnavailable("The service has the agent and no place for threads.") from None
        thread_id = id_of(answer.body)
        self._files.opened(thread_id)
        return thread_id

    async def delete(self, thread_id: str) -> None:
        """Delete it, and first the files that belong to it, which nobody would find afterwards."""
        with suppress(Refused):
            await self._delete_files(thread_id)
        try:
            await request(self._client.threads.delete, thread_id, seconds=self._post_seconds)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def _delete_files(self, thread_id: str) -> None:
        after: str | None = None
        while True:
            messages = await page(
                self._client.messages.list, thread_id, order="desc", limit=PAGE, after=after, seconds=GET_SECONDS
            )
            for message in messages:
                await self._files.delete(files_in(message), self._post_seconds)
            if len(messages) < PAGE:
                return
            after = id_of(messages[-1])

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        """The last entries, oldest first. Raises as `newest`."""
        newest: list[Said] = []
        after: str | None = None
        while len(newest) < limit:
            size = min(PAGE, limit - len(newest))
            messages = await self.newest(self._client.messages.list, thread_id, limit=size, after=after)
            newest += [entry for message in messages if (entry := said(message)).text]
            if len(messages) < size:
                break
            after = id_of(messages[-1])
        return newest[::-1]

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        """What bears this mark. Raises as `newest`."""
        for run in await self.newest(self._client.runs.list, thread_id, limit=PAGE):
            if is_marked(run, mark):
                return Found(Handle(thread_id, id_of(run)))
        messages = await self.newest(self._client.messages.list, thread_id, limit=PAGE)
        return Found(message=any(is_marked(message, mark) for message in messages))

    async def active(self, thread_id: str) -> Handle | None:
        """The run that has not ended. Raises as `newest`."""
        for run in await self.newest(self._client.runs.list, thread_id, limit=20):
            if run.get("status") not in TERMINAL:
                return Handle(thread_id, id_of(run))
        return None

    async def newest(self, operation: Any, thread_id: str, *, limit: int, after: str | None = None) -> list[JsonObject]:
        """A page of the thread's runs or messages, newest first.

        Raises:
            ThreadGone: the agent exists, the thread does not.
        """
        try:
            return await page(operation, thread_id, order="desc", limit=limit, after=after, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status == 404:
                raise await self.missing(thread_id) from None
            raise

    async def missing(self, thread_id: str) -> ThreadkeeperError:
        """What a 404 means. A thread counts as gone only if the agent is there and the thread itself is a 404.

        Raises:
            OperatorError: it is the agent (or the whole project) that is missing.
        """
        await self._directory.confirm()
        try:
            await request(self._client.threads.get, thread_id, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status == 404:
                return ThreadGone("The service has no such thread.")
            return refused
        return ServiceUnavailable("The service says both that the thread is there and that it is not.")
