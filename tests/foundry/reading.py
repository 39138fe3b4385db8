"""What a model reads: the items of its conversation, as the scripted models of both APIs are shown them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .errors import invalid
from .project import Item
from .sight import Call, Output, Said, Sight


def check_answers(read: Sequence[Item]) -> None:
    """Refuse what the model refuses: a call without an answer (Azure/azure-sdk-for-python#46092), an answer without
    a call (microsoft/agent-framework#5546). Both stay refused for as long as the conversation holds them so."""
    answers = [item.content["call_id"] for item in read if item.type == "function_call_output"]
    calls = [item.content["call_id"] for item in read if item.type == "function_call"]
    for call_id in answers:
        if call_id not in calls:
            raise invalid(f"No tool call found for function call output with call_id {call_id}.", param="input")
    for call_id in calls:
        if call_id not in answers:
            raise invalid(f"No tool output found for function call {call_id}.", param="input")


def rounds_of(read: Sequence[Item]) -> tuple[list[list[Output]], str | None]:
    """The calls answered since somebody last spoke, by response, and the response that made the last of them."""
    answers = {item.content["call_id"]: item.content["output"] for item in read if item.type == "function_call_output"}
    spoken = max((place for place, item in enumerate(read) if _is_users(item)), default=-1)
    rounds: dict[str | None, list[Output]] = {}
    for item in read[spoken + 1 :]:
        if item.type == "function_call" and (call_id := item.content["call_id"]) in answers:
            answer = answers[call_id]
            text = answer if isinstance(answer, str) else json.dumps(answer)
            rounds.setdefault(item.response_id, []).append(Output(call_id, _call(item), text))
    return list(rounds.values()), next(reversed(rounds), None)


def _is_users(item: Item) -> bool:
    return item.type == "message" and item.content["role"] == "user"


def _call(item: Item) -> Call:
    name, text = item.content["name"], item.content["arguments"]
    try:
        arguments: object = json.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        return Call(name, raw=text)
    return Call(name, cast(dict[str, Any], arguments))


def look(read: Sequence[Item], settings: Mapping[str, Any]) -> Sight:
    """What the model is shown."""
    choice: object = settings["tool_choice"]
    functions = [tool for tool in settings["tools"] if tool["type"] == "function"]
    if choice == "none":
        functions = []
    elif isinstance(choice, dict):
        only = cast(dict[str, Any], choice).get("name")
        functions = [function for function in functions if only in (None, function["name"])]
    return Sight(
        instructions=settings["instructions"] or "",
        messages=[Said(item.content["role"], item.text, {}, item.batch) for item in read if item.type == "message"],
        rounds=rounds_of(read)[0],
        tools=functions,
    )
