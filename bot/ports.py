"""Questions we ask of the outside. Protocols, not base classes; one contract test class per port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

from bot.types import (
    Accepted,
    Act,
    Approval,
    Ask,
    AtService,
    Attachment,
    AuditedCall,
    Caller,
    Carried,
    Claim,
    Compared,
    Ended,
    Ending,
    Entry,
    Feedback,
    FileOffer,
    Found,
    Handle,
    Interrupt,
    Json,
    JsonObject,
    Kept,
    KeptFeedback,
    Known,
    Lane,
    Message,
    Part,
    Records,
    RemoteFile,
    Renewal,
    RunMark,
    Said,
    Saying,
    Step,
    Takes,
    Thread,
    ThreadReason,
    Told,
    ToolCall,
    ToolFailures,
    ToolOutput,
    ToolRow,
    ToolSpec,
    ToolUsed,
    TurnsUsed,
)

Accept = Callable[[Message], Awaitable[Accepted]]
"""What a channel calls with a verified message; when it returns, the message is on disk."""

Judge = Callable[[Feedback], Awaitable[Told]]
"""What a channel calls with verified feedback; when it returns, that is on disk."""

View = Callable[[str], Awaitable[JsonObject]]
"""What the local page shows of a lane: its thread, its history, what runs and what waits."""


class Clock(Protocol):
    """Time, so that a test can hold it."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        ...


Beside = Literal["files", "citations"]

Show = Callable[[str], None]
"""What a channel offers that can show an answer as it grows: takes the whole text so far, as often as it changes."""


class Agent(Protocol):
    """An agent service. Every request is made once: what failed without an answer is looked up, not repeated.

    All methods may raise `ServiceUnavailable`, `ServiceBusy` and `OperatorError`.
    """

    @property
    def backend(self) -> str:
        """The name of the implementation, as AGENT_BACKEND has it; saved with each thread."""
        ...

    @property
    def project(self) -> str:
        """Which project (and agent) the threads belong to; another value means that they must move."""
        ...

    @property
    def start_timeout(self) -> float:
        """Seconds after which a start that was cut off can no longer take effect at the service."""
        ...

    @property
    def first_look(self) -> float:
        """Seconds after a start, or an answer, before looking is worth a request."""
        ...

    @property
    def takes(self) -> Takes:
        """Which attachments may come along with an ask."""
        ...

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        """Make a thread that already knows what is carried, in one request; its id at the service."""
        ...

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        """Start a run, adding the ask's message in the same request.

        Raises:
            ThreadGone: the agent exists, the thread does not.
            RunActive: another run of this thread has not ended; nothing was added.
            RequestRefused: the service will never take it.
        """
        ...

    async def look(self, handle: Handle) -> Step:
        """How the run stands.

        Raises:
            RunGone: there is no such run.
        """
        ...

    async def changed(self, handle: Handle, seconds: float) -> None:
        """Wait until looking may show something new: text that grows, or so many seconds."""
        ...

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        """Give back the outputs of a round, all in one submission; where to look from now on.

        `again`: they may have been given before, by a request whose fate is not known.

        Raises:
            RequestRefused: the run does not wait for these (any more).
            RunActive: the service still works on the thread; it takes them later.
        """
        ...

    async def download(self, file: RemoteFile) -> bytes:
        """The content of a file that an answer brought.

        Raises:
            RequestRefused: it is gone, or too large.
        """
        ...

    async def cancel(self, handle: Handle) -> None:
        """Ask the service to end the run and leave no call open. The end is seen by looking. Idempotent."""
        ...

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        """What an earlier life of this turn and attempt left in the thread.

        Raises:
            ThreadGone: the agent exists, the thread does not.
        """
        ...

    async def active(self, thread_id: str) -> Handle | None:
        """The run of this thread that has not ended, if there is one."""
        ...

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        """The last `limit` entries of a thread, oldest first.

        Raises:
            ThreadGone: the thread does not exist.
        """
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """Delete it. One that is gone already is no failure."""
        ...

    async def close(self) -> None:
        """Give back sessions and credentials."""
        ...


@runtime_checkable
class KeepsTools(Protocol):
    """An agent whose service must know every tool beforehand."""

    async def mismatch(self, tools: Sequence[ToolSpec]) -> list[str]:
        """What the service lacks, or has otherwise, of these tools; empty if nothing.

        If it raises, the next run begins with asking again.

        Raises:
            ServiceUnavailable, OperatorError: the service did not say.
        """
        ...


