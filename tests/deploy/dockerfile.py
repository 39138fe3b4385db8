"""A Dockerfile and its .dockerignore, as far as ours go: stages, instructions, and what of the repository gets in."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """Its arguments: the JSON form's, or those that a shell would see."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def all(self, word: str) -> list[Step]:
        return [step for step in self.steps if step.word == word]

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for step in self.all("ENV") for pair in step.words)


def stages() -> list[Stage]:
    """The stages, in order."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8"))
    steps = [Step(*line.split(None, 1)) for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, step in enumerate(steps) if step.word == "FROM"]
    found: list[Stage] = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        base, _, name = steps[start].rest.partition(" AS ")
        found.append(Stage(base, name, tuple(steps[start + 1 : end])))
    return found


def check_of(stage: Stage) -> list[str]:
    """The command of its HEALTHCHECK."""
    (step,) = stage.all("HEALTHCHECK")
    return json.loads(step.rest.split(" CMD ", 1)[1])


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository into the build; the last rule that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#"):
            pattern = _pattern(rule.removeprefix("!"))
            if re.match(pattern, path):
                sent = rule.startswith("!")
    return sent


def _pattern(rule: str) -> str:
    """As a regular expression: a rule fits a path, and all that lies below it. `*` does not cross a slash."""
    pieces = {"**/": "(.*/)?", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*)", rule)
    return "".join(pieces.get(part, re.escape(part)) for part in parts) + "(/|$)"
