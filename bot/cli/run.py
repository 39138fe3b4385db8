"""Running a command: what a person at the keyboard can mend ends in plain words, without a trace."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any

import typer
from rich.console import Console

from bot.errors import OperatorError, SettingsError

WIDE = 200
"""Characters of a line that goes to a file or another program: there is no screen to fit, and nothing is cut."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
err = Console(stderr=True)


class Unusable(Exception):
    """Something the person at the keyboard can mend; told in plain words, without a trace."""


def run(work: Coroutine[Any, Any, None], *, interrupted: int = 130) -> None:
    """Run a command; what an operator can mend ends in its words and exit code 2, Ctrl-C in the code `interrupted`."""
    if not logging.getLogger("threadkeeper").isEnabledFor(logging.INFO):
        logging.getLogger("azure").setLevel(logging.ERROR)  # it says in a page what our own words say in two lines
    try:
        asyncio.run(work)
    except SettingsError as error:
        err.print("[bold red]The settings cannot be used:[/]")
        for problem in error.problems:
            err.print(f"  - {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except OperatorError as error:
        err.print(f"{error.problem}\n{error.cure}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except Unusable as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(interrupted) from None
