"""Finding tools: files in `tools/`, files in TOOLS_DIR, and entry points of installed packages."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from adapters.function import FunctionAdapter, FunctionTool, function_tool
from adapters.marking import mark_of
from adapters.toolbox import Toolbox

ENTRY_POINTS = "threadkeeper.tools"
OWN_TOOLS = Path(__file__).resolve().parent.parent / "tools"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The toolbox, and what was left out of it, each with its reason."""

    toolbox: Toolbox
    problems: list[str]


def load(tools_dir: Path | None = None, *, own: Path = OWN_TOOLS) -> Loaded:
    """Everything that can be called. What does not import is skipped and named; the rest is offered all the same."""
    problems: list[str] = []
    tools: list[FunctionTool] = []
    folders = [own] if tools_dir is None else [own, tools_dir]
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                tools += _from_file(path, problems)
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        tools += _from_entry_point(entry, problems)
    toolbox = Toolbox([FunctionAdapter(tools)])
    return Loaded(toolbox, [*problems, *toolbox.problems])


def _from_file(path: Path, problems: list[str]) -> list[FunctionTool]:
    source = f"{path.parent.name}/{path.name}"
    try:
        module = _imported(path)
    except Exception as error:
        problems.append(f"{source}: {_where(error, path)}")
        return []
    return _made(_marked(module), source, problems)


def _imported(path: Path) -> ModuleType:
    name = f"threadkeeper_tools_{abs(hash(path.resolve()))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _marked(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The marked functions that the module itself defines, in the order of their lines."""
    for value in vars(module).values():
        if mark_of(value) is not None and getattr(value, "__module__", None) == module.__name__:
            yield value


def _from_entry_point(entry: EntryPoint, problems: list[str]) -> list[FunctionTool]:
    """A package's tools: a function, marked or not, or a module with marked functions."""
    source = f"{entry.dist.name if entry.dist else 'package'}:{entry.name}"
    try:
        value = entry.load()
    except Exception as error:
        problems.append(f"{source}: {type(error).__name__} while importing {entry.value}")
        return []
    if inspect.ismodule(value):
        return _made(_marked(value), source, problems)
    if not callable(value):
        problems.append(f"{source}: {entry.value} is neither a function nor a module")
        return []
    return _made(iter([value]), source, problems)


def _made(functions: Iterator[Callable[..., Any]], source: str, problems: list[str]) -> list[FunctionTool]:
    made: list[FunctionTool] = []
    for function in functions:
        try:
            made.append(function_tool(function, source))
        except Exception as error:  # pydantic raises many kinds for types it has no schema for
            name = getattr(function, "__name__", "?")
            reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} for its signature"
            problems.append(f"{source}: {name}: {reason.splitlines()[0]}")
    return made


def _where(error: Exception, path: Path) -> str:
    """What went wrong and on which line of the file, in one line."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename) == path:
            line = frame.lineno
    said = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}{f' at line {line}' if line else ''}{f': {said}' if said else ''}"
