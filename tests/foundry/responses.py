"""The new API's responses: create, look, cancel, delete, their input items, their streams."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .checks import wrong_type
from .classic import object_of
from .clock import Clock
from .door import BASE, OPENAI, UNSEEN
from .errors import ServiceError, invalid
from .faults import Faults
from .paging import page
from .project import Ending, Project, Response
from .responder import Responder
from .sources import ResponseSource
from .stream import Streamer


class Responses:
    """The handlers."""

    def __init__(self, project: Project, responder: Responder, faults: Faults, clock: Clock) -> None:
        self.project = project
        self.responder = responder
        self.faults = faults
        self.streamer = Streamer(clock)

    def routes(self) -> list[web.RouteDef]:
        response = OPENAI + "/responses/{response}"
        return [
            web.post(OPENAI + "/responses", self.create),
            web.get(response, self.get),
            web.delete(response, self.delete),
            web.post(response + "/cancel", self.cancel),
            web.get(response + "/input_items", self.input_items),
        ]

    def _response(self, request: web.Request, operation: str) -> Response:
        """The response of the request, brought up to the present."""
        if operation in self.responder.switches.broken:
            raise broken()
        response = self.project.response(request.match_info["response"])
        self.responder.settle(response, reading=request.method == "GET")
        return response

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = await object_of(request)
        response = self.responder.create(body)
        path = request.path.removeprefix(BASE)
        # A response that answers calls goes on with a turn: it takes no decision of its own, as a submit does not.
        self.responder.begin(response, [] if response.rounds else self.faults.fates(request.method, path))
        if request.get(UNSEEN):
            # The work is done, and the client will not know.
            self.responder.drop(response, cancelling=False)
        elif response.stream:
            fault = self.faults.stream(request.method, path)
            return await self.streamer.send(request, ResponseSource(self.responder, response), fault)
        elif not response.background:
            await self.streamer.finish(request, ResponseSource(self.responder, response))
        return web.json_response(response.body())

    async def get(self, request: web.Request) -> web.StreamResponse:
        response = self._response(request, "retrieve")
        if request.query.get("stream") != "true":
            return web.json_response(response.body())
        if not (response.background and response.stream):
            # "To resume a stream, the response must have been created with stream=true" (responses.md).
            raise invalid("This response cannot be streamed: it was not created with background=true and stream=true.")
        fault = self.faults.stream(request.method, request.path.removeprefix(BASE))
        after = request.query.get("starting_after", "-1")
        try:
            number = int(after)
        except ValueError:
            raise wrong_type("starting_after", "an integer", after) from None
        return await self.streamer.send(request, ResponseSource(self.responder, response), fault, number)

    async def cancel(self, request: web.Request) -> web.Response:
        response = self._response(request, "cancel")
        self.responder.cancel(response)
        return web.json_response(response.body())

    async def delete(self, request: web.Request) -> web.Response:
        response = self._response(request, "delete")
        if response.active:
            self.responder.end(response, Ending("cancelled"))
        del self.project.responses[response.id]
        deleted: dict[str, Any] = {"id": response.id, "object": "response", "deleted": True}
        return web.json_response(deleted)

    async def input_items(self, request: web.Request) -> web.Response:
        given = self._response(request, "input_items").given
        return web.json_response(page(given, request.query))


def broken() -> ServiceError:
    message = "The server had an error processing your request. Sorry about that!"
    error = {"message": message, "type": "server_error", "param": None, "code": "server_error"}
    return ServiceError(500, {"error": error})
