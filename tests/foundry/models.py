"""Scripted models: deterministic, and blind to everything but their thread.

`default` joins the others, so that a whole conversation can be held with it; `Script` plays a fixed list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from .sight import Act, Answer, Call, Calls, Failure, Incomplete, Model, Sight

__all__ = ["MODELS", "Script", "default", "echo", "recall", "summariser", "tool_user"]

_REMEMBER = re.compile(r"\bremember(?:\s+that)?[:\s]\s*(.+)", re.IGNORECASE)
_QUESTION = re.compile(
    r"\bwhat(?:'s|\s+is|\s+are|\s+was)\s+my\s+([\w -]{1,40}?)\s*(?:[?.!,]|$)", re.IGNORECASE | re.MULTILINE
)
_ANYTHING = re.compile(r"\bwhat do you (?:remember|recall|know)\b", re.IGNORECASE)
_OWN = re.compile(r"\bmy\s+([\w -]{1,40}?)\s+(?:is|are)\s+(\w[^\n;,!?]*)", re.IGNORECASE)
_CARRIED = re.compile(r"^\s*(?:[-*•]|I recall:|I will remember:)\s+(.+)$", re.MULTILINE)
_SUMMARISE = re.compile(r"\b(?:summari[sz]e|sum up|write a summary)\b", re.IGNORECASE)
_USE = re.compile(r"\buse\s+([A-Za-z_][\w-]*)((?:\s+[\w-]+=(?:\"[^\"]*\"|\S+))*)", re.IGNORECASE)
_ARGUMENT = re.compile(r"([\w-]+)=(\"[^\"]*\"|\S+)")


class Script:
    """Plays a fixed list of steps: across all runs, or with `each_run` from the top for every run.

    A text stands for an answer. A script that has run out fails the run, which a test cannot overlook.
    """

    def __init__(self, steps: Iterable[Act | str], *, each_run: bool = False) -> None:
        self.steps: list[Act] = [Answer(step) if isinstance(step, str) else step for step in steps]
        self.each_run = each_run
        self._next = 0

    def __call__(self, sight: Sight) -> Act:
        place = len(sight.rounds) if self.each_run else self._next
        self._next += 1
        if place >= len(self.steps):
            return Failure("server_error", "The script has no more steps.")
        return self.steps[place]

    @classmethod
    def parse(cls, steps: Iterable[Mapping[str, Any]], *, each_run: bool = False) -> Script:
        """From JSON. Raises ValueError for a step that is none of these:

        `{"answer": text}` or `{"answer": {the fields of Answer}}`, `{"calls": [{"name", "arguments"}]}`,
        `{"failure": {"code", "message"}}`, `{"incomplete": {"reason", "text"}}`.

        """
        return cls([_step(step) for step in steps], each_run=each_run)


def _step(step: Mapping[str, Any]) -> Act:
    if len(step) != 1:
        raise ValueError(f"not a step of a script: {step}")
    ((kind, value),) = step.items()
    match kind:
        case "answer":
            return Answer(**cast(dict[str, Any], value)) if isinstance(value, dict) else Answer(str(value))
        case "calls":
            wanted = cast(list[dict[str, Any]], value)
            return Calls([Call(call["name"], call.get("arguments", {}), call.get("raw")) for call in wanted])
        case "failure":
            return Failure(**value)
        case "incomplete":
            return Incomplete(**value)
        case _:
            raise ValueError(f"not a step of a script: {step}")


def echo(sight: Sight) -> Act:
    """Says what was said."""
    return Answer("You said: " + " / ".join(sight.asked))


def facts(sight: Sight) -> list[str]:
    """What a reader of this thread could know, oldest first, a later value in place of an earlier one."""
    found: dict[str, str] = {}
    for text in [sight.instructions, *(said.text for said in sight.messages)]:
        for own in _OWN.finditer(text):
            subject = own[1].lower()
            found[f"my {subject}"] = f"my {subject} is {own[2].strip().rstrip('.')}"
        for free in [
            *_REMEMBER.findall(text),
            *(fact for line in _CARRIED.findall(text) for fact in line.split("; ")),
        ]:
            fact = str(free).strip().rstrip(".?!")
            if fact and not _OWN.search(fact) and fact.lower() != "nothing":
                found.setdefault(fact.lower(), fact)
    return list(found.values())


def recall(sight: Sight) -> Act:
    """Keeps what it is told to remember, while the thread (or a summary carried into it) holds it."""
    known = facts(sight)
    asked = "\n".join(sight.asked)
    questions = _QUESTION.findall(asked)
    if questions:
        subject = str(questions[-1]).lower()
        answers = [fact for fact in known if fact.startswith(f"my {subject} is ")]
        return Answer(f"I recall: {answers[0]}." if answers else f"I recall nothing about your {subject}.")
    told = _REMEMBER.findall(asked)
    if told and not _ANYTHING.search(asked):
        return Answer("I will remember: " + "; ".join(str(fact).strip().rstrip(".") for fact in told))
    return Answer("I recall: " + ("; ".join(known) if known else "nothing") + ".")


def summariser(sight: Sight) -> Act:
    """Lists the facts it saw, a line each."""
    known = facts(sight)
    return Answer("Summary:\n" + "\n".join(f"- {fact}" for fact in known or ["nothing"]))


def tool_user(sight: Sight) -> Act:
    """Calls what it is told to.

    `use clock city=Oslo and use roll sides=6` is one round of two calls; `then` begins the next round.
    """
    offered = {str(tool["name"]): tool for tool in sight.tools}
    rounds = wanted(sight)
    flat = [name for uses in rounds for name, _ in uses]
    unknown = [name for name in flat if name not in offered]
    if unknown:
        return Answer(f"I have no tool called {unknown[0]}.")
    if not flat:
        return Answer("I was not told to use a tool.")
    done = len(sight.outputs)
    for uses in rounds:
        if done < len(uses):
            return Calls([Call(name, _arguments(text, offered[name])) for name, text in uses[done:]])
        done -= len(uses)
    return Answer("\n".join(f"{output.call.name}: {output.output}" for output in sight.outputs))


def wanted(sight: Sight) -> list[list[tuple[str, str]]]:
    """The calls asked for, round by round: names and the text of their arguments."""
    rounds = [
        [(use[1], use[2]) for use in _USE.finditer(part)]
        for text in sight.asked
        for part in re.split(r"\bthen\b", text, flags=re.IGNORECASE)
    ]
    return [uses for uses in rounds if uses]


def _arguments(text: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    """`k=v` pairs, as the tool's own schema types them; without a schema, whatever JSON makes of them."""
    schema = cast(dict[str, Any], tool.get("parameters") or {})
    properties = cast(dict[str, dict[str, Any]], schema.get("properties") or {})
    arguments: dict[str, Any] = {}
    for pair in _ARGUMENT.finditer(text):
        name, value = pair[1], pair[2]
        if value.startswith('"'):
            arguments[name] = value[1:-1]
            continue
        value = value.rstrip(".,;!?") or value
        if properties.get(name, {}).get("type") == "string":
            arguments[name] = value
            continue
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return arguments


def default(sight: Sight) -> Act:
    """A summary when asked for one, tools when told to use them, memory when asked for it, else an echo."""
    asked = sight.asked
    if _SUMMARISE.search(sight.instructions) or (asked and _SUMMARISE.search(asked[-1])):
        return summariser(sight)
    offered = {str(tool["name"]) for tool in sight.tools}
    named = any(name in offered for uses in wanted(sight) for name, _ in uses)
    if sight.outputs or named or any(text.lower().startswith("use ") for text in asked):
        return tool_user(sight)
    text = "\n".join(asked)
    if _QUESTION.search(text) or _REMEMBER.search(text) or _ANYTHING.search(text):
        return recall(sight)
    return echo(sight)


MODELS: dict[str, Model] = {
    "default": default,
    "echo": echo,
    "recall": recall,
    "summariser": summariser,
    "tool_user": tool_user,
}
"""By name, for the command line and the control routes."""
