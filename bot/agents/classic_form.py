"""A definition as the classic service writes it: functions nested, and files and vector stores beside the tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from bot.agents.fields import mapping
from bot.types import JsonObject

_RESOURCES = {"file_search": "vector_store_ids", "code_interpreter": "file_ids"}
"""What a tool of this type has in `tool_resources`, by the key that it is written with in agent.toml."""


def flat(agent: JsonObject) -> JsonObject:
    """An agent of the service in the form of `bot.agents.comparing`."""
    resources = mapping(agent.get("tool_resources"))
    tools = [_flat(cast(JsonObject, tool), resources) for tool in _list(agent.get("tools")) if isinstance(tool, dict)]
    return agent | {"tools": tools}


def _flat(tool: JsonObject, resources: Mapping[str, Any]) -> JsonObject:
    kind = tool.get("type")
    if kind == "function":
        return {"type": kind, **mapping(tool.get("function"))}
    key = _RESOURCES.get(str(kind), "")
    ids = mapping(resources.get(str(kind))).get(key)
    return tool | ({key: ids} if ids else {})


def in_classic_words(tool: JsonObject) -> JsonObject:
    """A tool of agent.toml, which may name files as the new service does, as the classic one has them, flat."""
    container = tool.get("container")
    if tool.get("type") != "code_interpreter" or not isinstance(container, dict):
        return tool
    rest = {key: value for key, value in tool.items() if key != "container"}
    ids = cast(JsonObject, container).get("file_ids")
    return rest | ({"file_ids": ids} if ids else {})


def written(tools: Sequence[JsonObject], resources: object = None) -> JsonObject:
    """Flat tools as a request's `tools`, and `tool_resources` where they change those that are there."""
    before = mapping(resources)
    named = {str(tool["type"]): _named(tool) for tool in tools if _named(tool)}
    body: JsonObject = {"tools": [_nested(tool) for tool in tools]}
    return body | ({"tool_resources": {**before, **named}} if named else {})


def _named(tool: JsonObject) -> JsonObject:
    key = _RESOURCES.get(str(tool.get("type")), "")
    return {key: tool[key]} if key in tool else {}


def _nested(tool: JsonObject) -> JsonObject:
    rest = {key: value for key, value in tool.items() if key != "type"}
    if tool.get("type") == "function":
        return {"type": "function", "function": rest}
    own = _RESOURCES.get(str(tool.get("type")))
    return {key: value for key, value in tool.items() if key != own}


def _list(value: object) -> list[object]:
    return cast(list[object], value) if isinstance(value, list) else []
