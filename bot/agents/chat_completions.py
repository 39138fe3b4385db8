"""Any OpenAI-compatible endpoint: Azure OpenAI, Ollama, vLLM, llama.cpp. The loop is ours, threads lie in our store.

Each round is a saved step: the question with its run, the model's answer with the run's next state, the outputs with
the next. The model is asked in the background; a request that was cut off is made again, for asking has no effects.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Mapping, Sequence

from azure.core.credentials_async import AsyncTokenCredential
from cachetools import TTLCache

from bot.agents import agent_file, chat_run
from bot.agents.carrying import opening
from bot.agents.chat_answer import Completion
from bot.agents.chat_client import FINAL, ChatClient, open_client
from bot.agents.chat_messages import messages_of, question, system
from bot.agents.chat_window import BYTES_A_TOKEN, images_in, trimmed, weight_of, whole, without_images
from bot.agents.chat_words import CALL_CLOSED, LAST_ROUND, instructions
from bot.agents.failures import CONTENT_FILTER, Refused
from bot.agents.live import KEPT, KEPT_SECONDS, Grow, Live
from bot.errors import CONTEXT_TOO_LONG, RequestRefused, RunGone, ServiceUnavailable, ThreadGone, ThreadkeeperError
from bot.ports import Clock, History
from bot.settings import Settings
from bot.texts import Texts
from bot.types import (
    Ask,
    Carried,
    Found,
    Handle,
    JsonObject,
    RemoteFile,
    RunMark,
    Said,
    Step,
    Takes,
    ToolOutput,
    Working,
)

log = logging.getLogger("threadkeeper.agents")

BACKEND = "chat-completions"
READ = 1_000
"""How many entries of its thread a model may be given."""
IMAGES = 3
"""How many of a thread's images, the newest, the model is shown."""
PROMPT_SHARE = 7 / 8
"""Of the window; the rest is for the answer."""
FILES_SHARE = 1 / 2
"""Of the window, for the text files of one question."""
QUICK_SECONDS = 2.0
"""A request that is made again is waited for so long, so that whoever looks learns of failure after failure."""


async def create(
    settings: Settings,
    *,
    clock: Clock,
    texts: Texts,
    history: History,
    environ: Mapping[str, str] = os.environ,
    credential: AsyncTokenCredential | None = None,
) -> ChatCompletionsAgent:
    """The agent of OPENAI_BASE_URL. Asks nothing of it yet, so the bot also starts when that is down.

    A `credential` that is given is closed with the agent, like our own.
    """
    settings = agent_file.instructed(settings)
    return ChatCompletionsAgent(settings, open_client(settings, environ, credential), clock, texts, history)


