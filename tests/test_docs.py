"""The documents: each command in them is run, or marked as needing what is not here; what they name is there."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adapters.discovery import load
from bot.__main__ import app as bot
from bot.settings import Settings
from infra.teams.__main__ import app as teams
from tests.world import open_world

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / "infra").rglob("*.md")]
    + [file for file in ROOT.glob("*.md") if file.name != "CHANGELOG.md"]
)
STARTED, SETUP, COMPARE = (DOCS / f"{name}.md" for name in ("get-started", "teams-setup", "compare"))

MARKED = re.compile(r"\*Needs (?:Azure|Teams|Docker)\.\*")
PYTHON = re.compile(r"^(?:\.venv/bin/)?python -m ")
TYPERS = {"bot": bot, "infra.teams": teams}

PROVED = {
    "make run": "tests/test_processes.py::test_killed_and_started_again_it_goes_on_in_the_same_thread",
    "make chat": "tests/test_processes.py::test_chat_answers_what_is_piped_into_it",
    "make test": "tests/test_docs.py::test_make_does_what_is_said_of_it",  # it is what runs this
    "make dev": "tests/test_docs.py::test_make_does_what_is_said_of_it",  # it has set this up
    "make campaign": "tests/test_campaign.py::test_every_column_that_must_be_zero_is_forced_above_it_here",
    "make interop": "tests/interop/test_playground.py",
    "make image-check": "tests/deploy/test_image.py::test_the_bot_gets_variables_that_it_reads",
    "make bench": "tests/bench/echo.py",
    "python -m tests.bench.inbox": "tests/bench/inbox.py",
    "SCREENSHOTS=docs/images .venv/bin/python -m pytest tests/web/test_page.py": (
        "tests/web/test_page.py::test_it_can_be_looked_at"
    ),
    'sed "s/BOT_HANDLE/NAME-OF-THE-BOT/" infra/slack/manifest.yaml': "tests/deploy/test_slack_app.py",
}
"""Commands that take minutes, or start the bot: where they are run. Their beginnings; arguments may follow."""
MADE_BY_MAKE = {
    "run": "-m bot serve",
    "chat": "-m bot chat",
    "test": "-m pytest",
    "campaign": "-m tests.campaign",
    "bench": "-m tests.bench.echo",
    "interop": "tests/interop/run",
    "image-check": "-m tests.deploy.image",
}


@dataclass(frozen=True)
class Shown:
    """A command in a code block. `needs` says that it was marked."""

    page: Path
    line: str
    needs: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.line}"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """The language of each code block, what stands in it, and the paragraph before it."""
    parts = re.split(r"^ *```(\w*)\n(.*?)^ *```$", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for before, language, content in zip(parts[0::3], parts[1::3], parts[2::3], strict=False):
        yield language, content, before.rstrip().rsplit("\n\n", 1)[-1]


def shown(page: Path) -> list[Shown]:
    found: list[Shown] = []
    for language, content, before in blocks(page):
        if language not in ("sh", "console"):
            continue
        lines = content.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        for line in lines:
            bare = " ".join(line.split("  #")[0].split())
            if bare and not bare.startswith("#") and not re.fullmatch(r"[A-Z_]+=\S*", bare):
                found.append(Shown(page, bare, bool(MARKED.search(before))))
    return found


COMMANDS = [command for page in PAGES for command in shown(page)]
INLINE = sorted(
    {(page, found) for page in PAGES for found in re.findall(r"`((?:\.venv/bin/)?python -m [^`]+)`", text_of(page))}
)


# -- what stands in code blocks ------------------------------------------------------------------------------------


def command_of(line: str) -> tuple[Any, list[str]] | None:
    """The command of ours that a line calls, and its arguments; None if it is somebody else's."""
    words = shlex.split(PYTHON.sub("", line)) if PYTHON.match(line) else []
    if not words or words[0] not in TYPERS:
        return None
    found: Any = typer.main.get_command(TYPERS[words.pop(0)])
    while words and (below := getattr(found, "commands", None)):
        assert words[0] in below, f"there is no {words[0]}"
        found = below[words.pop(0)]
    return found, words


