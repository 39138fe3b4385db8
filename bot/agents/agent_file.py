"""agent.toml: the agent's definition as a file. What it does not name stays as the service has it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from bot.errors import SettingsError
from bot.settings import Settings
from bot.types import JsonObject

BOT_NAME = "{BOT_NAME}"
"""Stands in the instructions for what BOT_NAME says."""

TOOL_TYPES = (
    "code_interpreter",
    "file_search",
    "web_search",
    "mcp",
    "openapi",
    "azure_ai_search",
    "azure_function",
    "bing_grounding",
    "image_generation",
    "browser_automation",
    "connected_agent",
    "a2a",
)
"""The services' tools, to tell a misspelt one. The list is theirs and grows: what resembles none is let through."""
SECRETS = ("authorization", "headers")
"""Keys of a tool that hold a secret where they hold anything."""

MOST_INSTRUCTIONS = 256_000
MOST_DESCRIPTION = 512


@dataclass(frozen=True, slots=True)
class AgentFile:
    """What the file says. `fields` has what it names of a definition; `tools` are the service's, None if unnamed."""

    fields: JsonObject = field(default_factory=dict[str, object])
    tools: tuple[JsonObject, ...] | None = None

    @property
    def instructions(self) -> str:
        """What the agent is told of its task; empty where the file does not say."""
        return str(self.fields.get("instructions") or "")


def read(settings: Settings) -> AgentFile:
    """The file that AGENT_FILE names; where there is none under the default name, one that says nothing.

    Raises:
        SettingsError: with every problem of the file, each with its key or line, and its cure.
    """
    path = settings.agent_file
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return AgentFile()
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not UTF-8 text: save it as such."]) from None
    except OSError as error:
        raise SettingsError([f"{path} cannot be read ({error.strerror}): mend it, or set AGENT_FILE."]) from None
    problems, found = parse(text, settings.bot_name)
    if problems:
        raise SettingsError([f"{path}: {problem}" for problem in problems])
    return found


def applied(settings: Settings) -> Settings:
    """The settings with the file's model in the place of MODEL_DEPLOYMENT_NAME, where it names one.

    Raises: as `read`.
    """
    model = read(settings).fields.get("model")
    return settings.model_copy(update={"model_deployment_name": model}) if model else settings


def instructed(settings: Settings) -> Settings:
    """The settings with the file's instructions, where AGENT_INSTRUCTIONS gives none.

    Raises: as `read`.
    """
    told = settings.agent_instructions or read(settings).instructions
    return settings.model_copy(update={"agent_instructions": told})


def parse(text: str, bot_name: str = "") -> tuple[list[str], AgentFile]:
    """The problems of the text, and what it says beside them."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [f"{error}. Texts stand in quotes, a long one in three."], AgentFile()
    problems: list[str] = []
    fields: JsonObject = {}
    for key, value in found.items():
        if key in _FIELDS:
            problem = _FIELDS[key](value)
            fields[key] = _tidy(value, bot_name)
        else:
            problem = "" if key == "tools" else unknown(key, [*_FIELDS, "tools"])
        if problem:
            problems.append(f"{key} {problem}")
    tools: tuple[JsonObject, ...] | None = None
    if "tools" in found:
        wrong, tools = _tools(found["tools"])
        problems += wrong
    return problems, AgentFile(fields, tools)


def unknown(key: str, known: Sequence[str]) -> str:
    """That a key is not known, and which one may be meant."""
    near = difflib.get_close_matches(key.lower(), known, 1, 0.6)
    return "is not known: " + (f"is {near[0]} meant?" if near else f"there are {', '.join(known)}.")


def _tidy(value: object, bot_name: str) -> object:
    return value.strip().replace(BOT_NAME, bot_name) if isinstance(value, str) else value


def _text(most: int | None, *, empty: bool = False) -> Callable[[object], str]:
    def problem(value: object) -> str:
        if not isinstance(value, str):
            return 'must be a text: write it in quotes, such as "...".'
        if not empty and not value.strip():
            return "is empty: write something, or remove the line."
        if most is not None and len(value) > most:
            return f"has {len(value)} characters: shorten it to {most}."
        return ""

    return problem


def _number(least: float, most: float) -> Callable[[object], str]:
    def problem(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            return f"must be a number from {least:g} to {most:g}, without quotes."
        return ""

    return problem


_FIELDS: dict[str, Callable[[object], str]] = {
    "model": _text(None),
    "instructions": _text(MOST_INSTRUCTIONS),
    "description": _text(MOST_DESCRIPTION, empty=True),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
}
_ABOVE_TOOLS = frozenset(_FIELDS) - {"description", "model"}
"""Keys that no tool has: below [[tools]] they went there by mistake."""


def _tools(value: object) -> tuple[list[str], tuple[JsonObject, ...]]:
    listed = cast(list[object], value) if isinstance(value, list) else [None]
    if not all(isinstance(tool, dict) for tool in listed):
        return ['tools must be tables: a line [[tools]] for each, and below it type = "code_interpreter".'], ()
    tools = tuple(cast(JsonObject, tool) for tool in listed)
    problems: list[str] = []
    names: set[str] = set()
    for number, tool in enumerate(tools, 1):
        problems += [f"tools, number {number}: {problem}" for problem in _tool(tool)]
        if (name := name_of(tool)) in names:
            problems.append(f"tools, number {number}: {name} stands there twice: remove one.")
        names.add(name)
    return problems, tools


def _tool(tool: JsonObject) -> list[str]:
    kind = tool.get("type")
    astray = sorted(_ABOVE_TOOLS & {*tool})
    problems = [f"{key} does not belong to a tool: move it above the first [[tools]]." for key in astray]
    problems += [
        f"{key} would put a secret into a file: make a connection in the Foundry project, and name it here as "
        "project_connection_id."
        for key in SECRETS
        if key in tool
    ]
    if not isinstance(kind, str) or not kind:
        problems.append('it has no type: add type = "code_interpreter", or another.')
    elif kind == "function":
        problems.append("functions come from the folder tools/ by themselves: remove it here.")
    elif kind not in TOOL_TYPES and (near := difflib.get_close_matches(kind, TOOL_TYPES, 1, 0.8)):
        problems.append(f"type {kind} is not known: is {near[0]} meant?")
    return problems


def name_of(tool: JsonObject) -> str:
    """What tells a tool of an agent from its others: its type, and its name or label where it has one."""
    kind = str(tool.get("type") or "")
    if kind == "function":
        return str(tool.get("name") or "")
    inner = tool.get(kind)
    nested = cast(JsonObject, inner) if isinstance(inner, dict) else {}
    label = tool.get("server_label") or tool.get("name") or nested.get("name")
    return f"{kind} {label}" if label else kind
