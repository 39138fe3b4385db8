"""Words to the bot itself, and what they do to a turn that runs."""

from __future__ import annotations

from enum import StrEnum


class Control(StrEnum):
    """A message that acts at once, outside the lane; its confirmation is sent in the lane.

    DELETE is a message taken back: confirmed only where an answer was stopped for it. SAY is no message of the
    person's, but words to them: it changes nothing, and its "confirmation" is the words. APPROVE and DECLINE decide
    about a tool call that waits: the turn that asked goes on, and only what could not be decided is said.
    """

    START_OVER = "start_over"
    UNDO = "undo"
    STOP = "stop"
    FORGET = "forget_now"
    DELETE = "delete"
    SAY = "say"
    APPROVE = "approve"
    DECLINE = "decline"


class Command(StrEnum):
    """A message that the bot answers itself, in the lane."""

    HELP = "help"
    STATUS = "status"
    TOOLS = "tools"
    RETRY = "retry"
    FORGET = "forget_me"


class Interrupt(StrEnum):
    """Why a running turn must end: someone said stop, or its generation is no longer the lane's."""

    STOP = "stop"
    SUPERSEDED = "superseded"
