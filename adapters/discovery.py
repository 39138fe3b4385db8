"""Finds the tools: in the package `tools`, in one more folder, and in installed packages; documents beside files."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType

from adapters.contract import Adapter, NotATool
from adapters.function import FunctionAdapter, FunctionTool
from adapters.hosted import Hosted, HostedTool
from adapters.hosted import found as hosted_adapters
from adapters.marks import mark_of
from adapters.openapi import MOST_TOOLS, OPTIONS, SUFFIXES, Described, OpenApiAdapter, OpenApiTool, read_pair
from adapters.openapi_document import BadDocument
from adapters.openapi_options import BadOptions, NotOffered
from adapters.problems import Problems
from adapters.told import source_of, told
from adapters.toolbox import Toolbox
from adapters.variables import variables

PACKAGE = "tools"
ENTRY_POINTS = "threadkeeper.tools"
_NO_TOOLS = re.compile(r"_|test_|.*_test\.py$|conftest\.py$")
"""Files beside the tools: helpers, and what pytest takes for tests."""
OFFERED = "offered"
"""The function by which a file says which tools it has: given every variable, it names functions and adapters."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found, and a line for each thing that could not be used."""

    toolbox: Toolbox
    problems: Sequence[str]


_Made = FunctionTool | OpenApiTool | HostedTool


@dataclass(slots=True)
class _Found:
    environ: Mapping[str, str]
    made: dict[str, list[_Made]] = field(default_factory=dict[str, list[_Made]])
    hosted: list[Hosted] = field(default_factory=list[Hosted])
    documents: list[Described] = field(default_factory=list[Described])
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
        if missing := tool.missing(self.environ):
            unset = f"{' and '.join(missing)} must be set in the environment or in .env"
            self.problems.append(f"{source}: {tool.spec.name} does not work yet: {unset}")
        self.made.setdefault(tool.spec.name, []).append(tool)

    def add_hosted(self) -> None:
        """The adapters of installed packages."""
        adapters, problems = hosted_adapters(self.environ)
        self.problems += problems
        for one in adapters:
            self._host(one)

    def _host(self, one: Hosted) -> None:
        self.hosted.append(one)
        for spec in one.specs():
            self.made.setdefault(spec.name, []).append(HostedTool(spec))

    def add_module(self, module: ModuleType, source: str) -> None:
        """What a file says that it offers; else its marked functions."""
        offered = vars(module).get(OFFERED)
        if not inspect.isfunction(offered) or offered.__module__ != module.__name__:
            if not self.add_marked(module, source) and _has_functions(module):
                cure = "mark a function with @tool, or begin the file's name with _"
                self.problems.append(f"{source}: it has no tool; {cure}")
            return
        try:
            for one in offered(self.environ):
                if isinstance(one, Adapter):
                    self._host(Hosted(one, source))
                else:
                    self.add(one, source)
        except Exception as error:  # the file is its author's, and may fail in any way
            self.problems.append(f"{source}: {told(error, str(module.__file__))}")

    def add_marked(self, module: ModuleType, source: str) -> bool:
        """The module's own marked functions; False where it has none. One that it imported is the other module's."""
        marked = {id(v): v for v in vars(module).values() if mark_of(v) and v.__module__ == module.__name__}
        for function in marked.values():
            self.add(function, source)
        return bool(marked)

    def add_described(self, described: Described, source: str) -> None:
        """What a document came to."""
        self.problems += [f"{source}: {problem}" for problem in described.problems]
        self.documents.append(described)
        for tool in described.tools:
            self.made.setdefault(tool.spec.name, []).append(tool)

    def adapters(self) -> list[Adapter]:
        """One for all functions, one for each document, and those of packages."""
        tools = self.tools()
        kept = {id(tool) for tool in tools}
        functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
        made: list[Adapter] = [FunctionAdapter(functions, environ=self.environ)]
        for one in self.documents:
            own = [tool for tool in one.tools if id(tool) in kept]
            if own:
                made.append(OpenApiAdapter(own, one.options, self.environ))
        for one in self.hosted:
            its = {spec.name for spec in one.specs()} & {tool.spec.name for tool in tools}
            one.leave(frozenset(self.made) - its)
        if len(tools) > MOST_TOOLS:
            most = f"an agent takes at most {MOST_TOOLS}: it may refuse them all"
            self.problems.append(f"there are {len(tools)} tools, and {most}")
        return [*made, *self.hosted]

    def tools(self) -> list[_Made]:
        """Every tool whose name is its own: which of two the author meant is not ours to guess."""
        for name, made in self.made.items():
            if len(made) > 1:
                sources = " and ".join(tool.spec.source for tool in made)
                self.problems.append(f"{name} is left out: {sources} each have a tool of that name; rename one")
        return [made[0] for made in self.made.values() if len(made) == 1]


