"""Conversation items: what may be given, and the form in which it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from . import checks
from .errors import foundry, invalid
from .project import Item
from .state import State, new_id

MAX_ITEMS = 20
"""Of one request to a conversation (OpenAI's OpenAPI document). A response's input has no such limit."""
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_PREFIXES = {"message": "msg_", "function_call": "fc_", "function_call_output": "fco_"}


def given(value: object, param: str, state: State) -> list[Item]:
    """Checked items, not yet anywhere: a text is one message of the user, an empty one or none is no item."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list):
        raise checks.wrong_type(param, "one of an array or a string", value)
    return [_item(entry, f"{param}[{place}]", state) for place, entry in enumerate(cast(list[object], value))]


def few(items: list[Item]) -> list[Item]:
    """At most as many as one request to a conversation may carry."""
    if len(items) > MAX_ITEMS:
        raise invalid(
            f"Invalid 'items': array too long. Expected an array with maximum length {MAX_ITEMS}, "
            f"but got an array with length {len(items)} instead.",
            param="items",
            code="array_above_max_length",
        )
    return items


def _item(value: object, param: str, state: State) -> Item:
    if not isinstance(value, dict):
        raise checks.wrong_type(param, "an object", value)
    body = cast(dict[str, Any], value)
    match body.get("type", "message" if "role" in body else None):
        case "message":
            content = _message(body, param, state)
        case "function_call":
            content = {name: _text(body, name, param) for name in ("call_id", "name", "arguments")}
        case "function_call_output":
            content = {"call_id": _text(body, "call_id", param), "output": _output(body, param)}
        case _:
            # Foundry takes no items of hosted tools back in (microsoft/agent-framework#5338).
            raise foundry("invalid_payload", "The provided data does not match the expected schema", param="/")
    kind: str = body.get("type", "message")
    return Item({"id": new_id(_PREFIXES[kind]), "type": kind, "status": "completed", **content})


def _text(body: Mapping[str, Any], name: str, param: str) -> str:
    value = body.get(name)
    if value is None:
        path = f"{param}.{name}"
        raise invalid(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")
    if not isinstance(value, str):
        raise checks.wrong_type(f"{param}.{name}", "a string", value)
    return value


def _output(body: Mapping[str, Any], param: str) -> Any:
    value = body.get("output")
    return value if isinstance(value, list) else _text(body, "output", param)


def _message(body: Mapping[str, Any], param: str, state: State) -> dict[str, Any]:
    role = _text(body, "role", param)
    if role not in _ROLES:
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
            param=f"{param}.role",
            code="invalid_value",
        )
    value: object = body.get("content")
    if isinstance(value, str):
        value = [{"type": "output_text" if role == "assistant" else "input_text", "text": value}]
    if not isinstance(value, list):
        raise checks.wrong_type(f"{param}.content", "one of a string or an array of objects", value)
    parts = [
        _part(part, f"{param}.content[{place}]", state) for place, part in enumerate(cast(list[dict[str, Any]], value))
    ]
    return {"role": role, "content": parts}


def _part(part: dict[str, Any], param: str, state: State) -> dict[str, Any]:
    """A part of a message; files and pictures stay as they came, for tests to see."""
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            text = _text(part, "text", param)
            if len(text) > checks.MAX_TEXT:
                raise invalid(
                    f"The content of the message exceeds {checks.MAX_TEXT} characters.",
                    param=param,
                    code="content_size_exceeded",
                )
            if part["type"] == "output_text":
                return {
                    "type": "output_text",
                    "text": text,
                    "annotations": part.get("annotations") or [],
                    "logprobs": [],
                }
            return {"type": part["type"], "text": text}
        case "refusal":
            return {"type": "refusal", "refusal": _text(part, "refusal", param)}
        case "input_file":
            return _source(part, ("file_id", "file_data", "file_url"), param, state)
        case "input_image":
            return {"detail": "auto", **_source(part, ("file_id", "image_url"), param, state)}
        case _:
            raise foundry("invalid_payload", "The provided data does not match the expected schema", param="/")


def _source(part: dict[str, Any], names: tuple[str, ...], param: str, state: State) -> dict[str, Any]:
    """A part with exactly one source; a file id must be one of this project's."""
    named = [name for name in names if part.get(name)]
    if len(named) != 1:
        raise invalid(
            f"Missing required parameter: '{param}'. Give exactly one of: {', '.join(names)}.",
            param=param,
            code="missing_required_parameter",
        )
    if named == ["file_id"]:
        state.file(part["file_id"])
    return part
