"""A run of the classic service, written and read: our nouns as its JSON, and its JSON as our nouns.

In what comes back everything may be missing: the service leaves out fields that its SDK calls required, and says
statuses (`incomplete`) that its SDK does not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.agents.azure import Answer
from bot.agents.classic_message import Given, message_of
from bot.agents.failures import Refused, code_of, wait_in
from bot.agents.fields import mapping, mappings
from bot.types import (
    Ask,
    JsonObject,
    NeedsTools,
    RunMark,
    Step,
    Stopped,
    ToolCall,
    ToolSpec,
    Working,
    without_none,
)

TERMINAL = frozenset({"completed", "incomplete", "failed", "cancelled", "expired"})

_ACTIVE_RUN = re.compile(r"already has an active run|while a run \S+ is active", re.IGNORECASE)
_METADATA_PAIRS, _METADATA_KEY, _METADATA_VALUE = 16, 64, 512


# -- what is asked ------------------------------------------------------------------------------------------


def run_body(
    agent_id: str, agent_tools: Sequence[JsonObject], ask: Ask, given: Given, reading: Sequence[JsonObject] = ()
) -> JsonObject:
    """The request that makes a run, and the ask's message where it has one. Without tools it may call none.

    `reading` are the service's tools that read the thread's files and that the agent has not.
    """
    marks = metadata(ask.mark)
    body: JsonObject = {
        "assistant_id": agent_id,
        "stream": ask.stream,
        "additional_messages": None if ask.held else [message_of(ask, given, marks)],
        "additional_instructions": ask.note,
        "metadata": marks,
    }
    if ask.tools is None:
        body["tool_choice"] = "none"
    elif ask.tools or reading:
        ours = {tool.name for tool in ask.tools}
        own = [tool for tool in agent_tools if mapping(tool.get("function")).get("name") not in ours]
        # A run's tools take the place of the agent's, so the agent's own go along. What is attached to a message
        # names its tool too, but a run without that tool does not see it.
        body["tools"] = [*(_function_tool(tool) for tool in ask.tools), *own, *reading]
    return without_none(body)


def _function_tool(tool: ToolSpec) -> JsonObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def metadata(mark: RunMark) -> dict[str, str]:
    """The mark, within the service's limits."""
    pairs = list(mark.metadata().items())[:_METADATA_PAIRS]
    return {key[:_METADATA_KEY]: value[:_METADATA_VALUE] for key, value in pairs}


def is_marked(item: JsonObject, mark: RunMark) -> bool:
    """Whether a run or a message is this turn's and this attempt's."""
    kept, ours = mapping(item.get("metadata")), metadata(mark)
    return all(kept.get(name) == ours[name] for name in ("turn", "attempt"))


# -- what comes back ----------------------------------------------------------------------------------------


def step_of(answer: Answer) -> Step | None:
    """How the run stands; None where it is over and its messages say the rest."""
    run = answer.body
    status = str(run.get("status") or "unknown")
    expires_at = _number(run.get("expires_at"))
    if status in ("completed", "incomplete"):
        return None
    if status == "failed":
        return _failed(run)
    if status in TERMINAL:
        return Stopped(status)
    if status == "requires_action":
        if calls := _calls(run):
            return NeedsTools(calls, expires_at)
        # Something that we cannot answer, such as an approval; the deadline ends it.
        kind = mapping(run.get("required_action")).get("type")
        return Working(f"{status}: {kind}", answer.retry_after, expires_at=expires_at)
    return Working(status, answer.retry_after, expires_at=expires_at)


def _calls(run: JsonObject) -> tuple[ToolCall, ...]:
    action = mapping(run.get("required_action"))
    wanted = mappings(mapping(action.get("submit_tool_outputs")).get("tool_calls"))
    calls: list[ToolCall] = []
    for call in wanted:
        function = mapping(call.get("function"))
        name, arguments = str(function.get("name") or ""), str(function.get("arguments") or "")
        calls.append(ToolCall(str(call.get("id") or ""), name, arguments))
    return tuple(calls)


def _failed(run: JsonObject) -> Stopped:
    error = mapping(run.get("last_error"))
    words = str(error.get("message") or "")
    return Stopped("failed", code_of(str(error.get("code") or ""), words), wait_in(words))


def last_prompt(steps: Sequence[JsonObject]) -> int:
    """The prompt tokens of the newest step that tells them (`steps` are newest first); 0 if none does."""
    counts = (mapping(step.get("usage")).get("prompt_tokens") for step in steps)
    return next((int(count) for count in counts if count), 0)


def is_active_run(refused: Refused) -> bool:
    """Whether a refusal says that another run holds the thread; it has no code of its own, only this text."""
    return refused.status == 400 and _ACTIVE_RUN.search(refused.words) is not None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
