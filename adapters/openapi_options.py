"""`name.openapi.toml`: where a described service is, how one signs in, and which of its operations are tools."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.http_guard import address_problem
from adapters.result import OUTPUT_LIMIT
from bot.errors import ThreadkeeperError
from bot.types import Json

LEAST_RESULT = 256

EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Text = Annotated[str, Field(min_length=1)]

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]{0,63})\}")
_SECRETS = frozenset(
    {"access_token", "api_key", "bearer", "client_secret", "key", "pass", "password", "secret", "token", "value"}
)
"""What a secret is called where somebody writes it into the file."""
_NOT_HERE = (
    'a secret never stands in this file: put it into an environment variable, and name that here, env = "CRM_TOKEN"'
)


class BadOptions(ThreadkeeperError):
    """The file cannot be used; `problems` has a line for each thing to change. None repeats a value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class NotOffered(ThreadkeeperError):
    """The file says that its tools are not to be offered here."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoAuth(_Table):
    """The service asks nobody who they are."""

    type: Literal["none"] = "none"


class ApiKey(_Table):
    """A key in a header, in the query or in a cookie."""

    type: Literal["api_key"]
    env: EnvName
    name: Text
    place: Literal["header", "query", "cookie"] = Field(default="header", alias="in")


class Bearer(_Table):
    """A token that does not change: `Authorization: Bearer ...`."""

    type: Literal["bearer"]
    env: EnvName


class Basic(_Table):
    """A user and a password (RFC 7617); the user may be a variable too, the password may be missing."""

    type: Literal["basic"]
    user: str = ""
    user_env: EnvName | None = None
    env: EnvName | None = None


class ClientCredentials(_Table):
    """OAuth 2.0 client credentials (RFC 6749, 4.4). `send`: where the token service wants the secret."""

    type: Literal["oauth_client_credentials"]
    token_address: Text
    env: EnvName
    client_id: str = ""
    client_id_env: EnvName | None = None
    scope: str = ""
    audience: str = ""
    send: Literal["basic", "body"] = "basic"


Auth = NoAuth | ApiKey | Bearer | Basic | ClientCredentials


class OperationOptions(_Table):
    """What one operation is told. None: as for the others. `hidden`: arguments with a value the agent never sees."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: Text | None = None
    timeout: float | None = Field(default=None, gt=0, le=600)
    once: bool | None = None
    approve: bool | None = None
    hidden: dict[str, Json] = Field(default_factory=dict[str, Json])
    max_result: int | None = Field(default=None, ge=LEAST_RESULT, le=OUTPUT_LIMIT)
    idempotency: bool | None = None
    keep: list[Text] = Field(default_factory=list[str])


class Options(_Table):
    """The whole file. `timeout` in seconds; `idempotency`: the service knows the header Idempotency-Key.

    `only`: variables, and the values that they must have for the tools to be offered.
    """

    address: Text
    only: dict[EnvName, str] = Field(default_factory=dict[str, str])
    allow_private: bool = False
    operations: list[Text] = Field(default_factory=list[str])
    timeout: float = Field(default=30.0, gt=0, le=600)
    max_result: int = Field(default=OUTPUT_LIMIT, ge=LEAST_RESULT, le=OUTPUT_LIMIT)
    idempotency: bool = False
    auth: Auth = Field(default_factory=NoAuth, discriminator="type")
    operation: dict[str, OperationOptions] = Field(default_factory=dict[str, OperationOptions])


_KINDS: dict[str, type[_Table]] = {
    "none": NoAuth,
    "api_key": ApiKey,
    "bearer": Bearer,
    "basic": Basic,
    "oauth_client_credentials": ClientCredentials,
}


