"""The messages of a request, as a scripted model sees them, and what a strict server says against them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.foundry.sight import Call, Output, Said, Sight


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] if part["type"] == "text" else "[image]" for part in content)
    return content or ""


def sight_of(body: Mapping[str, Any]) -> Sight:
    """Words said one after the other, with nothing between, were said together; outputs since then are this run's."""
    said: list[Said] = []
    rounds: list[list[Output]] = []
    calls: dict[str, Call] = {}
    batch = 0
    for message in body["messages"]:
        match message["role"]:
            case "user":
                said.append(Said("user", text_of(message["content"]), {}, batch))
                rounds = []
                continue
            case "assistant" if message.get("tool_calls"):
                calls = {call["id"]: _call(call["function"]) for call in message["tool_calls"]}
                rounds.append([])
            case "assistant":
                said.append(Said("assistant", text_of(message["content"]), {}, batch))
            case "tool":
                call_id = message["tool_call_id"]
                rounds[-1].append(Output(call_id, calls[call_id], text_of(message["content"])))
        batch += message["role"] != "system"
    instructions = "\n".join(text_of(one["content"]) for one in body["messages"] if one["role"] == "system")
    offered = [] if body.get("tool_choice") == "none" else [tool["function"] for tool in body.get("tools", ())]
    return Sight(instructions, said, rounds, offered)


def _call(function: Mapping[str, Any]) -> Call:
    try:
        return Call(function["name"], json.loads(function["arguments"]))
    except ValueError:
        return Call(function["name"], {}, function["arguments"])


def invalid(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with a conversation, None if nothing is."""
    if any(message["role"] == "system" for message in messages[1:]):
        return "System message must be at the beginning."
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return f"An assistant message with 'tool_calls' must be followed by tool messages: {waiting} did not."
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    return f"tool_call_ids did not have response messages: {waiting}" if waiting else None
