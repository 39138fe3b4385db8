"""What a docstring tells an agent: the description, and a line for each argument (Google style)."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?|See Also|Todo|Warnings?):\s*"
)
_ARGUMENTS = ("Args", "Arguments", "Parameters")
_ARGUMENT = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


class Described(NamedTuple):
    """A docstring, taken apart."""

    description: str
    arguments: dict[str, str]


def describe(docstring: str) -> Described:
    """Take a docstring apart. Paragraphs before the first section are the description, one line each."""
    head: list[str] = []
    body: list[str] = []
    section: str | None = None
    for line in inspect.cleandoc(docstring).splitlines():
        found = _SECTION.fullmatch(line)
        if found:
            section = found[1]
        elif section is None:
            head.append(line)
        elif section in _ARGUMENTS:
            body.append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(head))
    return Described("\n".join(" ".join(p.split()) for p in paragraphs).strip(), _arguments(body))


def _arguments(lines: list[str]) -> dict[str, str]:
    arguments: dict[str, str] = {}
    indent: int | None = None
    current = ""
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        indent = depth if indent is None else indent
        found = _ARGUMENT.fullmatch(line.strip()) if depth <= indent else None
        if found:
            current = found[1]
            arguments[current] = found[2]
        elif current:
            arguments[current] = f"{arguments[current]} {line.strip()}".strip()
    return arguments
