"""docs/tools.md: what it tells to write is written, its commands are run, and its tests are tests."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import adapters
from adapters.discovery import load
from adapters.hosted import GROUP
from adapters.marks import Mark
from adapters.testing import AdapterContract
from bot.__main__ import app
from tests.test_hosted_adapters import holds
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


def test_the_tests_of_the_guide_pass(folder: Path):
    names: dict[str, Any] = {}
    exec(block("python"), names)
    exec(next(text for text in (block("python", n) for n in range(9)) if "adapters.testing" in text), names)
    names["test_a_room_is_booked"]()
    contract = names["TestBookRoom"]
    assert issubclass(contract, AdapterContract)
    assert holds(contract) == []


def test_the_guide_tells_every_option_and_all_that_a_tool_is_given():
    rows = set(re.findall(r"^\| `(\w+)`", GUIDE, re.MULTILINE))
    assert set(Mark.__slots__) <= rows
    told = set(re.findall(r"`(\w+)", GUIDE))
    given = {name for name in dir(adapters.ToolContext) if not name.startswith("_")}
    assert given <= told
    assert {"File", "Image", "Result", "ToolFailed", "BadArguments", "NotCalled", GROUP.split(".")[0]} <= told
