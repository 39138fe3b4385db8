"""tools: what the agent can call."""

from __future__ import annotations

import typer
from rich.table import Table

from bot import settings as environment
from bot.bootstrap import find_tools
from bot.cli.run import out, run

app = typer.Typer(no_args_is_help=True, help="What the agent can call.")


@app.callback()
def group() -> None:
    """What the agent can call."""


@app.command("list")
def show() -> None:
    """Every tool the agent is offered, where it comes from, and what was not loaded."""
    run(_show())


async def _show() -> None:
    toolbox, problems = find_tools(environment.load())
    async with toolbox:  # some of them are known only to a server, which is asked
        specs, problems = toolbox.specs(), list(problems)
    table = Table("tool", "what it does", "arguments", "from")
    for spec in specs:
        first = spec.description.strip().split("\n", 1)[0]
        table.add_row(spec.name, first, ", ".join(spec.parameters.get("properties", {})), spec.source)
    out.print(table)
    for problem in problems:
        out.print(f"Not loaded: {problem}", markup=False, highlight=False)
