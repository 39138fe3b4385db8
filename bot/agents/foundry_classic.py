"""The classic Foundry Agent Service: threads, messages and runs, through azure-ai-agents.

The message and the run are made by one request, both marked with the turn and the attempt, so that a turn that lost
the answer finds them again. The SDK's own loop (`create_and_process`) is not used: it cannot be taken up again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from azure.ai.agents.aio import AgentsClient
from azure.core.credentials_async import AsyncTokenCredential

from bot.agents import azure
from bot.agents.azure import id_of, page, request
from bot.agents.carrying import opening
from bot.agents.classic_run import (
    TERMINAL,
    is_active_run,
    is_marked,
    last_prompt,
    metadata,
    reply_of,
    run_body,
    said,
    step_of,
)
from bot.agents.definition import Directory
from bot.agents.failures import Refused
from bot.errors import (
    RequestRefused,
    RunActive,
    RunGone,
    ServiceUnavailable,
    ThreadGone,
    ThreadkeeperError,
)
from bot.ports import Clock
from bot.settings import Settings
from bot.texts import Texts
from bot.types import (
    Ask,
    Carried,
    Finished,
    Found,
    Handle,
    JsonObject,
    RemoteFile,
    RunMark,
    Said,
    Step,
    Stopped,
    Takes,
    ToolOutput,
    Usage,
)

BACKEND = "foundry-classic"
POST_SECONDS = 30.0
"""A request that changes something ends by then, answered or not."""
GET_SECONDS = 15.0
FIRST_LOOK_SECONDS = 0.5
"""No run ends sooner; the service's own advice for polling."""
STEPS_SECONDS = 5.0
"""Token counts are not worth more of a person's time than this."""
PAGE = 100
OPENING_MESSAGES = 32
"""As many messages as the service takes with a new thread."""


async def create(
    settings: Settings,
    *,
    clock: Clock,
    credential: AsyncTokenCredential | None = None,
    texts: Texts | None = None,
    environ: Mapping[str, str] = os.environ,
    post_seconds: float = POST_SECONDS,
) -> FoundryClassicAgent:
    """The agent of PROJECT_ENDPOINT. Asks nothing of the service yet, so the bot also starts when that is down.

    A `credential` that is given is closed with the agent, like our own. `post_seconds` bounds each request that
    changes something.
    """
    endpoint = settings.project_endpoint
    credential = credential or azure.credential_for(endpoint, production=not settings.local, environ=environ)
    session = azure.open_session()
    client = AgentsClient(endpoint, credential, **azure.client_options(session, endpoint, credential))
    directory = Directory(client, settings, clock)
    return FoundryClassicAgent(
        settings, client, directory, clock, (session, credential), texts or Texts(), post_seconds
    )


