"""A `NAME.mcp.toml`: one MCP server, how it is reached, and which of its tools are offered."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

from adapters.mcp_secrets import Unset, filled, secret_in, value_of
from bot.errors import ThreadkeeperError
from bot.types import JsonObject

ENDING = ".mcp.toml"
TIMEOUT = 30.0
LONGEST = 3600.0

_KEYS = ("command", "args", "env", "url", "auth", "headers", "tools", "timeout", "prefix", "allow_private", "tool")
_OPTIONS = ("once", "hidden", "approve", "timeout")
_VALUES = ("bearer", "token", "key", "secret", "password", "value", "api_key", "access_token")
"""What a secret is called where somebody writes it into the file."""
_OF_COMMAND, _OF_URL = ("args", "env"), ("auth", "headers", "allow_private")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,32}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


T = TypeVar("T")


class BadFile(ThreadkeeperError):
    """The file cannot be used; `problems` says what to change, a line each, and holds no value of it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What the file says of one tool; None where it leaves that to the server or to the file's own default."""

    once: bool | None = None
    hidden: bool = False
    approve: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ServerFile:
    """One server: a `command` that is started in `folder`, or a `url`. `tools` None: all that it has."""

    name: str
    source: str
    folder: Path
    prefix: str
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tools: frozenset[str] | None = None
    timeout: float = TIMEOUT
    options: Mapping[str, ToolOptions] = field(default_factory=dict[str, ToolOptions])


