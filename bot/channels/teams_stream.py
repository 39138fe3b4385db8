"""An answer that grows in a one-to-one chat of Teams: the stream, from its first sign to its last word.

A chat has one stream at a time. It begins with "Thinking…" or with words, goes on with the whole text so far, and ends
with the message itself, which must begin with what was shown; after two minutes, or where Teams refuses to go on, the
message is put in its place instead. https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux

It lives in this process alone: what another life began is never continued. It delays no run, and of its failures
only those of the message itself reach the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from bot.channels.in_flight import InFlight
from bot.channels.pauses import pause
from bot.channels.steady import SteadyText
from bot.channels.stream_refusals import StreamRefused, Why
from bot.channels.teams_chat import TeamsChat
from bot.channels.typing_signal import TypingSignal
from bot.errors import (
    DeliveryFailed,
    DeliveryRefused,
    Interrupted,
    OperatorError,
    ServiceUnavailable,
    ThreadkeeperError,
)
from bot.events import Emit, Unexpected
from bot.ports import Clock
from bot.texts import Texts
from bot.types import Interrupt, Part, storable

T = TypeVar("T")

START_AFTER = 1.0
"""Seconds before the stream begins: what is answered sooner needs none. The Store wants a sign within 2 s."""
BUFFER = 1.5
"""Seconds of text in one request. Teams asks for 1.5 to 2."""
SPACING = 1.0
"""Seconds from a request's answer to the next request. Teams allows one in a second."""
BEAT = 5.0
"""Seconds after which a request says again what stands there: its answer tells whether the person has stopped it."""
LIFE = 115.0
"""Seconds from its beginning in which anything is sent to a stream. Teams ends it after 120."""
FROZEN = 20.0
"""Seconds that a pause may be late before we take it that this process stood still. Its turn may be another's now."""
PATIENCE = 2.0
"""Seconds that the message waits for a request on its way, so that it does not come before it."""
TRIES = 3
"""Requests that fail one after the other before no more is streamed."""