def proof_of(line: str) -> str | None:
    for begun, proof in PROVED.items():
        if line == begun or line.startswith(f"{begun} "):
            return proof
    return None


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.needs], ids=str)
def test_a_command_is_run_or_marked(command: Shown) -> None:
    """Those of get-started and the guide to tools are run in their order, each below or beside its page."""
    if command.page == STARTED or proof_of(command.line) or command_of(command.line):
        return
    guides = {"tools.md": "test_tools_guide.py"}
    assert command.page.name in guides, "run it in a test, or write *Needs Azure.* before its block"


def test_there_are_commands_to_look_at() -> None:
    assert {command.page.name for command in COMMANDS} >= {"README.md", "get-started.md", "teams-setup.md", "tools.md"}
    assert any(command.needs for command in COMMANDS)


@pytest.mark.parametrize("page", [STARTED, SETUP], ids=lambda page: page.name)
def test_the_marks_are_at_what_needs_them(page: Path) -> None:
    """`az`, `azd` and what asks a service are marked; what works here is not."""
    for command in shown(page):
        elsewhere = command.line.startswith(("az ", "azd ")) or " agent " in command.line or "--public" in command.line
        assert command.needs or not elsewhere, command


@pytest.mark.parametrize(
    ("where", "line"),
    sorted({(str(one.page.relative_to(ROOT)), one.line) for one in COMMANDS if PYTHON.match(one.line)})
    + [(str(page.relative_to(ROOT)), line) for page, line in INLINE],
)
def test_a_command_of_ours_is_there_with_its_options(where: str, line: str) -> None:
    """Marked or not: it is one, and takes what it is given. Capitals stand for what the reader puts in."""
    found = command_of(line)
    if found is None:
        module = shlex.split(PYTHON.sub("", line))[0]
        assert any((ROOT / f"{module.replace('.', '/')}{end}").exists() for end in (".py", "/__main__.py")) or (
            module == "pytest"
        ), where
        return
    command, words = found
    options = {name for option in command.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= options, where


def test_make_does_what_is_said_of_it() -> None:
    recipes = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", text_of(ROOT / "Makefile"), re.MULTILINE))
    for target, does in MADE_BY_MAKE.items():
        assert does in recipes[target], target
    said = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", text_of(page))}
    said |= {command.line.split()[1] for command in COMMANDS if command.line.startswith("make ")}
    assert said <= set(recipes)


@pytest.mark.parametrize("proof", sorted(set(PROVED.values())))
def test_where_a_command_is_proved_there_is_a_test(proof: str) -> None:
    assert_there(proof)


# -- get started ---------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where somebody is who follows get-started: in a folder without settings, with the file that it tells to write."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    assert "`mytools/dice.py`" in text_of(STARTED)
    (tmp_path / "mytools").mkdir()
    (code,) = (content for language, content, _ in blocks(STARTED) if language == "python")
    (tmp_path / "mytools" / "dice.py").write_text(code, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("threadkeeper_extra_tools_dice", None)


def test_get_started_is_followed_to_its_end(reader: Path) -> None:
    said: dict[str, str] = {}
    for command in shown(STARTED):
        if command.line.startswith("echo "):
            words, file = command.line.removeprefix("echo ").split(" >> ")
            with (reader / file).open("a", encoding="utf-8") as opened:
                opened.write(f"{words}\n")
        elif not proof_of(command.line):
            result = CliRunner().invoke(bot, shlex.split(PYTHON.sub("", command.line))[1:])
            assert result.exit_code == 0, result.output
            said[command.line.split("bot ", 1)[1]] = result.output
    assert list(said) == ["tools check", "tools call roll sides=20 dice=3", "check"]
    assert re.search(r"^\d+ \d+ \d+$", said["tools call roll sides=20 dice=3"], re.MULTILINE)
    assert "0 problems" in said["tools check"]


async def test_what_get_started_says_to_say_is_answered(reader: Path) -> None:
    said = [content.splitlines() for language, content, _ in blocks(STARTED) if language == "text"]
    loaded = load(reader / "mytools", {}, {"TICKETS": "off"})
    assert list(loaded.problems) == []
    async with loaded.toolbox as toolbox, open_world(reader, toolbox=toolbox) as world:  # type: ignore[arg-type]
        answers = [await world.ask(line) for lines in said for line in lines]
    assert [len(lines) for lines in said] == [2, 1, 1]
    assert "1175" in answers[0]
    assert "4711" in answers[2]
    assert re.search(r"roll: \d+ \d+", answers[3])


def test_what_teams_setup_puts_into_env_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields}
    lines = [line for language, text, _ in blocks(SETUP) if language == "text" for line in text.splitlines()]
    assert len(lines) >= 8
    assert {line.split("=")[0] for line in lines} <= known
    told = [line.replace("=APP_ID", "=aaaaaaaa-0000-4000-8000-000000000001") for line in lines]
    given: dict[str, Any] = {name.lower(): value for name, value in (line.split("=", 1) for line in told)}
    Settings(_env_file=None, **given)


def test_the_package_of_teams_setup_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = (one for one in shown(SETUP) if "infra.teams build" in one.line)
    _, words = command_of(command.line) or (None, [])
    monkeypatch.setenv("MICROSOFT_APP_ID", "aaaaaaaa-0000-4000-8000-000000000001")
    monkeypatch.setenv("SUPPORT_CONTACT", "helpdesk@contoso.example")
    result = CliRunner().invoke(teams, ["build", *words])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "build" / "threadkeeper-teams.zip").exists()
    assert "build/threadkeeper-teams.zip" in text_of(SETUP)


