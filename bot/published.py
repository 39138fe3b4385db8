"""The agent's definition at its service, for the commands that compare it and push it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bot.clock import SystemClock
from bot.errors import OperatorError, RequestRefused, ServiceUnavailable
from bot.ports import Definition
from bot.settings import Settings

DEFINITIONS = {
    "foundry": "bot.agents.foundry_definition",
    "foundry-classic": "bot.agents.classic_definition",
}
"""Where each AGENT_BACKEND whose service keeps a definition has it. The others are told of everything in each run."""


@asynccontextmanager
async def open_definition(settings: Settings) -> AsyncGenerator[Definition]:
    """The definition of the agent that the settings name, which must be of a backend in `DEFINITIONS`.

    Raises:
        SettingsError: agent.toml cannot be used.
        OperatorError: the service cannot be reached, or refuses; from within the block too.
    """
    module = importlib.import_module(DEFINITIONS[settings.agent_backend])
    definition: Definition = await module.create(settings, clock=SystemClock())
    try:
        yield definition
    except ServiceUnavailable as error:
        raise OperatorError(
            str(error), "Check PROJECT_ENDPOINT and the network, then run the command again: it does what is left."
        ) from None
    except RequestRefused as error:
        raise OperatorError(str(error), "Check PROJECT_ENDPOINT and AGENT_NAME.") from None
    finally:
        await definition.close()
