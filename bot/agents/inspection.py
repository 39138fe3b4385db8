"""The agent service as it is: whether it lets us in, has the agent, and knows our tools. Nothing is made there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bot.agents import agent_file, azure, chat_client, classic_definition
from bot.agents.azure import token_source
from bot.agents.comparing import function_of
from bot.agents.foundry_definition import Versions
from bot.agents.project import open_project
from bot.errors import OperatorError, RequestRefused
from bot.findings import Finding
from bot.ports import Clock
from bot.settings import Settings
from bot.types import JsonObject, ToolSpec

PUSH = "Run: python -m bot agent push"
_WORD = "Answer with the word yes."


def address(settings: Settings) -> tuple[str, str]:
    """Where the service is, and the setting that says so; empty where there is none."""
    match settings.agent_backend:
        case "rehearsal":
            return "", ""
        case "chat-completions":
            return settings.openai_base_url, "OPENAI_BASE_URL"
        case _:
            return settings.project_endpoint, "PROJECT_ENDPOINT"


def file(subject: str, settings: Settings) -> Finding | None:
    """agent.toml, where it says something.

    Raises:
        SettingsError: it cannot be used.
    """
    found = agent_file.read(settings)
    return Finding(subject, "ok", f"{settings.agent_file} can be used.") if found != agent_file.AgentFile() else None


async def credential(subject: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> Finding:
    """Whether there is a token, or a key, for the service.

    Raises:
        OperatorError, ServiceUnavailable: there is none.
    """
    endpoint, _ = address(settings)
    chat = settings.agent_backend == "chat-completions"
    if settings.openai_api_key.get_secret_value() and chat:
        return Finding(subject, "ok", "OPENAI_API_KEY is set.")
    if not endpoint or azure.is_plain(endpoint) or (chat and not chat_client.is_azure(endpoint)):
        return Finding(subject, "ok", "None is needed.")
    found = azure.credential_for(endpoint, production=not settings.local, environ=environ)
    try:
        await token_source(found, chat_client.SCOPE if chat else azure.SCOPE)()
    finally:
        await found.close()
    return Finding(subject, "ok", "There is a token of Entra ID for the service.")


async def agent(
    subject: str, tools_subject: str, settings: Settings, tools: Sequence[ToolSpec], clock: Clock
) -> list[Finding]:
    """The agent, or the model, and whether it knows our tools.

    Raises:
        OperatorError, ServiceUnavailable: it is not there, or does not say.
    """
    match settings.agent_backend:
        case "foundry":
            return await _foundry(subject, tools_subject, settings, tools)
        case "foundry-classic":
            return [await _classic(subject, settings, tools, clock)]
        case "chat-completions":
            return [await _chat(subject, settings, tools)]
        case "rehearsal":
            words = "The rehearsal agent answers: fixed rules, no model."
            cure = "Set AGENT_BACKEND to have an agent of yours answer."
            return [Finding(subject, "ok" if settings.local else "note", words, "" if settings.local else cure)]


async def _foundry(subject: str, tools_subject: str, settings: Settings, tools: Sequence[ToolSpec]) -> list[Finding]:
    settings = agent_file.applied(settings)
    found = azure.credential_for(settings.project_endpoint, production=not settings.local)
    async with azure.open_session() as session, found:
        project = open_project(settings.project_endpoint, session, found)
        async with project:
            versions = Versions(project, settings.agent_name)
            version = await versions.used()
    if version is None:
        raise OperatorError(
            f"There is no agent {settings.agent_name} in the project of PROJECT_ENDPOINT.",
            f"Set AGENT_NAME to one that is there, or make it. {PUSH}",
        )
    there = Finding(subject, "ok", f"{versions.name} is there, version {version.get('version') or 'unknown'}.")
    lacking = versions.lacking(version, tools)
    if not lacking:
        return [there, Finding(tools_subject, "ok", "The service knows them all as they are here.")]
    words = "; ".join(f"{one[:1].upper()}{one[1:]}" for one in lacking)
    cure = "Set AGENT_NAME to a version that knows them, or without a version. " if versions.version else ""
    return [there, Finding(tools_subject, "problem", f"{words}.", f"{cure}{PUSH}")]


async def _classic(subject: str, settings: Settings, tools: Sequence[ToolSpec], clock: Clock) -> Finding:
    definition = await classic_definition.create(settings, clock=clock)
    try:
        there = (await definition.compare(tools)).at_service
    finally:
        await definition.close()
    if there is None:
        words = f"There is no agent {settings.agent_name} with this model yet; the first message makes it."
        return Finding(subject, "note", words, f"To have it now, {PUSH[0].lower()}{PUSH[1:]}")
    return Finding(subject, "ok", f"{there.name or there.id} is there; tools go along with each question.")


async def _chat(subject: str, settings: Settings, tools: Sequence[ToolSpec]) -> Finding:
    """The model is asked one word, with one of our tools beside: no list of models says what a server lets us do."""
    settings = agent_file.applied(settings)
    client = chat_client.open_client(settings)
    body: JsonObject = {
        "model": settings.model_deployment_name,
        "messages": [{"role": "user", "content": _WORD}],
    }
    if tools:
        told = function_of(tools[0])
        body["tools"] = [{"type": "function", "function": {key: told[key] for key in told if key != "type"}}]
    try:
        await client.complete(body)
    except RequestRefused as refused:
        raise OperatorError(
            f"{settings.model_deployment_name} does not take a plain question ({refused.code or 'refused'}).",
            "See that MODEL_DEPLOYMENT_NAME names a model for chats, at OPENAI_BASE_URL.",
        ) from None
    finally:
        await client.close()
    return Finding(subject, "ok", f"{settings.model_deployment_name} answers, and takes tools.")
