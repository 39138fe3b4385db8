"""Finds the tools: in the package `tools`, in one more folder, and in installed packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from adapters.contract import NotATool
from adapters.function import FunctionAdapter, FunctionTool
from adapters.marks import mark_of
from adapters.toolbox import Toolbox

PACKAGE = "tools"
ENTRY_POINTS = "threadkeeper.tools"

_TELLING = (NameError, SyntaxError, ImportError, AttributeError, TypeError)
"""Errors whose text is about the code. That of others may hold what the code reads: a key, an address."""
_SHOWN_TEXT = 200


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found, and a line for each thing that could not be used."""

    toolbox: Toolbox
    problems: list[str]


@dataclass(slots=True)
class _Found:
    made: dict[str, list[FunctionTool]] = field(default_factory=dict[str, list[FunctionTool]])
    problems: list[str] = field(default_factory=list[str])

    def add(self, function: Callable[..., object], source: str, name: str | None = None) -> None:
        shown = name or getattr(function, "__name__", "a function")
        try:
            tool = FunctionTool(function, source, name)
        except NotATool as error:
            self.problems.append(f"{source}: {shown} is no tool: {error}")
            return
        except Exception as error:  # what stands in a signature is run, and may fail in any way
            self.problems.append(f"{source}: {shown} is no tool: {type(error).__name__} while reading its signature")
            return
        self.made.setdefault(tool.spec.name, []).append(tool)

    def add_marked(self, module: ModuleType, source: str) -> bool:
        """The module's own marked functions; False where it has none. One that it imported is the other module's."""
        marked = {id(v): v for v in vars(module).values() if mark_of(v) and v.__module__ == module.__name__}
        for function in marked.values():
            self.add(function, source)
        return bool(marked)

    def tools(self) -> list[FunctionTool]:
        """Every tool whose name is its own: which of two the author meant is not ours to guess."""
        for name, made in self.made.items():
            if len(made) > 1:
                sources = " and ".join(tool.spec.source for tool in made)
                self.problems.append(f"{name} is left out: {sources} each have a tool of that name; rename one")
        return [made[0] for made in self.made.values() if len(made) == 1]


def load(tools_dir: Path | None = None) -> Loaded:
    """Find every tool. What cannot be used is left out and named; nothing here stops the bot from starting."""
    found = _Found()
    own = dict(_package_files())
    for file, name in own.items():
        _add_file(found, file, name, f"{PACKAGE}/{file.name}")
    if tools_dir is not None:
        for file in _python_files(tools_dir):
            if file not in own:  # TOOLS_DIR may name the package itself
                _add_file(found, file, f"threadkeeper_extra_tools_{file.stem}", f"{file.parent.name}/{file.name}")
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=_source_of):
        _add_entry_point(found, point)
    return Loaded(Toolbox([FunctionAdapter(found.tools())]), found.problems)


def _package_files() -> Iterator[tuple[Path, str]]:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in sorted((spec.submodule_search_locations or []) if spec else []):
        for file in _python_files(Path(folder)):
            yield file, f"{PACKAGE}.{file.stem}"


def _python_files(folder: Path) -> list[Path]:
    # Absolute, as the frames of a traceback name it.
    return sorted(file for file in folder.absolute().glob("*.py") if not file.name.startswith("_"))


def _add_file(found: _Found, file: Path, name: str, source: str) -> None:
    try:
        module = _imported(file, name)
    except (Exception, SystemExit) as error:
        found.problems.append(f"{source}: {_told(error, str(file))}")
        return
    found.add_marked(module, source)


def _imported(file: Path, name: str) -> ModuleType:
    if name.startswith(f"{PACKAGE}."):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _add_entry_point(found: _Found, point: importlib.metadata.EntryPoint) -> None:
    source = _source_of(point)
    try:
        value: object = point.load()
    except (Exception, SystemExit) as error:
        found.problems.append(f"{source}: {_told(error, '')}")
        return
    if isinstance(value, ModuleType):
        if not found.add_marked(value, source):
            _add_listed(found, value, source)
    elif callable(value):
        found.add(value, source, point.name)
    else:
        found.problems.append(f"{source}: it is neither a function nor a module")


def _add_listed(found: _Found, module: ModuleType, source: str) -> None:
    """What a module that imports nothing of ours, and so marks nothing, lists in `__all__`."""
    listed = [getattr(module, name, None) for name in getattr(module, "__all__", ())]
    functions = [value for value in listed if inspect.isroutine(value)]
    if not functions:
        found.problems.append(f"{source}: it has no tools; mark functions with @tool, or list them in __all__")
    for function in functions:
        found.add(function, source)


def _source_of(point: importlib.metadata.EntryPoint) -> str:
    return f"package {point.dist.name if point.dist else '?'}, entry point {point.name}"


def _told(error: BaseException, file: str) -> str:
    """The error in one line: its kind, the line of the file, and its text where that is about the code."""
    line: int | None = None
    for frame in traceback.extract_tb(error.__traceback__):
        line = frame.lineno if frame.filename == file else line
    text = str(error) if isinstance(error, _TELLING) else ""
    if isinstance(error, SyntaxError):
        line, text = error.lineno if error.filename == file else line, error.msg
    elif isinstance(error, ImportError):
        text = re.sub(r" \([^()]*\)$", "", error.msg)  # Python adds the path of the file it looked in
    told = type(error).__name__ + (f" at line {line}" if line else "")
    text = " ".join(text.split())[:_SHOWN_TEXT]
    return f"{told}: {text}" if text else told
