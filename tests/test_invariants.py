"""Every invariant is shown by a test that carries its id, or stands in LATER with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.invariants import INVARIANTS, LATER

TESTS = Path(__file__).parent


def marks(tree: ast.AST) -> Iterator[str]:
    """The ids in `pytest.mark.invariant(...)`, wherever it stands: a decorator, `pytestmark`, a parameter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "invariant":
            for argument in node.args:
                assert isinstance(argument, ast.Constant), f"line {node.lineno}: the id must be written out"
                yield str(argument.value)


def shown() -> dict[str, set[str]]:
    """Each id that a test carries, with the files where it does."""
    found: dict[str, set[str]] = {}
    for file in sorted(file for file in TESTS.rglob("*.py") if not {".venv", "node_modules"} & {*file.parts}):
        if file != Path(__file__) and "node_modules" not in file.parts:
            for name in marks(ast.parse(file.read_text(encoding="utf-8"))):
                found.setdefault(name, set()).add(str(file.relative_to(TESTS)))
    return found


def test_there_are_sixteen() -> None:
    assert list(INVARIANTS) == [f"I{number}" for number in range(1, 17)]


def test_each_is_shown_or_comes_later() -> None:
    carried = shown()
    assert {name: files for name, files in carried.items() if name not in INVARIANTS} == {}, "no such invariant"
    assert set(INVARIANTS) - set(carried) - set(LATER) == set(), "no test carries these, and LATER has no reason"


def test_what_comes_later_is_not_shown_yet() -> None:
    assert set(LATER) <= set(INVARIANTS)
    assert {name: files for name, files in shown().items() if name in LATER} == {}, "shown now: take it out of LATER"
    assert all(reason.strip() for reason in LATER.values())


def test_marks_are_found_wherever_they_stand() -> None:
    source = '@pytest.mark.invariant("I1")\ndef test(): ...\npytestmark = [mark.invariant("I2", "I3")]'
    assert sorted(marks(ast.parse(source))) == ["I1", "I2", "I3"]
