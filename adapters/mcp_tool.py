"""The tools of one MCP server, as the agent is told of them, and the check of what the agent sends."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from jsonschema.validators import validator_for  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from mcp.types import Tool
from referencing import Registry

from adapters.contract import BadArguments
from adapters.mcp_file import ServerFile, ToolOptions
from bot.types import Json, JsonObject, ToolSpec

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_DESCRIPTION = 1024
"""Characters; Azure's and OpenAI's services refuse a function with more."""
_SHOWN_PROBLEMS = 5
_SHOWN_PROBLEM = 200


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool: `name` is the server's own, the agent's is the spec's. `check` None: its schema cannot be used."""

    name: str
    spec: ToolSpec
    check: Any = field(default=None, repr=False)

    def arguments(self, given: JsonObject) -> JsonObject:
        """What is sent to the server.

        Raises:
            BadArguments: they do not fit the schema; with each place.
        """
        problems = self._problems(given)
        if not problems:
            return given
        # Models that learned strict mode send null for what they leave out.
        required = cast("list[str]", self.spec.parameters.get("required") or [])
        without = {key: value for key, value in given.items() if value is not None or key in required}
        if without != given and not self._problems(without):
            return without
        known = ", ".join(self.spec.parameters["properties"]) or "none"
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise BadArguments(f"{'; '.join(problems[:_SHOWN_PROBLEMS])}{more}. The arguments are: {known}")

    def _problems(self, given: JsonObject) -> list[str]:
        if self.check is None:
            return []
        try:
            return [_told(error) for error in self.check.iter_errors(given)]
        except Exception:  # a reference that leads nowhere, a pattern that is none: the server judges for itself
            return []


def _told(error: Any) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where}: {error.message}"[:_SHOWN_PROBLEM] if where else str(error.message)[:_SHOWN_PROBLEM]


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools that are offered, by the names that the agent uses, and what was left out and why."""

    tools: dict[str, McpTool] = field(default_factory=dict[str, McpTool])
    problems: list[str] = field(default_factory=list[str])


def offered(listed: Sequence[Tool], file: ServerFile) -> Offer:
    """What a server's list comes to under the rules of its file."""
    offer = Offer()
    for tool in sorted(listed, key=lambda tool: tool.name):
        options = file.options.get(tool.name, ToolOptions())
        if options.hidden or (file.tools is not None and tool.name not in file.tools):
            continue
        name = _name(tool.name, file.prefix)
        if not _NAME.fullmatch(name):
            offer.problems.append(f"{name[:80]} is left out: its name is too long; set a shorter prefix")
        elif name in offer.tools:
            offer.problems.append(f"{tool.name[:80]} is left out: another of its tools is named {name} too")
        else:
            offer.tools[name] = _made(tool, name, file, options)
    offer.problems.extend(_missing((*sorted(file.tools or ()), *file.options), [tool.name for tool in listed]))
    return offer


def _missing(named: Iterable[str], there: Sequence[str]) -> list[str]:
    problems: list[str] = []
    for name in dict.fromkeys(named):
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            problems.append(f"the server has no tool {name[:80]}" + (f": the nearest is {near[0]}" if near else ""))
    return problems


def _name(name: str, prefix: str) -> str:
    whole = f"{prefix}_{name}" if prefix else name
    return re.sub(r"[^A-Za-z0-9_-]", "_", whole)


def _made(tool: Tool, name: str, file: ServerFile, options: ToolOptions) -> McpTool:
    said = (tool.description or tool.title or "").strip() or f"{tool.name}, a tool of {file.name}."
    cut = said if len(said) <= _LONGEST_DESCRIPTION else said[: _LONGEST_DESCRIPTION - 2].rstrip() + " …"
    spec = ToolSpec(
        name=name,
        description=cut,
        parameters=_schema(tool.input_schema),
        timeout=options.timeout or file.timeout,
        once=_changes_something(tool) if options.once is None else options.once,
        source=file.source,
        approve=options.approve,
    )
    return McpTool(tool.name, spec, _check(tool.input_schema))


def _changes_something(tool: Tool) -> bool:
    """Whether calling it twice is unlike calling it once. What a server does not say is taken for the worse."""
    hints = tool.annotations
    return hints is None or not (hints.read_only_hint or hints.idempotent_hint)


def _schema(schema: dict[str, Any]) -> JsonObject:
    properties: Json = schema.get("properties")
    rest = {key: value for key, value in schema.items() if key not in ("$schema", "type", "properties")}
    return {"type": "object", "properties": properties if isinstance(properties, dict) else {}, **rest}


def _check(schema: dict[str, Any]) -> Any:
    """What judges arguments by the schema. The registry is empty, so that no reference is fetched from anywhere."""
    try:
        kind: Any = validator_for(schema)
        kind.check_schema(schema)
        return kind(schema, registry=cast("Any", Registry)())
    except Exception:  # it is the server's, and may be anything
        return None