class Definition(Protocol):
    """The agent's definition at its service: what agent.toml and the tools want, and what is there."""

    async def compare(self, tools: Sequence[ToolSpec]) -> Compared:
        """Both beside each other. Changes nothing.

        Raises:
            ServiceUnavailable, OperatorError: the service did not say, or keeps something that is no such definition.
        """
        ...

    async def push(self, tools: Sequence[ToolSpec]) -> tuple[Compared, AtService | None]:
        """Make the service's what is wanted. How both stood before, and the agent as it is now; None: nothing to do.

        Raises:
            ServiceUnavailable: nothing is known of its effect; asked again, it does what is left.
            OperatorError: the service refuses it.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Archives(Protocol):
    """The agents of threads that were made under other settings, as far as they can still be reached."""

    async def of(self, thread: Thread) -> Agent | None:
        """The agent that this thread lies with; None where nothing of ours speaks with it any more.

        Raises:
            OperatorError: it cannot be opened.
        """
        ...


class Toolbox(Protocol):
    """All tools, whatever answers them."""

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool, in a fixed order."""
        ...

    def approval(self, call: ToolCall) -> Mapping[str, str] | None:
        """The arguments as a person may be shown them, who is to agree first; None: nobody need be asked."""
        ...

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        """Call it. Never raises: every failure becomes an output that the agent can read."""
        ...


class Channel(Protocol):
    """The chat side. `limit` is the size of one delivery in bytes of UTF-16."""

    @property
    def name(self) -> str:
        """The channel's name, as messages carry it."""
        ...

    @property
    def limit(self) -> int:
        """How many bytes of UTF-16 one delivery may have."""
        ...

    @property
    def send_timeout(self) -> float:
        """Seconds after which a send that got no answer can no longer be shown."""
        ...

    @property
    def shows(self) -> frozenset[Beside]:
        """What it can show beside text; the rest is said in words."""
        ...

    def dialect(self, text: str) -> str:
        """The text as the channel shows it, before it is split. Said of its own result, it changes nothing."""
        ...

    def working(self, address: JsonObject) -> AbstractAsyncContextManager[Show | None]:
        """Show that an answer is being made, until the block ends; its own failures never reach the turn.

        Gives a way to show the text as it grows, where the channel has one.
        """
        ...

    async def send(self, address: JsonObject, part: Part) -> str:
        """Show it; the delivery's id in the channel.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never.
            Interrupted: the person stopped it in the channel itself, which is stored as their "stop".
        """
        ...

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        """Show it in place of an earlier delivery.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never, or the channel cannot update.
        """
        ...

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        """The content of an attachment that came without it, of at most so many bytes.

        Raises:
            ServiceUnavailable: not now.
            DeliveryRefused: never: it is gone, too large, or not to be had by this channel.
        """
        ...


@runtime_checkable
class ShowsProgress(Protocol):
    """A channel that can show what a tool is doing while an answer is being made."""

    def progress(self, address: JsonObject, words: str) -> None:
        """Show one line where something shows that an answer is being made, and nowhere else. Never waits."""
        ...


class InboxStore(Protocol):
    """Accepted messages on disk. A write of a turn raises `LostLease` where `owner` does not hold it."""

    async def put(self, entry: Entry, undo_seconds: float) -> Accepted:
        """Store a message, and apply it where it is a control, in one transaction."""
        ...

    async def claim(self, owner: str, limit: int, lease: float) -> list[Claim]:
        """Take the heads of lanes in which nothing runs, with all that waits behind them and may join."""
        ...

    async def renew(self, owner: str, turns: Sequence[int], lease: float) -> list[Renewal]:
        """Hold these turns for `lease` seconds more, and learn of stops and generations."""
        ...

    async def holds(self, turn: int, owner: str) -> Interrupt | None:
        """Why this turn must not speak, None if it may.

        Raises:
            LostLease: it is no longer ours.
        """
        ...

    async def save(self, turn: int, owner: str, steps: JsonObject) -> None:
        """Save the turn's steps."""
        ...

    async def release(self, turn: int, owner: str, delay: float, error: str, *, counted: bool) -> None:
        """Give it back, to be claimed again after `delay` seconds; `counted` says if an attempt is used up."""
        ...

    async def wait(self, turn: int, owner: str, approval: str) -> None:
        """Give it back until the approval is decided or expires, or somebody writes; no attempt is used up."""
        ...

    async def finish(self, turn: int, owner: str, ending: Ending) -> None:
        """The final write of the turn and of all that joined it; forgets the words unless they are kept."""
        ...

    async def requeue(self, *, everything: bool) -> int:
        """Put back what runs on an expired lease, or (`everything`, when no one else can run) all; how many."""
        ...

    async def next_due(self) -> float | None:
        """Seconds until a turn that waits for its time may be claimed; None if none waits."""
        ...


