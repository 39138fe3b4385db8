"""tools new: a tool to begin with, and its test beside it."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bot import settings as environment
from bot.bootstrap import find_tools
from bot.cli.run import Unusable, out, run

PACKAGE = "tools"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_FORBIDDEN = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}

TOOL = '''"""{title}: say here in a line what it is about."""

from __future__ import annotations

from adapters import ToolFailed, tool

MOST = 10


@tool(timeout=10)
def {name}(text: str, times: int = 1) -> str:
    """Repeat a text. The agent reads this, and calls the tool where it fits.

    Args:
        text: What to repeat.
        times: How often, ten times at most.
    """
    if not 1 <= times <= MOST:
        raise ToolFailed(f"I repeat it 1 to {{MOST}} times, not {{times}}.")
    return " ".join([text] * times)
'''

TEST = '''"""The tool {name}: what it gives, what it refuses, and what every tool keeps."""

from __future__ import annotations

{imports}


def test_it_repeats() -> None:
    assert called({name}, {{"text": "ahoy", "times": 2}}).text == "ahoy ahoy"


def test_too_often_is_refused_in_words_for_the_agent() -> None:
    outcome = called({name}, {{"text": "ahoy", "times": 11}})
    assert outcome.error == "failed"
    assert "1 to 10 times" in outcome.text


class TestContract(ToolContract):
    function = staticmethod({name})
    works = ("{name}", {{"text": "ahoy"}})
    refused = ("{name}", {{"times": "ahoy"}})
'''


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tool's files go, and how its test finds it."""

    tool: Path
    test: Path
    module: str


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the tool: small letters, digits and _.")],
) -> None:
    """Write a tool to begin with, and its test: into TOOLS_DIR, or into tools/ and tests/."""
    run(_new(name))


async def _new(name: str) -> None:
    settings = environment.load()
    _check_name(name)
    toolbox, _ = find_tools(settings)
    taken = [spec.source for spec in toolbox.specs() if spec.name == name]
    if taken:
        raise Unusable(f"There is a tool {name} already, in {taken[0]}.")
    place = _place_of(name, settings.tools_dir)
    for file in (place.tool, place.test):
        if file.exists():
            raise Unusable(f"{file} is there already. Nothing was written.")
    _written(place.tool, TOOL.format(name=name, title=name.replace("_", " ").capitalize()))
    _written(place.test, TEST.format(name=name, imports=_imports(name, place.module)))
    _say(f"Written: {_from_here(place.tool)}\n         {_from_here(place.test)}")
    _say(f"Next: python -m pytest {_from_here(place.test)}  (make dev brings pytest)")
    _say(f"      python -m bot tools call {name} text=ahoy times=2")
    _say(f"      python -m bot chat, and there: use {name} text=ahoy")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Unusable(f"{name} is no name of a tool: 1 to 60 small letters, digits and _, a letter first.")
    if name.startswith("test_") or name.endswith("_test") or name == "conftest":
        raise Unusable(f"{name}.py would be taken for a test, and left out. Choose another name.")
    if name in _FORBIDDEN:
        raise Unusable(f"{name} means something in Python already. Choose another name, such as {name}_tool.")


def _place_of(name: str, tools_dir: Path | None) -> _Place:
    """In the clone, tests have a folder. Elsewhere the test stands beside the tool; its name tells that it is none."""
    if tools_dir is not None:
        if importlib.util.find_spec(name) is not None:
            raise Unusable(f"There is a Python package {name} already, which the test would find in its place.")
        folder = tools_dir.absolute()
        return _Place(folder / f"{name}.py", folder / f"test_{name}.py", name)
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise Unusable("There is no folder tools/ here. Name a folder of your own in TOOLS_DIR.")
    folder = Path(folders[0]).absolute()
    return _Place(folder / f"{name}.py", folder.parent / "tests" / f"test_{name}_tool.py", f"{PACKAGE}.{name}")


def _imports(name: str, module: str) -> str:
    """What the test begins with. A file beside it is imported in a way that linters run from anywhere take."""
    testing = "from adapters.testing import ToolContract, called"
    if module != name:
        return f"{testing}\nfrom {module} import {name}"
    beside = f'{name} = importlib.import_module("{name}").{name}  # the file beside this one'
    return f"import importlib\n\n{testing}\n\n{beside}"


def _from_here(file: Path) -> Path:
    """As it is typed here."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def _written(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:  # one that came meanwhile is not written over
            opened.write(text)
    except OSError as error:
        raise Unusable(f"{file} cannot be written ({error.strerror}).") from None


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
