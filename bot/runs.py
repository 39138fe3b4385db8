"""create_and_poll: one run to its end, in seconds and in tool rounds, with every step saved before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.errors import (
    ContentFiltered,
    DeadlinePassed,
    Interrupted,
    RequestRefused,
    RunActive,
    RunFailed,
    RunGone,
    ServiceUnavailable,
)
from bot.events import Emit, RunEnded, RunLooked, RunStarted
from bot.lease import Turn
from bot.ports import Agent, Clock, Show
from bot.rounds import Rounds
from bot.types import (
    Ask,
    File,
    Finished,
    Found,
    Handle,
    JsonObject,
    NeedsTools,
    RunMark,
    Step,
    Stopped,
    Thread,
    ToolOutput,
    ToolRow,
    ToolSpec,
    Working,
)

WORTH_ANOTHER = frozenset({"rate_limit_exceeded", "server_error"})
"""Codes of a failed run after which the same question may well be answered."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Seconds, unless it says otherwise."""

    deadline: float = 300.0
    rounds: int = 10
    attempts: int = 4
    poll_factor: float = 1.5
    poll_first: float = 0.5
    poll_cap: float = 5.0
    failed_looks: int = 5
    ending: float = 30.0
    backoff: float = 2.0


STEPS = ("run", "summary")
"""The saved steps that may hold a run."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a run is made for; `tools` None lets it call none. `step` names its saved step, and the attempts."""

    text: str
    tools: tuple[ToolSpec, ...] | None
    note: str | None = None
    step: str = "run"
    files: tuple[File, ...] = ()
    show: Show | None = None


@dataclass(slots=True)
class _State:
    """A run's saved step."""

    thread: str
    attempt: int = 0
    began: float | None = None
    posting: float | None = None
    run: str | None = None
    on: str | None = None
    round: int = 0
    ended: bool = False
    carries: bool = False
    """The attempt is told what the tools gave in one before it."""
    first: int = 0
    """The attempt that asks in this thread. Those after it find the question there."""

    def handle(self) -> Handle | None:
        return Handle(self.on or self.thread, self.run) if self.run else None

    def saved(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__slots__}


class Runs:
    """Makes runs and brings them to their end."""

    def __init__(
        self,
        agent: Agent,
        rounds: Rounds,
        clock: Clock,
        emit: Emit,
        limits: RunLimits,
    ) -> None:
        self.agent = agent
        self.rounds = rounds
        self.clock = clock
        self.emit = emit
        self.limits = limits

    async def create_and_poll(self, turn: Turn, thread: Thread, question: Question) -> Finished:
        """Start a run on the thread, or go on with the one an earlier life of this turn started; its answer.

        Raises:
            Interrupted: stop, or a newer generation; the run is ended.
            DeadlinePassed: it took too long or too many rounds; the run is ended.
            RunFailed, ContentFiltered, RequestRefused: it will not be answered.
            ThreadGone: the thread does not exist any more.
            RunStuck: as the others, but the run would not end: the thread is blocked.
            ServiceUnavailable, OperatorError: not now; the turn is to be taken up again.
        """
        run = _Run(self, turn, thread, question)
        try:
            return await run.to_end()
        except (Interrupted, DeadlinePassed) as why:
            finished = await run.abandon(why)
            if finished is not None and isinstance(why, DeadlinePassed):
                return finished  # it ended while it was being cancelled
            raise

    async def end(self, turn: Turn, thread: Thread) -> None:
        """End whatever runs an earlier life of the turn left on the thread.

        Raises:
            RunStuck: one does not end.
        """
        for step in STEPS:
            saved = turn.saved(step)
            if saved and not saved["ended"]:
                await _Run(self, turn, thread, Question("", None, step=step)).abandon(Interrupted("ended"))


class RunStuck(RunFailed):
    """The run was cancelled and does not end."""


