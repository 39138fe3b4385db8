"""The manifest of the Teams app, at the newest released version of Microsoft's schema.

https://learn.microsoft.com/microsoft-365/extensibility/schema/?view=m365-app-1.30
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.commands import WORDS
from bot.errors import SettingsError
from bot.settings import Settings
from bot.types import Command, Control, JsonObject
from infra.teams.icons import ACCENT
from infra.teams.words import COMMANDS, SHORT, full_description

VERSION = "1.30"
SCHEMA = f"https://developer.microsoft.com/json-schemas/teams/v{VERSION}/MicrosoftTeams.schema.json"
COLOUR_FILE, OUTLINE_FILE = "color.png", "outline.png"

SHORT_NAME, FULL_NAME, DEVELOPER_NAME = 30, 100, 32
"""Characters, as the schema allows."""
SCOPES = ("personal", "team", "groupChat")
RECEIVE_ALL = ("ChatMessage.Read.Chat", "ChannelMessage.Read.Group")
"""https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/enable-receive-all-chat-messages"""

_SEMVER = re.compile(r"\d+\.\d+\.\d+")
_DOMAIN = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who stands behind the app: Teams shows the name and the three pages."""

    name: str = ""
    website: str = ""
    privacy: str = ""
    terms: str = ""


def manifest(settings: Settings, publisher: Publisher, version: str, domains: tuple[str, ...] = ()) -> JsonObject:
    """The content of manifest.json.

    Raises:
        SettingsError: with each setting or option that is missing, or is not as Teams wants it.
    """
    problems = [
        *_setting_problems(settings),
        *_publisher_problems(publisher),
        *_form_problems(version, domains),
    ]
    if problems:
        raise SettingsError(problems)
    made: JsonObject = {
        "$schema": SCHEMA,
        "manifestVersion": VERSION,
        "version": version,
        "id": settings.microsoft_app_id,
        "developer": {
            "name": publisher.name,
            "websiteUrl": publisher.website,
            "privacyUrl": publisher.privacy,
            "termsOfUseUrl": publisher.terms,
        },
        "name": {"short": settings.bot_name, "full": f"{settings.bot_name}, an AI assistant"},
        "description": {"short": SHORT, "full": full_description(settings)},
        "icons": {"color": COLOUR_FILE, "outline": OUTLINE_FILE},
        "accentColor": "#{:02X}{:02X}{:02X}".format(*ACCENT),
        "bots": [_bot(settings.microsoft_app_id)],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": list(domains),
        "defaultInstallScope": "personal",
        "defaultGroupCapability": {"team": "bot", "groupchat": "bot"},
    }
    return made | (_receive_all(settings.microsoft_app_id) if settings.teams_receive_all else {})


def commands() -> list[JsonObject]:
    """The menu: each command by the first word that the bot knows for it."""
    first: dict[Command | Control, str] = {}
    for word, meaning in WORDS.items():
        first.setdefault(meaning, word)
    return [{"title": first[meaning], "description": words} for meaning, words in COMMANDS.items()]


def _bot(app_id: str) -> JsonObject:
    # a list a scope, as the schema asks; commands and not prompts, for those vanish behind a welcome
    groups = [scope for scope in SCOPES if scope != "personal"]
    lists: list[JsonObject] = [{"scopes": scopes, "commands": commands()} for scopes in (["personal"], groups)]
    return {
        "botId": app_id,
        "scopes": list(SCOPES),
        "isNotificationOnly": False,
        "supportsCalling": False,
        "supportsVideo": False,
        "supportsFiles": True,
        "commandLists": lists,
    }


def _receive_all(app_id: str) -> JsonObject:
    granted: list[JsonObject] = [{"name": name, "type": "Application"} for name in RECEIVE_ALL]
    return {
        "webApplicationInfo": {"id": app_id, "resource": f"api://botid-{app_id}"},
        "authorization": {"permissions": {"resourceSpecific": granted}},
    }


def _setting_problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    if not settings.microsoft_app_id:  # one that is set is an id: the settings take no other
        problems.append(
            "MICROSOFT_APP_ID must be the bot's app id, such as 11111111-2222-3333-4444-555555555555: "
            "set it, or say --app-id."
        )
    if not 0 < len(settings.bot_name) <= SHORT_NAME:
        problems.append(f"BOT_NAME has {len(settings.bot_name)} characters, and Teams shows 1 to {SHORT_NAME}.")
    if re.search(r"\bteams\b|microsoft", settings.bot_name, re.IGNORECASE):
        problems.append("BOT_NAME has Teams or Microsoft in it, which no app's name may have: choose another.")
    return problems


def _publisher_problems(publisher: Publisher) -> list[str]:
    problems: list[str] = []
    if not 0 < len(publisher.name) <= DEVELOPER_NAME:
        problems.append(f"--developer must name your organisation, with 1 to {DEVELOPER_NAME} characters.")
    pages = {"--website": publisher.website, "--privacy": publisher.privacy, "--terms": publisher.terms}
    what = {
        "--website": "about the app, or of your support",
        "--privacy": "on what is kept of people's words",
        "--terms": "with the terms of use",
    }
    for option, page in pages.items():
        url = urlsplit(page)
        if url.scheme != "https" or not url.hostname:
            problems.append(f"{option} must be the https address of the page {what[option]}.")
    return problems


def _form_problems(version: str, domains: tuple[str, ...]) -> list[str]:
    problems = [
        f"--domain {domain} is no host name: give it without https:// and without a path."
        for domain in domains
        if not _DOMAIN.fullmatch(domain)
    ]
    if not _SEMVER.fullmatch(version):
        problems.append(f"--version {version} must be three numbers, such as 1.0.0, higher than at the last upload.")
    return problems
