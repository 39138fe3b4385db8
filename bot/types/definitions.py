"""The agent as it is defined here, beside the agent at the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing of an agent's definition: `+` is missing at the service, `-` too much there, `~` another there.

    `lines` show it as a diff does, from what is there to what is wanted.
    """

    sign: str
    what: str
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.sign} {self.what}"


@dataclass(frozen=True, slots=True)
class ToolStanding:
    """How a tool stands at the service: in step, differs, missing, unknown (of nobody), left alone (the service's)."""

    name: str
    standing: str


@dataclass(frozen=True, slots=True)
class AtService:
    """An agent as its service keeps it. `version` is empty where there are no versions."""

    name: str
    id: str
    version: str = ""
    model: str = ""
    description: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """The wanted definition beside the one at the service; `at_service` is None where there is no agent yet."""

    at_service: AtService | None
    differences: tuple[Difference, ...]
    tools: tuple[ToolStanding, ...]
    note: str = ""
    """What else whoever compares should know."""
