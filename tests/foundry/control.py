"""The control routes, for tests that run the server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from .clock import ManualClock
from .faults import Fault
from .models import MODELS, Script
from .runner import Rules

if TYPE_CHECKING:
    from .server import FoundryServer


class Control:
    """/_control/...: faults, the clock, the model, the rules, and what was recorded."""

    def __init__(self, server: FoundryServer) -> None:
        self.server = server

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_control/faults", self.faults),
            web.post("/_control/faults", self.inject),
            web.delete("/_control/faults", self.clear),
            web.get("/_control/requests", self.requests),
            web.delete("/_control/requests", self.forget_requests),
            web.get("/_control/threads", self.threads),
            web.get("/_control/threads/{thread}", self.thread),
            web.get("/_control/conversations", self.conversations),
            web.get("/_control/conversations/{conversation}", self.conversation),
            web.post("/_control/clock", self.clock),
            web.post("/_control/model", self.model),
            web.post("/_control/rules", self.rules),
            web.post("/_control/switches", self.switches),
            web.post("/_control/token", self.token),
        ]

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response([fault.body() for fault in self.server.faults.all()])

    async def inject(self, request: web.Request) -> web.Response:
        try:
            fault = Fault.parse(await _object(request))
        except (ValueError, TypeError) as error:
            raise _refused(str(error)) from None
        return web.json_response(self.server.faults.add(fault).body(), status=201)

    async def clear(self, request: web.Request) -> web.Response:
        self.server.faults.clear()
        return web.json_response([])

    async def requests(self, request: web.Request) -> web.Response:
        return web.json_response([record.as_json() for record in self.server.requests])

    async def forget_requests(self, request: web.Request) -> web.Response:
        self.server.requests.clear()
        return web.json_response([])

    async def threads(self, request: web.Request) -> web.Response:
        state = self.server.state
        return web.json_response({"threads": list(state.threads), "deleted": list(state.forgotten)})

    async def thread(self, request: web.Request) -> web.Response:
        thread_id = request.match_info["thread"]
        messages = [message.body() for message in self.server.messages_of(thread_id)]
        runs = [run.body() for run in self.server.runs_of(thread_id)]
        return web.json_response({"messages": messages, "runs": runs})

    async def conversations(self, request: web.Request) -> web.Response:
        project = self.server.project
        held = {"conversations": list(project.conversations), "deleted": list(project.forgotten)}
        return web.json_response(held)

    async def conversation(self, request: web.Request) -> web.Response:
        conversation_id = request.match_info["conversation"]
        items = [item.body() for item in self.server.items_of(conversation_id)]
        responses = [response.body() for response in self.server.responses_of(conversation_id)]
        return web.json_response({"items": items, "responses": responses})

    async def clock(self, request: web.Request) -> web.Response:
        body = await _object(request)
        clock = self.server.clock
        if not isinstance(clock, ManualClock):
            raise _refused("the server runs on real time; start it with --manual-clock")
        try:
            clock.advance(float(body["advance"]))
        except (KeyError, TypeError, ValueError) as error:
            raise _refused(f"advance: {error}") from None
        return web.json_response({"time": clock.time()})

    async def model(self, request: web.Request) -> web.Response:
        body = await _object(request)
        if "script" in body:
            try:
                self.server.model = Script.parse(body["script"], each_run=bool(body.get("each_run")))
            except (KeyError, TypeError, ValueError) as error:
                raise _refused(f"script: {error}") from None
        elif body.get("name") in MODELS:
            self.server.model = MODELS[body["name"]]
        else:
            raise _refused(f"a script, or one of these names: {', '.join(MODELS)}")
        return web.json_response({})

    async def rules(self, request: web.Request) -> web.Response:
        body = await _object(request)
        unknown = body.keys() - vars(Rules()).keys()
        if unknown:
            raise _refused(f"there is no rule '{min(unknown)}'")
        for name, value in body.items():
            setattr(self.server.rules, name, value)
        return web.json_response(vars(self.server.rules))

    async def switches(self, request: web.Request) -> web.Response:
        try:
            self.server.switches.turn(await _object(request))
        except (TypeError, ValueError) as error:
            raise _refused(str(error)) from None
        return web.json_response(vars(self.server.switches))

    async def token(self, request: web.Request) -> web.Response:
        self.server.token = (await _object(request)).get("token")
        return web.json_response({})


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        value: object = await request.json()
    except ValueError:
        raise _refused("the body is not JSON") from None
    if not isinstance(value, dict):
        raise _refused("the body is not an object")
    return cast(dict[str, Any], value)


def _refused(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=reason)
