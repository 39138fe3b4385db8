"""`python -m tests.campaign.replica`: the bot as `serve` runs it, with a trace that survives kill -9.

The trace says when a send was permitted, begun, taken and saved; nothing in the product is changed for it. A lease is
as short as the channel's send timeout lets it be, and a lost request to the agent service is waited for 5 s, not 30.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from bot import settings as environment
from bot import telemetry
from bot.agents import foundry_classic
from bot.bootstrap import StandIns, open_bot
from bot.cli.serve import listen
from bot.clock import SystemClock
from bot.events import Delivered, Event, LeaseLost, TurnEnded, TurnReleased, TurnStarted
from bot.inbox import InboxLimits

LEASE = 18.0
POST_SECONDS = 5.0
KEPT = (TurnStarted, TurnEnded, TurnReleased, LeaseLost, Delivered)


class Trace:
    """One JSON object a line, each written at once: what the kernel has, a kill does not take."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, what: str, **fields: Any) -> None:
        os.write(self._file, json.dumps({"at": time.time(), "what": what, **fields}).encode() + b"\n")

    def event(self, event: Event) -> None:
        if isinstance(event, KEPT):
            self.say(type(event).__name__, reference=event.reference)


class TracedChannel:
    """The channel, with a line before and after each send."""

    def __init__(self, channel: Any, trace: Trace) -> None:
        self._channel = channel
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def send(self, address: Any, part: Any) -> str:
        self._trace.say("send", message=address["activityId"], by_agent=part.by_agent)
        delivered = await self._channel.send(address, part)
        self._trace.say("sent", message=address["activityId"], delivered=delivered)
        return delivered


def trace_permissions(inbox: Any, trace: Trace) -> None:
    """A send is permitted by asking whether the turn still holds: from here on a frozen process may send late."""
    holds = inbox.holds

    async def traced(turn: int, owner: str) -> Any:
        trace.say("asks", turn=turn)
        return await holds(turn, owner)

    inbox.holds = traced


async def serve(trace: Trace) -> None:
    """Run until SIGTERM."""
    settings = environment.load(env_file=None)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    agent = await foundry_classic.create(settings, clock=SystemClock(), post_seconds=POST_SECONDS)
    stand_ins = StandIns(inbox=InboxLimits(lease=LEASE), agent=agent, listeners=[trace.event])
    try:
        async with open_bot(settings, stand_ins) as bot:
            trace_permissions(bot.store.inbox, trace)
            channels: Any = bot.turns.channels
            channels["msteams"] = TracedChannel(channels["msteams"], trace)
            runner, address = await listen(bot)
            await bot.start()
            trace.say("started")
            print(address, flush=True)
            await stop.wait()
            await bot.stop()
            await runner.cleanup()
    finally:
        await agent.close()


if __name__ == "__main__":
    telemetry.configure()
    asyncio.run(serve(Trace(sys.argv[1])))
