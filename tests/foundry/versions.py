"""The new API's agents: a name and its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aiohttp import web

from . import checks
from .classic import object_of
from .door import BASE
from .errors import foundry
from .paging import Listed, page
from .project import Agent, Project, Version
from .state import State

MAX_VERSIONS = 1000
"""limits-quotas-regions.md."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Versions:
    """The handlers."""

    def __init__(self, state: State, project: Project) -> None:
        self.state = state
        self.project = project

    def routes(self) -> list[web.RouteDef]:
        agent = BASE + "/agents/{agent}"
        return [
            web.get(BASE + "/agents", self.list_agents),
            web.get(agent, self.get_agent),
            web.delete(agent, self.delete_agent),
            web.post(agent + "/versions", self.create_version),
            web.get(agent + "/versions", self.list_versions),
            web.get(agent + "/versions/{version}", self.get_version),
            web.delete(agent + "/versions/{version}", self.delete_version),
        ]

    def add(self, name: str, body: Mapping[str, Any]) -> Version:
        """A new version, be it the same as the last: the service does not compare."""
        if not _NAME.fullmatch(name):
            raise foundry(
                "invalid_request_error",
                "Invalid agent name: it must start and end with alphanumeric characters, can contain hyphens in "
                "the middle, and must not exceed 63 characters.",
                param="agent_name",
            )
        definition = check(body.get("definition"))
        metadata = checks.metadata(body.get("metadata"))
        agent = self.project.agents.get(name) or Agent(name)
        if len(agent.versions) >= MAX_VERSIONS:
            raise foundry("invalid_request_error", f"An agent has at most {MAX_VERSIONS} versions.")
        agent.counted += 1
        description = body.get("description") or ""
        version = Version(name, str(agent.counted), self.state.now(), definition, description, metadata)
        agent.versions.append(version)
        self.project.agents[name] = agent
        return version

    def _agent(self, request: web.Request) -> Agent:
        return self.project.agent(request.match_info["agent"])

    async def create_version(self, request: web.Request) -> web.Response:
        return web.json_response(self.add(request.match_info["agent"], await object_of(request)).body())

    async def list_agents(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind")
        agents = [a for a in self.project.agents.values() if kind in (None, a.latest.definition["kind"])]
        return web.json_response(_page(agents, request.query))

    async def get_agent(self, request: web.Request) -> web.Response:
        return web.json_response(self._agent(request).body())

    async def delete_agent(self, request: web.Request) -> web.Response:
        agent = self._agent(request)
        del self.project.agents[agent.name]
        return web.json_response({"object": "agent.deleted", "name": agent.name, "deleted": True})

    async def list_versions(self, request: web.Request) -> web.Response:
        return web.json_response(_page(self._agent(request).versions, request.query))

    async def get_version(self, request: web.Request) -> web.Response:
        return web.json_response(self._agent(request).version(request.match_info["version"]).body())

    async def delete_version(self, request: web.Request) -> web.Response:
        agent = self._agent(request)
        version = agent.version(request.match_info["version"])
        agent.versions.remove(version)
        if not agent.versions:
            del self.project.agents[agent.name]
        deleted = {"object": "agent.version.deleted", "name": agent.name, "version": version.version, "deleted": True}
        return web.json_response(deleted)


def _page(listed: Sequence[Listed], query: Mapping[str, str]) -> dict[str, Any]:
    """An empty list has no first_id and no last_id; [R] test_agents_crud."""
    return {name: value for name, value in page(listed, query).items() if value is not None}


def check(value: object) -> dict[str, Any]:
    """A prompt agent's definition."""
    if not isinstance(value, dict):
        raise foundry("invalid_payload", "Required", param="definition")
    definition = cast(dict[str, Any], value)
    for name in ("kind", "model"):
        if not isinstance(definition.get(name), str):
            raise foundry("invalid_payload", "Required", param=f"definition.{name}")
    tools = cast(list[dict[str, Any]], definition.get("tools") or [])
    if len(tools) > checks.MAX_TOOLS:
        limit = f"No more than {checks.MAX_TOOLS} tools are allowed."
        raise foundry("tool_limit_exceeded", limit, param="definition.tools")
    for place, tool in enumerate(tools):
        named = tool.get("type") != "function" or _TOOL_NAME.fullmatch(str(tool.get("name")))
        if not tool.get("type") or not named:
            message = "The provided data does not match the expected schema"
            raise foundry("invalid_payload", message, param=f"definition.tools[{place}]")
    return definition
