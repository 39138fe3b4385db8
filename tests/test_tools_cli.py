"""`python -m bot tools`: list, call, check, failures, calls, new."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.function import FunctionAdapter, FunctionTool
from adapters.toolbox import Toolbox
from bot.__main__ import app
from bot.cli.run import err, out
from bot.cli.tool_trouble import quiet, told
from bot.store import SqlStore, open_store
from bot.store.tool_audit import SqlToolAudit
from bot.types import AuditedCall, CallNote, ToolCall, ToolFailures, reference_of
from tests.contracts.toolbox import CALLER
from tests.processes import ROOT, command
from tests.world import FastClock

TOOLS = '''
from __future__ import annotations

import os
from typing import Literal

from adapters import ToolContext, ToolFailed, tool


@tool
def dice(sides: int = 6, name: str = "", fair: bool | None = None, weights: list[float] | None = None) -> dict:
    """Roll one die.

    Args:
        sides: How many.
        name: Of the die.
    """
    return {"sides": sides, "name": name, "fair": fair, "weights": weights}


@tool(once=True, approve=True)
def wipe(disk: Literal["a", "b"], password: str) -> str:
    """Wipe a disk."""
    return f"wiped {disk}"


@tool
def fails() -> None:
    """Fail."""
    raise ToolFailed("It is broken.")


@tool
async def who(context: ToolContext) -> str:
    """Who calls."""
    context.progress("looking")
    await context.records.put("calls", "last", {"by": context.person.id})
    kept = await context.records.get("calls", "last")
    return f"{kept['by']} by the {context.channel}"
'''
ROLLING = '''
import random

from adapters import ToolContext, tool


@tool
def roll(sides: int) -> int:
    """Roll one die."""
    try:
        return {}["hunter2"]
    except KeyError:
        return random.randint(1, sides)


@tool
def keeps(context: ToolContext) -> str:
    """Keep."""
    return f"kept {context.records.put('a', 'b', 1)}"
'''
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}")
    monkeypatch.setenv("TOOLS_DIR", str(folder))
    monkeypatch.setenv("USER", "olga")
    monkeypatch.setenv("LOGNAME", "olga")
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    (folder / "mine.py").write_text(TOOLS)
    return tools


def tools(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["tools", *arguments], input=given)


def in_store(work: Callable[[SqlStore], Any]) -> Any:
    async def worked() -> Any:
        store = await open_store(f"sqlite+aiosqlite:///{Path.cwd() / 'bot.db'}", FastClock(), runner=False)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(worked())


def audited() -> list[AuditedCall]:
    return in_store(lambda store: store.tool_audit.calls(1000.0, None, 100))


# -- list -----------------------------------------------------------------------------------------------------


def test_list_tells_every_tool_and_what_was_not_loaded(run: Run, folder: Path):
    (folder / "broken.py").write_text("import nothing_like_it\n")
    result = run("list")
    assert (result.exit_code, "dice" in result.output, "broken.py" in result.output) == (0, True, True)
    told = json.loads(run("list", "--json").output)
    wipe = next(one for one in told["tools"] if one["name"] == "wipe")
    assert (wipe["once"], wipe["approve"], wipe["source"]) == (True, True, "mine/mine.py")
    assert wipe["parameters"]["required"] == ["disk", "password"]
    (problem,) = told["problems"]
    assert "broken.py" in problem
    assert '"weights"' in run("list", "--schemas").output


# -- call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "given"),
    [
        ([], {}),
        (["sides=20", "name=20"], {"sides": 20, "name": "20"}),
        (["name=a=b", "fair=yes"], {"name": "a=b", "fair": True}),
        (["fair=null", "name=null", "weights=[0.5, 1]"], {"name": "null", "weights": [0.5, 1.0]}),
        (["--json", '{"sides": 3}'], {"sides": 3}),
    ],
)
def test_call_reads_values_by_the_schema(run: Run, pairs: list[str], given: dict[str, Any]):
    result = run("call", "dice", *pairs)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"sides": 6, "name": "", "fair": None, "weights": None} | given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dise"], "There is no tool dise. Is dice meant?"),
        (["dice", "side=3"], "dice has no argument side. Is sides meant?"),
        (["dice", "sides"], "sides is no argument: write tools call dice [sides=…]"),
        (["dice", "sides=six"], "sides wants a whole number, and 'six' is none."),
        (["dice", "fair=maybe"], "fair wants true or false, and 'maybe' is none."),
        (["dice", "weights=1,2"], """weights wants a JSON list, such as '["one", "two"]'"""),
        (["dice", "sides=1", "sides=2"], "sides is given twice."),
        (["wipe", "disk=a"], "wipe lacks password. Write tools call wipe disk=… password=…"),
        (["dice", "--json", "[1]"], "--json wants one JSON object"),
        (["dice", "--json", "{"], "--json is not valid JSON"),
        (["dice", "sides=1", "--json", "{}"], "not both"),
    ],
)
def test_call_says_what_is_wrong(run: Run, arguments: list[str], words: str):
    result = run("call", *arguments)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert "Traceback" not in result.output


def test_call_tells_a_failure_by_its_exit_code(run: Run):
    result = run("call", "fails")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "It is broken.\n", "fails: failed\n")
    result = run("call", "wipe", "disk=c", "password=hunter2", "--yes")
    assert (result.exit_code, "Input should be 'a' or 'b'" in result.stdout) == (2, True)


@pytest.mark.invariant("I13")
def test_call_asks_first_where_a_person_must_agree_and_shows_no_secret(run: Run):
    arguments = ("call", "wipe", "disk=a", "password=hunter2")
    refused = run(*arguments, given="n\n")
    assert (refused.exit_code, "wiped" in refused.output, "disk: a" in refused.stderr) == (1, False, True)
    assert "hunter2" not in refused.output
    assert run(*arguments, given="").exit_code == 1  # nobody is there to ask
    assert run(*arguments, given="y\n").stdout.endswith("wiped a\n")
    assert run(*arguments, "--yes").stdout == "wiped a\n"
    assert [row.decider for row in audited()] == ["cli:olga", "cli:olga"]


def test_call_is_made_on_behalf_of_who_is_at_the_keyboard_and_audited(run: Run, monkeypatch: pytest.MonkeyPatch):
    result = run("call", "who")
    assert (result.stdout, result.stderr) == ("cli:olga by the command line\n", "looking\n")
    monkeypatch.setenv("AUDIT_ARGUMENTS", "true")
    run("call", "dice", "sides=20")
    dice, who = audited()
    assert (who.note.person, who.note.channel, who.turn, who.error) == ("cli:olga", "command line", None, None)
    assert (who.note.arguments, dice.note.arguments, dice.note.sizes) == (None, {"sides": 20}, {"sides": 2})


def test_call_tells_the_author_what_was_raised_and_where_in_their_file(run: Run, folder: Path):
    (folder / "rolling.py").write_text(ROLLING)
    result = run("call", "roll", "sides=0")
    assert (result.exit_code, result.stdout.count("\n"), "empty range" in result.stdout) == (1, 1, False)
    assert result.stdout.startswith("roll failed (command line)")
    lines = result.stderr.splitlines()
    assert [line.split('"')[1] for line in lines if "File " in line] == [str(folder / "rolling.py")] * 2
    assert "KeyError: 'hunter2'" in lines
    assert lines[-1].startswith("ValueError: empty range for randrange()")
    assert "threadkeeper" not in result.stderr
    assert [row.error for row in audited()] == ["failed"]


def test_call_tells_of_an_await_that_is_missing(run: Run, folder: Path):
    (folder / "rolling.py").write_text(ROLLING)
    result = run("call", "keeps")
    assert (result.exit_code, "coroutine object" in result.output, "never awaited" in result.output) == (
        1,
        False,
        False,
    )
    assert "keeps uses context.records in a plain def: write it as async def and await it" in result.stderr


def test_call_of_a_package_s_tool_tells_the_frames_that_follow_ours():
    def fails() -> None:
        """Fail."""
        json.loads("{")

    heard: list[str] = []
    toolbox = Toolbox([FunctionAdapter([FunctionTool(fails, "package acme, entry point fails")], environ={})])
    toolbox.tell_author(lambda spec, error: heard.append(told(error, spec.source)))
    output = asyncio.run(toolbox.call(ToolCall("1", "fails", "{}"), CALLER))
    assert (output.error, "JSON" in output.output) == ("failed", False)
    assert "in fails" in heard[0].splitlines()[1]
    assert not any("adapters" in line for line in heard[0].splitlines() if "File " in line)
    assert told(ValueError("no frames"), "") == "ValueError: no frames"


def test_call_is_silent_about_what_does_not_concern_the_tool(run: Run, folder: Path):
    (folder / "broken.py").write_text("import nothing_like_it\n")
    (folder / "gone.mcp.toml").write_text('command = "nothing-like-it"\n')
    result = run("call", "dice")
    assert (result.exit_code, result.stderr) == (0, "")
    assert run("call", "nosuch").stderr == (
        "There is no tool nosuch. `tools list` shows what there is.\n"
        "Others were not loaded: `tools check` names 2 problems.\n"
    )
    told = run("call", "broken").stderr.splitlines()
    assert told[1].startswith("Not loaded: mine/broken.py: ModuleNotFoundError")
    assert told[2:] == ["Others were not loaded: `tools check` names 1 problem."]


def test_call_says_what_a_service_is_to_blame_for(capsys: pytest.CaptureFixture[str]):
    log = logging.getLogger("threadkeeper.tools")
    with quiet("look"):
        log.warning("tool %s: the service answered %d (%s)", "look", 500, "command line")
        log.warning("tool %s: the service answered %d (%s)", "other", 500, "command line")
        log.warning("mine/gone.mcp.toml: it cannot be reached")
    assert capsys.readouterr().err == "tool look: the service answered 500 (command line)\n"


def test_call_uses_the_records_of_whom_it_is_told(run: Run, monkeypatch: pytest.MonkeyPatch):
    run("call", "who")
    run("call", "who", "--tenant", "contoso")
    monkeypatch.setenv("MICROSOFT_APP_ID", "aaaaaaaa-0000-4000-8000-000000000001")
    monkeypatch.setenv("MICROSOFT_APP_PASSWORD", "x")
    monkeypatch.setenv("MICROSOFT_APP_TENANT_ID", "contoso")
    assert run("call", "who").exit_code == 0
    assert [row.note.tenant for row in audited()] == ["", "contoso", "local"]


# -- check ----------------------------------------------------------------------------------------------------


def test_check_is_content_with_what_services_take(run: Run):
    result = run("check")
    assert result.exit_code == 0, result.output
    assert "0 problems" in result.output
    assert "dice: say what fair, weights is" in result.output
    assert "strict" not in result.output
    assert "dice" in json.loads(run("check", "--json").output)["not_strict"]


def test_check_names_every_problem(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CRM_TOKEN", raising=False)
    (folder / "broken.py").write_text("import nothing_like_it\n")
    (folder / "worse.py").write_text(
        f'from adapters import tool\n\n@tool(secrets=[\'CRM_TOKEN\'])\ndef crm() -> None:\n    """{"long " * 300}"""\n'
    )
    result = run("check", "--json")
    told = json.loads(result.output)
    assert (result.exit_code, len(told["problems"])) == (1, 3)
    words = "\n".join(told["problems"])
    assert all(part in words for part in ("broken.py", "CRM_TOKEN", "services take 1024"))
    monkeypatch.setenv("CRM_TOKEN", "there")
    assert len(json.loads(run("check", "--json").output)["problems"]) == 2
    strict = run("check", "--strict")
    assert (strict.exit_code, "additionalProperties" in strict.output or "is not" in strict.output) == (1, True)


def test_check_tells_each_problem_once_and_what_a_docstring_has_wrong(run: Run, folder: Path):
    (folder / "gone.mcp.toml").write_text('command = "nothing-like-it"\n')
    (folder / "nomark.py").write_text("def greet(name: str) -> str:\n    return name\n")
    (folder / "rolling.py").write_text(ROLLING.replace("one die.", "one die.\n\n    Args:\n        sdies: All.\n    "))
    result = run("check")
    assert result.stderr == ""
    assert result.output.count("nothing-like-it") == 1
    assert "✗ mine/nomark.py: it has no tool; mark a function with @tool" in result.output
    assert "  roll: its docstring describes sdies, which is no parameter\n  roll: say what sides is\n" in result.output


# -- failures and calls ---------------------------------------------------------------------------------------


def test_failures_tells_how_often_since_when_and_where(run: Run):
    assert "No call failed in the last 7d." in run("failures").output
    assert run("failures", "--since", "soon").exit_code == 2
    for _ in range(3):
        run("call", "fails")

    async def more(store: SqlStore) -> None:
        at = CallNote(person="ada", channel="test")
        await store.tool_audit.record(AuditedCall(0.0, "dice", "c", at, None, 90_000.0, 3, "timeout"))

    in_store(more)
    told = json.loads(run("failures", "--json").output)["failures"]
    assert [(one["tool"], one["error"], one["count"]) for one in told] == [
        ("fails", "failed", 3),
        ("dice", "timeout", 1),
    ]
    assert told[1]["first"] < told[0]["first"] <= told[0]["last"]
    assert json.loads(run("failures", "dice", "--since", "1d", "--json").output)["failures"] == []
    shown = run("failures").output
    assert ("timeout" in shown, "inbox show REFERENCE" in shown) == (True, True)


def test_calls_shows_the_audit_and_that_it_was_looked_at(run: Run):
    run("call", "dice", "name=xyzzy")
    told = json.loads(run("calls", "--json").output)["calls"]
    assert [(one["tool"], one["sizes"], one["arguments"], one["outcome"]) for one in told] == [
        ("dice", {"name": 5}, None, "done")
    ]
    assert "xyzzy" not in run("calls").output
    acts = in_store(lambda store: store.people.acts(None, 10))
    assert [(act.actor, act.act, act.detail["rows"]) for act in acts] == [("cli:olga", "list tool calls", 1)] * 2


def test_calls_names_the_tool_that_was_not_called(run: Run):
    assert run("calls").output == "No tool was called in the last 1d.\n"
    assert run("calls", "nosuch").output == "nosuch was not called in the last 1d.\n"


def test_the_tables_cut_nothing_at_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch):
    for console in (out, err):
        monkeypatch.setattr(console, "_width", 80)
    person, long = "aaaaaaaa-0000-4000-8000-000000000001", "a_tool_with_a_very_long_name_" * 2
    note = CallNote(person=person, channel="msteams", arguments={"text": "word " * 60})
    audit = [AuditedCall(0.0, long, "c", note, turn, 123.0, 3, "timeout", person) for turn in (1, 2, 3)]
    references = tuple(reference_of(turn) for turn in (1, 2, 3))

    async def calls(*_: object) -> list[AuditedCall]:
        return audit

    async def failures(*_: object) -> list[ToolFailures]:
        return [ToolFailures(long, "bad_arguments", 1234, 0.0, 1.0, references)]

    monkeypatch.setattr(SqlToolAudit, "calls", calls)
    monkeypatch.setattr(SqlToolAudit, "failures", failures)
    shown = ""
    for name in ("calls", "failures"):
        shown = run(name).output
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert ("1970-01-01 " in shown, "00:00:00 " in shown) == (True, True)
        assert all(reference in shown for reference in references)
    assert "bad_arguments" in shown


# -- new ------------------------------------------------------------------------------------------------------


async def test_new_writes_a_tool_that_passes_every_check(tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    code, out, err = await command(tmp_path, "tools", "new", "greet_all", TOOLS_DIR=str(folder))
    assert code == 0, err
    assert sorted(file.name for file in folder.iterdir()) == ["greet_all.py", "test_greet_all.py"]
    assert "Written: mine/greet_all.py\n" in out
    assert "Next: python -m pytest mine/test_greet_all.py  (make dev brings pytest)\n" in out
    test = str(folder / "test_greet_all.py")
    ours = ("--config", str(ROOT / "pyproject.toml"))
    results = await asyncio.gather(
        outcome("-m", "ruff", "check", *ours, str(folder)),
        outcome("-m", "ruff", "format", "--check", *ours, str(folder)),
        outcome("-m", "ruff", "format", "--check", "--isolated", str(folder)),
        outcome("-m", "ruff", "check", "--isolated", "--select", "E,F,I", str(folder)),
        outcome("-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-n", "0", test),
        outcome("-m", "pyright", str(folder)),
    )
    assert [code for code, _ in results] == [0] * len(results), "\n".join(text for _, text in results)


async def outcome(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(120):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode()


def test_new_is_a_tool_at_once(folder: Path):
    assert tools("new", "greet").exit_code == 0
    assert tools("call", "greet", "text=ahoy", "times=2").stdout == "ahoy ahoy\n"
    assert tools("call", "greet", "text=ahoy", "times=11").exit_code == 1
    assert tools("check").exit_code == 0


def test_new_writes_over_nothing(folder: Path):
    (folder / "greet.py").write_text("mine = 1\n")
    result = tools("new", "greet")
    assert (result.exit_code, "greet.py is there already. Nothing was written." in result.stderr) == (2, True)
    assert [file.name for file in folder.glob("*.py")] == ["greet.py"]
    (folder / "greet.py").unlink()
    (folder / "test_greet.py").write_text("")
    assert tools("new", "greet").exit_code == 2
    assert [file.name for file in folder.glob("*.py")] == ["test_greet.py"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Greet", "small letters"),
        ("greet-all", "small letters"),
        ("../greet", "small letters"),
        ("1st", "small letters"),
        ("g" * 61, "small letters"),
        ("class", "means something in Python"),
        ("sum", "means something in Python"),
        ("json", "means something in Python"),
        ("test_greet", "taken for a test"),
        ("greet_test", "taken for a test"),
        ("conftest", "taken for a test"),
        ("yaml", "There is a Python package yaml"),
        ("calculate", "There is a tool calculate already, in tools/calculator.py"),
    ],
)
def test_new_refuses_names(folder: Path, name: str, words: str):
    result = tools("new", name)
    assert (result.exit_code, words in result.stderr.replace("\n", " ")) == (2, True), result.output
    assert list(folder.iterdir()) == []


def test_new_in_the_clone_puts_the_test_with_the_others(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TOOLS_DIR")
    clone = tmp_path / "clone" / "tools"
    clone.mkdir(parents=True)
    monkeypatch.setattr("tools.__path__", [str(clone)])
    spec = sys.modules["tools"].__spec__
    assert spec is not None
    monkeypatch.setattr(spec, "submodule_search_locations", [str(clone)])
    result = tools("new", "greet")
    assert result.exit_code == 0, result.output
    assert "from tools.greet import greet" in (clone.parent / "tests" / "test_greet_tool.py").read_text()
    assert "def greet(" in (clone / "greet.py").read_text()
