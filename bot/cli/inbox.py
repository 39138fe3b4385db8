"""inbox: what became of messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from rich.table import Column, Table

from bot import settings as environment
from bot.bootstrap import open_beside
from bot.cli.run import Unusable, out, run
from bot.types import JsonObject, reference_of, turn_of

app = typer.Typer(no_args_is_help=True, help="What became of messages.")


@app.callback()
def group() -> None:
    """What became of messages."""


@app.command("show")
def show(
    reference: Annotated[str, typer.Argument(help="The reference of an apology or a log line, such as 7F3K-2Q.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What became of one message: accepted, run, tools, delivered, error."""
    run(_show(reference.upper(), as_json))


async def _show(reference: str, as_json: bool) -> None:
    turn = _turn(reference)
    settings = environment.load()
    store = await open_beside(settings)
    try:
        described = await store.records.describe(turn)
    finally:
        await store.close()
    if described is None:
        raise Unusable(f"No message has the reference {reference} (finished ones are kept for 35 days).")
    if as_json:
        out.print_json(json.dumps({"reference": reference} | described))
        return
    _print_turn(reference, described)


@app.command("list")
def list_() -> None:
    """The turns that wait, run, or were not answered (their words are kept for a day)."""
    run(_list())


async def _list() -> None:
    store = await open_beside(environment.load())
    try:
        turns = await store.records.attention()
    finally:
        await store.close()
    table = Table(
        Column("reference", no_wrap=True), Column("accepted", no_wrap=True), "state", "attempts", "lane", "error"
    )
    for turn in turns:
        state = turn["ended"] or turn["state"]
        accepted = _time(turn["accepted_at"])
        table.add_row(
            reference_of(turn["id"]), accepted, state, str(turn["attempts"]), turn["lane"], turn["error"] or ""
        )
    out.print(table)


REFUSED = "was answered, still runs, or its words are gone; or a later one of its conversation is under way"


@app.command()
def retry(reference: Annotated[str, typer.Argument(help="Of a turn that was not answered.")]) -> None:
    """Take up an unanswered turn again, from its beginning."""
    run(_act(reference, "again", "is taken up again", REFUSED))


@app.command()
def drop(reference: Annotated[str, typer.Argument(help="Of a turn that waits or was not answered.")]) -> None:
    """Let go of a turn for good; nothing more is said about it."""
    run(_act(reference, "drop", "is dropped", "runs just now, or has ended"))


async def _act(reference: str, verb: Literal["again", "drop"], done: str, refused: str) -> None:
    turn = _turn(reference)
    store = await open_beside(environment.load())
    try:
        worked = await (store.records.again(turn) if verb == "again" else store.records.drop(turn))
    finally:
        await store.close()
    if not worked:
        raise Unusable(f"{reference.upper()} {refused}. `python -m bot inbox list` shows what can be acted on.")
    out.print(f"{reference.upper()} {done}.")


def _turn(reference: str) -> int:
    try:
        return turn_of(reference)
    except ValueError as error:
        raise Unusable(str(error)) from None


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
