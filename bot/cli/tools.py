"""tools: what the agent can call; try it, check it, see what failed, begin a new one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Column, Table

from bot import settings as environment
from bot.bootstrap import find_tools, open_beside
from bot.cli import tool_call, tool_check, tool_new
from bot.cli.run import out, run
from bot.cli.tool_trouble import quiet
from bot.cli.usage import seconds_of
from bot.desk import whoever
from bot.types import Act, AuditedCall, Json, JsonObject, ToolFailures, ToolSpec, reference_of

MOST_CALLS = 1000

app = typer.Typer(no_args_is_help=True, help="What the agent can call: see, try, check, begin a new one.")
app.command("call")(tool_call.call)
app.command("check")(tool_check.check)
app.command("new")(tool_new.new)

Since = Annotated[str, typer.Option(help="How far back: days or hours, such as 30d or 12h.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
Only = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this tool.")]


@app.callback()
def group() -> None:
    """What the agent can call."""


@app.command("list")
def show(
    schemas: Annotated[bool, typer.Option("--schemas", help="With the schema of each tool's arguments.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every tool the agent is offered, where it comes from, and what was not loaded."""
    with quiet():
        run(_show(schemas, as_json))


async def _show(schemas: bool, as_json: bool) -> None:
    toolbox, problems = find_tools(environment.load())
    async with toolbox:  # some of them are known only to a server, which is asked
        specs: list[ToolSpec] = list(toolbox.specs())
        problems = list(problems)
    if as_json:
        told = {"tools": [_told(spec) for spec in specs], "problems": problems}
        out.print_json(json.dumps(told))
        return
    table = _table("tool", "what it does", "arguments", "marks", "from")
    for spec in specs:
        first = spec.description.strip().split("\n", 1)[0]
        table.add_row(spec.name, first, ", ".join(_arguments(spec.parameters)), ", ".join(_marks(spec)), spec.source)
    out.print(table)
    for spec in specs if schemas else ():
        out.print(spec.name, style="bold", highlight=False)
        out.print_json(json.dumps(spec.parameters))
    for problem in problems:
        out.print(f"✗ {problem}", markup=False, highlight=False, soft_wrap=True)


def _arguments(schema: JsonObject) -> list[str]:
    """The names, with a question mark behind what may be left out."""
    required: list[Json] = schema.get("required") or []
    return [name if name in required else f"{name}?" for name in schema.get("properties", {})]


def _marks(spec: ToolSpec) -> list[str]:
    marks = [name for name in ("once", "approve", "hidden") if getattr(spec, name)]
    return [*marks, *(f"for {role}" for role in spec.roles)]


def _told(spec: ToolSpec) -> JsonObject:
    return {
        "name": spec.name,
        "description": spec.description,
        "source": spec.source,
        "timeout": spec.timeout,
        "once": spec.once,
        "approve": spec.approve,
        "hidden": spec.hidden,
        "roles": list(spec.roles),
        "secrets": list(spec.secrets),
        "parameters": spec.parameters,
    }


@app.command("failures")
def failures(name: Only = None, since: Since = "7d", as_json: AsJson = False) -> None:
    """How often tools failed, in which ways, since when, and the references of the newest turns."""
    run(_failures(name, since, as_json))


async def _failures(name: str | None, since: str, as_json: bool) -> None:
    store = await open_beside(environment.load())
    try:
        found = await store.tool_audit.failures(seconds_of(since, most_days=None), name)
    finally:
        await store.close()
    if as_json:
        out.print_json(json.dumps({"since": since, "failures": [_failed(one) for one in found]}))
        return
    if not found:
        out.print(f"No call{f' of {name}' if name else ''} failed in the last {since}.", highlight=False)
        return
    table = _table(
        "tool",
        _wide("how", least=len("bad_arguments")),
        "times",
        _wide("first (UTC)"),
        _wide("last (UTC)"),
        _wide("references"),
    )
    for one in found:
        times = (_shown_time(one.first), _shown_time(one.last))
        table.add_row(one.tool, one.error, str(one.count), *times, ", ".join(one.references))
    out.print(table)
    out.print("`inbox show REFERENCE` tells of a turn.", highlight=False)


def _failed(one: ToolFailures) -> JsonObject:
    return {
        "tool": one.tool,
        "error": one.error,
        "count": one.count,
        "first": _time(one.first),
        "last": _time(one.last),
        "references": list(one.references),
    }


@app.command("calls")
def calls(
    name: Only = None,
    since: Since = "1d",
    most: Annotated[int, typer.Option(min=1, max=MOST_CALLS, help="So many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The audit: who had which tool called, with arguments of which size, and what came of it, newest first."""
    run(_calls(name, since, most, as_json))


async def _calls(name: str | None, since: str, most: int, as_json: bool) -> None:
    store = await open_beside(environment.load())
    try:
        found = await store.tool_audit.calls(seconds_of(since, most_days=None), name, most)
        detail: JsonObject = {"tool": name or "", "since": since, "rows": len(found)}
        await store.people.record(Act(whoever(), "list tool calls", "everyone", None, detail))
    finally:
        await store.close()
    rows = [_called(one) for one in found]
    if as_json:
        out.print_json(json.dumps({"since": since, "calls": rows}))
        return
    if not rows:
        out.print(f"{name or 'No tool'} was {'not ' if name else ''}called in the last {since}.", highlight=False)
        return
    table = _table(_wide("when (UTC)"), _wide("reference"), "tool", "person, channel", "outcome", "arguments")
    for one, row in zip(found, rows, strict=True):
        whose = f"{one.note.person}, {one.note.channel}"
        table.add_row(_shown_time(one.at), row["reference"], one.tool, whose, _came(one, row["outcome"]), _shown(one))
    out.print(table)


def _came(one: AuditedCall, outcome: str) -> str:
    """What came of it, in how long, and how much it was."""
    seconds = "" if one.seconds is None else f", {one.seconds:.2f}s"
    size = "" if one.output_size is None else f", {one.output_size} bytes"
    return f"{outcome}{seconds}{size}"


def _shown(one: AuditedCall) -> str:
    """The values where they are kept, else the sizes in bytes."""
    if one.note.arguments is not None:
        return json.dumps(one.note.arguments, ensure_ascii=False)
    return ", ".join(f"{name} {size}" for name, size in one.note.sizes.items()) or str(one.note.size)


def _called(one: AuditedCall) -> JsonObject:
    outcome = one.error or ("done" if one.seconds is not None else "no outcome")
    return {
        "at": _time(one.at),
        "tool": one.tool,
        "source": one.note.source,
        "person": one.note.person,
        "tenant": one.note.tenant,
        "channel": one.note.channel,
        "reference": reference_of(one.turn) if one.turn is not None else "",
        "size": one.note.size,
        "sizes": dict(one.note.sizes),
        "arguments": one.note.arguments,
        "seconds": one.seconds,
        "output": one.output_size,
        "outcome": outcome + (f", decided by {one.decider}" if one.decider else ""),
    }


def _table(*columns: Column | str) -> Table:
    """A table in which nothing is cut: on a narrow screen long words go on in the next line."""
    return Table(*(Column(one, overflow="fold") if isinstance(one, str) else one for one in columns))


def _wide(name: str, least: int = 0) -> Column:
    """A column of references or times: at least as wide as its heading, so that each, or its day, is in one piece."""
    return Column(name, overflow="fold", min_width=max(least, len(name)))


def _shown_time(seconds: float) -> str:
    return _time(seconds).removesuffix("+00:00")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
