"""tools check: what the agent services would refuse, what is missing, and what was not loaded."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from adapters.variables import variables
from bot import settings as environment
from bot.bootstrap import find_tools
from bot.cli.run import out, run
from bot.cli.schemas import MOST_TOOLS, not_strict, refused, undescribed
from bot.cli.tool_trouble import quiet
from bot.texts import plural
from bot.types import ToolSpec


def check(
    strict: Annotated[
        bool, typer.Option("--strict", help="Also what strict mode, which is not used, refuses.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What the services would refuse, secrets that are missing, what was not loaded. Exit code 1 if there is any."""
    with quiet():
        run(_check(strict, as_json))


async def _check(strict: bool, as_json: bool) -> None:
    settings = environment.load()
    toolbox, found = find_tools(settings)
    async with toolbox:
        specs: list[ToolSpec] = list(toolbox.specs())
        problems = list(found)
        hints: list[str] = toolbox.hints()
    there = ChainMap(dict(settings.for_tools), dict(variables()))
    problems += _problems(specs, there, strict=strict, told=tuple(problems))
    hints += [f"{spec.name}: say what {', '.join(names)} is" for spec in specs if (names := undescribed(spec))]
    if as_json:
        loose = [spec.name for spec in specs if not_strict(spec)]
        told = {"tools": len(specs), "problems": problems, "hints": hints, "not_strict": loose}
        out.print_json(json.dumps(told))
    else:
        _tell(specs, problems, sorted(hints))
    if problems:
        raise typer.Exit(1)


def _problems(specs: Sequence[ToolSpec], there: Mapping[str, str], *, strict: bool, told: Sequence[str]) -> list[str]:
    problems: list[str] = []
    if len(specs) > MOST_TOOLS and not any(str(MOST_TOOLS) in line for line in told):
        problems.append(f"there are {len(specs)} tools, and a service takes {MOST_TOOLS}")
    for spec in specs:
        found = refused(spec) + (not_strict(spec) if strict else [])
        missing = [name for name in spec.secrets if not there.get(name)]
        found += [
            f"{name} is not set: set it in the environment or in .env"
            for name in missing
            if not any(name in line and spec.name in line for line in told)
        ]
        problems += [f"{spec.name} ({spec.source}): {problem}" for problem in found]
    return problems


def _tell(specs: Sequence[ToolSpec], problems: Sequence[str], hints: Sequence[str]) -> None:
    for problem in problems:
        _say(f"✗ {problem}")
    for hint in hints:
        _say(f"  {hint}")
    _say(f"{plural(len(specs), 'tool')}, {plural(len(problems), 'problem')}.")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
