"""How a tool call is answered. What a tool is written with stands here; the rest is asked for by module."""

from adapters.marks import ToolContext, ToolFailed, tool

__all__ = ["ToolContext", "ToolFailed", "tool"]
