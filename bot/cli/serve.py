"""serve: the bot, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import sys
import time
from typing import Annotated

import typer
from aiohttp import web

from bot import checks, retirement, telemetry
from bot import settings as environment
from bot.bootstrap import Bot, open_bot
from bot.cli.run import Unusable, out, run
from bot.errors import OperatorError, ServiceUnavailable
from bot.ports import KeepsTools

log = logging.getLogger("threadkeeper.serve")


def serve(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each log line on a terminal too.")] = False,
) -> None:
    """Run the bot until it is stopped."""
    quiet = sys.stderr.isatty() and not verbose
    telemetry.configure(level=logging.WARNING if quiet else logging.INFO)
    run(_serve())


async def _serve() -> None:
    settings = environment.load()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers: Ctrl-C raises there
            loop.add_signal_handler(number, stop.set)
    async with open_bot(settings) as bot:
        await check_tools(bot)
        runner, address = await listen(bot)
        await bot.start()
        _greet(bot, address)
        await stop.wait()
        await bot.stop()
        await runner.cleanup()


async def check_tools(bot: Bot) -> None:
    """See that the agent's service knows our tools, where it must. If it does not answer, the first run asks again.

    Raises:
        Unusable: it lacks some, or has them otherwise.
    """
    if not isinstance(bot.agent, KeepsTools):
        return
    try:
        found = await bot.agent.mismatch(bot.toolbox.specs())
    except (ServiceUnavailable, OperatorError) as error:
        # A role that was just given takes minutes to hold: messages are better kept than turned away.
        log.warning("the agent's tools could not be checked, the first run does it: %s", error)
        return
    if found:
        raise Unusable(f"Not started: {'; '.join(found)}; run: python -m bot agent push")


async def listen(bot: Bot) -> tuple[web.AppRunner, str]:
    """Open the port; the runner to clean up, and the address."""
    host, port = bot.settings.host, bot.settings.port
    runner = web.AppRunner(bot.app, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise Unusable(
                f"Port {port} is in use: stop the program that has it, or set PORT to another (PORT={port + 1})."
            ) from None
        raise Unusable(f"Cannot listen on {host} port {port} ({error.strerror}): check HOST and PORT.") from None
    real = runner.addresses[0][1]
    return runner, f"http://{f'[{host}]' if ':' in host else host}:{real}"


def _greet(bot: Bot, address: str) -> None:
    where = address if bot.settings.local else f"{address}/api/messages"
    out.print(f"[bold]Threadkeeper[/] is running: [bold cyan]{where}[/]", highlight=False, soft_wrap=True)
    database = bot.settings.database_url.split("@")[-1].split("///")[-1]
    out.print(f"Agent: {bot.agent.backend}. Database: {database}. Ctrl-C stops it.", highlight=False, soft_wrap=True)
    ending = retirement.notice(bot.agent.backend, time.time())
    if ending is not None:
        _warn(ending)
    for finding in checks.of_settings(bot.settings, time.time()):
        if finding.standing != "ok" and finding.subject != checks.BACKEND:
            _warn(str(finding))
    for problem in bot.problems:
        out.print(f"Not loaded: {problem}", markup=False, highlight=False, soft_wrap=True)


def _warn(words: str) -> None:
    """Say it on the screen, and in the log where that is kept; a terminal that shows no log has it once."""
    if log.isEnabledFor(logging.INFO):
        log.warning("%s", words)
    out.print(words, markup=False, highlight=False, soft_wrap=True)
