"""The new Foundry Agent Service: a conversation is a thread, a response is a round, through azure-ai-projects 2.

The person's message travels with the request that creates the response, which bears the turn's mark; both enter the
conversation together, so a lost answer is found by the items it left. Why not a message first and a response without
input after it: docs/decisions/0010-one-request-starts-a-response.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import aiohttp
from azure.ai.projects.aio import AIProjectClient
from azure.core.credentials_async import AsyncTokenCredential
from cachetools import TTLCache

from bot.agents import azure, openai_requests
from bot.agents.carrying import opening
from bot.agents.conversations import PAGE, Conversations
from bot.agents.failures import Refused
from bot.agents.fields import mapping
from bot.agents.foundry_definition import Versions
from bot.agents.live import Live
from bot.agents.project import open_project
from bot.agents.response import (
    TAKES,
    answered,
    holds,
    is_locked,
    made_after,
    made_by,
    message,
    metadata,
    note,
    output,
    said,
    step_of,
    unanswered,
    usage_of,
)
from bot.agents.responses import Responses
from bot.errors import RequestRefused, RunActive, ServiceUnavailable, ThreadGone, ThreadkeeperError
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
    NeedsTools,
    RemoteFile,
    RunMark,
    Said,
    Step,
    Stopped,
    ToolOutput,
    ToolSpec,
    Usage,
)

BACKEND = "foundry"
POST_SECONDS = 30.0
"""A request that changes something ends by then, answered or not."""
FIRST_LOOK_SECONDS = 0.5
LATEST = 10
"""A lost response is among so many of the last."""
MOST_BYTES = 20 * 1024 * 1024
NO_TOOLS = "Answer this without calling any tool."

_KEPT, _KEPT_SECONDS = 10_000, 3_600.0


async def create(
    settings: Settings,
    *,
    clock: Clock,
    credential: AsyncTokenCredential | None = None,
    texts: Texts | None = None,
    environ: Mapping[str, str] = os.environ,
    post_seconds: float = POST_SECONDS,
) -> FoundryAgent:
    """The agent AGENT_NAME (`name` or `name:version`) of PROJECT_ENDPOINT. Asks nothing of the service yet.

    A `credential` that is given is closed with the agent, like our own. `post_seconds` bounds each request that
    changes something.
    """
    endpoint = settings.project_endpoint
    credential = credential or azure.credential_for(endpoint, production=not settings.local, environ=environ)
    session = azure.open_session()
    project = open_project(endpoint, session, credential)
    return FoundryAgent(settings, project, clock, (session, credential), texts or Texts(), post_seconds)


class FoundryAgent:
    """`bot.ports.Agent` over conversations and responses; see there for what each method promises."""

    backend = BACKEND
    takes = TAKES

    def __init__(
        self,
        settings: Settings,
        project: AIProjectClient,
        clock: Clock,
        owned: tuple[aiohttp.ClientSession, AsyncTokenCredential],
        texts: Texts,
        post_seconds: float,
    ) -> None:
        """`owned` is closed with the agent; `post_seconds`: see `create`."""
        self.start_timeout = post_seconds
        self.first_look = FIRST_LOOK_SECONDS
        self._projects = project
        self._client = project.get_openai_client(**openai_requests.client_options())
        self._owned = owned
        self._texts = texts
        self._live = Live(clock)
        self._versions = Versions(project, settings.agent_name)
        self._project = f"{settings.project_endpoint}#{self._versions.name}"
        reference: JsonObject = {"type": "agent_reference", "name": self._versions.name}
        reference |= {"version": self._versions.version} if self._versions.version else {}
        self._conversations = Conversations(self._client, self._versions.confirm, post_seconds)
        self._responses = Responses(self._client, self._conversations, reference, self._live, post_seconds)
        # Of the turns in hand; another process that takes one up finds what it needs at the service.
        self._streamed: TTLCache[str, bool] = TTLCache(_KEPT, _KEPT_SECONDS)
        self._over: TTLCache[str, str] = TTLCache(_KEPT, _KEPT_SECONDS)
        self._spent: TTLCache[str, Usage] = TTLCache(_KEPT, _KEPT_SECONDS)

    @property
    def project(self) -> str:
        """The project's endpoint and the agent's name: with another one threads move. A new version moves nothing."""
        return self._project

    # -- threads --------------------------------------------------------------------------------------------

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        return await self._conversations.create(opening(carried, self._texts), metadata(mark))

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        newest: list[Said] = []
        after: str | None = None
        while len(newest) < limit:
            items = await self._conversations.items(thread_id, after=after)
            newest += [entry for item in items if (entry := said(item)) is not None]
            if len(items) < PAGE:
                break
            after = azure.id_of(items[-1])
        return newest[:limit][::-1]

    async def delete_thread(self, thread_id: str) -> None:
        await self._conversations.delete(thread_id)

    # -- a run ----------------------------------------------------------------------------------------------

    async def mismatch(self, tools: Sequence[ToolSpec]) -> list[str]:
        """As `bot.ports.KeepsTools` says."""
        return await self._versions.mismatch(tools)

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        await self._versions.settle()
        notes = [ask.note, NO_TOOLS if ask.tools is None else None]
        items = [note(words) for words in notes if words]
        if not ask.held or not holds(await self._conversations.items(thread_id), ask):
            items.append(message(ask))
        marks = metadata(ask.mark) | ({"tools": "none"} if ask.tools is None else {})
        self._streamed[thread_id] = ask.stream
        return await self._respond(thread_id, items, marks)

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        over = self._over.get(handle.run_id)
        if over in ("cancelled", "closed") or (over and not again):
            # The service would take a second output for a call without a word, and the model read both.
            raise RequestRefused("The response does not wait for these any more.")
        given = [output(one) for one in outputs]
        if again:
            items = await self._conversations.items(handle.thread_id)
            if answered(items) & {one.call_id for one in outputs}:
                if later := made_after(items, handle.run_id):
                    return Handle(handle.thread_id, later)
                given = []  # the outputs are there, and nothing was made of them
        answering = await self._respond(handle.thread_id, given, {})
        self._over[handle.run_id] = "answered"
        self._spent[answering.run_id] = self._spent.get(handle.run_id, Usage())
        return answering

    async def _respond(self, thread_id: str, items: list[JsonObject], marks: dict[str, str]) -> Handle:
        stream = self._streamed.get(thread_id, False)
        try:
            created = await self._responses.create(thread_id, items, marks, stream=stream, ended=self._stood)
            return Handle(thread_id, created)
        except Refused as error:
            refused = error
        raise await self._meant(thread_id, refused)  # outside the handler: the refusal would hang on as the context

    async def _meant(self, thread_id: str, refused: Refused) -> ThreadkeeperError:
        """What a refused response means: a 400 that the conversation is in use, a 404 of one thing or another."""
        if is_locked(refused):
            return RunActive("The conversation has a response that has not ended.")
        if refused.status != 404:
            return refused
        await self._versions.confirm()
        try:
            await self._conversations.exists(thread_id)
        except ThreadGone as gone:
            return gone
        return ServiceUnavailable("The service says both that the conversation is there and that it is not.")

    # -- looking --------------------------------------------------------------------------------------------

    async def look(self, handle: Handle) -> Step:
        if self._over.get(handle.run_id) == "closed":
            return Stopped("cancelled")
        seen = self._live.seen(handle.run_id)
        if seen is not None:
            return seen
        response = await self._responses.get(handle)
        cut = response.get("status") == "cancelled" and not response.get("background", True)
        if cut and handle.run_id not in self._over:
            # The foreground response of a stream that broke, or of a process that died, ended with it.
            return Stopped("cut", "server_error")
        return await self._stood(handle.run_id, response)

    async def changed(self, handle: Handle, seconds: float) -> None:
        await self._live.changed(handle.run_id, seconds)

    async def _stood(self, run_id: str, response: JsonObject) -> Step:
        """How the response stands to us, with what the rounds before it cost."""
        step = step_of(response)
        if isinstance(step, NeedsTools):
            cancelled = self._over.get(run_id) == "cancelled"
            if cancelled or mapping(response.get("metadata")).get("tools") == "none":
                await self._conversations.close_calls(str(mapping(response.get("conversation")).get("id") or ""))
                if not cancelled:
                    return Stopped("completed", "called_tools")
                self._over[run_id] = "closed"
                return Stopped("cancelled")
        if not isinstance(step, NeedsTools | Finished):
            return step
        before, own = self._spent.get(run_id, Usage()), usage_of(response)
        total = Usage(before.prompt + own.prompt, before.completion + own.completion, own.prompt)
        if isinstance(step, Finished):
            return Finished(step.reply, total)
        self._spent[run_id] = total
        return step

    # -- ending, and finding again --------------------------------------------------------------------------

    async def cancel(self, handle: Handle) -> None:
        step = self._live.seen(handle.run_id)
        if not isinstance(step, NeedsTools | Finished | Stopped):
            await self._live.let_go(handle.run_id)
            response = await self._responses.cancel(handle)
            step = step_of(response) if response is not None else None
        if isinstance(step, Finished):
            return
        if isinstance(step, NeedsTools):
            await self._conversations.close_calls(handle.thread_id)
            await self._live.let_go(handle.run_id)
        # What only may have been cancelled is looked at until it ends; it may even bring calls.
        self._over[handle.run_id] = "closed" if isinstance(step, NeedsTools | Stopped) else "cancelled"

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        items = await self._conversations.items(thread_id)
        ids = [found for found in dict.fromkeys(made_by(item) for item in items) if found][:LATEST]
        run_id = await self._responses.marked(ids, mark)
        return Found(Handle(thread_id, run_id)) if run_id else Found()

    async def active(self, thread_id: str) -> Handle | None:
        calls = unanswered(await self._conversations.items(thread_id))
        run_id = next((made_by(call) for call in calls if made_by(call)), None)
        return Handle(thread_id, run_id) if run_id else None

    # -- files, and the end ---------------------------------------------------------------------------------

    async def download(self, file: RemoteFile) -> bytes:
        if file.container.startswith("conv"):  # a picture that lies in the conversation itself
            data = openai_requests.decoded((await self._conversations.item(file.container, file.id)).get("result"))
        else:
            data = await openai_requests.file_content(self._client, file, seconds=POST_SECONDS, most=MOST_BYTES)
        if not data or len(data) > MOST_BYTES:
            raise RequestRefused("The file is empty, or too large.")
        return data

    async def close(self) -> None:
        session, credential = self._owned
        await self._live.close()
        await self._client.close()
        await self._projects.close()
        await session.close()
        await credential.close()
