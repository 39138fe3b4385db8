"""Who the bot is, by the token that it gets; and where its senders' keys are."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import cast
from uuid import UUID

from bot.channels.bot_token import bot_token
from bot.channels.certificate import lasting
from bot.channels.cloud import CLOUDS
from bot.channels.fields import string_at
from bot.findings import Finding
from bot.ports import Clock
from bot.settings import Settings
from bot.types import JsonObject


def keys_address(settings: Settings) -> str:
    """Where the keys are published that the Bot Framework signs with."""
    return CLOUDS[settings.microsoft_cloud].metadata_url


async def identity(credential: str, ids: str, settings: Settings, clock: Clock) -> list[Finding]:
    """Whether the bot gets its token, and whether the token is of the app and the tenant that the settings name.

    Raises:
        OperatorError: the credential is refused, or cannot be read.
        DeliveryFailed: the token service does not answer.
    """
    dated = await asyncio.to_thread(_dated, credential, settings, clock.now())
    if any(finding.standing == "problem" for finding in dated):
        return dated
    token = bot_token(settings, CLOUDS[settings.microsoft_cloud], clock)
    try:
        claims = _claims(await token.get())
    finally:
        await token.close()
    there = Finding(credential, "ok", "The bot gets its token from Entra ID.")
    return [there, *dated, *_ids(ids, settings, claims)]


def _dated(subject: str, settings: Settings, now: float) -> list[Finding]:
    file = settings.microsoft_app_certificate
    return [] if file is None else lasting(subject, file, now)


def _ids(subject: str, settings: Settings, claims: JsonObject) -> list[Finding]:
    app = string_at(claims, "appid") or string_at(claims, "azp")
    tenant = string_at(claims, "tid")
    if not app:  # a token that only its reader can read
        return []
    found: list[Finding] = []
    if app.lower() != settings.microsoft_app_id.lower():
        words = f"The token is of the app {app}, and MICROSOFT_APP_ID is {settings.microsoft_app_id}."
        cure = "Set MICROSOFT_APP_ID to the app id of the Azure Bot resource and of the Teams app."
        found.append(Finding(subject, "problem", words, cure))
    named = settings.microsoft_app_tenant_id
    if settings.microsoft_app_type != "MultiTenant" and _is_id(named) and tenant and tenant.lower() != named.lower():
        words = f"The token is of the tenant {tenant}, and MICROSOFT_APP_TENANT_ID is {named}."
        cure = "Set MICROSOFT_APP_TENANT_ID to the tenant of the app's registration."
        found.append(Finding(subject, "problem", words, cure))
    return found or [Finding(subject, "ok", f"The token is of MICROSOFT_APP_ID {app}, tenant {tenant or 'unnamed'}.")]


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _claims(token: str) -> JsonObject:
    """What the token says of itself. It is our own, so nothing is verified; nothing of it is kept."""
    _, _, rest = token.partition(".")
    payload = rest.partition(".")[0]
    try:
        said: object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return cast(JsonObject, said) if isinstance(said, dict) else {}