@dataclass(slots=True)
class _Run:
    """One question on its way through its attempts."""

    runs: Runs
    turn: Turn
    thread: Thread
    question: Question
    state: _State = field(init=False)
    began_here: float = field(init=False)

    def __post_init__(self) -> None:
        saved = self.turn.saved(self.question.step)
        before = self.turn.runs_before
        self.state = _State(**saved) if saved else _State(self.thread.remote_id, before, first=before)
        self.began_here = self.runs.clock.monotonic()

    # -- to the end -----------------------------------------------------------------------------------------

    async def to_end(self) -> Finished:
        if self.state.thread != self.thread.remote_id:
            await self._moved()
        while True:
            handle = await self._started()
            step = await self._polled(handle)
            self._say_ended(handle, step)
            if isinstance(step, Finished):
                self.state.ended = True
                self.turn.note(self.question.step, self.state.saved())
                return step
            await self._another_attempt(step)

    async def _started(self) -> Handle:
        handle = self.state.handle()
        if handle is not None:
            self._say_started(handle, adopted=True)
            return handle
        held = self.state.attempt > self.state.first
        doubtful = self.state.posting is not None
        if doubtful:
            found = await self._found()
            if found.handle is not None:
                return await self._keep(found.handle, adopted=True)
            held = held or found.message
        self.turn.check()
        self.state.posting = self.runs.clock.now()
        self.state.began = self.state.began or self.state.posting
        await self._save()
        question = self.question
        gave = await self.runs.rounds.gave(self.turn) if self.state.carries else None
        ask = Ask(
            self._mark(),
            question.text,
            question.tools,
            "\n\n".join(filter(None, [question.note, gave])) or None,
            held=held,
            stream=question.show is not None,
            files=question.files,
        )
        return await self._start(ask, doubtful=doubtful)

    async def _start(self, ask: Ask, *, doubtful: bool) -> Handle:
        """Start it once nothing is in the way. `doubtful`: an earlier start may have had an effect after all."""
        delay = self.runs.limits.poll_first
        while True:
            try:
                return await self._keep(await self.runs.agent.start(self.thread.remote_id, ask), adopted=False)
            except RunActive:
                ours = await self._make_way()
                if ours is not None:
                    return await self._keep(ours, adopted=True)
            self._within_deadline()
            await self.turn.sleep(delay)
            delay = min(delay * self.runs.limits.poll_factor, self.runs.limits.poll_cap)
            if doubtful:  # what stood in the way may have been ours, and may have ended meanwhile
                found = await self.runs.agent.find(self.thread.remote_id, self._mark())
                if found.handle is not None:
                    return await self._keep(found.handle, adopted=True)

    async def _found(self) -> Found:
        """What an earlier start left, once it can have no effect any more."""
        found = await self.runs.agent.find(self.thread.remote_id, self._mark())
        if found.handle is None and self.state.posting is not None:
            left = self.state.posting + self.runs.agent.start_timeout - self.runs.clock.now()
            if left > 0:
                await self.turn.sleep(left)
                found = await self.runs.agent.find(self.thread.remote_id, self._mark())
        return found

    async def _make_way(self) -> Handle | None:
        """A run that has not ended stands in the way: ours is adopted, another is ended."""
        found = await self.runs.agent.find(self.thread.remote_id, self._mark())
        if found.handle is not None:
            return found.handle
        other = await self.runs.agent.active(self.thread.remote_id)
        if other is not None and not await self._ended(other):
            raise RunStuck("stuck")
        return None

    async def _keep(self, handle: Handle, *, adopted: bool) -> Handle:
        self.state.run, self.state.on = handle.run_id, handle.thread_id
        await self._save()
        self._say_started(handle, adopted=adopted)
        return handle

    # -- looking --------------------------------------------------------------------------------------------

    async def _polled(self, handle: Handle) -> Finished | Stopped:
        limits, agent = self.runs.limits, self.runs.agent
        delay, failures = limits.poll_first, 0
        pause = agent.first_look
        while True:
            await self.turn.race(agent.changed(handle, pause))
            step, failures = await self._look(handle, failures)
            if isinstance(step, Working) and step.text and self.question.show is not None:
                self.question.show(step.text)
                pause = delay  # what is pushed costs no request: no need to look less often
                self._within_deadline()
                continue
            if isinstance(step, (Finished, Stopped)):
                return step
            self._within_deadline()
            if isinstance(step, NeedsTools):
                try:
                    taken = await self._answered(handle, step)
                except RunActive:  # the service still works on the round before; it takes them later
                    taken = None
                if taken:
                    handle = self.state.handle() or handle
                    delay, pause = limits.poll_first, agent.first_look
                    continue
                failures += taken is False
            pause = max(delay, step.retry_after or 0.0) if isinstance(step, Working) else delay
            delay = min(delay * limits.poll_factor, limits.poll_cap)

    async def _look(self, handle: Handle, failures: int) -> tuple[Step, int]:
        try:
            step = await self.runs.agent.look(handle)
            failures = 0 if isinstance(step, Working) else failures
        except RunGone:
            step = Stopped("gone", "server_error")  # nothing can come of it any more: worth another attempt
        except ServiceUnavailable as error:
            if failures + 1 >= self.runs.limits.failed_looks:
                raise
            step, failures = Working("unreachable", error.retry_after), failures + 1
        if failures >= self.runs.limits.failed_looks:
            raise RunFailed("outputs_refused")
        self.runs.emit(RunLooked(self.turn.reference, self.turn.lane, handle.run_id, _state_of(step)))
        return step, failures

    def _within_deadline(self) -> None:
        """Time that passed while nobody worked on the turn does not count against it."""
        spent = self.runs.clock.monotonic() - self.began_here
        if spent > self.runs.limits.deadline:
            raise DeadlinePassed("deadline")

    # -- tools ----------------------------------------------------------------------------------------------

    async def _answered(self, handle: Handle, needs: NeedsTools) -> bool:
        """Call what was asked for and give all outputs back at once; False if they did not get through."""
        known = await self.runs.rounds.known(self.turn)
        again = all(call.id in known and known[call.id].output is not None for call in needs.calls)
        outputs = await self._outputs(needs, known)
        self.turn.check()
        try:
            answered = await self.runs.agent.answer(handle, outputs, again=again)
        except (ServiceUnavailable, RequestRefused):
            return False  # looking tells whether it was taken; the outputs are saved
        if answered != handle:
            self.state.run, self.state.on = answered.run_id, answered.thread_id
            await self._save()
        return True

    async def _outputs(self, needs: NeedsTools, known: Mapping[str, ToolRow]) -> list[ToolOutput]:
        if any(call.id not in known for call in needs.calls):
            if self.state.round >= self.runs.limits.rounds:
                raise DeadlinePassed("rounds")
            self.state.round += 1
            await self._save()
        try:
            async with asyncio.timeout(self._time_left(needs, known)):
                return await self.runs.rounds.outputs(
                    self.turn, needs.calls, known, attempt=self.state.attempt, number=self.state.round
                )
        except TimeoutError:
            raise DeadlinePassed("deadline") from None

    def _time_left(self, needs: NeedsTools, known: Mapping[str, ToolRow]) -> float:
        """Seconds for this round: to our deadline, or to the run's own end if that is sooner.

        What a person agreed to is done all the same: another run is told of it.
        """
        left = self.runs.limits.deadline - (self.runs.clock.monotonic() - self.began_here)
        agreed = any(call.id in known and known[call.id].state == "asked" for call in needs.calls)
        if needs.expires_at is not None and not agreed:
            left = min(left, needs.expires_at - self.runs.clock.now())
        return max(left, 0.0)

    # -- another attempt, or none ---------------------------------------------------------------------------

    async def _another_attempt(self, stopped: Stopped) -> None:
        """Wait for the next attempt, or raise why there is none."""
        if stopped.code == "content_filter":
            raise ContentFiltered(stopped.code)
        limits = self.runs.limits
        wait = stopped.retry_after or limits.backoff * 2 ** (self.state.attempt - self.state.first)
        spent = self.runs.clock.monotonic() - self.began_here
        asked = await self._done_without_run()
        if (
            self.state.attempt + 1 - self.state.first >= limits.attempts
            or spent + wait > limits.deadline
            or not (asked or stopped.code in WORTH_ANOTHER)
            or (not asked and await self.runs.rounds.has_effect(self.turn))
        ):
            raise RunFailed(stopped.code or stopped.state)
        self.state.carries = self.state.carries or asked
        self.state.attempt += 1
        self.state.posting = self.state.run = self.state.on = None
        self.state.round = 0
        await self._save()
        await self.turn.sleep(wait)

    async def _moved(self) -> None:
        """Ask in a thread of another service, as if the run that an earlier life began had ended.

        Raises:
            RunFailed: a tool may have had its effect in that run.
            AwaitsApproval: a person was asked in it, and has not said.
        """
        before = self.state
        asked = await self._done_without_run()
        if not asked and await self.runs.rounds.has_effect(self.turn):
            raise RunFailed("moved")
        number = before.attempt + 1
        self.state = _State(self.thread.remote_id, number, carries=before.carries or asked, first=number)
        await self._save()

    async def _done_without_run(self) -> bool:
        """Whether a person was asked in this attempt. What they agreed to is done then: its run did not wait for it."""
        asked = await self.runs.rounds.asked_in(self.turn, self.state.attempt)
        if asked:
            await self.runs.rounds.without_run(self.turn, self.state.attempt)
        return asked

    async def abandon(self, why: Exception) -> Finished | None:
        """End the run for good. Its answer, if it came to one all the same.

        Raises:
            RunStuck: it does not end.
        """
        if self.state.thread != self.thread.remote_id:
            return None
        handle = self.state.handle()
        if handle is None and self.state.posting is not None:
            handle = await self._posted()
        if handle is None:
            return None
        step = await self._ended(handle)
        if step is None:
            raise RunStuck("stuck") from why
        self.state.ended = True
        self.turn.note(self.question.step, self.state.saved())
        self._say_ended(handle, step)
        return step if isinstance(step, Finished) else None

    async def _posted(self) -> Handle | None:
        """The run of a start whose fate is not known."""
        clock, agent = self.runs.clock, self.runs.agent
        until = (self.state.posting or 0.0) + agent.start_timeout
        while True:
            handle = (await agent.find(self.thread.remote_id, self._mark())).handle
            if handle is not None or clock.now() >= until:
                return handle
            await clock.sleep(min(self.runs.limits.poll_cap, until - clock.now()))

    async def _ended(self, handle: Handle) -> Finished | Stopped | None:
        """Cancel a run and wait for its end; None if it has not come after `limits.ending` seconds."""
        clock, limits = self.runs.clock, self.runs.limits
        until, delay = clock.monotonic() + limits.ending, limits.poll_first
        await self.runs.agent.cancel(handle)
        while True:
            try:
                step = await self.runs.agent.look(handle)
            except RunGone:
                step = Stopped("gone")
            except ServiceUnavailable:
                step = Working("unreachable")
            if isinstance(step, (Finished, Stopped)):
                return step
            if clock.monotonic() >= until:
                return None
            await clock.sleep(delay)
            delay = min(delay * limits.poll_factor, limits.poll_cap)

    # -- small things ---------------------------------------------------------------------------------------

    def _mark(self) -> RunMark:
        return RunMark(str(self.turn.id), f"{self.question.step}-{self.state.attempt}", self.turn.reference)

    async def _save(self) -> None:
        await self.turn.save_all({self.question.step: self.state.saved()})

    def _say_started(self, handle: Handle, *, adopted: bool) -> None:
        agent, mark = self.runs.agent, self._mark()
        self.runs.emit(
            RunStarted(
                self.turn.reference,
                self.turn.lane,
                agent.backend,
                handle.thread_id,
                handle.run_id,
                mark.attempt,
                adopted,
            )
        )

    def _say_ended(self, handle: Handle, step: Finished | Stopped) -> None:
        state = _state_of(step)
        prompt, completion = (step.usage.prompt, step.usage.completion) if isinstance(step, Finished) else (0, 0)
        seconds = self.runs.clock.monotonic() - self.began_here
        self.runs.emit(
            RunEnded(
                self.turn.reference,
                self.turn.lane,
                handle.run_id,
                state,
                self.state.round,
                seconds,
                prompt,
                completion,
            )
        )


def _state_of(step: Step) -> str:
    """The service's word for how the run stands."""
    match step:
        case Working(state=state) | Stopped(state=state):
            return state
        case NeedsTools():
            return "requires_action"
        case Finished():
            return "completed"