def load(
    tools_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Loaded:
    """Find every tool. What cannot be used is left out and named; nothing here stops the bot from starting.

    Args:
        tools_dir: One more folder of tools.
        environ: Where the documents' services find their secrets; the environment and `.env` where none is given.
        settings: What the bot's own settings say, by their variables; they go before the environment.
    """
    found = _Found(ChainMap(dict(settings or {}), dict(variables() if environ is None else environ)))
    own = dict(_package_files())
    for file, name in own.items():
        _add_file(found, file, name, f"{PACKAGE}/{file.name}")
    if tools_dir is not None:
        for file in _python_files(tools_dir):
            if file not in own:  # TOOLS_DIR may name the package itself
                _add_file(found, file, f"threadkeeper_extra_tools_{file.stem}", f"{file.parent.name}/{file.name}")
    for folder in _folders(tools_dir):
        _add_documents(found, folder, found.environ)
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=source_of):
        _add_entry_point(found, point)
    found.add_hosted()
    return _joined(found, _servers(tools_dir))


def _servers(tools_dir: Path | None) -> list[tuple[Path, str]]:
    """The files of MCP servers, each with its source."""
    files = [file for folder in _folders(tools_dir) for file in sorted(folder.glob("*.mcp.toml"))]
    return [(file, f"{file.parent.name}/{file.name}") for file in files if not file.name.startswith(("_", "."))]


def _joined(found: _Found, servers: list[tuple[Path, str]]) -> Loaded:
    adapters = found.adapters()
    now = [one.problems for one in found.hosted]
    if servers:
        taken = [spec.name for adapter in adapters for spec in adapter.specs()]
        # By name: the package costs over a second, which only those pay who have servers.
        opened = importlib.import_module("adapters.mcp").opened
        adapter, problems = opened(servers, taken, found.environ)
        found.problems += problems
        adapters, now = [*adapters, adapter], [*now, adapter.problems]
    return Loaded(Toolbox(adapters), Problems(found.problems, now) if now else found.problems)


def _folders(tools_dir: Path | None) -> list[Path]:
    """The folders of documents, each once."""
    spec = importlib.util.find_spec(PACKAGE)
    own = sorted(Path(one).absolute() for one in (spec.submodule_search_locations or [])) if spec else []
    return list(dict.fromkeys([*own, *([tools_dir.absolute()] if tools_dir else [])]))


def _add_documents(found: _Found, folder: Path, environ: Mapping[str, str]) -> None:
    """The folder's documents, by name. One that lacks its toml, or has a second form, is left out and named."""
    files = [file for file in folder.glob("*.openapi.*") if not file.name.startswith(("_", "."))]
    stems = {file.name.rsplit(".", 1)[0] for file in files if file.name.endswith((*SUFFIXES, OPTIONS))}
    for stem in sorted(stems):
        documents = sorted(
            file for file in files if file.name in [stem + one.removeprefix(".openapi") for one in SUFFIXES]
        )
        options = folder / (stem.removesuffix(".openapi") + OPTIONS)
        source = f"{folder.name}/{documents[0].name if documents else options.name}"
        if not documents:
            found.problems.append(f"{source}: there is no {stem}.yaml or .json beside it")
        elif len(documents) > 1:
            found.problems.append(f"{source}: there is also {documents[1].name}; remove one")
        elif options not in files:
            found.problems.append(f"{source}: there is no {options.name} beside it; docs/tools.md says what it holds")
        else:
            _add_document(found, documents[0], options, source, environ)


def _add_document(found: _Found, document: Path, options: Path, source: str, environ: Mapping[str, str]) -> None:
    try:
        found.add_described(read_pair(document, options, source, environ), source)
    except NotOffered:
        return
    except BadDocument as error:
        found.problems.append(f"{source}: {error}")
    except BadOptions as error:
        found.problems += [f"{options.parent.name}/{options.name}: {problem}" for problem in error.problems]
    except Exception as error:  # a document is data of others, and may be wrong in a way that nobody thought of
        found.problems.append(f"{source}: {type(error).__name__} while reading it")


def _package_files() -> Iterator[tuple[Path, str]]:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in sorted((spec.submodule_search_locations or []) if spec else []):
        for file in _python_files(Path(folder)):
            yield file, f"{PACKAGE}.{file.stem}"


def _python_files(folder: Path) -> list[Path]:
    # Absolute, as the frames of a traceback name it.
    return sorted(file for file in folder.absolute().glob("*.py") if not _NO_TOOLS.match(file.name))


def _has_functions(module: ModuleType) -> bool:
    """Whether there is one of its own that could be marked."""
    own = (value for value in vars(module).values() if type(value) is FunctionType)
    return any(value.__module__ == module.__name__ for value in own)


def _add_file(found: _Found, file: Path, name: str, source: str) -> None:
    try:
        module = _imported(file, name)
    except (Exception, SystemExit) as error:
        found.problems.append(f"{source}: {told(error, str(file))}")
        return
    found.add_module(module, source)


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
    source = source_of(point)
    try:
        value: object = point.load()
    except (Exception, SystemExit) as error:
        found.problems.append(f"{source}: {told(error, '')}")
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
