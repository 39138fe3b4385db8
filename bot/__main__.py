"""python -m bot: serve, chat, inbox, tools."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from aiohttp import web
from rich.console import Console
from rich.table import Table

from bot import settings as environment
from bot import telemetry
from bot.bootstrap import Bot, find_tools, open_beside, open_bot
from bot.channels import terminal
from bot.errors import OperatorError, SettingsError
from bot.types import JsonObject, turn_of

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
inbox_app = typer.Typer(no_args_is_help=True, help="What became of messages.")
tools_app = typer.Typer(no_args_is_help=True, help="What the agent can call.")
app.add_typer(inbox_app, name="inbox")
app.add_typer(tools_app, name="tools")
out, err = Console(), Console(stderr=True)


class Unusable(Exception):
    """Something the person at the keyboard can mend; told in plain words, without a trace."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command; what an operator can mend ends in its words and exit code 2."""
    try:
        asyncio.run(work)
    except SettingsError as error:
        err.print("[bold red]The settings cannot be used:[/]")
        for problem in error.problems:
            err.print(f"  - {problem}", markup=False, highlight=False)
        raise typer.Exit(2) from None
    except OperatorError as error:
        err.print(f"{error.problem}\n{error.cure}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except Unusable as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


# -- serve ----------------------------------------------------------------------------------------------------


@app.command()
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
        runner, address = await listen(bot)
        await bot.start()
        _greet(bot, address)
        await stop.wait()
        await bot.stop()
        await runner.cleanup()


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
    out.print(f"[bold]Threadkeeper[/] is running: [bold cyan]{where}[/]", highlight=False)
    database = bot.settings.database_url.split("@")[-1].split("///")[-1]
    out.print(f"Agent: {bot.agent.backend}. Database: {database}. Ctrl-C stops it.", highlight=False)
    for problem in bot.problems:
        out.print(f"Not loaded: {problem}", markup=False, highlight=False)


# -- chat -----------------------------------------------------------------------------------------------------


@app.command()
def chat(
    person: Annotated[str, typer.Option(help="Who speaks: alex or sam, as on the local page.")] = "alex",
) -> None:
    """Talk to the bot in this terminal; joins a running one, or starts one."""
    telemetry.configure(level=logging.ERROR)
    run(_chat(person))


async def _chat(person: str) -> None:
    settings = environment.load()
    if not settings.local:
        raise Unusable("chat needs the local mode: unset MICROSOFT_APP_ID for it, or talk to the bot in Teams.")
    base = f"http://{settings.host}:{settings.port}"
    if await terminal.joined(base):
        return await _talk(base, person)
    async with open_bot(settings) as bot:
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
    await terminal.chat(address, person=person, console=out, lines=terminal.typed_lines(), wait=piped)


# -- inbox ----------------------------------------------------------------------------------------------------


@inbox_app.command("show")
def inbox_show(
    reference: Annotated[str, typer.Argument(help="The reference of an apology or a log line, such as 7F3K-2Q.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What became of one message: accepted, run, tools, delivered, error."""
    try:
        turn = turn_of(reference)
    except ValueError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(2) from None
    run(_inbox_show(reference.upper(), turn, as_json))


async def _inbox_show(reference: str, turn: int, as_json: bool) -> None:
    settings = environment.load()
    store = await open_beside(settings)
    try:
        described = await store.records.describe(turn)
    finally:
        await store.close()
    if described is None:
        raise Unusable(f"No message has the reference {reference} (finished ones are kept for 7 days).")
    if as_json:
        out.print_json(json.dumps({"reference": reference} | described))
        return
    _print_turn(reference, described)


def _print_turn(reference: str, turn: JsonObject) -> None:
    steps: JsonObject = turn["steps"]
    run_step: JsonObject = steps.get("run") or {}
    table = Table(show_header=False, box=None)
    rows: dict[str, str] = {
        "reference": reference,
        "lane": turn["lane"],
        "accepted": _time(turn["accepted_at"]),
        "started": _time(turn["started_at"]),
        "finished": _time(turn["finished_at"]),
        "state": " ".join(filter(None, [turn["state"], turn["ended"]])),
        "attempts": str(turn["attempts"]),
        "joined to": str(turn["joined_to"] or ""),
        "thread": run_step.get("thread") or "",
        "run": run_step.get("run") or "",
        "delivered": ", ".join(steps.get("delivered") or []),
        "error": turn["error"] or "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    for call in turn["tool_calls"]:
        seconds = (call["finished_at"] or call["started_at"]) - call["started_at"]
        outcome = call["error"] or call["state"]
        table.add_row("tool", f"{call['name']} (round {call['round']}): {outcome}, {seconds:.2f} s")
    out.print(table)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds")


# -- tools ----------------------------------------------------------------------------------------------------


@tools_app.command("list")
def tools_list() -> None:
    """Every tool the agent is offered, where it comes from, and what was not loaded."""
    run(_tools_list())


async def _tools_list() -> None:
    toolbox, problems = find_tools(environment.load())
    table = Table("tool", "what it does", "arguments", "from")
    for spec in toolbox.specs():
        first = spec.description.strip().split("\n", 1)[0]
        table.add_row(spec.name, first, ", ".join(spec.parameters.get("properties", {})), spec.source)
    out.print(table)
    for problem in problems:
        out.print(f"Not loaded: {problem}", markup=False, highlight=False)


if __name__ == "__main__":
    app()
