"""Questions we ask of the outside, imported from here. Protocols, no base classes; one contract test class each."""

from __future__ import annotations

from bot.ports.agent import Agent, Archives, Definition, KeepsTools
from bot.ports.channel import Accept, Beside, Channel, Judge, KnowsMails, Show, ShowsProgress, View
from bot.ports.clock import Clock
from bot.ports.people_stores import FeedbackStore, FileOffers, PeopleStore, SayStore, Usage
from bot.ports.store import Store
from bot.ports.thread_stores import ForgettingStore, History, MovingStore, ThreadStore
from bot.ports.tool_stores import ApprovalStore, RecordStore, ToolAudit, ToolCallStore, ToolFiles
from bot.ports.toolbox import Toolbox
from bot.ports.turn_stores import InboxStore, TurnRecords

__all__ = [
    "Accept",
    "Agent",
    "ApprovalStore",
    "Archives",
    "Beside",
    "Channel",
    "Clock",
    "Definition",
    "FeedbackStore",
    "FileOffers",
    "ForgettingStore",
    "History",
    "InboxStore",
    "Judge",
    "KeepsTools",
    "KnowsMails",
    "MovingStore",
    "PeopleStore",
    "RecordStore",
    "SayStore",
    "Show",
    "ShowsProgress",
    "Store",
    "ThreadStore",
    "ToolAudit",
    "ToolCallStore",
    "ToolFiles",
    "Toolbox",
    "TurnRecords",
    "Usage",
    "View",
]
