"""Adapters of other packages, each behind a fence: what is wrong with one never reaches the tools of others."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from adapters.contract import Adapter, Asks, NotCalled
from adapters.told import source_of, told
from bot.types import Caller, ToolCall, ToolSpec

log = logging.getLogger("threadkeeper.tools")

GROUP = "threadkeeper.adapters"
START_SECONDS = 10.0
"""How long the start of the bot waits for one adapter, and its end for it to close."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Factory = Callable[[Mapping[str, str]], Adapter]
"""What the entry point names: it is given every variable of the environment and of `.env`, and makes the adapter."""


@dataclass(frozen=True, slots=True)
class HostedTool:
    """A tool of such an adapter, by which it is joined with the others."""

    spec: ToolSpec


class Hosted:
    """An adapter of another package. It answers for its tools less those whose names belong to others."""

    def __init__(self, adapter: Adapter, source: str) -> None:
        """Ask it for its tools.

        Raises:
            Exception: whatever it raises.
        """
        self.source = source
        self._adapter = adapter
        self._taken: frozenset[str] = frozenset()
        self._down = ""
        self._specs, self._wrong = _sound(adapter.specs(), source)

    def leave(self, names: frozenset[str]) -> None:
        """These names belong to others."""
        self._taken = names

    def specs(self) -> Sequence[ToolSpec]:
        """Its tools as they are now; while it does not tell, those that it told of last."""
        if self._down:
            return ()
        try:
            self._specs, self._wrong = _sound(self._adapter.specs(), self.source)
        except Exception as error:  # an adapter is others' code, and may fail in any way
            log.warning("%s: specs failed: %s", self.source, type(error).__name__)
        return [spec for spec in self._specs if spec.name not in self._taken]

    def problems(self) -> Sequence[str]:
        """What is wrong with it now."""
        return [f"{self.source}: {self._down}"] if self._down else list(self._wrong)

    def asks(self, call: ToolCall) -> bool:
        """See `adapters.contract.Asks`."""
        return self._adapter.asks(call) if isinstance(self._adapter, Asks) else True

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Make the call.

        Raises:
            NotCalled: it is not open.
            Exception: whatever it raises.
        """
        if self._down:
            raise NotCalled("what answers it could not be started. Say so, and do without it.")
        return await self._adapter.call(call, caller)

    async def __aenter__(self) -> Self:
        """Open it. If that fails or takes too long it is left out, and the others go on."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._adapter.__aenter__()
        except Exception as error:
            self._down = f"it could not be opened: {told(error, '')}"
            log.error("an adapter was left out: %s: %s", self.source, self._down)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._down:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._adapter.__aexit__(kind, error, trace)
        except Exception as fault:
            log.warning("%s: it could not be closed: %s", self.source, type(fault).__name__)


def found(environ: Mapping[str, str]) -> tuple[list[Hosted], list[str]]:
    """Every adapter that an installed package brings, in a fixed order, and a line for each that cannot be used."""
    adapters: list[Hosted] = []
    problems: list[str] = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=source_of):
        source = source_of(point)
        try:
            made = point.load()(environ)
            if isinstance(made, Adapter):
                adapters.append(Hosted(made, source))
            else:
                problems.append(f"{source}: what it makes is no adapter: it lacks {_lacking(made)}")
        except (Exception, SystemExit) as error:
            problems.append(f"{source}: {told(error, '')}")
    return adapters, problems


def _lacking(made: object) -> str:
    verbs = ("specs", "call", "__aenter__", "__aexit__")
    return ", ".join(verb for verb in verbs if not callable(getattr(made, verb, None)))


def _sound(specs: Sequence[Any], source: str) -> tuple[list[ToolSpec], list[str]]:
    """The specifications that agents take, each with its source, and a line for each other one."""
    good: dict[str, ToolSpec] = {}
    wrong: list[str] = []
    for spec in specs:
        why = _unsound(spec)
        if why:
            wrong.append(f"{source}: {str(getattr(spec, 'name', 'a tool'))[:80]} is left out: {why}")
        elif spec.name in good:
            wrong.append(f"{source}: {spec.name} is left out: it has two of that name")
        else:
            good[spec.name] = spec if spec.source else replace(spec, source=source)
    return list(good.values()), wrong


def _unsound(spec: object) -> str:
    """What is wrong with a specification; empty where nothing is."""
    if not isinstance(spec, ToolSpec):
        return "its specification is no ToolSpec"
    if not _NAME.fullmatch(spec.name):
        return "its name must be 1 to 64 letters, digits, _ or -"
    if not spec.description.strip():
        return "it has no description"
    if not spec.timeout > 0:
        return "its timeout must be above 0 seconds"
    if spec.parameters.get("type") != "object" or not isinstance(spec.parameters.get("properties"), dict):
        return 'its parameters must be a JSON schema with "type": "object" and "properties"'
    try:
        same = json.loads(json.dumps(spec.parameters, allow_nan=False)) == spec.parameters
    except (TypeError, ValueError, RecursionError):
        same = False
    return "" if same else "its parameters are no JSON"
