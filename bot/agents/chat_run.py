"""A run over chat completions, from state to state. States are JSON as they are saved; nothing here saves them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from bot.agents.chat_answer import Completion, Wanted
from bot.agents.chat_messages import function
from bot.types import (
    Ask,
    Finished,
    JsonObject,
    Kept,
    NeedsTools,
    Reply,
    Step,
    Stopped,
    ToolCall,
    ToolOutput,
    Usage,
)

MOST_ROUNDS = 8
"""After so many rounds of calls the model is asked to answer with what it has; fewer than a run may have at all."""
ASKING, WAITING = "in_progress", "requires_action"
CONTENT_FILTER, NO_TEXT = "content_filter", "no_text"
SHARPEST, DULLEST = 0.2, 5.0
"""Between these bounds a server's count of tokens is believed to correct our estimate."""

Next = tuple[JsonObject, list[Kept]]
"""A run's next state, and what comes into the thread with it."""


def begun(ask: Ask, scale: float) -> JsonObject:
    """The state of a new run. `scale`: how many tokens one of our estimated ones is, as known so far."""
    return {
        "status": ASKING,
        "tools": [function(tool) for tool in ask.tools or ()],
        "note": ask.note,
        "stream": ask.stream,
        "round": 0,
        "calls": [],
        "answered": [],
        "usage": [0, 0, 0],
        "scale": scale,
    }


def is_last(state: JsonObject) -> bool:
    """Whether the model has called tools often enough."""
    return state["round"] >= MOST_ROUNDS


def may_call(state: JsonObject) -> bool:
    """Whether the model may call tools now."""
    return bool(state["tools"]) and not is_last(state)


def step_of(state: JsonObject) -> Step | None:
    """How the run stands; None while the model is asked."""
    match state["status"]:
        case "in_progress":
            return None
        case "requires_action":
            return NeedsTools(tuple(ToolCall(**call) for call in state["calls"]))
        case "completed":
            return Finished(Reply(state["answer"], cut=state["cut"]), Usage(*state["usage"]))
        case status:
            return Stopped(status, state.get("code", ""))


def told(state: JsonObject, answer: Completion, weight: int) -> Next:
    """The model has answered a request of so many estimated tokens."""
    state = state | _counted(state, answer, weight)
    if answer.finish == CONTENT_FILTER:
        return failed(state, CONTENT_FILTER)
    if answer.calls and may_call(state):
        calls = _named(answer.calls, state["answered"])
        waiting = state | {"status": WAITING, "round": state["round"] + 1, "calls": calls}
        return waiting, [Kept("call", answer.text, _calling(answer.text, calls))]
    if not answer.text:
        return failed(state, NO_TEXT)
    done = _ended(state, "completed") | {"answer": answer.text, "cut": answer.finish == "length"}
    return done, [Kept("assistant", answer.text)]


def answered(state: JsonObject, outputs: Sequence[ToolOutput]) -> Next:
    """The calls have their outputs: the model is asked again."""
    asking = {"status": ASKING, "calls": [], "answered": [*state["answered"], *(output.call_id for output in outputs)]}
    return state | asking, [_output(output.call_id, output.output) for output in outputs]


def cancelled(state: JsonObject, words: str) -> Next:
    """The run ends; calls that are open are closed with these words, or no endpoint would take the thread again."""
    return _ended(state, "cancelled"), [_output(call["id"], words) for call in state["calls"]]


def failed(state: JsonObject, code: str, *, filtered: bool = False) -> Next:
    """The run ends without an answer. `filtered`: what was asked must not be asked again."""
    return _ended(state, "failed") | {"code": code}, [Kept("filtered", "")] if filtered else []


def _ended(state: JsonObject, status: str) -> JsonObject:
    """Of a run that is over: how it ended, and what is known for the next."""
    kept = {name: state[name] for name in ("round", "answered", "usage", "scale")}
    return {"status": status, "calls": [], **kept}


def _counted(state: JsonObject, answer: Completion, weight: int) -> JsonObject:
    """The tokens so far. Where the server counts none they are estimated; where it does, later estimates learn."""
    prompt, written, _ = state["usage"]
    scale = state["scale"]
    if answer.prompt is not None and weight:
        scale = min(max(answer.prompt / weight, SHARPEST), DULLEST)
    now = answer.prompt if answer.prompt is not None else round(weight * scale)
    said = sum(len(call.arguments) for call in answer.calls) + len(answer.text)
    counted = answer.written if answer.written is not None else said // 4 + 1
    return {"usage": [prompt + now, written + counted, now], "scale": scale}


def _named(calls: Sequence[Wanted], known: Sequence[str]) -> list[dict[str, Any]]:
    """The calls, each with an id that no other of the run has: outputs are told apart by it alone."""
    taken = set(known)
    named: list[dict[str, Any]] = []
    for call in calls:
        # Nine letters and digits: some chat templates take no other.
        own = call.id if call.id and call.id not in taken else uuid.uuid4().hex[:9]
        taken.add(own)
        named.append({"id": own, "name": call.name, "arguments": call.arguments})
    return named


def _calling(text: str, calls: Sequence[dict[str, Any]]) -> JsonObject:
    wanted = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls
    ]
    return {"role": "assistant", "content": text, "tool_calls": wanted}


def _output(call_id: str, text: str) -> Kept:
    return Kept("output", text, {"role": "tool", "tool_call_id": call_id, "content": text})