class ToolCallStore(Protocol):
    """The tool calls of turns. A write raises `LostLease` where `owner` does not hold the turn."""

    async def started(self, turn: int, owner: str, rows: Sequence[ToolRow]) -> None:
        """Commit rows of one round, before the calls."""
        ...

    async def agreed(self, turn: int, owner: str, call_id: str) -> None:
        """A person agreed to an `asked` call: commit that it is `started`, before it is made."""
        ...

    async def ended(self, turn: int, owner: str, outputs: Sequence[ToolOutput]) -> None:
        """Commit outputs, before their submission."""
        ...

    async def rows(self, turn: int) -> list[ToolRow]:
        """The calls of a turn, in order."""
        ...


class ApprovalStore(Protocol):
    """Tool calls that wait for a person's word. A write raises `LostLease` where `owner` does not hold the turn.

    The word itself is a control, which `InboxStore.put` applies.
    """

    async def ask(self, turn: int, owner: str, call: ToolCall, person: str, seconds: float) -> Approval:
        """Keep the question, once a call, for so many seconds; as it stands."""
        ...

    async def of(self, turn: int) -> list[Approval]:
        """The turn's approvals, in the order in which they were asked for."""
        ...

    async def told(self, turn: int, owner: str, approval: str, delivered: str) -> None:
        """The question stands in the channel under this id, and whoever wrote meanwhile has been told that it waits."""
        ...

    async def expire(self, turn: int, owner: str, approval: str) -> Approval:
        """It was not decided in time, unless it was after all; as it stands."""
        ...


class ToolAudit(Protocol):
    """Every tool call that was begun, and what came of it. Those of turns are written with the calls themselves."""

    async def record(self, call: AuditedCall) -> None:
        """Keep a call that no turn made. Its `at` is the database's own time less the `seconds` that it took."""
        ...

    async def calls(self, seconds: float, tool: str | None, limit: int) -> list[AuditedCall]:
        """The last calls (of one tool) in so many seconds, newest first."""
        ...

    async def failures(self, seconds: float, tool: str | None) -> list[ToolFailures]:
        """What failed in so many seconds (of one tool), each way of each tool once, the most frequent first."""
        ...


class RecordStore(Protocol):
    """What tools keep, for each owner apart."""

    def of_organisation(self, tenant: str) -> Records:
        """What is kept for a whole organisation. It stays when people are forgotten."""
        ...

    def of_person(self, channel: str, tenant: str, person: str) -> Records:
        """What is kept for one person. It is forgotten with them."""
        ...


class ToolFiles(Protocol):
    """Files that tools made, kept with the outputs of their calls until they are delivered, or for two days."""

    async def of(self, turn: int) -> list[RemoteFile]:
        """Those of a turn's last attempt, in the order of the calls."""
        ...

    async def content(self, file: RemoteFile) -> bytes:
        """The content.

        Raises:
            RequestRefused: it is gone.
        """
        ...


class TurnRecords(Protocol):
    """What is asked of turns from outside their running."""

    async def last_unanswered(self, lane: str, person: str) -> tuple[int, list[Message]] | None:
        """The person's last turn and its messages that ended in an apology or went stale, while the words are kept."""
        ...

    async def forget_text(self, turn: int) -> None:
        """Erase the words kept with a turn that has ended."""
        ...

    async def ended(self, turns: Sequence[int]) -> dict[int, Ended]:
        """How these turns ended; those that did not are left out."""
        ...

    async def busy(self, lane: str) -> tuple[int | None, int]:
        """The turn that runs in a lane, and how many messages wait."""
        ...

    async def attention(self) -> list[JsonObject]:
        """The turns that wait, run, or ended unanswered with their words kept: as `describe`, less their calls."""
        ...

    async def again(self, turn: int) -> bool:
        """Put an unanswered turn back into its lane, as if it had just come; False if its words are gone."""
        ...

    async def drop(self, turn: int) -> bool:
        """Let go of a turn that waits or was not answered; False if it runs, or has ended otherwise."""
        ...

    async def unfinished(self) -> int:
        """How many messages have not ended, in all lanes."""
        ...

    async def oldest_waiting(self) -> dict[str, tuple[int, float]]:
        """For each channel in which messages wait: how many, and the age of the oldest in seconds."""
        ...

    async def sweep(self, rows_older_than: float, texts_older_than: float) -> int:
        """Delete finished rows and erase kept words past their age in seconds; how many rows went."""
        ...

    async def describe(self, turn: int) -> JsonObject | None:
        """Everything known of a turn, for `inbox show`."""
        ...


