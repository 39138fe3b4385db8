"""What a turn costs in requests to the agent service: the list that the tests count and the docs show."""

from __future__ import annotations

from dataclasses import dataclass

POLLED, STREAMED = "looked at", "read along"


@dataclass(frozen=True)
class Cost:
    """Requests of one service in one form, where each round of the model ends before it is first looked at."""

    service: str
    form: str
    opening: int
    plain: int
    with_tools: int
    """A turn with one round of tool calls."""
    first: int = 0
    """Once in the life of a process, with the first turn."""


COSTS = (
    Cost("foundry-classic", POLLED, opening=1, plain=4, with_tools=6, first=1),
    Cost("foundry-classic", STREAMED, opening=1, plain=3, with_tools=4, first=1),
    Cost("foundry", POLLED, opening=1, plain=2, with_tools=4),
    Cost("foundry", STREAMED, opening=1, plain=1, with_tools=2),
    Cost("foundry foreground", POLLED, opening=1, plain=1, with_tools=2, first=1),
    Cost("foundry foreground", STREAMED, opening=1, plain=1, with_tools=2, first=1),
    Cost("chat-completions", POLLED, opening=0, plain=1, with_tools=2),
    Cost("chat-completions", STREAMED, opening=0, plain=1, with_tools=2),
)


def table() -> str:
    """The list as the docs show it."""
    columns = (
        "service",
        "the text is",
        "opening a thread",
        "a plain turn",
        "with one round of tools",
        "once a process",
    )
    lines = [f"| {' | '.join(columns)} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {cost.service} | {cost.form} | {cost.opening} | {cost.plain} | {cost.with_tools} | {cost.first} |"
        for cost in COSTS
    ]
    return "\n".join(lines)
