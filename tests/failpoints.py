"""Dying at a chosen point: every call on a port is a point before it and a point after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


@dataclass
class Failpoints:
    """Counts points as they are passed; at number `kill_at` it dies, and from then on at every point."""

    kill_at: int | None = None
    passed: list[str] = field(default_factory=list)
    dead: bool = False
    on_death: Callable[[], Any] | None = None

    def point(self, name: str) -> None:
        if self.dead:
            raise Killed(name)
        self.passed.append(name)
        if self.kill_at is not None and len(self.passed) - 1 == self.kill_at:
            self.dead = True
            if self.on_death is not None:
                self.on_death()
            raise Killed(name)

    def tap(self, target: Any, name: str, verbs: set[str] | None = None) -> Any:
        """The target, with a point before and after each of its async verbs."""
        return _Tapped(self, target, name, verbs)


class _Tapped:
    def __init__(self, points: Failpoints, target: Any, name: str, verbs: set[str] | None) -> None:
        self._points, self._target, self._name, self._verbs = points, target, name, verbs

    def __getattr__(self, verb: str) -> Any:
        value = getattr(self._target, verb)
        if not inspect.iscoroutinefunction(value) or (self._verbs is not None and verb not in self._verbs):
            return value

        async def tapped(*args: Any, **kwargs: Any) -> Any:
            self._points.point(f"before {self._name}.{verb}")
            result = await value(*args, **kwargs)
            self._points.point(f"after {self._name}.{verb}")
            return result

        return tapped


class Overlay:
    """The target, with some of its attributes replaced."""

    def __init__(self, target: Any, **replaced: Any) -> None:
        self._target = target
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
