"""How a tool call is answered. All that the author of a tool needs stands here.

    from adapters import tool

    @tool
    def roll(sides: int = 6) -> int:
        \"\"\"Roll one die.\"\"\"

The signature and the docstring are the specification. The decorator only marks: importing a tool has no effect.
"""

from __future__ import annotations

from adapters.marking import Marked, ToolContext, ToolFailed, tool

__all__ = ["Marked", "ToolContext", "ToolFailed", "tool"]