class ThreadStore(Protocol):
    """Whose thread: lanes, generations, and the chain of threads behind each."""

    async def lane(self, key: str) -> Lane | None:
        """The lane and its current thread; None before its first message."""
        ...

    async def open(self, turn: int, owner: str, thread: Thread, *, carried: str) -> Thread:
        """Save a new thread and make it the lane's current one, if the turn is held and the generation stands.

        Raises:
            LostLease: the turn is no longer ours.
            Interrupted: the generation rose.
        """
        ...

    async def mark(self, turn: int, owner: str, thread: int, reason: ThreadReason) -> None:
        """Note that a thread can be used no more (lost or stuck); the next turn opens another."""
        ...

    async def chain(self, lane: str) -> list[Thread]:
        """Every thread the lane ever had, oldest first."""
        ...


class PeopleStore(Protocol):
    """Who has spoken, whose lanes are whose, and what admins did."""

    async def find(self, words: str) -> list[Known]:
        """Who is meant: by id, else by the whole name, else by words of the name. Several may be."""
        ...

    async def everyone(self) -> list[Known]:
        """Everyone known, by name."""
        ...

    async def lanes(self, person: Known, *, every: bool) -> list[str]:
        """The lanes of a person: the personal one, or `every` one that is theirs."""
        ...

    async def count(self) -> tuple[int, int]:
        """How many conversations have a thread, and how many people have one."""
        ...

    async def record(self, act: Act) -> Act:
        """Write an audit row, once a turn; as it stands there, with its time."""
        ...

    async def acted(self, turn: int) -> Act | None:
        """What this turn did already."""
        ...

    async def acts(self, actor: str | None, limit: int) -> list[Act]:
        """The last acts (of one admin), newest first."""
        ...


class ForgettingStore(Protocol):
    """Lanes started over, or forgotten, from outside them."""

    async def reset(self, keys: Sequence[str], act: Act, undo_seconds: float) -> Act:
        """Start these lanes over and write the audit row, in one transaction and once a turn."""
        ...

    async def reset_some(self, act: Act, undo_seconds: float) -> int:
        """Start over some of the lanes whose thread or question is older than the act; how many, 0 at the end."""
        ...

    async def let_go(self, keys: Sequence[str]) -> None:
        """End what runs in these lanes, and mark all their threads to be deleted."""
        ...

    async def running(self, keys: Sequence[str], turn: int | None) -> int:
        """How many turns run in these lanes, less this one."""
        ...

    async def marked(self, keys: Sequence[str] | None, limit: int) -> list[Thread]:
        """Threads (of these lanes) that are to be deleted, those that waited longest first."""
        ...

    async def deleted(self, thread: int) -> None:
        """The thread is gone at the service: let it go here."""
        ...

    async def left(self, thread: int) -> None:
        """The thread could not be deleted now: it is tried again after the others."""
        ...

    async def forget(self, keys: Sequence[str], person: Known | None, turn: int | None) -> None:
        """Erase the words kept with ended turns of these lanes, and the person's row where one is given."""
        ...

    async def expire(self, seconds: float) -> int:
        """Mark threads that were not used for so long, and let go of people not seen for so long; how many threads."""
        ...


class FeedbackStore(Protocol):
    """What people think of answers: one row for each person and delivery, of which the newest counts."""

    async def put(self, given: Feedback, lane: str, *, below: bool) -> Told:
        """Keep it with the turn of this lane, or of one `below` it, that made the delivery; without one if none did."""
        ...

    async def within(self, seconds: float) -> list[KeptFeedback]:
        """What was said in the last so many seconds, newest first."""
        ...


class MovingStore(Protocol):
    """Lanes whose thread lies with another agent than the one that is set."""

    async def elsewhere(self, backend: str, project: str, after: str, limit: int) -> list[Lane]:
        """The next such lanes behind the key `after`, in the order of their keys."""
        ...

    async def move(self, thread: Thread, *, carried: str) -> bool:
        """Make this new thread its lane's current one in place of its `previous_id`.

        False, and nothing is changed, where that is not the current one any more, the generation is another, or a
        message of the lane runs or waits.
        """
        ...


