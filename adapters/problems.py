"""What could not be loaded, and what is not to be had at the moment it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload


class Problems(Sequence[str]):
    """The problems of loading, and those that adapters have now: a line each, in a fixed order."""

    def __init__(self, loaded: Sequence[str], now: Sequence[Callable[[], Sequence[str]]]) -> None:
        self._loaded = loaded
        self._others = now

    def _now(self) -> list[str]:
        return [*self._loaded, *(problem for others in self._others for problem in others())]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._now()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
