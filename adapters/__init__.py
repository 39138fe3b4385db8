"""How a tool call is answered. All that the author of a tool or of an adapter needs stands here."""

from adapters.context import ToolContext
from adapters.contract import Adapter, BadArguments, NotCalled
from adapters.marks import ToolFailed, tool
from adapters.output import Image, Result
from bot.types import Caller, Earlier, File, Person, Record, Records, ToolCall, ToolSpec

__all__ = [
    "Adapter",
    "BadArguments",
    "Caller",
    "Earlier",
    "File",
    "Image",
    "NotCalled",
    "Person",
    "Record",
    "Records",
    "Result",
    "ToolCall",
    "ToolContext",
    "ToolFailed",
    "ToolSpec",
    "tool",
]
