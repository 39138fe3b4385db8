"""Tokens, turns and tool calls, counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a run; `last_prompt` is the prompt of its last step, which is what a thread weighs."""

    prompt: int = 0
    completion: int = 0
    last_prompt: int = 0


@dataclass(frozen=True, slots=True)
class TurnsUsed:
    """What turns came to. `who` is a person's id or a day; `apologies` counts dead letters too."""

    who: str
    channel: str
    turns: int
    answered: int
    apologies: int
    prompt_tokens: int
    completion_tokens: int
    tool_calls: int
    tool_errors: int


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """What became of a tool's calls. `seconds` is their average."""

    tool: str
    turns: int
    calls: int
    errors: int
    seconds: float
