"""A chat-completions agent on a store of its own, against the local endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from bot.agents import chat_completions
from bot.agents.chat_completions import ChatCompletionsAgent
from bot.clock import SystemClock
from bot.ports import History
from bot.settings import Settings, load
from bot.texts import Texts
from bot.types import Handle, Step
from tests.contracts.agent import World
from tests.llm import LLMServer


class ChatWorld(World):
    """Time goes on by itself here: a tick waits for the request behind the run that was looked at."""

    def __init__(self, agent: ChatCompletionsAgent, server: LLMServer, history: History) -> None:
        super().__init__(agent)
        self.server = server
        self.store = history
        self._looked: Handle | None = None
        look = agent.look

        async def looking(handle: Handle) -> Step:
            self._looked = handle
            return await look(handle)

        agent.look = looking  # pyright: ignore[reportAttributeAccessIssue]

    async def tick(self) -> None:
        if self._looked is not None:
            await self.agent.changed(self._looked, 0.0)


def settings_for(server: LLMServer, **more: Any) -> Settings:
    given = {"openai_base_url": server.base_url, "model_deployment_name": "model"} | more
    return load(None, agent_backend="chat-completions", **given)


@asynccontextmanager
async def opened(
    server: LLMServer, history: History, *, credential: Any = None, **more: Any
) -> AsyncGenerator[ChatWorld]:
    """An agent; another one on the same history is a restart."""
    settings = settings_for(server, **more)
    agent = await chat_completions.create(
        settings, clock=SystemClock(), texts=Texts(), history=history, credential=credential
    )
    try:
        yield ChatWorld(agent, server, history)
    finally:
        await agent.close()
