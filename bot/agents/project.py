"""The client of a Foundry project, without the voice that its SDK gives it."""

from __future__ import annotations

import os

import aiohttp
from azure.ai.projects.aio import AIProjectClient
from azure.core.credentials_async import AsyncTokenCredential

from bot.agents import azure

_LOUD = "AZURE_AI_PROJECTS_CONSOLE_LOGGING"
"""With it the SDK prints whole requests and answers, tokens and people's words among them."""


def open_project(endpoint: str, session: aiohttp.ClientSession, credential: AsyncTokenCredential) -> AIProjectClient:
    """A client that borrows the session and the credential."""
    # The SDK reads the variable while it makes a client, and no argument overrules it.
    loud = os.environ.pop(_LOUD, None)
    try:
        return AIProjectClient(endpoint, credential, **azure.client_options(session, endpoint, credential))
    finally:
        if loud is not None:
            os.environ[_LOUD] = loud
