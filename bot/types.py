"""The nouns: immutable values that every other module speaks in. Imports nothing of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

Json = Any
"""A value that survives `json.dumps` and `json.loads` unchanged."""

JsonObject = dict[str, Json]


class ConversationKind(StrEnum):
    """Where a message was said. Only `PERSONAL` is between one person and the bot."""

    PERSONAL = "personal"
    GROUP = "group"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A place to talk, as the channel knows it."""

    channel: str
    tenant: str
    id: str
    kind: ConversationKind = ConversationKind.PERSONAL


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks. `id` is unique within the tenant and the channel, and lasting."""

    id: str
    name: str = ""
    locale: str = ""
    time_zone: str = ""


class MessageKind(StrEnum):
    """What arrived. Everything but `TEXT` is answered by the bot itself, without the agent."""

    TEXT = "text"
    WELCOME = "welcome"
    WELCOME_GROUP = "welcome_group"
    FILES = "files"
    CARD = "card"
    EMPTY = "empty"
    TOO_MANY = "too_many"
    EDITED = "edited"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file or an image that a person sent along. `size` in bytes, 0 where the channel does not say.

    The content is `data` (base64) where the channel brought it, and is forgotten with the message's words. Else
    `source` is the channel's own note of where it lies, empty where it cannot be had. It is stored, so it holds no
    pre-signed address, and is never logged.
    """

    name: str
    content_type: str
    size: int
    data: str = field(default="", repr=False)
    source: JsonObject = field(default_factory=dict[str, Json], repr=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file with its content."""

    name: str
    content_type: str
    data: bytes = field(repr=False)


class Change(StrEnum):
    """What became of a message after it was sent."""

    EDITED = "edited"
    DELETED = "deleted"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Revision:
    """That an earlier message of the same place, `of`, has changed."""

    of: str
    change: Change


@dataclass(frozen=True, slots=True)
class Message:
    """What a person said.

    `id` is the channel's own id, which a redelivery repeats; `sent_at` its timestamp in milliseconds since the
    epoch, or None where the channel gives none. `address` is what the channel needs to answer, free of secrets.
    `revises`: it is no message of its own, but the new state of an earlier one. `decides`: the approval whose button
    was pressed, where "approve" or "decline" was not typed.
    """

    id: str
    conversation: Conversation
    person: Person
    text: str
    address: JsonObject
    kind: MessageKind = MessageKind.TEXT
    sent_at: int | None = None
    files: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    revises: Revision | None = None
    decides: str = ""


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


class Ended(StrEnum):
    """How a turn ended. All but DROPPED, MERGED and STOPPED were told to the person by the turn itself."""

    ANSWERED = "answered"
    COMMAND = "command"
    CONFIRMED = "confirmed"
    SAID = "said"
    APOLOGY = "apology"
    STALE = "stale"
    STOPPED = "stopped"
    DROPPED = "dropped"
    MERGED = "merged"
    DEAD = "dead"


class ThreadReason(StrEnum):
    """Why a thread was opened, or became the current one."""

    FIRST = "first"
    START_OVER = "start over"
    UNDO = "undo"
    MESSAGES = "messages"
    TOKENS = "tokens"
    IDLE = "idle"
    MOVED = "agent or project changed"
    LOST = "lost at the service"
    STUCK = "a run would not end"


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as our store knows it: `remote_id` is the agent service's id, `id` our own."""

    id: int
    lane: str
    generation: int
    backend: str
    project: str
    remote_id: str
    reason: ThreadReason
    opened_at: float
    used_at: float
    messages: int = 0
    prompt_tokens: int = 0
    previous_id: int | None = None
    summary: str | None = None
    unusable: ThreadReason | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The line of one thread's turns, and the mapping from it to the current thread."""

    key: str
    channel: str
    tenant: str
    generation: int
    thread: Thread | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a thread's history."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of a thread that lies in our own store. Only what a user or the assistant says is its history.

    `item` is the entry as a model is given it, where it is more than its text: calls, outputs, files.
    """

    role: Literal["user", "assistant", "call", "output", "file", "filtered"]
    text: str
    item: Json = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What the next thread must remember: a summary, or the last messages where there is none."""

    summary: str | None = None
    messages: tuple[Said, ...] = ()

    @property
    def form(self) -> str:
        """How the memory was carried: 'summary', 'messages' or 'nothing'."""
        if self.summary:
            return "summary"
        return "messages" if self.messages else "nothing"


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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the agent asked for. `arguments` is the text it sent, which need not be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a tool keeps under a key: any JSON. `at` is when it was put last, in seconds since the epoch."""

    key: str
    value: Json
    at: float


_COLLECTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LONGEST_KEY = 200
LARGEST_VALUE = 64 * 1024
"""Bytes of one value as JSON."""
MOST_LISTED = 1_000


class Records(Protocol):
    """What tools keep, by collection ("tickets") and key ("T-118"): JSON of at most 64 KB each.

    A collection's name has 1 to 64 letters, digits, `_`, `-` or `.`; a key has 1 to 200 characters. All methods may
    raise `ServiceUnavailable` (the database is away) and `ValueError` (a name, a key or a value that is none).
    """

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """Keep the value in the place of an earlier one; whether it was kept.

        `new`: only where there is none under this key. `was`: only where the one that is there still equals this, so
        that of two who change it at the same time one is told. None is no value: it is what is not there.
        """
        ...

    async def get(self, collection: str, key: str) -> Json:
        """The value; None where there is none."""
        ...

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """At most `most` (1 to 1,000) of a collection whose keys begin with `prefix`, in the order of their keys.

        `after`: only those whose keys come behind this one, for the next page. `newest`: the last put first instead.
        """
        ...

    async def delete(self, collection: str, key: str) -> bool:
        """Let go of it; False where there was none."""
        ...


class NoRecords:
    """The `Records` of a caller who has none: nothing is kept."""

    async def put(self, collection: str, key: str, value: Json, *, new: bool = False, was: Json = None) -> bool:
        """See `Records.put`."""
        return False

    async def get(self, collection: str, key: str) -> Json:
        """See `Records.get`."""
        return None

    async def list(
        self, collection: str, *, prefix: str = "", after: str = "", most: int = 100, newest: bool = False
    ) -> Sequence[Record]:
        """See `Records.list`."""
        return ()

    async def delete(self, collection: str, key: str) -> bool:
        """See `Records.delete`."""
        return False


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
class Usage:
    """Tokens of a run; `last_prompt` is the prompt of its last step, which is what a thread weighs."""

    prompt: int = 0
    completion: int = 0
    last_prompt: int = 0


@dataclass(frozen=True, slots=True)
class RunMark:
    """What travels with a run as metadata, so that a turn finds its own work again after a crash."""

    turn: str
    attempt: str
    reference: str

    def metadata(self) -> dict[str, str]:
        """The form in which the service keeps it."""
        return {"turn": self.turn, "attempt": self.attempt, "reference": self.reference}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run is started with. `tools` None: call none at all.

    `held`: an earlier attempt of this turn brought the message; it is added only where the thread lacks it.
    `stream`: somebody reads along, so the text is wanted as it grows. `note` is for this run only.
    """

    mark: RunMark
    text: str
    tools: tuple[ToolSpec, ...] | None = ()
    note: str | None = None
    held: bool = False
    stream: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Takes:
    """Which attachments an agent can be given: content types (`image/*` means all of them), and bytes of one."""

    types: frozenset[str] = frozenset()
    size: int = 0

    def fits(self, attachment: Attachment) -> bool:
        """Whether this one may be given to the agent, by its declared type and size; `image/*` is some image."""
        kind = attachment.content_type.partition(";")[0].strip().lower()
        family = kind.partition("/")[0]
        some = kind.endswith("/*") and any(one.startswith(f"{family}/") for one in self.types)
        known = some or kind in self.types or f"{family}/*" in self.types
        return known and attachment.size <= self.size


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a run is looked at. Answering tool calls may give a new one."""

    thread_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Working:
    """The run goes on. `retry_after` is the service's wish in seconds; `state` its own word for it."""

    state: str
    retry_after: float | None = None
    text: str = ""
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class NeedsTools:
    """The run waits for these calls to be answered, all in one submission."""

    calls: tuple[ToolCall, ...]
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A source that the answer names. `mark` is how it stands in the text, such as [1]; `url` may be empty."""

    mark: str
    title: str
    url: str = ""
    quote: str = ""


TOOLS = "our tools"
"""The container of files that tools of ours made: they lie in our own store."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file or an image that the agent made, where it lies: `id` at the service, in `container` where there is one."""

    id: str
    name: str
    content_type: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The agent's answer. `cut` says that the service ended it early, at a token limit."""

    text: str
    cut: bool = False
    citations: tuple[Citation, ...] = ()
    files: tuple[RemoteFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over and this is what it said."""

    reply: Reply
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run is over without an answer. `code` is the service's error code, `state` its final status."""

    state: str
    code: str = ""
    retry_after: float | None = None


MOST_WAITING = 10
"""Messages of one person that may wait in a lane; the next is refused, aloud."""

Step = Working | NeedsTools | Finished | Stopped


@dataclass(frozen=True, slots=True)
class Found:
    """What a turn's earlier life left at the service: its run, only its message, or nothing."""

    handle: Handle | None = None
    message: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person is asked before a tool is called.

    `arguments` are as they may be shown. `outcome` stands in the place of the buttons once it is decided.
    """

    approval: str
    tool: str
    arguments: Mapping[str, str]
    asker: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One delivery of an answer. `by_agent` marks words of the AI, which channels must label.

    `buttons` are words that the person may say next; `controls` may be pressed for as long as the message stands.
    `asks`: the text is a question, and a channel with buttons shows it as one that Approve or Decline answers.
    """

    text: str
    by_agent: bool = False
    buttons: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    asks: Asked | None = None
    citations: tuple[Citation, ...] = ()
    file: File | None = None
    remote: RemoteFile | None = None
    """Where the file lies, for a channel that can bring it only later."""


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


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted message on its way into the inbox. `joins`: may become one turn with its neighbours.

    `shared`: its lane belongs to a group and not to the person. `redo`: if it revises a message that is answered, or
    being answered, it is asked again; else the person is told that it came too late. `admin`: an admin said it.
    """

    message: Message
    lane: str
    control: Control | None = None
    joins: bool = True
    shared: bool = False
    redo: bool = False
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A person who has spoken: how an admin finds them."""

    channel: str
    tenant: str
    id: str
    name: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class Saying:
    """Words to a person who has not asked. The same `key` again is the same act; `actor` goes to the audit."""

    key: str
    person: Known
    lane: str
    text: str
    actor: str


@dataclass(frozen=True, slots=True)
class FileOffer:
    """A file of the agent's that a person was asked about: only they may take it, in that conversation."""

    id: str
    channel: str
    tenant: str
    person: str
    conversation: str
    file: RemoteFile


@dataclass(frozen=True, slots=True)
class Act:
    """What an admin did: a row of the audit. `turn` is the message that asked for it, None for a command."""

    actor: str
    act: str
    subject: str
    turn: int | None = None
    detail: JsonObject = field(default_factory=dict[str, Json])
    at: float = 0.0


class Decision(StrEnum):
    """What "approve" or "decline" came to. OVER: it was decided before, or too late; NOTHING: no such question."""

    APPROVED = "approved"
    DECLINED = "declined"
    OVER = "over"
    NOT_YOURS = "not_yours"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call that waits for a person's word, or has had it.

    `id` is told to channels and cannot be guessed. `person` asked the agent, and they or an admin decide. `arguments`
    is the text that the agent sent, `digest` that of tool and arguments; the former is forgotten with the turn.
    `delivered`: the question's id in the channel, once it was sent. `nudged`: somebody wrote while it waits.
    """

    id: str
    turn: int
    call_id: str
    person: str
    tool: str
    arguments: str = field(repr=False)
    digest: str
    state: Literal["asked", "approved", "declined", "expired"]
    left: float
    """Seconds in which it may still be decided, by the database's clock."""
    delivered: str | None = None
    nudged: bool = False
    decider: str = ""
    """The name of who decided."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting did. `turn` is the row's id, 0 where nothing was to be stored; `fresh` is False for a redelivery.

    Of a control: which running turns it interrupted, how many waiting messages it dropped, the generation, and what
    it decided.
    """

    turn: int
    fresh: bool
    interrupted: tuple[int, ...] = ()
    generation: int = 0
    dropped: int = 0
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn taken by this process, read in the claim's own transaction.

    `notice`: when an admin started the lane over, while the person has not been told. `withdrawn`: when a question
    of this thread was stopped, while the agent has not been told.
    """

    turn: int
    lane: str
    stamped: int
    generation: int
    messages: tuple[Message, ...]
    control: Control | None
    effect: JsonObject
    steps: JsonObject
    attempts: int
    accepted_at: float
    thread: Thread | None
    interrupt: Interrupt | None
    notice: float | None = None
    withdrawn: float | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The heartbeat's answer for one turn: `owned` False means that the lease was lost."""

    turn: int
    owned: bool
    interrupt: Interrupt | None = None


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """What a turn's final write adds to its thread."""

    thread: int
    messages: int
    prompt_tokens: int
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """A turn's final write. `notice`, `withdrawn`: what they were in the claim, if the answer or the run told it."""

    ended: Ended
    steps: JsonObject
    keep_text: bool = False
    error: str | None = None
    use: ThreadUse | None = None
    notice: float | None = None
    withdrawn: float | None = None


@dataclass(frozen=True, slots=True)
class TurnsUsed:
    """What turns came to. `who` is a person's id or a day; `apologies` counts dead letters too."""

    who: str
    channel: str
    turns: int
    answered: int
    apologies: int
    prompt_tokens: int
    completion_tokens: int
    tool_calls: int
    tool_errors: int


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """What became of a tool's calls. `seconds` is their average."""

    tool: str
    turns: int
    calls: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thinks of an answer. `delivered` is the id of its delivery, empty where the channel does not say.

    `said_at` is the channel's time in milliseconds since the epoch, None where it gives none.
    """

    conversation: Conversation
    person: Person
    delivered: str
    reaction: Literal["like", "dislike"]
    text: str = field(default="", repr=False)
    said_at: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What came of feedback: the turn it is about, where that is known, and whether it is new or a change.

    `again`: it was known, or something newer is.
    """

    turn: int | None
    lane: str
    outcome: Literal["new", "changed", "again"]


@dataclass(frozen=True, slots=True)
class KeptFeedback:
    """Feedback as it is kept. `thread` and `run` are the agent service's ids."""

    at: float
    channel: str
    tenant: str
    person: str
    name: str
    reaction: str
    text: str
    turn: int | None
    thread: str
    run: str


_REFERENCE_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_BITS = 30
_REFERENCE_FACTOR = 0x2545F491
_REFERENCE_MASK = 0x15A4E35


def reference_of(turn: int) -> str:
    """The reference of a turn, such as 7F3K-2Q: a one-to-one scramble of its id, unique for 2**30 turns."""
    value = ((turn * _REFERENCE_FACTOR) ^ _REFERENCE_MASK) % (1 << _REFERENCE_BITS)
    digits = "".join(_REFERENCE_DIGITS[(value >> shift) & 31] for shift in range(25, -1, -5))
    return f"{digits[:4]}-{digits[4:]}"


def turn_of(reference: str) -> int:
    """The turn's id (below 2**30) that a reference was made from.

    Case, the dash and the letters that look like digits (O, I, L) are forgiven.

    Raises:
        ValueError: it is not six letters and digits.
    """
    cleaned = reference.upper().replace("-", "").replace("O", "0").replace("I", "1").replace("L", "1").strip()
    if len(cleaned) != 6 or any(c not in _REFERENCE_DIGITS for c in cleaned):
        raise ValueError(f"{reference!r} is not a reference; it looks like 7F3K-2Q.")
    value = 0
    for digit in cleaned:
        value = value << 5 | _REFERENCE_DIGITS.index(digit)
    inverse = pow(_REFERENCE_FACTOR, -1, 1 << _REFERENCE_BITS)
    return ((value ^ _REFERENCE_MASK) * inverse) % (1 << _REFERENCE_BITS)


def storable(text: str) -> str:
    """Text from outside as every database and encoder takes it: no NUL, no half of a surrogate pair."""
    whole = text.replace("\0", "")
    return whole if whole.isascii() else whole.encode("utf-8", "replace").decode("utf-8")


def check_place(collection: str, key: str) -> None:
    """Whether a record may lie there.

    Raises:
        ValueError: it may not, and why.
    """
    if not _COLLECTION.fullmatch(collection):
        raise ValueError("a collection's name must be 1 to 64 letters, digits, _, - or .")
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise ValueError(f"a key must be 1 to {LONGEST_KEY} characters, and all of them visible")


def plain_value(value: Json) -> Json:
    """A record's value as it will be read.

    Raises:
        ValueError: it is None, no JSON, or too large.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("a value must be JSON: text, numbers, true, false, lists and objects of them") from None
    if value is None or len(text) > LARGEST_VALUE:
        raise ValueError(f"a value must be something, and at most {LARGEST_VALUE} bytes as JSON; keep it in parts")
    return json.loads(text)


def without_none(values: Mapping[str, Json]) -> JsonObject:
    """The mapping less the keys that hold None."""
    return {k: v for k, v in values.items() if v is not None}
