"""An agent service: threads, runs, and the definition of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from bot.types import (
    Ask,
    AtService,
    Carried,
    Compared,
    Found,
    Handle,
    RemoteFile,
    RunMark,
    Said,
    Step,
    Takes,
    Thread,
    ToolOutput,
    ToolSpec,
)


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
