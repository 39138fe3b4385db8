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
from cachetools import TTLCache

from bot.agents import agent_file, azure
from bot.agents.azure import Answer, id_of, page, request
from bot.agents.carrying import opening
from bot.agents.classic_files import Files
from bot.agents.classic_message import TAKES, Given, files_to_name, reply_of
from bot.agents.classic_run import is_active_run, last_prompt, metadata, run_body, step_of
from bot.agents.classic_stream import Streams
from bot.agents.classic_threads import PAGE, Threads
from bot.agents.definition import Directory
from bot.agents.failures import Refused
from bot.agents.live import Live
from bot.errors import RunActive, RunGone, ServiceUnavailable, ThreadkeeperError
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
UPLOAD_SHARE = 0.6
"""How much of a start's time its files may take."""
OPENING_MESSAGES = 32
"""As many messages as the service takes with a new thread."""

_KEPT, _KEPT_SECONDS = 10_000, 3_600.0
_MOMENT = 0.5


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
    settings = agent_file.applied(settings)
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
    takes = TAKES

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
        self._live = Live(clock)
        self._files = Files(client, clock)
        self._threads = Threads(client, directory, self._files, post_seconds)
        self._streams = Streams(client, self._live, self._stood)
        # Of the turns in hand; a process that takes one up looks at its run by requests.
        self._streamed: TTLCache[str, bool] = TTLCache(_KEPT, _KEPT_SECONDS)
        # The id of an agent that is found by name is not known before the service is asked, its name is.
        agent = settings.agent_id or f"{settings.agent_name}@{settings.model_deployment_name}"
        self._project = f"{settings.project_endpoint}#{agent}"

    @property
    def project(self) -> str:
        """The project's endpoint and the agent's id (or name and model): with another one threads move."""
        return self._project

    # -- threads --------------------------------------------------------------------------------------------

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        return await self._threads.create(opening(carried, self._texts, OPENING_MESSAGES), metadata(mark))

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        return await self._threads.history(thread_id, limit)

    async def delete_thread(self, thread_id: str) -> None:
        await self._threads.delete(thread_id)

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        return await self._threads.find(thread_id, mark)

    async def active(self, thread_id: str) -> Handle | None:
        return await self._threads.active(thread_id)

    # -- a run ----------------------------------------------------------------------------------------------

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        agent = await self._directory.current()
        loop = asyncio.get_running_loop()
        began = loop.time()
        reading = [] if ask.tools is None else await self._files.tools(thread_id, ask.files, agent.tools)
        given = Given() if ask.held else await self._files.given(ask, self.start_timeout * UPLOAD_SHARE)
        body = run_body(agent.id, agent.tools, ask, given, reading)
        spent = loop.time() - began
        # What came before the request counts as its time: whoever lost the answer knows when nothing more can come.
        left = self.start_timeout - (spent if spent > _MOMENT else 0.0)
        self._streamed[thread_id] = ask.stream
        try:
            return Handle(thread_id, await self._created(thread_id, body, left))
        except Refused as refused:
            if refused.status == 404:
                raise await self._threads.missing(thread_id) from None
            if is_active_run(refused):
                raise RunActive("The thread has a run that has not ended.") from None
            raise

    async def _created(self, thread_id: str, body: JsonObject, seconds: float) -> str:
        if seconds <= 0:
            raise ServiceUnavailable("The run's request came too late to be sent.")
        if body["stream"]:
            return await self._streams.create(thread_id, body, seconds)
        return id_of((await request(self._client.runs.create, thread_id, body, seconds=seconds)).body)

    async def look(self, handle: Handle) -> Step:
        seen = self._live.seen(handle.run_id)
        if seen is not None:
            return seen
        try:
            answer = await request(self._client.runs.get, handle.thread_id, handle.run_id, seconds=GET_SECONDS)
        except Refused as refused:
            if refused.status == 404:
                raise RunGone("The service has no such run.") from None
            raise
        return await self._stood(handle, answer)

    async def changed(self, handle: Handle, seconds: float) -> None:
        await self._live.changed(handle.run_id, seconds)

    async def _stood(self, handle: Handle, answer: Answer) -> Step:
        """How the run stands; once it is over, with its answer and its tokens."""
        step = step_of(answer)
        if step is not None:
            return step
        run = answer.body
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
        reply = reply_of(run, messages, await self._files.names(files_to_name(messages)))
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

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        stream = self._streamed.get(handle.thread_id, False)
        given = [{"tool_call_id": output.call_id, "output": output.output} for output in outputs]
        body: JsonObject = {"tool_outputs": given, "stream": stream}
        # However this ends, the run stands no longer as it was read.
        await self._live.let_go(handle.run_id)
        if stream:
            await self._streams.answer(handle, body, self.start_timeout)
        else:
            submit = self._client.runs.submit_tool_outputs
            await request(submit, handle.thread_id, handle.run_id, body, seconds=self.start_timeout)
        return handle

    async def cancel(self, handle: Handle) -> None:
        if isinstance(self._live.seen(handle.run_id), Finished | Stopped):
            return
        await self._live.let_go(handle.run_id)
        try:
            await request(self._client.runs.cancel, handle.thread_id, handle.run_id, seconds=self.start_timeout)
        except Refused as refused:
            if refused.status not in (400, 404):  # it has ended, is ending, or is gone
                raise

    # -- files, and the end ---------------------------------------------------------------------------------

    async def download(self, file: RemoteFile) -> bytes:
        return await self._files.content(file.id, self.start_timeout)

    async def close(self) -> None:
        session, credential = self._owned
        await self._live.close()
        await self._directory.close()
        await self._client.close()
        await session.close()
        await credential.close()
