"""feedback: what people think of answers."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Column, Table

from bot import settings as environment
from bot.bootstrap import open_beside
from bot.cli.run import Unusable, out, run
from bot.cli.usage import seconds_of
from bot.desk import whoever
from bot.types import Act, JsonObject, KeptFeedback, reference_of

app = typer.Typer(no_args_is_help=True, help="What people think of answers.")

Since = Annotated[str, typer.Option(help="How far back: days or hours, such as 30d or 12h.")]
Only = Annotated[Literal["like", "dislike"] | None, typer.Option(help="Only these.")]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection"""


@app.callback()
def group() -> None:
    """What people think of answers."""


@app.command("list")
def list_(since: Since = "30d", only: Only = None) -> None:
    """Likes and dislikes, newest first, with the reference of the answer's turn."""
    run(_list(since, only))


async def _list(since: str, only: str | None) -> None:
    told = await _told("list feedback", since, only)
    if not told:
        out.print(f"Nobody has judged an answer in the last {since}.", highlight=False)
        return
    table = Table(
        Column("when", no_wrap=True), "reaction", "channel", "person", Column("reference", no_wrap=True), "words"
    )
    for one in told:
        row = _row(one)
        table.add_row(row["at"], one.reaction, one.channel, one.name or one.person, row["reference"], one.text)
    out.print(table)
    likes = sum(one.reaction == "like" for one in told)
    out.print(f"{likes} like, {len(told) - likes} dislike.", highlight=False)


@app.command("export")
def export(
    since: Since = "30d",
    only: Only = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV; else as one JSON object.")] = False,
    file: Annotated[Path | None, typer.Option("--to", help="Write to this file.")] = None,
) -> None:
    """Everything that is kept of them: person, words, turn, thread and run."""

    async def work() -> None:
        rows = [_row(one) for one in await _told("export feedback", since, only)]
        told = {"since": since, "feedback": rows}
        _hand_over(_csv(rows) if as_csv else json.dumps(told, ensure_ascii=False, indent=2) + "\n", file)

    run(work())


def _hand_over(text: str, file: Path | None) -> None:
    if file is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Unusable(f"{file} cannot be written ({error.strerror}).") from None


async def _told(act: str, since: str, only: str | None) -> list[KeptFeedback]:
    """What was said. Whoever reads people's words leaves a row in the audit."""
    seconds = seconds_of(since, most_days=None)
    store = await open_beside(environment.load())
    try:
        told = [one for one in await store.feedback.within(seconds) if only in (None, one.reaction)]
        await store.people.record(Act(whoever(), act, "everyone", None, {"since": since, "rows": len(told)}))
        return told
    finally:
        await store.close()


def _row(one: KeptFeedback) -> JsonObject:
    return {
        "at": datetime.fromtimestamp(one.at, UTC).isoformat(sep=" ", timespec="seconds"),
        "reaction": one.reaction,
        "text": one.text,
        "channel": one.channel,
        "tenant": one.tenant,
        "person": one.person,
        "name": one.name,
        "reference": reference_of(one.turn) if one.turn is not None else "",
        "thread": one.thread,
        "run": one.run,
    }


def _csv(rows: list[JsonObject]) -> str:
    """A line each; what a spreadsheet would run as a formula stands behind an apostrophe."""
    names = list(_row(KeptFeedback(0.0, "", "", "", "", "", "", None, "", "")))
    page = io.StringIO()
    writer = csv.DictWriter(page, names)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"'{value}" if value.startswith(FORMULA) else value for name, value in row.items()})
    return page.getvalue()
