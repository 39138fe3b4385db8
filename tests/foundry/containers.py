"""Files that a model's code has written, to be fetched by what an annotation names."""

from __future__ import annotations

from aiohttp import web

from .door import OPENAI
from .project import ContainerFile, Project


class Containers:
    """Look and read."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def routes(self) -> list[web.RouteDef]:
        file = OPENAI + "/containers/{container}/files/{file}"
        return [web.get(file, self.get), web.get(file + "/content", self.content)]

    def _file(self, request: web.Request) -> ContainerFile:
        return self.project.container_file(request.match_info["container"], request.match_info["file"])

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._file(request).body())

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self._file(request).content, content_type="application/octet-stream")
