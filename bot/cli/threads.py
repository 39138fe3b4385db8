"""threads: whose conversation is which thread; start it over, export it, forget it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bot import settings as environment
from bot.cli.run import Unusable, out, run
from bot.desk import Desk, open_desk
from bot.texts import plural
from bot.types import JsonObject, Known

app = typer.Typer(no_args_is_help=True, help="Whose conversation is which thread: see, start over, export, forget.")

Who = Annotated[
    str,
    typer.Argument(
        metavar="PERSON", help="An id, an e-mail address (of Teams), or a name if it is unique, or words of it."
    ),
]
Every = Annotated[bool, typer.Option("--all", help="Every conversation of the person, not the personal one alone.")]
Work = Callable[[Desk, Known, list[str]], Awaitable[None]]


@app.callback()
def group() -> None:
    """Whose conversation is which thread."""


@app.command("list")
def show_all() -> None:
    """Everyone who has spoken, with their current threads."""
    run(_list())


async def _list() -> None:
    async with open_desk(environment.load()) as desk:
        table = Table("name", "id", "channel", "last seen", "conversation", "thread", "messages", "last used")
        for person in await desk.store.people.everyone():
            known = (person.name, person.id, person.channel, _time(person.seen_at))
            rows = [row async for row in _rows(desk, person)]
            for row in rows or [("", "", "", "")]:
                table.add_row(*known, *row)
        out.print(table)


async def _rows(desk: Desk, person: Known) -> AsyncIterator[tuple[str, str, str, str]]:
    """Of each of their conversations that has a thread: what kind it is, and the thread."""
    personal = await desk.store.people.lanes(person, every=False)
    for key in await desk.store.people.lanes(person, every=True):
        lane = await desk.store.threads.lane(key)
        if lane is not None and (thread := lane.thread) is not None:
            kind = "personal" if key in personal else "group"
            yield kind, thread.remote_id, str(thread.messages), _time(thread.used_at)


@app.command("show")
def show(who: Who, every: Every = False) -> None:
    """The chain of a person's threads, and why each began."""
    run(_for(who, every, _show))


async def _show(desk: Desk, person: Known, keys: list[str]) -> None:
    table = Table("", "thread", "agent", "began", "why", "messages", "last used")
    current = await desk.current(keys)
    for thread in await desk.chain(person, keys):
        why = str(thread.reason) + (f"; not usable: {thread.unusable}" if thread.unusable else "")
        times = (_time(thread.opened_at), why, str(thread.messages), _time(thread.used_at))
        table.add_row("now" if thread.id in current else "", thread.remote_id, thread.backend, *times)
    out.print(_called(person), markup=False)
    out.print(table)


@app.command("reset")
def reset(who: Who, every: Every = False) -> None:
    """Start a person's conversation over; they are told at their next message."""
    run(_for(who, every, _reset))


async def _reset(desk: Desk, person: Known, keys: list[str]) -> None:
    done = await desk.reset(person, keys)
    words = [f"{plural(done['conversations'], 'conversation')} of {_called(person)} started over."]
    if done["stopped"] or done["dropped"]:
        words.append(f"{done['stopped']} stopped, {plural(done['dropped'], 'waiting message')} dropped.")
    out.print(" ".join(words), markup=False, soft_wrap=True)


@app.command("export")
def export(
    who: Who,
    every: Every = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown; else as one JSON object.")] = False,
    file: Annotated[Path | None, typer.Option("--to", help="Write to this file.")] = None,
) -> None:
    """What a person's threads hold, from the agent."""

    async def work(desk: Desk, person: Known, keys: list[str]) -> None:
        told = await desk.export(person, keys)
        text = _markdown(told) if markdown else json.dumps(told, ensure_ascii=False, indent=2) + "\n"
        if file is None:
            out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
            return
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unusable(f"{file} cannot be written ({error.strerror}).") from None

    run(_for(who, every, work))


def _markdown(told: JsonObject) -> str:
    person = told["person"]
    lines = [f"# Conversations of {person['name'] or person['id']}", ""]
    for conversation in told["conversations"]:
        for thread in conversation["threads"]:
            lines += [f"## {_time(thread['began'])}: {thread['why']}", "", f"Thread {thread['id']}.", ""]
            if thread.get("problem"):
                lines += [f"Not exported: {thread['problem']}.", ""]
            for said in thread["messages"]:
                speaker = (person["name"] or person["id"]) if said["role"] == "user" else "Agent"
                lines += [f"**{speaker}:** {said['text']}", ""]
    return "\n".join(lines)


@app.command("forget")
def forget(
    who: Who,
    every: Every = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a person's conversation for good: at the service first, then here."""

    async def work(desk: Desk, person: Known, keys: list[str]) -> None:
        if not yes:
            question = f"Delete {plural(len(keys), 'conversation')} of {_called(person)} for good?"
            typer.confirm(question, abort=True)
        left = await desk.forget(person, keys, every=every)
        out.print(f"{plural(len(keys), 'conversation')} of {_called(person)} deleted.", markup=False, soft_wrap=True)
        if left:
            out.print(f"{plural(left, 'thread')} of another agent left: a bot that is set to it deletes them.")

    run(_for(who, every, work))


async def _for(who: str, every: bool, work: Work) -> None:
    """Find the person, then do it."""
    async with open_desk(environment.load()) as desk:
        found = await desk.store.people.find(who)
        if not found:
            raise Unusable(f"Nobody called {who} has spoken. `threads list` shows who has.")
        if len(found) > 1:
            listed = "\n".join(f"  {_called(person)}" for person in found)
            raise Unusable(f"Several people match; name one by id:\n{listed}")
        keys = await desk.store.people.lanes(found[0], every=every)
        if not keys:
            raise Unusable(f"{_called(found[0])} has no personal conversation; --all takes those in groups.")
        await work(desk, found[0], keys)


def _called(person: Known) -> str:
    return f"{person.name or 'without a name'} ({person.id}, {person.channel})"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