class ChatCompletionsAgent:
    """`bot.ports.Agent` over chat completions; see there for what each method promises."""

    backend = BACKEND
    start_timeout = 0.0
    first_look = 0.0
    takes = Takes(frozenset({"image/*", "text/*", "application/json"}), 5 * 1024 * 1024)

    def __init__(self, settings: Settings, client: ChatClient, clock: Clock, texts: Texts, history: History) -> None:
        """`client` is closed with the agent."""
        self._client = client
        self._history = history
        self._texts = texts
        self._live = Live(clock)
        self._failures: TTLCache[str, ThreadkeeperError] = TTLCache(KEPT, KEPT_SECONDS)
        self._model = settings.model_deployment_name
        self._window = settings.model_context_tokens
        self._instructions = settings.agent_instructions or instructions(texts)
        self._project = f"{settings.openai_base_url}#{settings.model_deployment_name}"

    @property
    def project(self) -> str:
        """The endpoint and the model: with another one threads move, and carry what must be remembered."""
        return self._project

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        thread_id = f"thread_{uuid.uuid4().hex[:20]}"
        await self._history.create_thread(thread_id, opening(carried, self._texts))
        return thread_id

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        last = await self._history.last_run(thread_id) or {}
        state = chat_run.begun(ask, last.get("scale", 1.0))
        handle = Handle(thread_id, f"run_{uuid.uuid4().hex[:20]}")
        room = int(self._window * FILES_SHARE / state["scale"]) * BYTES_A_TOKEN
        added = [] if ask.held else question(ask, room)
        await self._history.start_run(thread_id, handle.run_id, ask.mark, None, state, added=added)
        self._ask(handle, state)
        return handle

    # -- a run ----------------------------------------------------------------------------------------------

    async def look(self, handle: Handle) -> Step:
        """A failure of the request behind a run is raised once; the next look makes the request again."""
        if (seen := self._seen(handle)) is not None:
            return seen
        state = await self._history.run(handle.run_id)
        if state is None:
            raise RunGone("There is no such run.")
        step = chat_run.step_of(state)
        if step is not None:
            return step
        if self._live.seen(handle.run_id) is None:
            self._ask(handle, state)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUICK_SECONDS):
                await self._live.changed(handle.run_id, 0.0)
        return self._seen(handle) or Working(chat_run.ASKING)

    def _seen(self, handle: Handle) -> Step | None:
        failure = self._failures.pop(handle.run_id, None)
        if failure is not None:
            raise failure
        return self._live.seen(handle.run_id)

    async def changed(self, handle: Handle, seconds: float) -> None:
        if handle.run_id not in self._failures:
            await self._live.changed(handle.run_id, seconds)

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        state = await self._history.run(handle.run_id)
        if state is None:
            raise RequestRefused("There is no such run.")
        given = {output.call_id for output in outputs}
        if again and given <= set(state["answered"]):
            return handle
        if not isinstance(self._live.seen(handle.run_id), Working):
            await self._live.let_go(handle.run_id)  # what is remembered of the round before
        if len(outputs) != len(given) or given != {call["id"] for call in state["calls"]}:
            raise RequestRefused("The run does not wait for these outputs.")
        asking, added = chat_run.answered(state, outputs)
        if not await self._history.advance(handle.run_id, state, asking, ended=False, added=added):
            raise RequestRefused("The run does not wait any more.")
        self._ask(handle, asking)
        return handle

    async def cancel(self, handle: Handle) -> None:
        await self._live.let_go(handle.run_id)
        self._failures.pop(handle.run_id, None)
        while True:
            state = await self._history.run(handle.run_id)
            if state is None or state["status"] not in (chat_run.ASKING, chat_run.WAITING):
                return
            cancelled, added = chat_run.cancelled(state, CALL_CLOSED)
            if await self._history.advance(handle.run_id, state, cancelled, ended=True, added=added):
                return

    async def download(self, file: RemoteFile) -> bytes:
        raise RequestRefused("It makes no files.")

    # -- threads --------------------------------------------------------------------------------------------

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        run_id = await self._history.find_run(thread_id, mark)
        return Found(Handle(thread_id, run_id)) if run_id else Found()

    async def active(self, thread_id: str) -> Handle | None:
        run_id = await self._history.active_run(thread_id)
        return Handle(thread_id, run_id) if run_id else None

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        return await self._history.entries(thread_id, limit)

    async def delete_thread(self, thread_id: str) -> None:
        await self._history.delete_thread(thread_id)

    async def close(self) -> None:
        await self._live.close()
        await self._client.close()

    # -- asking the model -----------------------------------------------------------------------------------

    def _ask(self, handle: Handle, state: JsonObject) -> None:
        """Ask in the background, and save what comes before anybody is shown it."""

        async def read(grow: Grow) -> Step | None:
            try:
                return await self._round(handle, state, grow if state["stream"] else None)
            except ThreadGone:
                return None  # deleted meanwhile, and the run with it
            except ThreadkeeperError as error:
                self._failures[handle.run_id] = error
            except Exception as error:
                log.exception("run %s: asking the model failed", handle.run_id)
                self._failures[handle.run_id] = ServiceUnavailable(f"Asking failed ({type(error).__name__}).")
            return None

        self._live.follow(handle.run_id, read)

    async def _round(self, handle: Handle, state: JsonObject, grow: Grow | None) -> Step | None:
        try:
            answer, weight, blind = await self._answered(handle.thread_id, state, grow)
            next_state, added = chat_run.told(state | blind, answer, weight)
        except Refused as refused:
            code = refused.code if refused.code in FINAL else f"refused_{refused.status}"
            next_state, added = chat_run.failed(state, code, filtered=code == CONTENT_FILTER)
        step = chat_run.step_of(next_state)
        ended = next_state["status"] != chat_run.WAITING
        saved = await self._history.advance(handle.run_id, state, next_state, ended=ended, added=added)
        return step if saved else None  # somebody else was quicker: the store says how it stands

    async def _answered(
        self, thread_id: str, state: JsonObject, grow: Grow | None
    ) -> tuple[Completion, int, JsonObject]:
        """The model's answer, the estimated tokens of the request, and what is known of the model from now on."""
        blind: JsonObject = {"blind": True} if state.get("blind") else {}
        room = self._window * PROMPT_SHARE / state["scale"] - weight_of([], state["tools"])
        messages, head = await self._messages(thread_id, state)
        sent = trimmed(messages, room, head)
        try:
            return await self._client.complete(self._body(sent, state), grow), weight_of(sent, state["tools"]), blind
        except Refused as refused:
            if refused.code == CONTEXT_TOO_LONG:
                sent = trimmed(sent, weight_of(sent) / 2, head)
            elif refused.code not in FINAL and images_in(sent):
                sent, blind = without_images(sent), {"blind": True}
            else:
                raise
        return await self._client.complete(self._body(sent, state), grow), weight_of(sent, state["tools"]), blind

    async def _messages(self, thread_id: str, state: JsonObject) -> tuple[list[JsonObject], int]:
        """All that the model may be given, and how many at the beginning it must be."""
        entries = await self._history.kept(thread_id, READ, 0 if state.get("blind") else IMAGES)
        last = LAST_ROUND if chat_run.is_last(state) else None
        told = system(self._instructions, state["note"], last)
        carries = bool(entries) and entries[0].text.startswith(self._texts.carried_summary("").strip())
        return [told, *whole(messages_of(entries), CALL_CLOSED)], 2 if carries else 1

    def _body(self, messages: Sequence[JsonObject], state: JsonObject) -> JsonObject:
        body: JsonObject = {"model": self._model, "messages": messages}
        if state["tools"]:
            body["tools"] = state["tools"]
            if not chat_run.may_call(state):
                body["tool_choice"] = "none"
        return body
