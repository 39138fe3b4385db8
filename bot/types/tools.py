"""Tools, their calls, and on whose behalf they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bot.types.messages import File, Person
from bot.types.records import NoRecords, Records
from bot.types.values import JsonObject


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the agent is told of it. `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: JsonObject
    timeout: float = 30.0
    once: bool = False
    source: str = ""
    approve: bool = False
    """A person is to agree before a call; the toolbox says before which."""
    roles: tuple[str, ...] = ()
    """Only people with one of these may use it; empty: everyone. Agents are told of it whoever asks."""
    hidden: bool = False
    """People are not told of it by "tools"."""
    secrets: tuple[str, ...] = ()
    """The variables of the environment that it cannot work without."""
    at_once: int = 0
    """How many calls of it may run at the same time in one process; 0: as many as of any tool."""

    def is_for(self, roles: Collection[str]) -> bool:
        """Whether somebody with these roles may use it."""
        return not self.roles or any(role in roles for role in self.roles)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the agent asked for. `arguments` is the text it sent, which need not be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """Something said in an earlier thread.

    `at`: when that thread was last used, in seconds since the epoch; it was said then or before.
    """

    role: Literal["user", "assistant"]
    text: str = field(repr=False)
    at: float


def _silent(words: str) -> None:
    """The progress of a call that nobody watches."""


async def _nobody_to_ask(words: str) -> bool:
    return False


async def _nothing_earlier(most: int) -> Sequence[Earlier]:
    return ()


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a tool runs. `key` is the same when the same call is made again (`repeated`).

    `roles` are what the person may use tools as. `records` are the organisation's (the tenant's), `own` the person's.
    `progress` shows a few words in the chat while the tool runs, and never fails. `earlier` gives at most so many
    entries of the earlier threads of this conversation since the last "start over", newest first. `ask` puts a question
    to the person while the tool runs, and waits a little: whether they agreed.
    """

    person: Person
    tenant: str
    channel: str
    reference: str
    key: str
    repeated: bool = False
    roles: frozenset[str] = frozenset()
    records: Records = field(default_factory=NoRecords, repr=False, compare=False)
    own: Records = field(default_factory=NoRecords, repr=False, compare=False)
    progress: Callable[[str], None] = field(default=_silent, repr=False, compare=False)
    earlier: Callable[[int], Awaitable[Sequence[Earlier]]] = field(default=_nothing_earlier, repr=False, compare=False)
    ask: Callable[[str], Awaitable[bool]] = field(default=_nobody_to_ask, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What is given back to the agent for one call. `error` names the kind of failure, None if it worked.

    `files` are for the person: they come with the answer.
    """

    call_id: str
    output: str
    error: str | None = None
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class CallNote:
    """What the audit keeps of a call beside its outcome: who has the tool called, where it is from, with what.

    `sizes`: for each argument that the tool's schema names, the bytes of its value as JSON in UTF-8; `size`: those of
    all that was sent. `arguments`: the values, without secrets, only where AUDIT_ARGUMENTS wants them kept.
    """

    channel: str = ""
    tenant: str = ""
    person: str = ""
    lane: str = ""
    source: str = ""
    size: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    arguments: JsonObject | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ToolFailures:
    """How often a tool failed in one way since `first`, and `last`; `references` of the newest ones."""

    tool: str
    error: str
    count: int
    first: float
    last: float
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A tool call as the audit has it. Without a turn it was made at the command line; without an end it has none."""

    at: float
    tool: str
    call_id: str
    note: CallNote
    turn: int | None = None
    seconds: float | None = None
    output_size: int | None = None
    error: str | None = None
    decider: str = ""


NOT_MADE = frozenset({"bad_arguments", "busy", "limited", "not_allowed", "not_set_up", "stopped", "unknown_tool"})
"""The errors of a call that was refused: the tool was not called."""
NOT_AGREED = frozenset({"changed", "declined", "expired"})
"""The errors of a call that a person was asked about: the tool was not called."""


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool call as the store keeps it: committed as `started` before the call, `done` with its output.

    `asked`: nothing was done yet, a person is to agree first.
    """

    call_id: str
    attempt: str
    round: int
    position: int
    name: str
    once: bool
    state: Literal["asked", "started", "done", "unknown"]
    output: str | None = None
    error: str | None = None
    started_at: float = 0.0
    finished_at: float | None = None
    note: CallNote = field(default_factory=CallNote)
    """Written to the audit with the row; not read back."""

    @property
    def may_have_acted(self) -> bool:
        """Whether a tool that is called once only was called."""
        return self.once and self.state != "asked" and self.error not in NOT_MADE | NOT_AGREED
