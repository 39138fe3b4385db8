"""A Teams app to look at."""

from __future__ import annotations

from typing import Any

from bot import settings as environment
from bot.settings import Settings
from bot.types import JsonObject
from infra.teams.manifest import Publisher, manifest

APP_ID = "11111111-2222-3333-4444-555555555555"
CONTOSO = Publisher("Contoso", "https://contoso.example", "https://contoso.example/p", "https://contoso.example/t")


def settings(**values: Any) -> Settings:
    base: dict[str, Any] = {"microsoft_app_id": APP_ID, "microsoft_app_type": "UserAssignedMSI"}
    return environment.load(env_file=None, **base | {"microsoft_app_tenant_id": "tenant"} | values)


def made(**values: Any) -> JsonObject:
    """The manifest of a bot with these settings."""
    return manifest(settings(**values), CONTOSO, "1.2.3", ("contoso.example",))