def read(file: Path, source: str, variables: Mapping[str, str]) -> ServerFile:
    """Read the file; `source` is what people know it by, `variables` what stands for the secrets that it names.

    Raises:
        BadFile: with every problem.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at [^()]*\)$", str(error))  # the rest of its text may quote the file
        raise BadFile([f"it is no TOML {where[0] if where else ''}".strip()]) from None
    except UnicodeDecodeError:
        raise BadFile(["it is no UTF-8 text"]) from None
    except OSError as error:
        raise BadFile([f"it cannot be read ({error.strerror})"]) from None
    return _Reading(file, source, found, variables).read()


class _Reading:
    """The taking apart of one file, in which every problem is noted and reading goes on."""

    def __init__(self, file: Path, source: str, found: JsonObject, variables: Mapping[str, str]) -> None:
        self._file, self._source = file, source
        self._found = found
        self._variables = variables
        self._problems: list[str] = []

    def read(self) -> ServerFile:
        name = self._file.name.removesuffix(ENDING)
        self._known(self._found, _KEYS)
        command, url = self._text("command"), self._text("url")
        self._one_way(command, url)
        made = ServerFile(
            name=name,
            source=self._source,
            folder=self._file.absolute().parent,
            prefix=self._prefix(name),
            command=command,
            args=self._args(),
            env=self._env(),
            url=self._url(url),
            headers=self._headers(),
            tools=frozenset(self._texts("tools")) if "tools" in self._found else None,
            timeout=self._seconds(self._found, "timeout") or TIMEOUT,
            options={tool: self._options(tool, given) for tool, given in self._table("tool").items()},
        )
        if self._problems:
            raise BadFile(self._problems)
        return made

    def _one_way(self, command: str, url: str) -> None:
        if bool(command) == bool(url):
            self._problems.append("it needs either command (with args, env) or url (with auth, headers), and not both")
            return
        kind, other = ("command", _OF_URL) if command else ("url", _OF_COMMAND)
        self._problems += [f"{key} does not go with {kind}: remove it" for key in other if key in self._found]

    def _known(self, found: Mapping[str, object], known: tuple[str, ...], where: str = "") -> None:
        for key in found:
            if key not in known:
                near = difflib.get_close_matches(key.lower(), known, n=1)
                meant = f"the nearest is {near[0]}" if near else f"the keys are {', '.join(known)}"
                self._problems.append(f"{where}{key[:40]} is not known: {meant}")

    def _text(self, key: str) -> str:
        value = self._found.get(key, "")
        if not isinstance(value, str):
            self._problems.append(f"{key} must be a text in quotes")
            return ""
        return value.strip()

    def _texts(self, key: str) -> list[str]:
        value = self._found.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in cast("list[object]", value)):
            self._problems.append(f'{key} must be a list of texts, such as ["one", "two"]')
            return []
        return cast("list[str]", value)

    def _table(self, key: str) -> dict[str, object]:
        value = self._found.get(key, {})
        if not isinstance(value, dict):
            self._problems.append(f"{key} must be a table, such as [{key}]")
            return {}
        return cast("dict[str, object]", value)

    def _seconds(self, found: Mapping[str, object], key: str, where: str = "") -> float | None:
        value = found.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
            self._problems.append(f"{where}{key} must be a number of seconds above 0, and at most {LONGEST:g}")
            return None
        return float(value)

    def _prefix(self, name: str) -> str:
        prefix = self._text("prefix") if "prefix" in self._found else re.sub(r"[^A-Za-z0-9_-]", "_", name)[:32]
        if not _PREFIX.fullmatch(prefix):
            self._problems.append("prefix must be at most 32 letters, digits, _ or -")
        return prefix

    def _args(self) -> tuple[str, ...]:
        return self._set("args", partial(filled, self._texts("args"), self._variables)) or ()

    def _env(self) -> dict[str, str]:
        """A list of names, or a table from the server's name of a variable to ours."""
        given = self._found.get("env", [])
        if isinstance(given, dict):
            return self._values("env", cast("dict[str, object]", given))
        wanted = self._texts("env")
        return {one: value for one in wanted if (value := self._set("env", partial(self._value, one))) is not None}

    def _headers(self) -> dict[str, str]:
        given = self._table("headers")
        self._problems += ["headers has a name that is none" for name in given if not _HEADER.fullmatch(name)]
        headers = self._values("headers", given)
        if "auth" in self._found:
            if any(name.lower() == "authorization" for name in given):
                self._problems.append("auth and headers.Authorization are one header: remove one")
            headers["Authorization"] = f"Bearer {self._token(self._table('auth'))}"
        return headers

    def _token(self, auth: Mapping[str, object]) -> str:
        self._known({key: None for key in auth if key.lower() not in _VALUES}, ("type", "env"), "auth: ")
        if any(key.lower() in _VALUES for key in auth):
            self._problems.append(
                'auth: a secret never stands in this file: name its environment variable, env = "NAME"'
            )
        elif auth.get("type", "bearer") != "bearer":
            self._problems.append('auth: type must be "bearer"; for other ways, name variables in headers')
        elif "env" not in auth:
            self._problems.append("auth: env is missing: the name of the environment variable that holds the token")
        else:
            return self._set("auth.env", partial(self._value, auth["env"])) or ""
        return ""

    def _values(self, where: str, given: Mapping[str, object]) -> dict[str, str]:
        read = {key: self._set(f"{where}.{key[:40]}", partial(self._value, name)) for key, name in given.items()}
        return {key: value for key, value in read.items() if value is not None}

    def _value(self, name: object) -> str:
        value = value_of(name, self._variables)
        if not value.isprintable():
            raise Unset("names an environment variable whose value has line breaks or other signs that cannot be sent")
        return value

    def _set(self, where: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Unset as problem:
            self._problems.append(f"{where} {problem}")
            return None

    def _url(self, url: str) -> str:
        if not url:
            return ""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            host, parts = "", urlsplit("")
        if parts.scheme not in ("https", "http") or not host or not url.isprintable() or " " in url:
            self._problems.append("url must be an address, such as https://example.com/mcp")
        elif secret_in(url):
            self._problems.append("url holds what looks like a secret: send it by headers or auth instead")
        elif parts.scheme == "http" and not _is_loopback(host) and not self._allowed():
            self._problems.append(
                "url is not encrypted, and not on this machine: use https, or set allow_private = true"
                " where the network between is your own"
            )
        return url

    def _allowed(self) -> bool:
        value = self._found.get("allow_private", False)
        if not isinstance(value, bool):
            self._problems.append("allow_private must be true or false")
        return value is True

    def _options(self, tool: str, given: object) -> ToolOptions:
        where = f"tool.{tool[:64]}: "
        if not isinstance(given, dict):
            self._problems.append(f"{where}it must be a table, such as [tool.{tool[:64]}]")
            return ToolOptions()
        table = cast("dict[str, object]", given)
        self._known(table, _OPTIONS, where)
        flags = {key: table.get(key) for key in ("once", "hidden", "approve")}
        for key, value in flags.items():
            if value is not None and not isinstance(value, bool):
                self._problems.append(f"{where}{key} must be true or false")
        once, hidden, approve = (value if isinstance(value, bool) else None for value in flags.values())
        return ToolOptions(once, bool(hidden), bool(approve), self._seconds(table, "timeout", where))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
