"""chat: the local conversation in a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from bot import settings as environment
from bot import telemetry
from bot.bootstrap import open_bot
from bot.channels import terminal
from bot.cli.run import Unusable, out, run
from bot.cli.serve import check_tools, listen


def chat(
    person: Annotated[str, typer.Option(help="Who speaks: alex or sam, as on the local page.")] = "alex",
) -> None:
    """Talk to the bot in this terminal; joins a running one, or starts one."""
    telemetry.configure(level=logging.ERROR)
    run(_chat(person), interrupted=0)  # Ctrl-C leaves it, as "exit" does


async def _chat(person: str) -> None:
    settings = environment.load()
    if not settings.local:
        raise Unusable("chat needs the local mode: unset MICROSOFT_APP_ID for it, or talk to the bot in Teams.")
    base = f"http://{settings.host}:{settings.port}"
    if await terminal.joined(base):
        return await _talk(base, person)
    async with open_bot(settings) as bot:
        await check_tools(bot)
        runner, address = await listen(bot)
        await bot.start()
        try:
            await _talk(address, person)
        finally:
            await bot.stop()
            await runner.cleanup()


async def _talk(address: str, person: str) -> None:
    """Until the input ends; piped input ends at once, and its answers are waited for."""
    piped = not sys.stdin.isatty()
    if not await terminal.chat(address, person=person, console=out, lines=terminal.typed_lines(), wait=piped):
        raise typer.Exit(2)
