"""The classic API: assistants, threads, messages, runs and their steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from aiohttp import web

from . import checks
from .clock import Clock
from .door import BASE, UNSEEN
from .errors import invalid
from .faults import Faults
from .paging import page
from .runner import Runner
from .sight import OPENING
from .sources import RunSource
from .state import Assistant, Run, State, Thread, new_id
from .stream import Streamer


async def object_of(request: web.Request) -> dict[str, Any]:
    """The request's JSON object, an empty one for no body. Raises the service's 400 for anything else."""
    text = await request.text()
    if not text:
        return {}
    try:
        value: object = json.loads(text)
    except ValueError:
        raise invalid("We could not parse the JSON body of your request.") from None
    if not isinstance(value, dict):
        raise checks.wrong_type("body", "an object", value)
    return cast(dict[str, Any], value)


class Classic:
    """The handlers. Each checks everything first and changes state last, without awaiting in between."""

    def __init__(self, state: State, runner: Runner, faults: Faults, clock: Clock) -> None:
        self.state = state
        self.runner = runner
        self.faults = faults
        self.streamer = Streamer(clock)

    def routes(self) -> list[web.RouteDef]:
        threads = BASE + "/threads"
        thread = threads + "/{thread}"
        run = thread + "/runs/{run}"
        return [
            web.post(BASE + "/assistants", self.create_assistant),
            web.get(BASE + "/assistants", self.list_assistants),
            web.get(BASE + "/assistants/{assistant}", self.get_assistant),
            web.post(BASE + "/assistants/{assistant}", self.update_assistant),
            web.delete(BASE + "/assistants/{assistant}", self.delete_assistant),
            web.post(threads, self.create_thread),
            web.get(threads, self.list_threads),
            web.post(threads + "/runs", self.create_thread_and_run),
            web.get(thread, self.get_thread),
            web.post(thread, self.update_thread),
            web.delete(thread, self.delete_thread),
            web.post(thread + "/messages", self.create_message),
            web.get(thread + "/messages", self.list_messages),
            web.get(thread + "/messages/{message}", self.get_message),
            web.post(thread + "/messages/{message}", self.update_message),
            web.post(thread + "/runs", self.create_run),
            web.get(thread + "/runs", self.list_runs),
            web.get(run, self.get_run),
            web.post(run, self.update_run),
            web.post(run + "/submit_tool_outputs", self.submit),
            web.post(run + "/cancel", self.cancel),
            web.get(run + "/steps", self.list_steps),
            web.get(run + "/steps/{step}", self.get_step),
        ]

    def _thread(self, request: web.Request) -> Thread:
        """The thread of the request, brought up to the present."""
        thread = self.state.thread(request.match_info["thread"])
        self.runner.settle(thread, reading=request.method == "GET")
        return thread

    def _run(self, request: web.Request) -> Run:
        return self._thread(request).run(request.match_info["run"])

    # Assistants

    async def create_assistant(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        if not body.get("model"):
            raise invalid("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
        checks.tools(body.get("tools"))
        metadata = checks.metadata(body.get("metadata"))
        assistant = Assistant(new_id("asst_"), self.state.now(), body, metadata)
        self.state.assistants[assistant.id] = assistant
        return web.json_response(assistant.body())

    async def list_assistants(self, request: web.Request) -> web.Response:
        return web.json_response(page(list(self.state.assistants.values()), request.query))

    async def get_assistant(self, request: web.Request) -> web.Response:
        return web.json_response(self.state.assistant(request.match_info["assistant"]).body())

    async def update_assistant(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        assistant = self.state.assistant(request.match_info["assistant"])
        checks.tools(body.get("tools"))
        if "metadata" in body:
            assistant.metadata = checks.metadata(body["metadata"])
        assistant.settings = {**assistant.settings, **body}
        return web.json_response(assistant.body())

    async def delete_assistant(self, request: web.Request) -> web.Response:
        assistant = self.state.assistant(request.match_info["assistant"])
        del self.state.assistants[assistant.id]
        return web.json_response({"id": assistant.id, "object": "assistant.deleted", "deleted": True})

    # Threads

    def _new_thread(self, body: Mapping[str, Any]) -> Thread:
        """A checked thread with its messages, not yet kept."""
        metadata = checks.metadata(body.get("metadata"))
        thread = Thread(new_id("thread_"), self.state.now(), metadata, body.get("tool_resources") or {})
        for place, item in enumerate(cast(list[object], body.get("messages") or [])):
            thread.add(self.runner.message(thread, item, f"messages[{place}]"))
        return thread

    async def create_thread(self, request: web.Request) -> web.Response:
        thread = self._new_thread(await object_of(request))
        for message in thread.messages:
            message.batch = OPENING
        self.state.threads[thread.id] = thread
        return web.json_response(thread.body())

    async def list_threads(self, request: web.Request) -> web.Response:
        return web.json_response(page(list(self.state.threads.values()), request.query))

    async def get_thread(self, request: web.Request) -> web.Response:
        return web.json_response(self._thread(request).body())

    async def update_thread(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        thread = self._thread(request)
        if "metadata" in body:
            thread.metadata = checks.metadata(body["metadata"])
        thread.tool_resources = body.get("tool_resources") or thread.tool_resources
        return web.json_response(thread.body())

    async def delete_thread(self, request: web.Request) -> web.Response:
        thread = self.state.thread(request.match_info["thread"])
        self.state.forget(thread.id)
        return web.json_response({"id": thread.id, "object": "thread.deleted", "deleted": True})

    # Messages

    async def create_message(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        thread = self._thread(request)
        message = self.runner.message(thread, body)
        if run := thread.active_run:
            raise invalid(f"Can't add messages to {thread.id} while a run {run.id} is active.")
        self.runner.room(thread, 1)
        thread.add(message)
        return web.json_response(message.body())

    async def list_messages(self, request: web.Request) -> web.Response:
        messages = self._thread(request).messages
        if run_id := request.query.get("run_id"):
            messages = [message for message in messages if message.run_id == run_id]
        return web.json_response(page(messages, request.query))

    async def get_message(self, request: web.Request) -> web.Response:
        return web.json_response(self._thread(request).message(request.match_info["message"]).body())

    async def update_message(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        message = self._thread(request).message(request.match_info["message"])
        message.metadata = checks.metadata(body.get("metadata"))
        return web.json_response(message.body())

    # Runs

    def _assistant(self, body: Mapping[str, Any]) -> Assistant:
        assistant_id = body.get("assistant_id")
        if not isinstance(assistant_id, str):
            param = "assistant_id"
            raise invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
        return self.state.assistant(assistant_id)

    def _create_run(self, request: web.Request, thread: Thread, body: Mapping[str, Any]) -> Run:
        run = self.runner.create(thread, self._assistant(body), body)
        run.fates = self.faults.fates(request.method, request.path.removeprefix(BASE))
        return run

    async def _shown(self, request: web.Request, thread: Thread, run: Run, begin: int) -> web.StreamResponse:
        """How the run stands, or where a stream is wanted what comes, from its event `begin` on."""
        # What nobody will see is not streamed.
        if not run.streamed or request.get(UNSEEN):
            return web.json_response(run.body())
        fault = self.faults.stream(request.method, request.path.removeprefix(BASE))
        return await self.streamer.send(request, RunSource(self.runner, thread, run), fault, begin - 1)

    async def create_run(self, request: web.Request) -> web.StreamResponse:
        body = await object_of(request)
        thread = self._thread(request)
        return await self._shown(request, thread, self._create_run(request, thread, body), 0)

    async def create_thread_and_run(self, request: web.Request) -> web.StreamResponse:
        body = await object_of(request)
        thread = self._new_thread(cast(dict[str, Any], body.get("thread") or {}))
        run = self._create_run(request, thread, body)
        if run.streamed:
            run.events.insert(0, {"type": "thread.created", "data": thread.body()})
        self.state.threads[thread.id] = thread
        return await self._shown(request, thread, run, 0)

    async def list_runs(self, request: web.Request) -> web.Response:
        return web.json_response(page(self._thread(request).runs, request.query))

    async def get_run(self, request: web.Request) -> web.Response:
        return web.json_response(self._run(request).body())

    async def update_run(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        run = self._run(request)
        run.metadata = checks.metadata(body.get("metadata"))
        return web.json_response(run.body())

    async def submit(self, request: web.Request) -> web.StreamResponse:
        body = await object_of(request)
        thread, run = self._thread(request), self._run(request)
        begin = len(run.events)
        self.runner.submit(run, body)
        return await self._shown(request, thread, run, begin)

    async def cancel(self, request: web.Request) -> web.Response:
        run = self._run(request)
        self.runner.cancel(run)
        return web.json_response(run.body())

    # Steps

    async def list_steps(self, request: web.Request) -> web.Response:
        return web.json_response(page(self._run(request).steps, request.query))

    async def get_step(self, request: web.Request) -> web.Response:
        return web.json_response(self._run(request).step(request.match_info["step"]).body())
