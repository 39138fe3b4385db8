"""check: everything that a set-up can have wrong, a line each."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated

import typer

from bot import checks
from bot import settings as environment
from bot.cli.run import out
from bot.clock import SystemClock
from bot.errors import SettingsError
from bot.findings import Finding

_UNHEARD = logging.NullHandler()
"""What azure-identity warns of is told as a line of ours; without a handler Python would print it beside that."""

_SHOWN = {
    "ok": "[green]OK[/]          ",
    "note": "[yellow]note[/]        ",
    "problem": "[bold red]problem[/]     ",
    "not checked": "[dim]not checked[/] ",
}


def check(
    public: Annotated[str, typer.Option(help="The https address at which Teams is to reach the bot.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Look at everything that a set-up can have wrong. Changes nothing. Exit code 1 if something is.

    A model behind chat-completions is asked one word; what else is asked costs nothing.
    """
    for name in ("azure", "threadkeeper"):
        logging.getLogger(name).addHandler(_UNHEARD)
    found = asyncio.run(_found(public))
    wrong = any(finding.standing == "problem" for finding in found)
    if as_json:
        told = [
            {"subject": one.subject, "standing": one.standing, "words": one.words, "cure": one.cure} for one in found
        ]
        out.print_json(json.dumps({"ok": not wrong, "checks": told}))
    else:
        for finding in found:
            _tell(finding)
    if wrong:
        raise typer.Exit(1)


async def _found(public: str) -> list[Finding]:
    try:
        settings = environment.load()
    except SettingsError as error:
        cure = "Set it in the environment or in .env; what else there is can be looked at then."
        return [Finding(checks.SETTINGS, "problem", problem, cure) for problem in error.problems]
    return await checks.look(settings, SystemClock(), public)


def _tell(finding: Finding) -> None:
    out.print(_SHOWN[finding.standing], end="")
    out.print(str(finding), markup=False, highlight=False, soft_wrap=True)