def read_options(text: str, environ: Mapping[str, str] | None = None) -> Options:
    """Read the file's text. `${NAME}` stands for a variable's value, in every text but those of `auth`.

    Raises:
        NotOffered: `only` asks for variables that have other values.
        BadOptions: with every problem, none of which repeats a value.
    """
    environ = environ or {}
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadOptions([f"it is no TOML: {error}"]) from None
    if any(environ.get(name) != value for name, value in _wanted(found).items()):
        raise NotOffered("it is not asked for")
    lacking: list[str] = []
    found = {key: value if key == "auth" else _filled(value, key, environ, lacking) for key, value in found.items()}
    if lacking:
        raise BadOptions(lacking)
    try:
        options = Options.model_validate(found)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise BadOptions([_told(problem["loc"], problem["type"], problem["msg"]) for problem in problems]) from None
    if wrong := _wrong(options):
        raise BadOptions(wrong)
    return options


def _wanted(found: Mapping[str, Json]) -> Mapping[str, Json]:
    wanted = found.get("only")
    return cast("Mapping[str, Json]", wanted) if isinstance(wanted, dict) else {}


def _filled(value: Json, where: str, environ: Mapping[str, str], problems: list[str]) -> Json:
    if isinstance(value, dict):
        inner = cast("dict[str, Json]", value)
        return {key: _filled(one, f"{where}.{key}", environ, problems) for key, one in inner.items()}
    if isinstance(value, list):
        return [_filled(one, where, environ, problems) for one in cast("list[Json]", value)]
    if not isinstance(value, str):
        return value
    unset = [name for name in _REFERENCE.findall(value) if not environ.get(name)]
    problems += [
        f"{where} names the environment variable {name}, which is not set: set it there or in .env" for name in unset
    ]
    return _REFERENCE.sub(lambda found: environ.get(found[1], ""), value)


def _wrong(options: Options) -> list[str]:
    """What the keys are fine for, and their values together are not."""
    problems: list[str] = []
    if why := address_problem(options.address, private=options.allow_private):
        problems.append(f"address: {why}")
    auth = options.auth
    if isinstance(auth, Basic) and bool(auth.user) == bool(auth.user_env):
        problems.append("auth: name the user, by user or by user_env")
    if isinstance(auth, ClientCredentials):
        if bool(auth.client_id) == bool(auth.client_id_env):
            problems.append("auth: name the client, by client_id or by client_id_env")
        if why := address_problem(auth.token_address, private=options.allow_private):
            problems.append(f"auth.token_address: {why}")
    return problems


def _told(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    where, table, key = _place(loc)
    if kind == "extra_forbidden":
        if loc[0] == "auth" and key.lower() in _SECRETS:
            return f"{where}: {_NOT_HERE}"
        return f"{where} {unknown(key, _keys(table))}"
    if kind == "string_pattern_mismatch" and (key == "env" or key.endswith("_env")):
        return f"{where} is no name of an environment variable in capitals; {_NOT_HERE}"
    if kind.startswith("union_tag"):
        return f"auth: type must be one of {', '.join(_KINDS)}"
    if kind == "missing":
        return f"{where} is missing"
    return f"{where}: {message}"


def _place(loc: tuple[int | str, ...]) -> tuple[str, type[_Table], str]:
    """A place in the file as its author wrote it, the table it is in, and its key."""
    names = [str(part) for part in loc]
    table: type[_Table] = Options
    if names[0] == "auth" and len(names) > 1:
        table = _KINDS.get(names[1], NoAuth)
        del names[1]  # pydantic names the kind, which stands nowhere in the file
    elif names[0] == "operation" and len(names) > 2:
        table = OperationOptions
    return ".".join(names), table, names[-1]


def _keys(table: type[_Table]) -> list[str]:
    fields: dict[str, Any] = table.model_fields
    return [info.alias or name for name, info in fields.items()]


def unknown(key: str, known: list[str], most: int = 12) -> str:
    """That a name is not known, with the one that may be meant or those that there are."""
    near = difflib.get_close_matches(key, known, 1, 0.6) or difflib.get_close_matches(key.lower(), known, 1, 0.6)
    if near:
        return f"is not known: the nearest is {near[0]}"
    shown = ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
    return f"is not known: there are {shown or 'none'}"
