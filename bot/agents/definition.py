"""Which agent the runs belong to: named by its id, or found by its name, or made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from azure.ai.agents.aio import AgentsClient

from bot.agents import agent_file
from bot.agents.azure import id_of, page, request
from bot.agents.classic_form import in_classic_words, written
from bot.agents.comparing import Wanted
from bot.agents.failures import Refused
from bot.errors import OperatorError
from bot.ports import Clock
from bot.settings import Settings
from bot.types import JsonObject

FRESH_SECONDS = 300.0
"""How long an agent's tools are taken for unchanged."""
REQUEST_SECONDS = 30.0
PAGE = 100


@dataclass(frozen=True, slots=True)
class AgentDefinition:
    """An agent of the project, and the tools it brings along."""

    id: str
    tools: tuple[JsonObject, ...] = ()


class Directory:
    """Knows the agent, and asks the service again when that knowledge is old. Callers at once share one request."""

    def __init__(self, client: AgentsClient, settings: Settings, clock: Clock) -> None:
        """Read agent.toml, for the agent that may have to be made.

        Raises:
            SettingsError: the file cannot be used.
        """
        self._client = client
        self._settings = settings
        self._clock = clock
        self._file = agent_file.read(settings)
        self._known: AgentDefinition | None = None
        self._known_at = 0.0
        self._asking: asyncio.Task[AgentDefinition] | None = None

    async def current(self) -> AgentDefinition:
        """The agent, from memory while that is fresh.

        Raises: as `confirm`.
        """
        if self._known and self._clock.monotonic() - self._known_at < FRESH_SECONDS:
            return self._known
        return await self.confirm()

    async def confirm(self) -> AgentDefinition:
        """The agent, as the service knows it now.

        Raises:
            OperatorError: it is not there and must not, or cannot, be made.
            ServiceUnavailable: the service did not say.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(_retrieved)
        # Shielded: one caller's end must not end the request for the others.
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """End a request that is still under way."""
        if self._asking and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> AgentDefinition:
        try:
            self._known = _definition(await self.find() or await self._made())
        except OperatorError:
            self._known = None
            raise
        self._known_at = self._clock.monotonic()
        return self._known

    async def find(self) -> JsonObject | None:
        """The agent as the service has it; None if it is not there, and may be made.

        Raises: as `confirm`.
        """
        return await self._by_id() or await self._by_name()

    async def _by_id(self) -> JsonObject | None:
        named = self._settings.agent_id
        agent_id = named or (self._known.id if self._known else "")
        if not agent_id:
            return None
        try:
            answer = await request(self._client.get_agent, agent_id, seconds=REQUEST_SECONDS)
        except Refused as refused:
            if refused.status != 404:
                raise
            if not named:
                return None  # it was ours, and somebody deleted it: look for another, or make one
            raise OperatorError(
                f"There is no agent {agent_id} in this project.",
                "Set AGENT_ID to one that exists (and PROJECT_ENDPOINT to its project), or unset AGENT_ID and set "
                "MODEL_DEPLOYMENT_NAME to have one made.",
            ) from None
        return answer.body

    async def _by_name(self) -> JsonObject | None:
        """The oldest agent with our name and model, so that every replica takes the same one."""
        wanted = (self._settings.agent_name, self._settings.model_deployment_name)
        after: str | None = None
        while True:
            try:
                agents = await page(
                    self._client.list_agents, seconds=REQUEST_SECONDS, after=after, limit=PAGE, order="asc"
                )
            except Refused as refused:
                raise OperatorError(
                    f"PROJECT_ENDPOINT has no list of agents ({refused.status}).",
                    "Set it to the project's own address, https://NAME.services.ai.azure.com/api/projects/PROJECT.",
                ) from None
            for agent in agents:
                if (agent.get("name"), agent.get("model")) == wanted:
                    return agent
            if len(agents) < PAGE:
                return None
            after = id_of(agents[-1])

    async def _made(self) -> JsonObject:
        """Without tools of ours: each run brings them along."""
        service = tuple(in_classic_words(tool) for tool in self._file.tools or ())
        wanted = Wanted({"model": self._settings.model_deployment_name} | self._file.fields, (), service)
        return await make(self._client, self._settings.agent_name, wanted)


async def make(client: AgentsClient, name: str, wanted: Wanted) -> JsonObject:
    """A new agent, as the service then has it.

    Raises:
        OperatorError: it cannot be made.
        ServiceUnavailable: the service did not say.
    """
    fields = wanted.for_new().fields
    body = {"name": name} | fields | written(wanted.tools([]))
    try:
        answer = await request(client.create_agent, body, seconds=REQUEST_SECONDS)
    except Refused as refused:
        raise OperatorError(
            f"No agent could be made for the model deployment {fields.get('model')!r} "
            f"({refused.status} {refused.code}).",
            "Set MODEL_DEPLOYMENT_NAME to a deployment of the project, or AGENT_ID to an agent that exists.",
        ) from None
    return answer.body


def _definition(body: JsonObject) -> AgentDefinition:
    return AgentDefinition(id_of(body), tuple(body.get("tools") or ()))


def _retrieved(task: asyncio.Task[AgentDefinition]) -> None:
    # Read even when every caller has gone, or asyncio reports it as never retrieved.
    if not task.cancelled():
        task.exception()