# -- what is named -------------------------------------------------------------------------------------------------


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def assert_there(named: str) -> None:
    file, _, test = named.partition("::")
    assert (ROOT / file).exists(), f"there is no {file}"
    assert not test or test in functions(file), f"{file} has no {test}"


def rows_of_the_comparison() -> list[list[str]]:
    table = text_of(COMPARE).split("## Row by row", 1)[1]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return lines[1:]


@pytest.mark.parametrize("row", rows_of_the_comparison(), ids=lambda row: row[0][:40])
def test_each_row_of_the_comparison_is_shown_by_tests(row: list[str]) -> None:
    assert len(row) == 5, "a word for each of the others"
    tests = re.findall(r"`(tests/[\w/.]+::\w+)`", row[1])
    assert tests or row[1] == "not met"
    for test in tests:
        assert_there(test)


def test_the_comparison_says_what_others_do_better() -> None:
    rows = rows_of_the_comparison()
    assert len(rows) >= 30
    assert sum(row[1] == "not met" for row in rows) >= 5
    assert text_of(COMPARE).count("**It does better:**") == 3


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


@pytest.mark.parametrize(("page", "target"), sorted(links()), ids=lambda part: str(part)[-40:])
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, place = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists(), f"{page.relative_to(ROOT)} links to {target}"
    if place:
        headings = re.findall(r"^#+ (.+)$", text_of(there), re.MULTILINE)
        assert place in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pictures_of_the_local_page_are_small() -> None:
    for picture in (DOCS / "images").glob("local-*.png"):
        assert picture.stat().st_size < 150_000, picture.name


def test_decisions_are_a_page_each_and_are_numbered() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(numbers) == len(set(numbers))
    for page, number in zip(pages, numbers, strict=True):
        assert text_of(page).startswith(f"# {number}. ")
        assert len(text_of(page).splitlines()) <= 60, page.name