class SayStore(Protocol):
    """Words to people who have not asked."""

    async def put(self, saying: Saying) -> Accepted:
        """Store the words behind what waits in the person's lane, and the audit row, in one transaction; once a key.

        Raises:
            NotSaid: `no_address`, `too_many` wait already, or the key was used for `other_words`.
        """
        ...


class FileOffers(Protocol):
    """Files of the agent's that people were asked about, until they answer or it is too late."""

    async def offer(self, offer: FileOffer, seconds: float) -> None:
        """Keep it for so many seconds."""
        ...

    async def take(self, offer: str, seconds: float) -> FileOffer | None:
        """Take it in hand for so many seconds; None if it is not there (any more), or in another hand."""
        ...

    async def give_back(self, offer: str) -> None:
        """It may be taken again."""
        ...

    async def close(self, offer: str) -> None:
        """Let it go."""
        ...


class History(Protocol):
    """Threads that lie in our own store, for agents whose service keeps none."""

    async def create_thread(self, thread_id: str, entries: Sequence[Said]) -> None:
        """Make a thread with these entries."""
        ...

    async def thread_exists(self, thread_id: str) -> bool:
        """Whether it is there."""
        ...

    async def start_run(
        self, thread_id: str, run_id: str, mark: RunMark, text: str | None, state: Json, *, added: Sequence[Kept] = ()
    ) -> None:
        """Add a run, and the message (or the entries `added`) where there is one, in one transaction.

        Raises:
            ThreadGone: no such thread.
            RunActive: another run has not ended.
        """
        ...

    async def run(self, run_id: str) -> JsonObject | None:
        """The run's saved state."""
        ...

    async def find_run(self, thread_id: str, mark: RunMark) -> str | None:
        """The run of this turn and attempt."""
        ...

    async def active_run(self, thread_id: str) -> str | None:
        """The run that has not ended."""
        ...

    async def save_run(self, run_id: str, state: Json, *, ended: bool, answer: str | None = None) -> None:
        """Save a run's state, with its answer as a new entry of the thread, in one transaction."""
        ...

    async def advance(
        self, run_id: str, before: JsonObject, state: JsonObject, *, ended: bool, added: Sequence[Kept] = ()
    ) -> bool:
        """Save a run's next state with new entries of its thread, in one transaction.

        False, and nothing is saved, if the run is gone, has ended, or its state is not `before` any more.
        """
        ...

    async def last_run(self, thread_id: str) -> JsonObject | None:
        """The saved state of the run that was started last."""
        ...

    async def entries(self, thread_id: str, limit: int) -> list[Said]:
        """The last entries that a user or the assistant said, oldest first."""
        ...

    async def kept(self, thread_id: str, limit: int, files: int) -> list[Kept]:
        """The last entries of every kind, oldest first; of the files only the last so many.

        Raises:
            ThreadGone: no such thread.
        """
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """Delete the thread, its entries and its runs."""
        ...


class Usage(Protocol):
    """What the turns that ended in the last so many seconds came to."""

    async def by_person(self, seconds: float) -> list[TurnsUsed]:
        """For each person and channel, the most turns first."""
        ...

    async def by_day(self, seconds: float) -> list[TurnsUsed]:
        """For each day (UTC) on which turns ended, in order."""
        ...

    async def by_tool(self, seconds: float) -> list[ToolUsed]:
        """For each tool that they called, the most calls first."""
        ...


class Store(Protocol):
    """One database behind them all."""

    @property
    def inbox(self) -> InboxStore: ...
    @property
    def tool_calls(self) -> ToolCallStore: ...
    @property
    def approvals(self) -> ApprovalStore: ...
    @property
    def tool_audit(self) -> ToolAudit: ...
    @property
    def tool_records(self) -> RecordStore: ...
    @property
    def tool_files(self) -> ToolFiles: ...
    @property
    def records(self) -> TurnRecords: ...
    @property
    def threads(self) -> ThreadStore: ...
    @property
    def history(self) -> History: ...
    @property
    def people(self) -> PeopleStore: ...
    @property
    def forgetting(self) -> ForgettingStore: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def moving(self) -> MovingStore: ...
    @property
    def says(self) -> SayStore: ...
    @property
    def offers(self) -> FileOffers: ...
    @property
    def feedback(self) -> FeedbackStore: ...
    @property
    def sole(self) -> bool:
        """Whether no other process can run turns on it."""
        ...

    async def ping(self) -> None:
        """Raise `ServiceUnavailable` if the database does not answer."""
        ...

    async def fold(self) -> None:
        """Leave no copy of erased words in the database's own log."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
