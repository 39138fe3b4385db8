"""What one echo turn costs: the stock CloudAdapter, and our channel, under the same load.

`python -m tests.bench.echo`. Each bot runs in a process of its own, without credentials (with them the stock
adapter also asks Entra ID for two tokens a turn, on its event loop). A turn is one message in and its answer at the
connector. Prints; asserts nothing about time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp
from aiohttp import web
from botbuilder.core import ActivityHandler, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication

from bot.channels import botframework
from bot.clock import SystemClock
from bot.settings import Settings
from bot.types import Accepted, Message, Part
from tests.teams.activities import message

BOTS = ("stock", "ours")
USERS = 16
WARM_UP = 32
SECONDS = 5.0
TURN_TIMEOUT = 10.0


@dataclass(frozen=True)
class Cost:
    """One bot's figures."""

    turns: int
    seconds: float
    cpu: float
    waits: list[float]

    @property
    def rate(self) -> float:
        return self.turns / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / max(self.turns, 1)


# -- the bots -----------------------------------------------------------------------------------------------


class Echo(ActivityHandler):
    """The SDK's first sample."""

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        await turn_context.send_activity(str(turn_context.activity.text))


def stock() -> web.Application:
    """As the SDK's samples have it."""
    adapter = CloudAdapter(ConfigurationBotFrameworkAuthentication(type("Config", (), {"APP_ID": ""})))
    echo = Echo()

    async def messages(request: web.Request) -> web.StreamResponse:
        return await adapter.process(request, echo) or web.Response(status=201)

    app = web.Application()
    app.router.add_post("/api/messages", messages)
    return app


def ours() -> web.Application:
    """Our channel; what it accepts is sent back at once."""

    async def accept(said: Message) -> Accepted:
        await framework.channels()[said.conversation.channel].send(said.address, Part(said.text, by_agent=True))
        return Accepted(turn=1, fresh=True)

    framework = botframework.create(
        Settings(_env_file=None, microsoft_app_id=""),  # type: ignore[call-arg]
        accept=accept,
        emit=lambda _event: None,
        clock=SystemClock(),
    )

    async def close(_app: web.Application) -> None:
        await framework.close()

    app = web.Application()
    app.add_routes(framework.routes())
    app.on_cleanup.append(close)
    return app


async def serve(name: str) -> None:
    """Run a bot; its port goes to stdout, its CPU seconds to whoever asks. Ends with its stdin."""
    app = {"stock": stock, "ours": ours}[name]()

    async def cpu(_request: web.Request) -> web.Response:
        return web.json_response(time.process_time())

    app.router.add_get("/cpu", cpu)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


# -- the load -----------------------------------------------------------------------------------------------


class Connector:
    """Takes answers and wakes who waits for them. Less watchful than the tests' own, so as not to be the limit."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[None]] = {}
        app = web.Application()
        app.router.add_post("/v3/conversations/{conversation}/activities/{activity}", self._handle)
        self.runner = web.AppRunner(app, access_log=None)

    async def start(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/"

    async def _handle(self, request: web.Request) -> web.Response:
        await request.read()
        answered = self.waiting.pop(request.match_info["activity"], None)
        if answered is not None and not answered.done():
            answered.set_result(None)
        return web.json_response({"id": "1"}, status=201)


async def measure(name: str, seconds: float) -> Cost:
    """Start a bot, load it, stop it."""
    connector = Connector()
    service_url = await connector.start()
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.echo", "--bot", name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert bot.stdin is not None
    assert bot.stdout is not None
    try:
        port = int(await asyncio.wait_for(bot.stdout.readline(), 30))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            return await _load(session, connector, service_url, seconds)
    finally:
        bot.stdin.close()
        try:
            await asyncio.wait_for(bot.wait(), 5)
        except TimeoutError:
            bot.kill()
            await bot.wait()
        await connector.runner.cleanup()


async def _load(session: aiohttp.ClientSession, connector: Connector, service_url: str, seconds: float) -> Cost:
    numbers = itertools.count()

    async def turn() -> float:
        number = next(numbers)
        activity_id = f"m{number}"
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connector.waiting[activity_id] = answered
        conversation = {"id": f"c{number % USERS}", "conversationType": "personal"}
        started = time.perf_counter()
        async with session.post("/api/messages", json=message(service_url, id=activity_id, conversation=conversation)):
            await asyncio.wait_for(answered, TURN_TIMEOUT)
        return time.perf_counter() - started

    async def user(until: float, waits: list[float]) -> None:
        while time.perf_counter() < until:
            waits.append(await turn())

    async def cpu() -> float:
        async with session.get("/cpu") as response:
            return float(json.loads(await response.text()))

    for _ in range(WARM_UP // USERS):
        await asyncio.gather(*(turn() for _ in range(USERS)))
    waits: list[float] = []
    before, started = await cpu(), time.perf_counter()
    await asyncio.gather(*(user(started + seconds, waits) for _ in range(USERS)))
    elapsed = time.perf_counter() - started
    return Cost(len(waits), elapsed, await cpu() - before, waits)


def report(costs: dict[str, Cost]) -> str:
    """The figures as a table."""
    lines = [f"{'':8}{'turns/s':>10}{'CPU ms/turn':>14}{'p50 ms':>10}"]
    for name, cost in costs.items():
        lines.append(f"{name:8}{cost.rate:10.0f}{cost.cpu_ms:14.2f}{1000 * median(cost.waits):10.1f}")
    base, own = costs["stock"], costs["ours"]
    lines.append(f"{'ratio':8}{own.rate / base.rate:9.1f}x{base.cpu_ms / own.cpu_ms:13.1f}x")
    return "\n".join(lines)


async def compare(seconds: float) -> None:
    """Measure both, one after the other."""
    costs: dict[str, Any] = {name: await measure(name, seconds) for name in BOTS}
    print(f"{USERS} users, {seconds:g} s each, no credentials, connector on loopback")
    print(report(costs))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bot", choices=BOTS, help="run this bot, instead of measuring both")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.bot) if arguments.bot else compare(arguments.seconds))


if __name__ == "__main__":
    main()