class TeamsStream:
    """One answer on its way. `before` is the chat's stream before it, which must have ended when this begins."""

    def __init__(
        self, chat: TeamsChat, clock: Clock, emit: Emit, texts: Texts, limit: int, before: TeamsStream | None
    ) -> None:
        self._chat = chat
        self._clock = clock
        self._emit = emit
        self._texts = texts
        self._before = before
        self._id = ""
        self._text = SteadyText(lambda text: chat.rendered(Part(text, by_agent=True)), limit)
        self._sequence = 0
        self._began = self._last = self._not_before = 0.0
        self._failures = 0
        self.doing = self._said = ""
        """A word of progress, shown in the place of "Thinking…" until the answer has words."""
        self._over: Why | None = None
        self._settled = self._doubtful = self._closed = False
        self._ending = asyncio.Lock()
        self._no_wait = asyncio.Event()
        self.gone = asyncio.Event()
        """Nothing more comes of it."""
        self._in_flight = InFlight()
        self._typing: TypingSignal | None = self._signal()
        self._task = asyncio.create_task(self._run(), name="stream")

    def show(self, text: str) -> None:
        """The answer as it stands. It is shown with the next request, if nothing newer has come by then."""
        self._text.newest = storable(text).strip()

    def hurry(self) -> None:
        """Linger no longer."""
        self._no_wait.set()

    # -- its growth -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            if self._before is not None:
                self._before.hurry()
                await self._before.gone.wait()
            await self._clock.sleep(START_AFTER)
            await self._grow()
        except Exception as fault:
            self._over = self._over or Why.REFUSED
            self._emit(Unexpected(reference="", lane="", where="stream", error=type(fault).__name__))
        if not self._settled and not self._stopped():
            self._typing = self._typing or self._signal()  # the work goes on, and the stream does not say so any more

    async def _grow(self) -> None:
        while self._over is None and not self._settled:
            if self._clock.monotonic() >= self._not_before:
                await self._beat()
            paused = self._clock.monotonic()
            await self._clock.sleep(BUFFER)
            now = self._clock.monotonic()
            if now - paused - BUFFER > FROZEN:
                self._over = self._over or Why.REFUSED
            elif self._id and now - self._began > LIFE:
                self._over = self._over or Why.EXPIRED

    async def _beat(self) -> None:
        """Say what is new, or what stands there, if that was long ago."""
        text = self._text.next()
        said = text or self.doing or self._texts.thinking()
        if self._id and said == self._said and self._clock.monotonic() - self._last < BEAT:
            return
        try:
            given = await self._request(self._chat.grow(said, self._id, self._sequence + 1, informative=not text))
        except StreamRefused as refused:
            await self._refused(refused.why)
        except (DeliveryRefused, OperatorError):
            self._over = Why.REFUSED
        except ServiceUnavailable as fault:
            self._failed(fault)
        else:
            self._sequence += 1
            self._failures = 0
            self._text.shown, self._said = text, said
            if not self._id:
                await self._begun(given)

    async def _begun(self, given: str) -> None:
        self._id, self._began = given, self._clock.monotonic()
        if not given:
            self._over = Why.REFUSED
        elif self._typing is not None:
            await self._typing.stop()
            self._typing = None

    def _failed(self, fault: ServiceUnavailable) -> None:
        """Try again, but not the beginning where it may have been taken: there is one stream in a chat."""
        self._failures += 1
        self._not_before = self._clock.monotonic() + (fault.retry_after or 0.0)
        unknown = not isinstance(fault, DeliveryFailed) or fault.sent
        if unknown:
            self._sequence += 1  # its number may be used up
        if self._failures >= TRIES or (unknown and not self._id):
            self._over = Why.REFUSED

    async def _refused(self, why: Why) -> None:
        self._over = why
        if why is Why.STOPPED:
            with self._in_flight:
                await self._chat.stop(self._id)

    async def _request(self, request: Awaitable[T]) -> T:
        try:
            with self._in_flight:
                return await request
        finally:
            self._last = self._clock.monotonic()

    # -- its end --------------------------------------------------------------------------------------------

    async def finish(self, part: Part) -> str:
        """Deliver the message in the stream's place, or beside it where that cannot be; its id.

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see `Channel.send`. It may be tried again.
            Interrupted: the person has stopped it.
        """
        async with self._ending:
            if self._closed:
                return await self._chat.post(part)
            await self._settle()
            if not self._id or not part.text:  # the latter cannot end a stream: `close` will
                return await self._chat.post(part)
            delivered = await self._last_word(part)
            self._closed = True
            self._no_wait.set()
            return delivered

    async def give_way(self) -> None:
        """Grow no more: what was shown stays, "Thinking…" goes. Raises `Interrupted` where the person stopped it."""
        await self.close(kept=True, linger=0.0, words=self._texts.asked_first())
        if self._stopped():
            raise Interrupted(Interrupt.STOP)

    async def close(self, *, kept: bool, linger: float, words: str) -> None:
        """Leave nothing unfinished behind: what grew stays where it is `kept`, all else is taken away, or says `words`.

        Within `linger` seconds a message may still come and be its end.
        """
        try:
            stays = kept and (self._text.shown or self._in_flight)  # what is on its way has grown too
            if linger and self._id and not (self._closed or stays):
                await pause(self._clock, linger, self._no_wait)
            async with self._ending:
                if not self._closed:
                    self._closed = True
                    await self._settle()
                    await asyncio.wait((self._task,))  # a beginning whose answer is late
                    await self._clear(words, kept=kept)
        except ThreadkeeperError:
            return  # the connector takes nothing now; Teams ends the stream by itself
        except Exception as fault:
            self._emit(Unexpected(reference="", lane="", where="stream", error=type(fault).__name__))
        finally:
            self.gone.set()

    async def _last_word(self, part: Part) -> str:
        if self._takes_an_end():
            continues = self._chat.rendered(part).startswith(self._text.shown)
            # other words would be refused, and the stream would stay open
            if await self._finished(part if continues else None) and continues:
                return self._id
        if self._stopped():
            await self._chat.stop(self._id)
            raise Interrupted(Interrupt.STOP)
        try:
            await self._chat.replace(part, self._id)
        except DeliveryRefused:
            delivered = await self._chat.post(part)
            with suppress(ThreadkeeperError):
                await self._chat.remove(self._id)
            return delivered
        return self._id

    def _takes_an_end(self) -> bool:
        expired = self._over is Why.EXPIRED or self._clock.monotonic() - self._began >= LIFE
        return not (expired or self._doubtful or self._stopped())

    def _stopped(self) -> bool:
        return self._over is Why.STOPPED

    async def _finished(self, part: Part | None) -> bool:
        """End the stream with this, or with what stands there; whether it was taken.

        Raises:
            DeliveryFailed, OperatorError: it was not, and now is not the time.
        """
        if (early := self._last + SPACING - self._clock.monotonic()) > 0:
            await self._clock.sleep(early)
        self._doubtful = True  # from here on it may have ended, and is only changed: that does nothing twice
        try:
            last = part or Part(self._text.shown, by_agent=True)
            await self._request(self._chat.finish(last, self._id, as_grown=part is None))
        except DeliveryRefused as refused:
            self._over = refused.why if isinstance(refused, StreamRefused) else Why.REFUSED
            return False
        except (DeliveryFailed, OperatorError) as failure:
            self._doubtful = isinstance(failure, DeliveryFailed) and failure.sent
            if not self._doubtful:
                raise
            return False
        return True

    async def _clear(self, words: str, *, kept: bool) -> None:
        if not self._id or self._stopped():  # in what was stopped nothing can be changed
            return
        instead = Part(words)
        if self._takes_an_end():
            with suppress(ThreadkeeperError):
                await self._finished(None if self._text.shown else instead)
        if self._stopped():
            await self._chat.stop(self._id)
        elif not (kept and self._text.shown):
            try:
                await self._chat.remove(self._id)
            except DeliveryRefused:
                await self._chat.replace(instead, self._id)

    async def _settle(self) -> None:
        """No more of it grows. A request on its way arrives first, but is not waited for for long."""
        self._settled = True
        await self._in_flight.over(PATIENCE)
        if self._id or not self._in_flight:  # else its id is still to come, without which it could not be ended
            self._task.cancel()
            await asyncio.wait((self._task,))
        typing, self._typing = self._typing, None
        if typing is not None:
            await typing.stop()

    def _signal(self) -> TypingSignal:
        return TypingSignal(self._chat.typing, self._clock, self._emit)
