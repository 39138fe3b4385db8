"""The agents by their names: the one that the settings choose, and those that older threads still lie with."""

from __future__ import annotations

import importlib
from contextlib import AsyncExitStack

from bot.ports import Agent, Clock, Store
from bot.settings import Settings
from bot.texts import Texts
from bot.types import JsonObject, Thread

AGENTS = {
    "rehearsal": "bot.agents.rehearsal",
    "foundry": "bot.agents.foundry",
    "foundry-classic": "bot.agents.foundry_classic",
    "chat-completions": "bot.agents.chat_completions",
}
"""Where each AGENT_BACKEND lives. Only those in use are imported: all of them cost seconds and 160 MB."""
OURS = ("rehearsal", "chat-completions")
"""Those whose threads lie in our own store."""
MOST_OPEN = 8
"""So many others are opened at most: a thread of yet another is one that cannot be reached."""


async def open_agent(settings: Settings, store: Store, clock: Clock, texts: Texts, stack: AsyncExitStack) -> Agent:
    """The agent that the settings name; closed with the stack.

    Raises:
        OperatorError: it cannot be used.
    """
    module = importlib.import_module(AGENTS[settings.agent_backend])
    own = {"history": store.history} if settings.agent_backend in OURS else {}
    agent: Agent = await module.create(settings, clock=clock, texts=texts, **own)
    stack.push_async_callback(agent.close)
    return agent


class Backends:
    """The `Archives` of a bot: the agents of threads that another setting made."""

    def __init__(
        self, settings: Settings, agent: Agent, store: Store, clock: Clock, texts: Texts, stack: AsyncExitStack
    ) -> None:
        """What is opened is closed with the stack. `agent` is the one of the settings."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._texts = texts
        self._stack = stack
        self._open: dict[tuple[str, str], Agent] = {(agent.backend, agent.project): agent}

    async def of(self, thread: Thread) -> Agent | None:
        """See `Archives.of`."""
        key = (thread.backend, thread.project)
        if key not in self._open:
            changed = settings_of(thread)
            if changed is None or len(self._open) > MOST_OPEN:
                return None
            settings = self._settings.model_copy(update=changed)
            self._open[key] = await open_agent(settings, self._store, self._clock, self._texts, self._stack)
        return self._open[key]


def settings_of(thread: Thread) -> JsonObject | None:
    """The settings under which a thread was made; None where its backend is not known."""
    address, _, agent = thread.project.rpartition("#")
    match thread.backend:
        case "foundry-classic":
            name, _, model = agent.rpartition("@")
            named = (
                {"agent_id": "", "agent_name": name, "model_deployment_name": model} if name else {"agent_id": agent}
            )
            return {"agent_backend": thread.backend, "project_endpoint": address, **named}
        case "foundry":
            return {"agent_backend": thread.backend, "project_endpoint": address, "agent_name": agent}
        case "chat-completions":
            return {
                "agent_backend": thread.backend,
                "openai_base_url": address,
                "model_deployment_name": agent,
            }
        case "rehearsal":
            return {"agent_backend": thread.backend}
        case _:
            return None
