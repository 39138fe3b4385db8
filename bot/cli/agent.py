"""agent: the definition of the agent at its service, beside what agent.toml and the tools want."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from bot import settings as environment
from bot.bootstrap import find_tools
from bot.cli.run import err, out, run
from bot.ports import Definition
from bot.published import DEFINITIONS, open_definition
from bot.settings import Settings
from bot.texts import plural
from bot.types import Compared, ToolSpec

SHOWN_LINES = 3
SHOWN_CHARACTERS = 300

_PUSHED = {
    "in step": "in step",
    "differs": "differs: push changes it",
    "missing": "missing: push adds it",
    "unknown": "unknown: push removes it",
    "left alone": "the service's own: push leaves it",
}

app = typer.Typer(no_args_is_help=True, help="The agent's definition at its service: see, compare, push.")


@app.callback()
def group() -> None:
    """The agent's definition at its service."""


@app.command("show")
def show() -> None:
    """What the service has: the agent, its model, its instructions, and how each tool stands."""
    run(_show())


@app.command("diff")
def diff() -> None:
    """What push would change. Exit code 1 if that is something, 0 if nothing."""
    run(_diff())


@app.command("push")
def push(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")] = False,
) -> None:
    """Make the agent at the service what agent.toml and the tools say, if it is not that already."""
    run(_push(dry_run))


async def _show() -> None:
    settings = environment.load()
    if _keeps_none(settings):
        return
    async with open_definition(settings) as definition:
        compared = await definition.compare(await _tools(settings))
    there = compared.at_service
    if there is None:
        _say(f"There is no agent {_name(settings)} yet: python -m bot agent push makes it.")
    else:
        _say(f"{there.name or '(without a name)'}: {_which(compared)}, model {there.model or 'unknown'}")
        if there.description:
            _say(f"Description: {there.description}")
        _say(f"Instructions: {_beginning(there.instructions) or '(none)'}")
    _note(compared)
    table = Table("tool", "at the service")
    for tool in compared.tools:
        table.add_row(tool.name, _PUSHED[tool.standing])
    if compared.tools:
        out.print(table)


async def _diff() -> None:
    settings = environment.load()
    if _keeps_none(settings):
        return
    async with open_definition(settings) as definition:
        compared = await definition.compare(await _tools(settings))
    _note(compared)
    if compared.at_service is not None and not compared.differences:
        _say(f"No differences: {compared.at_service.name or _name(settings)}, {_which(compared)}.")
        return
    if compared.at_service is None:
        _say(f"There is no agent {_name(settings)} yet.")
    for difference in compared.differences:
        _say(str(difference))
        for line in difference.lines:
            _say(f"    {line}")
    raise typer.Exit(1)


async def _push(dry_run: bool) -> None:
    settings = environment.load()
    if _keeps_none(settings):
        return
    async with open_definition(settings) as definition:
        tools = await _tools(settings)
        if dry_run:
            _say(_would(await definition.compare(tools), settings))
        else:
            await _pushed(definition, tools)


async def _pushed(definition: Definition, tools: list[ToolSpec]) -> None:
    compared, made = await definition.push(tools)
    if made is None:
        _say(f"Nothing to do: {_which(compared)} is in step.")
    elif made.version:
        _say(f"Version {made.version} of {made.name} made: {_changes(compared)}")
    elif compared.at_service is None:
        _say(f"Agent {made.id} made: {_changes(compared)}")
    else:
        _say(f"Agent {made.id} changed: {_changes(compared)}")
    _note(compared)


def _would(compared: Compared, settings: Settings) -> str:
    if compared.at_service is None:
        return f"Would make the agent {_name(settings)}: {_changes(compared)}"
    if not compared.differences:
        return f"Nothing to do: {_which(compared)} is in step."
    return f"Would change {_name(settings)} ({_which(compared)}): {_changes(compared)}"


def _keeps_none(settings: Settings) -> bool:
    """Whether there is no definition anywhere; says so."""
    if settings.agent_backend in DEFINITIONS:
        return False
    _say(f"AGENT_BACKEND={settings.agent_backend} keeps no agent at a service: there is nothing to push.")
    return True


async def _tools(settings: Settings) -> list[ToolSpec]:
    toolbox, problems = find_tools(settings)
    async with toolbox:
        for problem in problems:
            err.print(f"Not loaded, so not among the tools: {problem}", markup=False, highlight=False, soft_wrap=True)
        return list(toolbox.specs())


def _name(settings: Settings) -> str:
    return settings.agent_id or settings.agent_name.partition(":")[0]


def _which(compared: Compared) -> str:
    there = compared.at_service
    if there is None:
        return "none"
    return f"version {there.version}" if there.version else f"agent {there.id}"


def _changes(compared: Compared) -> str:
    return ", ".join(str(difference) for difference in compared.differences)


def _beginning(text: str) -> str:
    """The first lines, and that there are more."""
    lines = text.strip().split("\n")
    begun = "\n".join(lines[:SHOWN_LINES])[:SHOWN_CHARACTERS]
    left = len(lines) - SHOWN_LINES
    return begun + (f" … ({plural(left, 'more line')})" if left > 0 else " …" if len(begun) < len(text.strip()) else "")


def _note(compared: Compared) -> None:
    if compared.note:
        _say(compared.note)


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
