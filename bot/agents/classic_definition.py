"""The definition of a classic agent: what is there beside what is wanted, and making it so in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import aiohttp
from azure.ai.agents.aio import AgentsClient
from azure.core.credentials_async import AsyncTokenCredential

from bot.agents import agent_file, azure, comparing
from bot.agents.azure import id_of, request
from bot.agents.classic_form import flat, in_classic_words, written
from bot.agents.comparing import Wanted, differences, standings, tools_of
from bot.agents.definition import REQUEST_SECONDS, Directory, make
from bot.agents.failures import Refused
from bot.errors import OperatorError
from bot.ports import Clock
from bot.settings import Settings
from bot.types import AtService, Compared, JsonObject, ToolSpec


async def create(
    settings: Settings,
    *,
    clock: Clock,
    credential: AsyncTokenCredential | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ClassicDefinition:
    """The definition of the agent that the settings name. Asks nothing of the service yet.

    Raises:
        SettingsError: agent.toml cannot be used.
    """
    settings = agent_file.applied(settings)
    endpoint = settings.project_endpoint
    credential = credential or azure.credential_for(endpoint, production=not settings.local, environ=environ)
    session = azure.open_session()
    client = AgentsClient(endpoint, credential, **azure.client_options(session, endpoint, credential))
    return ClassicDefinition(settings, client, Directory(client, settings, clock), (session, credential))


class ClassicDefinition:
    """`bot.ports.Definition` over the classic service, which keeps one definition and changes it in place."""

    def __init__(
        self,
        settings: Settings,
        client: AgentsClient,
        directory: Directory,
        owned: tuple[aiohttp.ClientSession, AsyncTokenCredential],
    ) -> None:
        """`owned` is closed with it."""
        self._settings = settings
        self._client = client
        self._directory = directory
        self._owned = owned
        self._file = agent_file.read(settings)

    async def compare(self, tools: Sequence[ToolSpec]) -> Compared:
        return self._compared(self._wanted(tools), await self._directory.find())

    async def push(self, tools: Sequence[ToolSpec]) -> tuple[Compared, AtService | None]:
        wanted, held = self._wanted(tools), await self._directory.find()
        compared = self._compared(wanted, held)
        if held is None:
            return compared, _at_service(await make(self._client, self._settings.agent_name, wanted))
        if not compared.differences:
            return compared, None
        body = wanted.fields | written(wanted.tools(tools_of(flat(held))), held.get("tool_resources"))
        try:
            answer = await request(self._client.update_agent, id_of(held), body, seconds=REQUEST_SECONDS)
        except Refused as refused:
            raise OperatorError(
                f"The service refused the definition ({refused.status} {refused.code} {refused.param}".rstrip() + ").",
                "Check the model (a deployment of the project) and the [[tools]] of agent.toml.",
            ) from None
        return compared, _at_service(answer.body)

    def _wanted(self, tools: Sequence[ToolSpec]) -> Wanted:
        service = self._file.tools
        if service is not None:
            service = tuple(in_classic_words(tool) for tool in service)
        file = agent_file.AgentFile(self._file.fields, service)
        return comparing.wanted(file, self._settings.model_deployment_name, tools)

    def _compared(self, wanted: Wanted, held: JsonObject | None) -> Compared:
        there = flat(held) if held is not None else None
        wanted = wanted if held is not None else wanted.for_new()
        return Compared(_at_service(held), differences(wanted, there), standings(wanted, there))

    async def close(self) -> None:
        session, credential = self._owned
        await self._directory.close()
        await self._client.close()
        await session.close()
        await credential.close()


def _at_service(body: JsonObject | None) -> AtService | None:
    if body is None:
        return None
    told = {key: str(body.get(key) or "") for key in ("name", "model", "description", "instructions")}
    return AtService(id=id_of(body), **told)
