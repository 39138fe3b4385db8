"""tools call: one real call of a tool, on behalf of whoever is at the keyboard."""

from __future__ import annotations

import difflib
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.notes import Notes
from bot import settings as environment
from bot.bootstrap import find_tools, open_beside
from bot.cli.run import Unusable, err, out, run
from bot.cli.tool_trouble import quiet, say, told
from bot.cli.tool_values import arguments_from
from bot.desk import whoever
from bot.ports import Store
from bot.settings import Settings
from bot.texts import plural
from bot.types import AuditedCall, Caller, JsonObject, Person, ToolCall, ToolOutput, ToolSpec, storable

CHANNEL = "command line"
LOCAL = "local"
"""The tenant of the local page's people."""
NOT_MADE = frozenset({"bad_arguments", "unknown_tool", "not_set_up", "not_allowed"})
"""What the person at the keyboard can mend, with exit code 2 as of all commands."""


def call(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool, as `tools list` names it.")],
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments.")] = None,
    as_json: Annotated[str | None, typer.Option("--json", help="The arguments as one JSON object instead.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, even where a person must agree.")] = False,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose records it uses. Without it: the local page's, or nobody's.")
    ] = None,
) -> None:
    """Call a tool for real, and show what the agent would be given. Exit code 1 if it failed, 2 if it was not called.

    Values are read as the tool's schema says: numbers, true or false, JSON for lists and objects.
    """
    with quiet(name):
        run(_call(name, pairs or [], as_json, yes, tenant))


async def _call(name: str, pairs: list[str], as_json: str | None, yes: bool, tenant: str | None) -> None:
    settings = environment.load()
    toolbox, problems = find_tools(settings)
    troubles: list[str] = []

    def hear(spec: ToolSpec, error: BaseException) -> None:
        troubles.append(told(error, spec.source))

    toolbox.tell_author(hear)
    async with toolbox:
        specs = {spec.name: spec for spec in toolbox.specs()}
        spec = specs.get(name)
        if spec is None:
            raise Unusable(_unknown(name, list(specs), list(problems)))
        given = arguments_from(pairs, spec) if as_json is None else _object(as_json, pairs)
        made = ToolCall(f"call_{uuid.uuid4().hex[:12]}", name, json.dumps(given))
        decider = _agreed(toolbox.approval(made), spec, yes)
        store = await open_beside(settings)
        try:
            output = await _made(toolbox, made, spec, settings, store, decider, _whose(tenant, settings))
        finally:
            await store.close()
    _tell(output, spec, troubles)


def _whose(tenant: str | None, settings: Settings) -> str:
    """The tenant of the call: what was kept by hand is there in the local page's chat, too."""
    return tenant if tenant is not None else LOCAL if settings.local else ""


async def _made(
    toolbox: Any, made: ToolCall, spec: ToolSpec, settings: Settings, store: Store, decider: str, tenant: str
) -> ToolOutput:
    """The call, with its row in the audit."""
    who = whoever()
    caller = Caller(
        person=Person(who, who),
        tenant=tenant,
        channel=CHANNEL,
        reference="command line",
        key=made.id,
        roles=frozenset({"admin", *spec.roles}),  # whoever may start the bot may call what it calls
        records=store.tool_records.of_organisation(tenant),
        own=store.tool_records.of_person(CHANNEL, tenant, who),
        progress=lambda words: err.print(words, style="dim", markup=False, highlight=False),
    )
    note = Notes(toolbox, values=settings.audit_arguments).of(made)
    note = replace(note, channel=CHANNEL, person=who, tenant=tenant)
    began = time.monotonic()
    output = await toolbox.call(made, caller)
    seconds = time.monotonic() - began
    size = len(output.output.encode("utf-8", "replace"))
    await store.tool_audit.record(
        AuditedCall(0.0, spec.name, made.id, note, None, seconds, size, output.error, decider)
    )
    return output


def _unknown(name: str, names: list[str], problems: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    meant = f" Is {near[0]} meant?" if near else ""
    own = [problem for problem in problems if _concerns(problem, name)]
    lines = [f"There is no tool {name}.{meant} `tools list` shows what there is."]
    lines += [f"Not loaded: {problem}" for problem in own]
    if others := len(problems) - len(own):
        lines.append(f"Others were not loaded: `tools check` names {plural(others, 'problem')}.")
    return "\n".join(lines)


def _concerns(problem: str, name: str) -> bool:
    """Whether it is of this tool, or of a file that has its name."""
    source, _, words = problem.partition(": ")
    file, named = Path(source).name.split(".")[0], source.split(" ")
    return name in (file, named[0], named[-1], words.split(" ")[0])


def _object(text: str, pairs: list[str]) -> JsonObject:
    if pairs:
        raise Unusable("Give the arguments as KEY=VALUE or as --json, not both.")
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise Unusable(f"--json is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Unusable("""--json wants one JSON object, such as '{"sides": 20}'.""")
    return value  # pyright: ignore[reportUnknownVariableType]


def _agreed(shown: Any, spec: ToolSpec, yes: bool) -> str:
    """Who agreed, where somebody must.

    Raises:
        typer.Exit: they did not.
    """
    if shown is None:
        return ""
    if not yes:
        err.print(f"{spec.name} wants a person's agreement. It is to be called with:", highlight=False)
        for name, value in shown.items():
            err.print(f"  {name}: {value}", markup=False, highlight=False, soft_wrap=True)
        if not typer.confirm("Call it?", err=True):
            err.print("Not called.")
            raise typer.Exit(1)
    return whoever()


def _tell(output: ToolOutput, spec: ToolSpec, troubles: Sequence[str]) -> None:
    for trouble in troubles:
        say(trouble)
    out.print(storable(output.output), markup=False, highlight=False, soft_wrap=True)
    for file in output.files:
        err.print(f"With the file {file.name}.", markup=False, highlight=False)
    if output.error is not None:
        if not troubles:
            say(f"{spec.name}: {output.error}")
        raise typer.Exit(2 if output.error in NOT_MADE else 1)
