"""One message in, one answer out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from bot import admin
from bot.attached import Brought, brought
from bot.commands import Commands, parse
from bot.errors import (
    CONTEXT_TOO_LONG,
    DeadlinePassed,
    DeliveryRefused,
    Interrupted,
    LostLease,
    OperatorError,
    RequestRefused,
    RunFailed,
    ServiceBusy,
    ServiceUnavailable,
    ThreadGone,
)
from bot.events import Delivered, Emit
from bot.lease import Turn
from bot.offers_below import WAITING, with_offers
from bot.ports import Channel, Clock, Store, Toolbox
from bot.reply import shared_out, split, with_sources
from bot.runs import Question, Runs, RunStuck
from bot.texts import Texts
from bot.threads import Threads, near_limit
from bot.types import (
    MOST_WAITING,
    TOOLS,
    Citation,
    Command,
    Control,
    ConversationKind,
    Ended,
    Ending,
    File,
    Finished,
    JsonObject,
    Message,
    MessageKind,
    Part,
    RemoteFile,
    Reply,
    Thread,
    ThreadReason,
    ThreadUse,
    storable,
    without_none,
)

log = logging.getLogger("threadkeeper.turn")
NOTICE_FROM_ATTEMPT = 2
LONG_WAIT = 10.0
UNANSWERED = (Ended.APOLOGY, Ended.STALE, Ended.DEAD)
SUMMARY_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True)
class Turns:
    """The `Handler` of the inbox: takes a turn from its messages to its delivered answer."""

    store: Store
    channels: Mapping[str, Channel]
    threads: Threads
    runs: Runs
    toolbox: Toolbox
    commands: Commands
    admin: admin.Admin
    texts: Texts
    clock: Clock
    emit: Emit
    shared_groups: bool
    max_age: float

    async def run(self, turn: Turn) -> Ending:
        """See `Handler.run`."""
        try:
            if turn.saved("text:reply") is None:
                await self._make(turn)
            await self._deliver(turn)  # of a turn that is taken up again, what was not yet delivered
            return await self._ending(turn)
        except DeliveryRefused as refused:
            await self._end_what_runs(turn)  # a question about a tool, and not the answer, may be what is refused
            return Ending(Ended.DEAD, turn.steps, error=f"not delivered: {refused}")
        except Interrupted as why:
            return await self._stopped(turn, why.why)
        except OperatorError:
            if turn.told_to_end is not None:
                return await self._stopped(turn, turn.told_to_end)
            turn.note("parked", True)
            await self._say_why_it_waits(turn, self.texts.service_down())
            raise
        except ServiceBusy as busy:
            if (busy.retry_after or 0) > LONG_WAIT:
                waiting = await self.store.records.unfinished()
                await self._say_why_it_waits(turn, self.texts.busy(waiting, busy.retry_after or 0))
            raise
        except ServiceUnavailable as error:
            if turn.attempts >= NOTICE_FROM_ATTEMPT or (error.retry_after or 0) > LONG_WAIT:
                await self._say_why_it_waits(turn, self.texts.service_down())
            raise

    async def give_up(self, turn: Turn, error: str) -> Ending:
        """See `Handler.give_up`."""
        try:
            if turn.saved("text:reply") is None:
                await self._let_go(turn)
                await self._will_say(turn, self.texts.apology(turn.reference), Ended.DEAD, error=error)
            await self._deliver(turn)
            return await self._ending(turn)
        except Interrupted as why:
            return Ending(Ended.STOPPED, turn.steps, error=why.why)

    async def _ending(self, turn: Turn) -> Ending:
        """The final write of a turn whose answer is delivered."""
        ended = Ended(turn.saved("ending"))
        keep = ended in UNANSWERED and parse(turn.message.text) is not Command.RETRY
        if ended is Ended.ANSWERED and turn.saved("retries"):
            await self.store.records.forget_text(turn.saved("retries"))
        saved = turn.saved("use")
        use = ThreadUse(**saved) if saved else None
        if use is not None and ended is Ended.ANSWERED and turn.thread is not None:
            use = replace(use, summary=await self._summary(turn, turn.thread, use))
        told = turn.withdrawn if ended is Ended.ANSWERED and turn.saved("run") else None
        return Ending(
            ended,
            turn.steps,
            keep_text=keep,
            error=turn.saved("error"),
            use=use,
            notice=turn.saved("notice"),
            withdrawn=told,
        )

    # -- what is to be said ---------------------------------------------------------------------------------

    async def _make(self, turn: Turn) -> None:
        """Find the words for this turn, and save them."""
        if turn.control is Control.SAY:
            return await self._will_say(turn, turn.message.text, Ended.SAID)
        if turn.control is not None:
            return await self._will_say(turn, await self.commands.confirm(turn), Ended.CONFIRMED)
        own_words = self._own_words(turn.message)
        if own_words is not None:
            return await self._will_say(turn, own_words, Ended.COMMAND)
        command = parse(turn.message.text)
        if command is Command.RETRY:
            return await self._retry(turn)
        if isinstance(command, Command):
            return await self._will_say(turn, await self.commands.answer(command, turn), Ended.COMMAND)
        form = admin.parse(turn.message.text)
        words = await self.admin.answer(form, turn) if form is not None else None
        if words is not None:
            return await self._will_say(turn, words, Ended.COMMAND)
        if self.clock.now() - turn.accepted_at > self.max_age and await self._nothing_began(turn):
            await self._end_what_runs(turn)
            return await self._will_say(turn, self.texts.stale(turn.accepted_at), Ended.STALE)
        return await self._ask(turn, turn.messages)

    async def _nothing_began(self, turn: Turn) -> bool:
        """Whether the agent has done nothing yet that a late answer would be worth: a run that waits for an operator
        has not, unless tools were called in it."""
        if not turn.saved("run"):
            return True
        return bool(turn.saved("parked")) and not await self.store.tool_calls.rows(turn.id)

    def _own_words(self, message: Message) -> str | None:
        """What is said to a message that is no question to the agent."""
        match message.kind:
            case MessageKind.WELCOME:
                return self.texts.welcome()
            case MessageKind.WELCOME_GROUP:
                return self.texts.welcome_shared() if self.shared_groups else self.texts.welcome_group()
            case MessageKind.FILES:
                return self.texts.files_not_taken(message.files)
            case MessageKind.CARD:
                return self.texts.card_not_taken()
            case MessageKind.EMPTY:
                return self.texts.empty()
            case MessageKind.TOO_MANY:
                return self.texts.too_many_waiting(MOST_WAITING)
            case MessageKind.EDITED:
                return self.texts.edited_too_late()
            case MessageKind.TEXT:
                return None

    def _words(self, messages: Sequence[Message]) -> str:
        """The words of all messages of the turn; with their speakers' names where a thread is shared."""
        named = self.shared_groups and messages[-1].conversation.kind is not ConversationKind.PERSONAL
        return "\n\n".join(f"{m.person.name or m.person.id}: {m.text}" if named else m.text for m in messages if m.text)

    async def _retry(self, turn: Turn) -> None:
        unanswered = await self.store.records.last_unanswered(turn.lane, turn.message.person.id)
        if unanswered is None:
            await self._end_what_runs(turn)  # they were dropped while an earlier life asked
            return await self._will_say(turn, self.texts.nothing_to_retry(), Ended.COMMAND)
        number, messages = unanswered
        turn.note("retries", number)  # its words are forgotten when this turn ends, in whichever life
        await self._ask(turn, messages)

    # -- the agent ------------------------------------------------------------------------------------------

    async def _ask(self, turn: Turn, messages: Sequence[Message]) -> None:
        channel = self.channels[turn.message.conversation.channel]
        async with channel.working(turn.message.address) as show:
            question, left = await self._asked(turn, messages)
            if not question.text and not question.files:
                return await self._will_say(turn, self._nothing_left(left), Ended.COMMAND)
            try:
                thread, finished = await self._finished(turn, replace(question, show=show))
            except (RunFailed, RequestRefused, DeadlinePassed) as failure:
                await self._apologise(turn, failure)
                return await self._deliver(turn)
            finished = await self._with_tool_files(turn, finished)
            text = await self._with_notes(turn, finished, left, channel)
            use = ThreadUse(thread.id, messages=2, prompt_tokens=finished.usage.last_prompt)
            turn.note("tokens", {"prompt": finished.usage.prompt, "completion": finished.usage.completion})
            await self._will_say(turn, text, Ended.ANSWERED, reply=finished.reply, use=use)
            await self._deliver(turn)

    async def _asked(self, turn: Turn, messages: Sequence[Message]) -> tuple[Question, Brought]:
        """What the agent is asked, and what became of the attachments."""
        channel = self.channels[turn.message.conversation.channel]
        left = await brought(turn, messages, self.runs.agent.takes, channel)
        note = None
        if turn.withdrawn is not None:
            note = self.texts.withdrawn(await self.store.tool_calls.withdrawn(turn.lane))
        question = Question(self._words(messages), tuple(self.toolbox.specs()), note=note, files=tuple(left.files))
        return question, left

    def _nothing_left(self, left: Brought) -> str:
        """What is said to files alone of which none gets through."""
        lines = [self.texts.files_not_taken(left.refused)] if left.refused or not left.missing else []
        return "\n\n".join([*lines, *([self.texts.attachments_not_fetched(left.missing)] if left.missing else [])])

    async def _finished(self, turn: Turn, question: Question) -> tuple[Thread, Finished]:
        """The agent's answer. A thread that is gone, or grew too long for the model, is replaced once."""
        for replaced in (False, True):
            thread = await self.threads.current(turn)
            try:
                return thread, await self.runs.create_and_poll(turn, thread, question)
            except ThreadGone:
                await self.threads.unusable(turn, ThreadReason.LOST)
                if replaced or await self.runs.rounds.has_effect(turn):
                    raise RunFailed("thread_gone") from None
            except RunStuck:
                await self.threads.unusable(turn, ThreadReason.STUCK)
                raise
            except (RunFailed, RequestRefused) as failure:
                if failure.code != CONTEXT_TOO_LONG or replaced or await self.runs.rounds.has_effect(turn):
                    raise
                await self.threads.unusable(turn, ThreadReason.TOKENS)
        raise AssertionError("unreachable")

    async def _with_tool_files(self, turn: Turn, finished: Finished) -> Finished:
        """The answer with the files that tools made for the person beside the agent's own."""
        run: JsonObject = turn.saved("run") or {}
        if not (run.get("round") or run.get("carries")):
            return finished
        files = (*finished.reply.files, *await self.store.tool_files.of(turn.id))
        return replace(finished, reply=replace(finished.reply, files=files))

    async def _with_notes(self, turn: Turn, finished: Finished, left: Brought, channel: Channel) -> str:
        """The answer, with what the person must know about how it came about, in lines below it."""
        reply = finished.reply
        notes: list[str] = []
        if reply.cut:
            notes.append(self.texts.cut_short())
        if reply.files and "files" not in channel.shows:
            notes.append(self.texts.files_made([file.name for file in reply.files]))
        if left.refused:
            notes.append(self.texts.attachments_not_given(left.refused))
        if left.missing:
            notes.append(self.texts.attachments_not_fetched(left.missing))
        notes += await self._about_tools(turn)
        opened = turn.saved("opened")
        if opened:
            notes.append(self._thread_note(ThreadReason(opened["reason"]), opened["carried"]))
        text = storable(reply.text).strip() or ("" if reply.files else self.texts.no_words())
        if "citations" not in channel.shows:
            text = with_sources(text, reply.citations)
        return "\n\n".join(filter(None, [text, *notes]))

    def _thread_note(self, reason: ThreadReason, carried: str) -> str:
        match reason:
            case ThreadReason.MESSAGES | ThreadReason.TOKENS:
                return self.texts.rolled_over(carried)
            case ThreadReason.IDLE:
                return self.texts.rested(carried)
            case ThreadReason.MOVED:
                return self.texts.moved(carried)
            case ThreadReason.LOST:
                return self.texts.thread_lost()
            case ThreadReason.STUCK:
                return self.texts.stuck(carried)
            case ThreadReason.FIRST | ThreadReason.START_OVER | ThreadReason.UNDO:
                return ""

    async def _summary(self, turn: Turn, thread: Thread, use: ThreadUse) -> str | None:
        """Near a limit, what the next thread must know; made after the answer, so that nobody waits for it.

        It never fails the turn: without one, the rollover carries the last messages.
        """
        near = near_limit(thread, self.threads.limits, messages=use.messages, tokens=use.prompt_tokens)
        if thread.summary or not near or not self.threads.here(thread):
            return None
        _, waiting = await self.store.records.busy(turn.lane)
        if waiting:
            return None
        try:
            question = Question(self.texts.summary_request(), None, step="summary")
            finished = await self.runs.create_and_poll(turn, thread, question)
        except LostLease:
            raise
        except Exception as error:
            log.warning("turn %s: no summary (%s)", turn.reference, type(error).__name__)
            return None
        return storable(finished.reply.text)[:SUMMARY_CHARACTERS] or None

    async def _apologise(self, turn: Turn, failure: RunFailed | RequestRefused | DeadlinePassed) -> None:
        reference = turn.reference
        code = str(failure) if isinstance(failure, DeadlinePassed) else failure.code
        words = {
            "deadline": self.texts.deadline(reference),
            "rounds": self.texts.too_many_rounds(reference),
            "content_filter": self.texts.content_filter(reference),
        }
        lines = [words.get(code, self.texts.apology(reference)), *await self._about_tools(turn)]
        # the thread holds the question all the same
        use = ThreadUse(turn.thread.id, messages=1, prompt_tokens=0) if turn.thread else None
        await self._will_say(turn, "\n\n".join(lines), Ended.APOLOGY, error=code or "refused", use=use)

    async def _about_tools(self, turn: Turn) -> list[str]:
        """What the person must know of the turn's calls, whatever the agent says of them."""
        rows = await self.store.tool_calls.rows(turn.id)
        unknown = [row.name for row in rows if row.state == "unknown"]
        late = [row.name for row in rows if row.error == "expired"]
        return [
            *([self.texts.effect_unknown(unknown)] if unknown else []),
            *([self.texts.not_approved_in_time(late)] if late else []),
        ]

    async def _end_what_runs(self, turn: Turn) -> None:
        """A turn that ends early leaves no run behind, also none that an earlier life of it began."""
        turn.thread = await self.threads.of_run(turn)
        if turn.thread is None:
            return
        try:
            await self.runs.end(turn, turn.thread)
        except RunStuck:
            await self.threads.unusable(turn, ThreadReason.STUCK)
        except ThreadGone:  # and what ran in it
            await self.threads.unusable(turn, ThreadReason.LOST)

    async def _stopped(self, turn: Turn, why: str) -> Ending:
        """The end of a turn that nobody wants any more. Its run is ended first, as soon as its service can be reached.

        Where that takes an operator, nobody waits for it: nothing of the run is delivered, and the next makes it end.
        """
        try:
            await self._end_what_runs(turn)
        except OperatorError:
            log.warning("turn %s: its run could not be ended", turn.reference)
        return Ending(Ended.STOPPED, turn.steps, error=why)

    async def _let_go(self, turn: Turn) -> None:
        """End its run, if that can be: the turn is given up all the same."""
        try:
            await self._end_what_runs(turn)
        except (LostLease, Interrupted):
            raise
        except Exception as fault:
            log.warning("turn %s: its run could not be ended (%s)", turn.reference, type(fault).__name__)

    # -- saying it ------------------------------------------------------------------------------------------

    async def _will_say(
        self,
        turn: Turn,
        text: str,
        ended: Ended,
        *,
        reply: Reply | None = None,
        error: str | None = None,
        use: ThreadUse | None = None,
    ) -> None:
        """Save the words before they are sent: from here on the turn can end this way only."""
        channel = self.channels[turn.message.conversation.channel]
        if turn.notice is not None:
            text = "\n\n".join(filter(None, [text, self.texts.started_over_by_admin(turn.notice)]))
        steps: JsonObject = {
            "text:reply": split(channel.dialect(text), channel.limit) if text else [],
            "by_agent": reply is not None,
            "ending": ended,
            "error": error,
            "use": asdict(use) if use else None,
            "notice": turn.notice,
            "delivered": [],
        }
        if reply is not None:
            steps["text:citations"] = [asdict(one) for one in reply.citations if "citations" in channel.shows] or None
            steps["text:files"] = [asdict(one) for one in reply.files if "files" in channel.shows] or None
        await turn.save_all(without_none(steps))

    async def _deliver(self, turn: Turn) -> None:
        """Send the parts that have no delivered id yet, one after the other: the words, then the files."""
        channel = self.channels[turn.message.conversation.channel]
        parts = self._parts(turn)
        delivered: list[str] = list(turn.saved("delivered"))
        for number in range(len(delivered), len(parts)):
            part = parts[number]
            if isinstance(part, RemoteFile):
                part = await self._downloaded(part)
            await turn.may_speak(channel.send_timeout)
            delivered.append(await channel.send(turn.message.address, part))
            await turn.save(delivered=delivered)
            self.emit(Delivered(turn.reference, turn.lane, channel.name, number + 1, len(parts)))

    def _parts(self, turn: Turn) -> list[Part | RemoteFile]:
        """What is to be delivered; each source comes with the words that name it."""
        words: list[str] = turn.saved("text:reply")
        by_agent = bool(turn.saved("by_agent"))
        citations = [Citation(**one) for one in turn.saved("text:citations") or ()]
        shares = shared_out(words, citations)
        said = [Part(text, by_agent, citations=share) for text, share in zip(words, shares, strict=True)]
        ended, by_admin = Ended(turn.saved("ending")), bool(turn.effect.get("by_admin"))
        said = with_offers(said, turn.message.kind, turn.control, ended, by_admin=by_admin)
        return [*said, *(RemoteFile(**one) for one in turn.saved("text:files") or ())]

    async def _downloaded(self, file: RemoteFile) -> Part:
        try:
            data = await self.content(file)
        except RequestRefused:
            return Part(self.texts.file_gone(file.name))
        return Part("", by_agent=True, file=File(file.name, file.content_type, data), remote=file)

    async def content(self, file: RemoteFile) -> bytes:
        """What is in a file that an answer brought: the agent's, or one of a tool of ours.

        Raises:
            RequestRefused: it is gone, or too large.
            ServiceUnavailable, OperatorError: not now.
        """
        return await (self.store.tool_files.content if file.container == TOOLS else self.runs.agent.download)(file)

    async def _say_why_it_waits(self, turn: Turn, words: str) -> None:
        """Once, when the service cannot answer now. A failure to say it changes nothing."""
        if turn.saved("kept_said") or turn.saved("text:reply") is not None:
            return
        channel = self.channels[turn.message.conversation.channel]
        try:
            await turn.may_speak(channel.send_timeout)
            await turn.save(kept_said=True)
            await channel.send(turn.message.address, Part(words, controls=WAITING))
        except (DeliveryRefused, ServiceUnavailable, OperatorError, Interrupted):
            log.warning("turn %s: could not say that its message is kept", turn.reference)
