"""The tools that the agent may call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.types import Caller, ToolCall, ToolOutput, ToolSpec


class Toolbox(Protocol):
    """All tools, whatever answers them."""

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool, in a fixed order."""
        ...

    def approval(self, call: ToolCall) -> Mapping[str, str] | None:
        """The arguments as a person may be shown them, who is to agree first; None: nobody need be asked."""
        ...

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        """Call it. Never raises: every failure becomes an output that the agent can read."""
        ...
