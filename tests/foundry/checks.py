"""What the service refuses in a request body. Everything is checked before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from .errors import invalid

MAX_TEXT = 1_500_000
MAX_TOOLS = 128
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def kind(value: object) -> str:
    """A JSON type in the words of the service."""
    names: dict[type, str] = {
        type(None): "null",
        dict: "an object",
        list: "an array",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        str: "a string",
    }
    return names[type(value)]


def wrong_type(param: str, expected: str, got: object) -> Exception:
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {kind(got)} instead.",
        param=param,
        code="invalid_type",
    )


def too_long(param: str, limit: int, got: int) -> Exception:
    return invalid(
        f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
        f"but got a string with length {got} instead.",
        param=param,
        code="string_above_max_length",
    )


def metadata(value: object, param: str = "metadata") -> dict[str, str]:
    """At most 16 pairs, keys up to 64 characters, values strings up to 512."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    pairs = cast(dict[str, object], value)
    if len(pairs) > 16:
        raise invalid(
            f"Invalid '{param}': too many properties. Expected an object with at most 16 properties, "
            f"but got an object with {len(pairs)} properties instead.",
            param=param,
            code="object_above_max_properties",
        )
    checked: dict[str, str] = {}
    for key, text in pairs.items():
        if len(key) > 64:
            raise too_long(param, 64, len(key))
        if not isinstance(text, str):
            raise wrong_type(f"{param}.{key}", "a string", text)
        if len(text) > 512:
            raise too_long(f"{param}.{key}", 512, len(text))
        checked[key] = text
    return checked


def message(value: object, param: str = "") -> tuple[str, list[dict[str, Any]], dict[str, str], list[Any]]:
    """A new message: its role, its content parts, its metadata, its attachments."""
    if not isinstance(value, dict):
        raise wrong_type(param or "body", "an object", value)
    body = cast(dict[str, Any], value)
    prefix = f"{param}." if param else ""
    role = body.get("role")
    if role is None:
        raise invalid(
            f"Missing required parameter: '{prefix}role'.",
            param=f"{prefix}role",
            code="missing_required_parameter",
        )
    if role not in ("user", "assistant"):
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: 'user' and 'assistant'.",
            param=f"{prefix}role",
            code="invalid_value",
        )
    parts = _content(body.get("content"), f"{prefix}content")
    return role, parts, metadata(body.get("metadata"), f"{prefix}metadata"), body.get("attachments") or []


def _content(value: object, param: str) -> list[dict[str, Any]]:
    """The stored form of a message's content: text parts become `{value, annotations}`."""
    if isinstance(value, str):
        value = [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise wrong_type(param, "a string or an array", value)
    parts: list[dict[str, Any]] = []
    for part in cast(list[dict[str, Any]], value):
        if part.get("type") != "text":
            parts.append(part)
            continue
        text = part.get("text")
        if isinstance(text, dict):
            text = cast(dict[str, Any], text).get("value")
        if not isinstance(text, str):
            raise wrong_type(f"{param}.text", "a string", text)
        if len(text) > MAX_TEXT:
            raise invalid(
                f"The content of the message exceeds {MAX_TEXT} characters.",
                param=param,
                code="content_size_exceeded",
            )
        parts.append({"type": "text", "text": {"value": text, "annotations": []}})
    if not parts or all(part["type"] == "text" and not part["text"]["value"] for part in parts):
        raise invalid("Message content must be non-empty.", param=param)
    return parts


def tools(value: object) -> list[dict[str, Any]]:
    """Tool definitions; a function needs a name the models accept."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type("tools", "an array", value)
    checked = cast(list[dict[str, Any]], value)
    if len(checked) > MAX_TOOLS:
        raise invalid(f"No more than {MAX_TOOLS} tools are allowed.", param="tools", code="tool_limit_exceeded")
    for place, tool in enumerate(checked):
        if "type" not in tool:
            param = f"tools[{place}].type"
            raise invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
        if tool["type"] == "function":
            _function(tool.get("function"), f"tools[{place}].function")
    return checked


def _function(value: object, param: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    function = cast(Mapping[str, Any], value)
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{param}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"{param}.name",
            code="invalid_value",
        )
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong_type(f"{param}.parameters", "an object", parameters)
