"""usage: what the bot was used for, and what that took."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.table import Column, Table

from bot import settings as environment
from bot.bootstrap import open_beside
from bot.cli.run import Unusable, out, run
from bot.types import ToolUsed, TurnsUsed

KEPT_DAYS = 35
"""So long are the rows of finished turns kept."""

_HOURS = {"h": 1, "d": 24}


def usage(
    since: Annotated[str, typer.Option(help="How far back: days or hours, such as 30d or 12h.")] = "30d",
    by: Annotated[Literal["person", "day", "tool"], typer.Option(help="What to count by; days are UTC.")] = "day",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Turns, tokens and tool calls of the last days, by person, day or tool."""
    run(_usage(since, by, as_json))


async def _usage(since: str, by: Literal["person", "day", "tool"], as_json: bool) -> None:
    seconds = seconds_of(since)
    store = await open_beside(environment.load())
    try:
        match by:
            case "person":
                used = await store.usage.by_person(seconds)
            case "day":
                used = await store.usage.by_day(seconds)
            case "tool":
                used = await store.usage.by_tool(seconds)
    finally:
        await store.close()
    if as_json:
        rows = [_row(by, one) for one in used]
        out.print_json(json.dumps({"since": since, "by": by, "rows": rows}))
    elif used:
        out.print(_table(by, used))
    else:
        out.print(f"No turn has ended in the last {since}.", highlight=False)


def seconds_of(since: str, most_days: int | None = KEPT_DAYS) -> float:
    """How long 30d or 12h is.

    Raises:
        Unusable: it is neither, or reaches back beyond what is kept: `most_days`.
    """
    found = re.fullmatch(r"0*([1-9][0-9]{0,5})([dh])", since.strip().lower(), re.ASCII)
    if found is None:
        raise Unusable(f"--since {since} is no span of time: give days or hours, such as 30d or 12h.")
    hours = int(found[1]) * _HOURS[found[2]]
    if most_days is not None and hours > most_days * 24:
        raise Unusable(f"--since {since} is too far back: finished turns are kept for {most_days} days.")
    return hours * 3600.0


def _row(by: str, used: TurnsUsed | ToolUsed) -> dict[str, object]:
    fields: dict[str, object] = asdict(used)
    if isinstance(used, ToolUsed):
        return {**fields, "seconds": round(used.seconds, 3)}
    who = {by: fields.pop("who")}
    if by == "day":
        del fields["channel"]
    return who | fields


def _table(by: str, used: Sequence[TurnsUsed] | Sequence[ToolUsed]) -> Table:
    """A column for each field; of the counts, their sums below."""
    rows = [_row(by, one) for one in used]
    counted = [name for name, value in rows[0].items() if isinstance(value, int) and (by, name) != ("tool", "turns")]
    columns: list[Column] = []
    for name, value in rows[0].items():
        total = sum(int(str(row[name])) for row in rows) if name in counted else ""
        justify = "left" if isinstance(value, str) else "right"
        columns.append(Column(name.replace("_", " "), str(total), justify=justify, overflow="fold"))
    columns[0].footer = "all"
    table = Table(*columns, show_footer=True)
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    return table