class FoundryClassicAgent:
    """`bot.ports.Agent` over the classic service; see there for what each method promises."""

    backend = BACKEND
    takes = Takes()

    def __init__(
        self,
        settings: Settings,
        client: AgentsClient,
        directory: Directory,
        clock: Clock,
        owned: tuple[aiohttp.ClientSession, AsyncTokenCredential],
        texts: Texts,
        post_seconds: float,
    ) -> None:
        """`owned` is closed with the agent; `post_seconds`: see `create`."""
        self.start_timeout = post_seconds
        self.first_look = FIRST_LOOK_SECONDS
        self._client = client
        self._clock = clock
        self._directory = directory
        self._owned = owned
        self._texts = texts
        # The id of an agent that is found by name is not known before the service is asked, its name is.
        agent = settings.agent_id or f"{settings.agent_name}@{settings.model_deployment_name}"
        self._project = f"{settings.project_endpoint}#{agent}"

    @property
    def project(self) -> str:
        """The project's endpoint and the agent's id (or name and model): with another one threads move."""
        return self._project

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        messages = [
            {"role": said.role, "content": said.text} for said in opening(carried, self._texts, OPENING_MESSAGES)
        ]
        body: JsonObject = {"messages": messages, "metadata": metadata(mark)}
        try:
            answer = await request(self._client.threads.create, body, seconds=self.start_timeout)
        except Refused as refused:
            if refused.status != 404:
                raise
            await self._directory.confirm()  # says which setting is wrong, where it is one
            raise ServiceUnavailable("The service has the agent and no place for threads.") from None
        return id_of(answer.body)

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        agent = await self._directory.current()
        body = run_body(agent.id, agent.tools, ask)
        try:
            answer = await request(self._client.runs.create, thread_id, body, seconds=self.start_timeout)
        except Refused as refused:
            if refused.status == 404:
                raise await self._missing(thread_id) from None
            if is_active_run(refused):
                raise RunActive("The thread has a run that has not ended.") from None
            raise
        return Handle(thread_id, id_of(answer.body))

    async def look(self, handle: Handle) -> Step:
        try:
            answer = await request(self._client.runs.get, handle.thread_id, handle.run_id, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status == 404:
                raise RunGone("The service has no such run.") from None
            raise
        step = step_of(answer)
        return await self._finished(handle, answer.body) if step is None else step

    async def _finished(self, handle: Handle, run: JsonObject) -> Step:
        """What a run that is over left behind: its answer and its tokens."""
        messages, prompt = await asyncio.gather(
            page(
                self._client.messages.list,
                handle.thread_id,
                run_id=handle.run_id,
                order="asc",
                limit=PAGE,
                seconds=GET_SECONDS,
            ),
            self._last_prompt(handle),
        )
        reply = reply_of(run, messages)
        if isinstance(reply, Stopped):
            return reply
        tokens: Mapping[str, Any] = run.get("usage") or {}
        total = int(tokens.get("prompt_tokens") or 0)
        return Finished(reply, Usage(total, int(tokens.get("completion_tokens") or 0), prompt or total))

    async def _last_prompt(self, handle: Handle) -> int:
        """What the thread weighs now; 0 where the service does not say. A run's own sum counts every round."""
        try:
            steps = await page(
                self._client.run_steps.list,
                handle.thread_id,
                handle.run_id,
                order="desc",
                limit=20,
                seconds=STEPS_SECONDS,
            )
        except ThreadkeeperError:
            return 0
        return last_prompt(steps)

    async def changed(self, handle: Handle, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def download(self, file: RemoteFile) -> bytes:
        raise RequestRefused("not yet")

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        given = [{"tool_call_id": output.call_id, "output": output.output} for output in outputs]
        body: JsonObject = {"tool_outputs": given, "stream": False}
        await request(
            self._client.runs.submit_tool_outputs,
            handle.thread_id,
            handle.run_id,
            body,
            seconds=self.start_timeout,
        )
        return handle

    async def cancel(self, handle: Handle) -> None:
        try:
            await request(self._client.runs.cancel, handle.thread_id, handle.run_id, seconds=self.start_timeout)
        except Refused as refused:
            if refused.status not in (400, 404):  # it has ended, is ending, or is gone
                raise

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        for run in await self._newest(self._client.runs.list, thread_id, limit=PAGE):
            if is_marked(run, mark):
                return Found(Handle(thread_id, id_of(run)))
        messages = await self._newest(self._client.messages.list, thread_id, limit=PAGE)
        return Found(message=any(is_marked(message, mark) for message in messages))

    async def active(self, thread_id: str) -> Handle | None:
        for run in await self._newest(self._client.runs.list, thread_id, limit=20):
            if run.get("status") not in TERMINAL:
                return Handle(thread_id, id_of(run))
        return None

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        newest: list[Said] = []
        after: str | None = None
        while len(newest) < limit:
            size = min(PAGE, limit - len(newest))
            messages = await self._newest(self._client.messages.list, thread_id, limit=size, after=after)
            newest += [entry for message in messages if (entry := said(message)).text]
            if len(messages) < size:
                break
            after = id_of(messages[-1])
        return newest[::-1]

    async def delete_thread(self, thread_id: str) -> None:
        try:
            await request(self._client.threads.delete, thread_id, seconds=self.start_timeout)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def close(self) -> None:
        session, credential = self._owned
        await self._directory.close()
        await self._client.close()
        await session.close()
        await credential.close()

    async def _newest(
        self, operation: Any, thread_id: str, *, limit: int, after: str | None = None
    ) -> list[JsonObject]:
        """A page of the thread's runs or messages, newest first.

        Raises:
            ThreadGone: the agent exists, the thread does not.
        """
        try:
            return await page(operation, thread_id, order="desc", limit=limit, after=after, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status == 404:
                raise await self._missing(thread_id) from None
            raise

    async def _missing(self, thread_id: str) -> ThreadkeeperError:
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
