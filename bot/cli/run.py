"""Running a command: what a person at the keyboard can mend ends in plain words, without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import typer
from rich.console import Console

from bot.errors import OperatorError, SettingsError

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
