"""The environment, read once. Every problem is reported at once, with the variable's name and its cure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.errors import SettingsError

Names = Annotated[tuple[str, ...], NoDecode]
"""A list in one variable, separated by commas or spaces."""

AGENT_FILE = Path("agent.toml")
LEAST_KEY = 16
"""Characters of a key that anybody may try who reaches the port."""
LOOPBACK_NAMES = ("localhost",)
DEFAULT_SERVICE_HOSTS = ("smba.trafficmanager.net", "*.botframework.com")
SERVICE_HOSTS = {
    "public": DEFAULT_SERVICE_HOSTS,
    "usgov": ("smba.infra.gov.teams.microsoft.us", "smba.infra.dod.teams.microsoft.us", "*.botframework.azure.us"),
    "china": ("*.botframework.azure.cn",),
}
"""By MICROSOFT_CLOUD. https://learn.microsoft.com/microsoftteams/platform/concepts/sovereign-cloud"""
DEFAULT_FILE_HOSTS = ("*.sharepoint.com", "*.1drv.com", "onedrive.live.com")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_near(host: str) -> bool:
    """Whether a host can only be this machine or one of a private network."""
    if is_loopback(host) or (host and "." not in host and ":" not in host) or host.endswith((".internal", ".local")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return False


def _guid(value: str, words: str) -> str:
    """An id as it is written everywhere, or nothing; else these words."""
    try:
        return value and str(UUID(value))
    except ValueError:
        raise ValueError(words) from None


class Settings(BaseSettings):
    """What the environment (or `.env`) says. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
    )

    host: str = "127.0.0.1"
    port: int = Field(3978, ge=0, le=65535)
    database_url: str = "sqlite+aiosqlite:///threadkeeper.db"
    database_auth: Literal["password", "entra"] = "password"

    agent_backend: Literal["rehearsal", "foundry", "foundry-classic", "chat-completions"] = "rehearsal"
    project_endpoint: str = ""
    agent_id: str = ""
    agent_name: str = "threadkeeper"
    model_deployment_name: str = ""
    openai_base_url: str = ""
    openai_api_key: SecretStr = SecretStr("")
    agent_instructions: str = ""
    agent_file: Path = AGENT_FILE
    model_context_tokens: int = Field(32_000, ge=2_000)

    microsoft_app_id: str = ""
    microsoft_app_password: SecretStr = SecretStr("")
    microsoft_app_type: Literal["SingleTenant", "UserAssignedMSI", "MultiTenant"] = "SingleTenant"
    microsoft_app_tenant_id: str = ""
    microsoft_app_certificate: Path | None = None
    microsoft_app_certificate_password: SecretStr = SecretStr("")
    microsoft_cloud: Literal["public", "usgov", "china"] = "public"
    allowed_tenants: Names = ()
    allowed_service_hosts: Names = DEFAULT_SERVICE_HOSTS
    allowed_file_hosts: Names = DEFAULT_FILE_HOSTS
    admins: Names = ()
    say_api_key: SecretStr = SecretStr("")
    teams_markdown: Literal["safe", "extended"] = "safe"
    teams_sensitivity_label: str = ""

    group_threads: Literal["person", "shared"] = "person"
    edited_messages: Literal["word", "redo"] = "word"
    teams_receive_all: bool = False
    thread_max_messages: int = Field(200, ge=4)
    thread_max_tokens: int = Field(60_000, ge=1_000)
    thread_idle_days: float = Field(30, gt=0)
    retention_days: float = Field(90, ge=0)
    run_deadline_seconds: int = Field(300, ge=5, le=3600)
    message_max_age_minutes: float = Field(60, gt=0)
    approval_minutes: float = Field(60, gt=0, le=7 * 24 * 60)

    bot_name: str = "Threadkeeper"
    support_contact: str = ""
    tools_dir: Path | None = None
    knowledge_dir: Path | None = None
    knowledge_index: Path | None = None
    tickets: Literal["", "records", "github", "jira", "off"] = ""
    tickets_address: str = ""
    tickets_project: str = ""
    tickets_user: str = ""
    tickets_token: SecretStr = SecretStr("")
    tool_roles: Annotated[tuple[tuple[str, tuple[str, ...]], ...], NoDecode] = ()
    tool_calls_per_minute: int = Field(240, ge=0)
    audit_arguments: bool = False

    @field_validator("allowed_tenants", "allowed_service_hosts", "allowed_file_hosts", "admins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split() if part)
        return value

    @field_validator("tool_roles", mode="before")
    @classmethod
    def _roles(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        roles: dict[str, tuple[str, ...]] = {}
        for part in filter(None, (part.strip() for part in value.split(";"))):
            role, equals, people = part.partition("=")
            role = role.strip()
            members = tuple(people.replace(",", " ").split())
            if not equals or not role or not members or role in (*roles, "admin"):
                raise ValueError(
                    "must be roles with the ids of people, such as hr=ID,ID;sales=ID; each role once, and not "
                    "admin, which ADMINS names"
                )
            roles[role] = members
        return tuple(roles.items())

    @field_validator("teams_sensitivity_label")
    @classmethod
    def _label(cls, value: str) -> str:
        return _guid(value, "must be the id (a GUID) of a sensitivity label of Microsoft Purview")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite+aiosqlite:///", "postgresql+asyncpg://")):
            raise ValueError(
                "must start with sqlite+aiosqlite:/// (a file) or postgresql+asyncpg:// (a server), "
                "such as sqlite+aiosqlite:///threadkeeper.db"
            )
        return value

    @field_validator("microsoft_app_id")
    @classmethod
    def _app_id(cls, value: str) -> str:
        return _guid(value, "must be the app's id of Entra, such as 11111111-2222-3333-4444-555555555555")

    @field_validator("project_endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        url = urlsplit(value)
        local = url.scheme == "http" and is_loopback(url.hostname or "")
        if value and not local and (url.scheme != "https" or not url.hostname):
            raise ValueError(
                "must be the https address of the Foundry project, such as "
                "https://NAME.services.ai.azure.com/api/projects/PROJECT"
            )
        return value.rstrip("/")

    @field_validator("openai_base_url")
    @classmethod
    def _near_or_https(cls, value: str) -> str:
        url = urlsplit(value)
        near = url.scheme == "http" and is_near(url.hostname or "")
        if value and not near and (url.scheme != "https" or not url.hostname):
            raise ValueError(
                "must be the address before /chat/completions, such as https://NAME.openai.azure.com/openai/v1 or "
                "http://127.0.0.1:11434/v1; http goes to this machine or a private network only"
            )
        if url.username or url.password or url.query:
            raise ValueError(
                "must hold no key (put it in OPENAI_API_KEY) and no query (in Azure it ends in /openai/v1, without "
                "api-version)"
            )
        return value.rstrip("/").removesuffix("/chat/completions")

    @field_validator("say_api_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < LEAST_KEY:
            raise ValueError(
                f"must have at least {LEAST_KEY} characters; make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return value

    @field_validator("agent_file")
    @classmethod
    def _existing_file(cls, value: Path) -> Path:
        if value != AGENT_FILE and not value.is_file():
            raise ValueError(f"{value} is not a file; make it, or unset AGENT_FILE")
        return value

    @field_validator("microsoft_app_certificate")
    @classmethod
    def _existing_certificate(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{value} is not a file; name the PEM file with the certificate and its private key")
        return value

    @field_validator("tools_dir")
    @classmethod
    def _existing_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a folder; make it, or unset TOOLS_DIR")
        return value

    @field_validator("knowledge_dir")
    @classmethod
    def _existing_documents(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a folder; make it, or unset KNOWLEDGE_DIR")
        return value

    @field_validator("knowledge_index")
    @classmethod
    def _place_for_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and (value.is_dir() or not value.absolute().parent.is_dir()):
            raise ValueError(f"{value} must be a file (it is made) in a folder that is there")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = [
            *self._channel_problems(),
            *self._database_problems(),
            *self._agent_problems(),
            *self._tickets_problems(),
            *self._retention_problems(),
        ]
        if problems:
            raise SettingsError(problems)
        return self

    def _channel_problems(self) -> list[str]:
        problems: list[str] = []
        if self.local:
            if not is_loopback(self.host):
                problems.append(
                    f"HOST is {self.host}, but without MICROSOFT_APP_ID anybody could speak to the bot: "
                    "set MICROSOFT_APP_ID (and its credential), or HOST=127.0.0.1 for the local mode."
                )
            return problems
        secret = bool(self.microsoft_app_password.get_secret_value())
        if self.microsoft_app_type != "UserAssignedMSI" and not secret and self.microsoft_app_certificate is None:
            problems.append(
                "MICROSOFT_APP_PASSWORD is not set: put the app's client secret there, name its certificate in "
                "MICROSOFT_APP_CERTIFICATE, or set MICROSOFT_APP_TYPE=UserAssignedMSI to use a managed identity."
            )
        if secret and self.microsoft_app_certificate is not None:
            problems.append(
                "MICROSOFT_APP_PASSWORD and MICROSOFT_APP_CERTIFICATE are both set: unset the one that is not used."
            )
        if self.microsoft_app_type != "MultiTenant" and not self.microsoft_app_tenant_id:
            problems.append(
                f"MICROSOFT_APP_TENANT_ID is not set: a {self.microsoft_app_type} bot needs its tenant's id."
            )
        if not self.allowed_service_hosts:
            problems.append(
                "ALLOWED_SERVICE_HOSTS is empty: name the hosts that the bot's token may go to, "
                f"or unset it for {', '.join(DEFAULT_SERVICE_HOSTS)}."
            )
        return problems

    def _database_problems(self) -> list[str]:
        if self.database_auth == "password":
            return []
        url = urlsplit(self.database_url)
        if url.scheme != "postgresql+asyncpg":
            return ["DATABASE_AUTH is entra, but DATABASE_URL names a file: name a PostgreSQL server, or unset it."]
        query = {part.split("=")[0] for part in url.query.split("&")}
        if url.username and not url.password and not query & {"password", "ssl", "sslmode"}:
            return []
        return [
            "DATABASE_AUTH is entra, so DATABASE_URL must be postgresql+asyncpg://USER@HOST/NAME: USER is the "
            "identity's name as the server knows it. Leave out the password and ssl: a token and checked TLS take "
            "their place."
        ]

    def _agent_problems(self) -> list[str]:
        match self.agent_backend:
            case "rehearsal":
                return []
            case "chat-completions":
                return self._model_problems()
            case "foundry":
                named = self.agent_name
                cure = "AGENT_NAME is not set: name an agent of the project."
            case "foundry-classic":
                named = self.agent_id or self.model_deployment_name
                cure = (
                    "AGENT_ID is not set: name an agent of the project, or set MODEL_DEPLOYMENT_NAME "
                    "and an agent is made for it."
                )
        problems: list[str] = []
        if not self.project_endpoint:
            problems.append(
                f"PROJECT_ENDPOINT is not set: AGENT_BACKEND={self.agent_backend} needs the project's address, "
                "such as https://NAME.services.ai.azure.com/api/projects/PROJECT."
            )
        return problems if named else [*problems, cure]

    def _model_problems(self) -> list[str]:
        problems: list[str] = []
        if not self.openai_base_url:
            problems.append(
                "OPENAI_BASE_URL is not set: AGENT_BACKEND=chat-completions needs the server's address, such as "
                "https://NAME.openai.azure.com/openai/v1, or http://127.0.0.1:11434/v1 for Ollama."
            )
        if not self.model_deployment_name:
            problems.append(
                "MODEL_DEPLOYMENT_NAME is not set: name the model (in Azure its deployment) that "
                "AGENT_BACKEND=chat-completions asks."
            )
        return problems

    def _tickets_problems(self) -> list[str]:
        needed = {
            "github": {"tickets_address": "https://api.github.com/repos/OWNER/NAME", "tickets_token": "a token"},
            "jira": {
                "tickets_address": "https://NAME.atlassian.net/rest/api/2",
                "tickets_project": "the project's key",
                "tickets_user": "the account's e-mail address",
                "tickets_token": "an API token",
            },
        }.get(self.tickets, {})
        given = {name: str(getattr(self, name)) for name in needed}
        return [
            f"{name.upper()} is not set: TICKETS={self.tickets} needs it, such as {example}."
            for name, example in needed.items()
            if not given[name]
        ]

    def _retention_problems(self) -> list[str]:
        if not self.retention_days or self.retention_days >= self.thread_idle_days:
            return []
        return [
            f"RETENTION_DAYS is {self.retention_days:g}, less than THREAD_IDLE_DAYS ({self.thread_idle_days:g}): "
            "a conversation would be deleted while it can still go on. Raise it, lower the other, or set 0 to keep all."
        ]

    @property
    def service_hosts(self) -> tuple[str, ...]:
        """The hosts that the bot's token may go to: those of the cloud, unless others are named."""
        named = self.allowed_service_hosts != DEFAULT_SERVICE_HOSTS
        return self.allowed_service_hosts if named else SERVICE_HOSTS[self.microsoft_cloud]

    @property
    def for_tools(self) -> dict[str, str]:
        """What the shipped tools are told, by variables' names. Where nobody chose, only a rehearsal has tickets."""
        chosen = self.tickets or ("records" if self.agent_backend == "rehearsal" else "off")
        return {
            "DATABASE_URL": self.database_url,
            "KNOWLEDGE_DIR": str(self.knowledge_dir or ""),
            "KNOWLEDGE_INDEX": str(self.knowledge_index or ""),
            "TICKETS": chosen,
            "TICKETS_ADDRESS": self.tickets_address,
            "TICKETS_PROJECT": self.tickets_project,
            "TICKETS_USER": self.tickets_user,
            "TICKETS_TOKEN": self.tickets_token.get_secret_value(),
        }

    @property
    def local(self) -> bool:
        """Local mode: no app id, so no sender can be verified, so only this machine may speak."""
        return not self.microsoft_app_id


def load(env_file: Path | None = Path(".env"), **overrides: object) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: with every problem found, one line each.
    """
    problems: list[str] = []
    sound: dict[str, object] = {}
    try:
        return _read(env_file, overrides)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = str(problem["loc"][0])
            problems.append(_said(name, problem))
            sound[name] = Settings.model_fields[name].default
    try:  # what the variables say together, as if the broken ones were unset
        _read(env_file, overrides | sound)
    except SettingsError as error:
        broken = re.compile(rf"\b({'|'.join(sound).upper()})\b")
        problems += [problem for problem in error.problems if not broken.search(problem)]
    raise SettingsError(problems)


def _said(name: str, problem: Mapping[str, Any]) -> str:
    """A problem in words for who set the variable. What was given is quoted only where a number or a choice was asked
    for: no secret is either."""
    context, default = problem.get("ctx", {}), Settings.model_fields[name].default
    bound = f"{next((value for key, value in context.items() if key in ('gt', 'ge', 'le')), 0):g}"
    kinds = {
        "int_parsing": "give a whole number",
        "float_parsing": "give a number",
        "bool_parsing": "give true or false",
        "literal_error": f"give {context.get('expected', '')}",
        "greater_than": f"give more than {bound}",
        "greater_than_equal": f"give {bound} or more",
        "less_than_equal": f"give {bound} or less",
    }
    words = kinds.get(problem["type"])
    if words is None:
        return f"{name.upper()}: {problem['msg'].removeprefix('Value error, ')}."
    unset = f" (unset it is {default})" if default not in ("", None) else ""
    return f"{name.upper()} is {problem['input']}: {words}{unset}."


def _read(env_file: Path | None, overrides: dict[str, object]) -> Settings:
    return Settings(_env_file=env_file, **overrides)  # pyright: ignore[reportCallIssue, reportArgumentType]
