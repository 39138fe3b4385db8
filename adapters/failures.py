"""Why a call could not be made, for the toolbox to put into words for the agent."""

from __future__ import annotations


class ArgumentsRefused(Exception):
    """The arguments do not fit the tool. Its text may be told to the agent."""


class ToolBusy(Exception):
    """Earlier calls of this tool hang; it takes no more for now."""
