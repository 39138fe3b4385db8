"""docs/tools.md: what it tells to write is written, its commands are run, and its tests are tests."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import adapters
from adapters.discovery import load
from adapters.hosted import GROUP
from adapters.marks import Mark
from bot.__main__ import app
from tests.processes import ROOT, command
from tests.world import open_world

GUIDE = (Path(__file__).parent.parent / "docs" / "tools.md").read_text(encoding="utf-8")
NAME = "rooms"


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[number]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Where the reader of the guide is, who has written its first file."""
    assert f"`mytools/{NAME}.py`" in GUIDE
    (tmp_path / "mytools").mkdir()
    (tmp_path / "mytools" / f"{NAME}.py").write_text(block("python"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(f"threadkeeper_extra_tools_{NAME}", None)


def test_the_commands_of_the_guide_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    for line in block("sh").splitlines():
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("="))
            continue
        result = CliRunner().invoke(app, line.removeprefix("python -m bot ").split())
        assert result.exit_code == 0, result.output
        said.append(result.output)
    assert "book_room" in said[0]
    assert "mytools" in said[0]
    assert "Ada is yours for 2 hours." in said[2]


async def test_the_words_of_the_guide_call_the_tool_in_a_chat(folder: Path):
    loaded = load(folder / "mytools", {})
    assert list(loaded.problems) == []
    words = block("text").strip()
    async with loaded.toolbox as toolbox, open_world(folder, toolbox=toolbox) as world:  # type: ignore[arg-type]
        assert await world.ask(words) == "book_room: Lovelace is yours for 2 hours."
        assert await world.ask(words) == "book_room: Lovelace is taken."
        assert "8 hours at most" in await world.ask("use book_room room=Lovelace hours=9")


async def test_the_tests_of_the_guide_pass_as_it_says(folder: Path):
    """In a clone, from its folder, by the guide's own command; and they are no tools."""
    for name in ("adapters", "bot", "tools", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    assert f"`mytools/test_{NAME}.py`" in GUIDE
    test = next(text for text in (block("python", n) for n in range(9)) if "adapters.testing" in text)
    (folder / "mytools" / f"test_{NAME}.py").write_text(test, encoding="utf-8")
    words = block("sh", 1).split()
    assert words[:3] == ["python", "-m", "pytest"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words[1:], cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    loaded = load(folder / "mytools", {})
    assert list(loaded.problems) == []
    assert "book_room" in [spec.name for spec in loaded.toolbox.specs()]


async def test_what_is_called_by_hand_is_there_in_the_chat(folder: Path):
    """The guide says that both use the same records."""
    code, out, err = await command(folder, "tools", "call", "book_room", "room=Ada", "hours=2", TOOLS_DIR="mytools")
    assert (code, out) == (0, "Ada is yours for 2 hours.\n"), err
    code, out, err = await command(folder, "chat", given="use book_room room=Ada hours=1\n", TOOLS_DIR="mytools")
    assert (code, "book_room: Ada is taken." in out) == (0, True), err


def test_the_guide_tells_every_option_and_all_that_a_tool_is_given():
    rows = set(re.findall(r"^\| `(\w+)`", GUIDE, re.MULTILINE))
    assert set(Mark.__slots__) <= rows
    told = set(re.findall(r"`(\w+)", GUIDE))
    given = {name for name in dir(adapters.ToolContext) if not name.startswith("_")}
    assert given <= told
    assert {"File", "Image", "Result", "ToolFailed", "BadArguments", "NotCalled", GROUP.split(".")[0]} <= told
