"""The new API's conversations and their items."""

from __future__ import annotations

from aiohttp import web

from . import checks, items
from .classic import object_of
from .door import OPENAI
from .errors import invalid
from .paging import page
from .project import Conversation, Project
from .responder import Responder, join, locked
from .sight import OPENING
from .state import State, new_id


class Conversations:
    """The handlers. Each checks everything first and changes state last, without awaiting in between."""

    def __init__(self, state: State, project: Project, responder: Responder) -> None:
        self.state = state
        self.project = project
        self.responder = responder

    def routes(self) -> list[web.RouteDef]:
        conversation = OPENAI + "/conversations/{conversation}"
        return [
            web.post(OPENAI + "/conversations", self.create),
            web.get(conversation, self.get),
            web.post(conversation, self.update),
            web.delete(conversation, self.delete),
            web.post(conversation + "/items", self.add_items),
            web.get(conversation + "/items", self.list_items),
            web.get(conversation + "/items/{item}", self.get_item),
            web.delete(conversation + "/items/{item}", self.delete_item),
        ]

    def _conversation(self, request: web.Request) -> Conversation:
        """The conversation of the request, brought up to the present."""
        conversation = self.project.conversation(request.match_info["conversation"])
        self.responder.settle(conversation.active, reading=request.method == "GET")
        return conversation

    async def create(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        metadata = checks.metadata(body.get("metadata"))
        added = items.few(items.given(body.get("items"), "items", self.state))
        conversation = Conversation(new_id("conv_"), self.state.now(), metadata)
        for item in added:
            item.batch = OPENING
        join(conversation, added)
        self.project.conversations[conversation.id] = conversation
        return web.json_response(conversation.body())

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._conversation(request).body())

    async def update(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        conversation = self._conversation(request)
        conversation.metadata = checks.metadata(body.get("metadata"))
        return web.json_response(conversation.body())

    async def delete(self, request: web.Request) -> web.Response:
        conversation = self.project.conversation(request.match_info["conversation"])
        self.project.forget(conversation.id)
        return web.json_response({"object": "conversation.deleted", "deleted": True, "id": conversation.id})

    async def add_items(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        conversation = self._conversation(request)
        if not body.get("items"):
            raise invalid("Missing required parameter: 'items'.", param="items", code="missing_required_parameter")
        added = items.few(items.given(body["items"], "items", self.state))
        if conversation.active and self.responder.switches.locks_items:
            raise locked()
        for item in added:
            item.batch = len(conversation.responses)
        join(conversation, added)
        return web.json_response(page(added, {"order": "asc", "limit": "100"}))

    async def list_items(self, request: web.Request) -> web.Response:
        # There is no `before` here (OpenAI's OpenAPI document).
        query = {name: value for name, value in request.query.items() if name != "before"}
        return web.json_response(page(self._conversation(request).items, query))

    async def get_item(self, request: web.Request) -> web.Response:
        return web.json_response(self._conversation(request).item(request.match_info["item"]).body())

    async def delete_item(self, request: web.Request) -> web.Response:
        conversation = self._conversation(request)
        conversation.items.remove(conversation.item(request.match_info["item"]))
        return web.json_response(conversation.body())
