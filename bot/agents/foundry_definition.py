"""The definition of an agent of the new service: a name and its versions, of which each stays as it was made."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import aiohttp
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import FunctionTool, PromptAgentDefinition
from azure.core.credentials_async import AsyncTokenCredential

from bot.agents import agent_file, azure, comparing
from bot.agents.azure import request
from bot.agents.comparing import Wanted, differences, function_of, mismatched, name_of, standings, tools_of
from bot.agents.failures import Refused
from bot.agents.project import open_project
from bot.errors import OperatorError, ServiceUnavailable
from bot.ports import Clock
from bot.settings import Settings
from bot.types import AtService, Compared, JsonObject, ToolSpec

GET_SECONDS = 15.0
CHECK_SECONDS = 5.0
"""How long a start waits for the service before it goes on without."""
POST_SECONDS = 60.0

STRICT = False
"""Strict functions have no optional arguments, and ours do. Left out, the service takes it for true."""

_KIND = "prompt"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TOOL_NUMBER = re.compile(r"definition\.tools\[(\d+)\]")
_KEPT = (
    "model",
    "instructions",
    "temperature",
    "top_p",
    "reasoning",
    "tool_choice",
    "text",
    "structured_inputs",
    "rai_config",
    "skills",
    "harness",
)
"""What a new version takes over from the last where agent.toml does not say: a content filter, not to be lost."""


class Versions:
    """The agent that AGENT_NAME names, `name` or `name:version`, as the service keeps it."""

    def __init__(self, client: AIProjectClient, agent_name: str) -> None:
        self._client = client
        self.name, _, self.version = agent_name.partition(":")
        self._unchecked: Sequence[ToolSpec] | None = None

    async def latest(self, seconds: float = GET_SECONDS) -> JsonObject | None:
        """The newest version; None if there is no such agent."""
        agent = await self._get(self._client.agents.get, self.name, seconds=seconds)
        if agent is None:
            return None
        version = _mapping(_mapping(agent.get("versions")).get("latest"))
        if not version:
            raise ServiceUnavailable("An answer that cannot be read (no latest version).")
        return version

    async def used(self, seconds: float = GET_SECONDS) -> JsonObject | None:
        """The version that the bot talks to; None if there is no such agent, or version."""
        if not self.version:
            return await self.latest(seconds)
        return await self._get(self._client.agents.get_version, self.name, self.version, seconds=seconds)

    async def _get(self, operation: Any, *names: str, seconds: float) -> JsonObject | None:
        try:
            return (await request(operation, *names, seconds=seconds)).body
        except Refused as refused:
            if refused.status == 404:
                return None
            said = f"{refused.status} {refused.code}".strip()
            raise OperatorError(
                f"The service says nothing of the agent {self.name} ({said}).", "Check AGENT_NAME and PROJECT_ENDPOINT."
            ) from None

    async def confirm(self) -> None:
        """Raise `OperatorError` if the agent is not there."""
        if await self._get(self._client.agents.get, self.name, seconds=GET_SECONDS) is None:
            raise OperatorError(
                f"There is no agent {self.name} in the Foundry project.",
                "Check AGENT_NAME and PROJECT_ENDPOINT, or make it: python -m bot agent push.",
            )

    async def mismatch(self, tools: Sequence[ToolSpec]) -> list[str]:
        """As `bot.ports.KeepsTools` says."""
        self._unchecked = tools
        called = f"{self.name}, version {self.version}," if self.version else self.name
        version = await self.used(CHECK_SECONDS)
        self._unchecked = None
        if version is None:
            return [f"there is no agent {called.rstrip(',')} in the project of PROJECT_ENDPOINT"]
        return self.lacking(version, tools)

    def lacking(self, version: JsonObject, tools: Sequence[ToolSpec]) -> list[str]:
        """What a version lacks, or has otherwise, of these tools."""
        called = f"{self.name}, version {self.version}," if self.version else self.name
        definition = _mapping(version.get("definition"))
        if definition.get("kind", _KIND) != _KIND:
            return []  # a workflow, or somebody's own program: what it calls is not ours to say
        missing, other = mismatched(_functions(tools), tools_of(definition))
        found = [f"the agent {called} lacks the {_tools(missing)}"] if missing else []
        return found + ([f"the agent {called} has another form of the {_tools(other)}"] if other else [])

    async def settle(self) -> None:
        """Ask what could not be asked at the start.

        Raises:
            ServiceUnavailable, OperatorError: there is still no answer, or tools do not match.
        """
        tools = self._unchecked
        if tools is not None and (found := await self.mismatch(tools)):
            self._unchecked = tools
            problem = "; ".join(found)
            raise OperatorError(f"{problem[:1].upper()}{problem[1:]}.", "Run: python -m bot agent push")


def _tools(names: Sequence[str]) -> str:
    return f"tool {names[0]}" if len(names) == 1 else f"tools {', '.join(names)}"


# -- what is wanted -----------------------------------------------------------------------------------------


async def create(
    settings: Settings,
    *,
    clock: Clock,
    credential: AsyncTokenCredential | None = None,
    environ: Mapping[str, str] = os.environ,
) -> FoundryDefinition:
    """The definition of the agent AGENT_NAME. Asks nothing of the service yet.

    Raises:
        SettingsError: agent.toml cannot be used.
    """
    settings = agent_file.applied(settings)
    endpoint = settings.project_endpoint
    credential = credential or azure.credential_for(endpoint, production=not settings.local, environ=environ)
    session = azure.open_session()
    project = open_project(endpoint, session, credential)
    return FoundryDefinition(settings, project, (session, credential))


class FoundryDefinition:
    """`bot.ports.Definition` over agents and their versions."""

    def __init__(
        self, settings: Settings, client: AIProjectClient, owned: tuple[aiohttp.ClientSession, AsyncTokenCredential]
    ) -> None:
        """`owned` is closed with it."""
        self._settings = settings
        self._client = client
        self._owned = owned
        self._versions = Versions(client, settings.agent_name)
        self._file = agent_file.read(settings)

    async def compare(self, tools: Sequence[ToolSpec]) -> Compared:
        return self._compared(self._wanted(tools), await self._latest())

    async def push(self, tools: Sequence[ToolSpec]) -> tuple[Compared, AtService | None]:
        wanted, latest = self._wanted(tools), await self._latest()
        compared = self._compared(wanted, latest)
        if latest is not None and not compared.differences:
            return compared, None
        body = _body(wanted if latest is not None else wanted.for_new(), latest or {})
        self._possible(body)
        definition = PromptAgentDefinition(body.pop("definition"))
        operation = self._client.agents.create_version
        try:
            answer = await request(operation, self._versions.name, definition=definition, **body, seconds=POST_SECONDS)
        except Refused as refused:
            raise _refusal(refused, definition) from None
        return compared, _at_service(answer.body)

    async def _latest(self) -> JsonObject | None:
        latest = await self._versions.latest()
        kind = _mapping((latest or {}).get("definition")).get("kind", _KIND)
        if kind != _KIND:
            raise OperatorError(
                f"The agent {self._versions.name} is of the kind {kind}, which has no model and no tools of its own.",
                "Define it where it was made, or set AGENT_NAME to another name.",
            )
        return latest

    def _wanted(self, tools: Sequence[ToolSpec]) -> Wanted:
        return comparing.wanted(self._file, self._settings.model_deployment_name, tools, strict=STRICT)

    def _compared(self, wanted: Wanted, latest: JsonObject | None) -> Compared:
        there = None if latest is None else _definition(latest)
        wanted = wanted if latest is not None else wanted.for_new()
        own, note = self._versions.version, ""
        if own:
            note = f"AGENT_NAME names version {own}: the bot goes on with that one, until AGENT_NAME names another."
        at_service = None if latest is None else _at_service(latest)
        return Compared(at_service, differences(wanted, there), standings(wanted, there), note)

    def _possible(self, body: JsonObject) -> None:
        name = self._versions.name
        if not _NAME.fullmatch(name):
            raise OperatorError(
                f"AGENT_NAME {name!r} is no name for an agent.",
                "Set it to letters, digits and hyphens, 63 at most, with no hyphen at either end.",
            )
        if not body["definition"].get("model"):
            raise OperatorError(
                "No model is named, and an agent needs one.",
                'Write a line such as model = "gpt-4o" into agent.toml, with a deployment of the project, or set '
                "MODEL_DEPLOYMENT_NAME.",
            )

    async def close(self) -> None:
        session, credential = self._owned
        await self._client.close()
        await session.close()
        await credential.close()


def _functions(tools: Sequence[ToolSpec]) -> list[JsonObject]:
    return [function_of(tool, strict=STRICT) for tool in tools]


def _definition(version: JsonObject) -> JsonObject:
    """A version in the form of `bot.agents.comparing`; the description stands beside the definition."""
    return _mapping(version.get("definition")) | {"description": version.get("description")}


def _body(wanted: Wanted, latest: JsonObject) -> JsonObject:
    """What `create_version` is given."""
    held = _mapping(latest.get("definition"))
    own = {key: value for key, value in wanted.fields.items() if key != "description"}
    kept = {key: held[key] for key in _KEPT if held.get(key) is not None}
    tools = [_tool(tool) for tool in wanted.tools(tools_of(held))]
    body: JsonObject = {"definition": kept | own | {"kind": _KIND, "tools": tools}}
    if description := wanted.fields.get("description", latest.get("description")):
        body["description"] = description
    if latest.get("metadata"):
        body["metadata"] = latest["metadata"]
    return body


def _tool(tool: JsonObject) -> JsonObject:
    """A function in the SDK's own words; another tool as it is written."""
    if tool.get("type") != "function":
        return tool
    return FunctionTool(dict(tool)).as_dict()


def _refusal(refused: Refused, definition: PromptAgentDefinition) -> OperatorError:
    place = _TOOL_NUMBER.match(refused.param)
    tools = [cast(JsonObject, tool) for tool in definition.as_dict().get("tools", [])]
    named = f", tool {name_of(tools[int(place[1])])}" if place and int(place[1]) < len(tools) else ""
    said = " ".join(str(word) for word in (refused.status, refused.code, refused.param) if word)
    if refused.status == 404:
        cure = "Check PROJECT_ENDPOINT: https://NAME.services.ai.azure.com/api/projects/PROJECT."
    else:
        cure = "Check the model (a deployment of the project), the [[tools]] of agent.toml, and the tools."
    return OperatorError(f"The service refused the definition ({said}{named}).", cure)


def _at_service(version: JsonObject) -> AtService:
    definition = _definition(version)
    told = {key: str(definition.get(key) or "") for key in ("model", "description", "instructions")}
    identity = {key: str(version.get(key) or "") for key in ("name", "id", "version")}
    return AtService(**identity, **told)


def _mapping(value: object) -> JsonObject:
    return cast(JsonObject, value) if isinstance(value, dict) else {}
