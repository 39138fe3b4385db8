"""docs/teams.md: what it names is there; each line of the Store's list names something, or says that it is not met."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from bot.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "teams.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:tests|bot|infra|adapters|docs)/[\w/.-]+)(?:::(\w+))?`")
PICTURES = re.compile(r"!\[[^\]]+\]\((images/[\w.-]+)\)")
SETTING = re.compile(r"`([A-Z][A-Z_]{3,})(?:=\w+)?`")
SMALL = 150_000
"""Bytes of a picture."""


def lines() -> list[tuple[str, str]]:
    """What the Store demands, and how it stands."""
    part = PAGE.split("## The Store's checklist", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ", 1) for line in part.splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows if row[0] != "demanded"]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED.findall(PAGE))))
def test_what_it_names_is_there(file: str, test: str) -> None:
    assert (ROOT / file).exists(), file
    assert not test or test in functions(file), f"{file} has no {test}"


@pytest.mark.parametrize(("demanded", "standing"), lines())
def test_each_line_says_how_it_stands(demanded: str, standing: str) -> None:
    assert demanded
    assert NAMED.search(standing) or standing.startswith("Not met"), standing


def test_the_list_is_whole() -> None:
    assert len(lines()) >= 30


def test_the_pictures_are_there_and_small() -> None:
    shown = PICTURES.findall(PAGE)
    assert shown
    for name in shown:
        assert 0 < (ROOT / "docs" / name).stat().st_size < SMALL, name


def test_the_settings_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(SETTING.findall(PAGE)) - known == set()
