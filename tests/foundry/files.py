"""Files: as much of them as a bot needs."""

from __future__ import annotations

from aiohttp import BodyPartReader, web

from .door import BASE, OPENAI
from .errors import invalid
from .state import File, State, new_id


class Files:
    """Upload, look, read, delete."""

    def __init__(self, state: State) -> None:
        self.state = state

    def routes(self) -> list[web.RouteDef]:
        # The same files for both APIs.
        return [route for base in (BASE, OPENAI) for route in self._below(base)]

    def _below(self, base: str) -> list[web.RouteDef]:
        file = base + "/files/{file}"
        return [
            web.post(base + "/files", self.create),
            web.get(base + "/files", self.list),
            web.get(file, self.get),
            web.get(file + "/content", self.content),
            web.delete(file, self.delete),
        ]

    async def create(self, request: web.Request) -> web.Response:
        fields: dict[str, str] = {}
        content: bytes | None = None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file":
                content = bytes(await part.read())
                fields.setdefault("filename", part.filename or "file")
            elif part.name:
                fields[part.name] = await part.text()
        if content is None:
            raise invalid("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        if "purpose" not in fields:
            raise invalid("Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter")
        file = File(new_id("assistant-"), self.state.now(), fields["filename"], fields["purpose"], content)
        self.state.files[file.id] = file
        return web.json_response(file.body())

    async def list(self, request: web.Request) -> web.Response:
        purpose = request.query.get("purpose")
        files = [file.body() for file in self.state.files.values() if purpose in (None, file.purpose)]
        return web.json_response({"object": "list", "data": files})

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self.state.file(request.match_info["file"]).body())

    async def content(self, request: web.Request) -> web.Response:
        file = self.state.file(request.match_info["file"])
        return web.Response(body=file.content, content_type="application/octet-stream")

    async def delete(self, request: web.Request) -> web.Response:
        file = self.state.file(request.match_info["file"])
        del self.state.files[file.id]
        return web.json_response({"id": file.id, "object": "file", "deleted": True})
