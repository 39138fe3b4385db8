"""The rehearsal agent: fixed rules, no model, no network. It calls the real tools, and its threads lie in our store.

It understands `use NAME key=value`, questions for the time and for sums, `remember …` and `what is my …`; and, so that
every path can be tried by hand, `rehearse wait 20`, `rehearse fail CODE`, `rehearse long 200KB` and `rehearse 429`.
"""

from __future__ import annotations

import json
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence

from bot.errors import RequestRefused, RunGone, ServiceBusy
from bot.ports import Clock, History
from bot.settings import Settings
from bot.texts import Texts
from bot.types import (
    Ask,
    Carried,
    Finished,
    Found,
    Handle,
    Json,
    JsonObject,
    NeedsTools,
    RemoteFile,
    Reply,
    RunMark,
    Said,
    Step,
    Stopped,
    Takes,
    ToolCall,
    ToolOutput,
    ToolSpec,
    Usage,
    Working,
)

ABOUT = (
    "I'm the rehearsal agent: fixed rules, no AI model, no network. Threads and tools are real. Try "
    "`time in Tokyo and 25 * 47`, `remember my code is 4711`, `use current_time place=Oslo`, "
    "`rehearse wait 20` then `stop`. For real answers set AGENT_BACKEND."
)
READ = 200
"""How many entries of its thread it looks at."""

_USE = re.compile(r"\buse\s+([A-Za-z_][\w.-]*)((?:\s+[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|\S+))*)", re.IGNORECASE)
_TIME = re.compile(
    r"\b[Tt]ime\b[^.?!]*?\bin\s+((?:[A-Z][\w'-]*(?:[ _][A-Z][\w'-]*)*(?:/[A-Z][\w-]*)*)|[a-z][\w'-]*(?:/[a-z_]+)?)"
)
_SUM = re.compile(r"(?<![\w.])([-(]*\d[\d.,]*(?:\s*[-+*/^x×÷%]+\s*[-(]*\d[\d.,]*\)*)+)")
_REMEMBER = re.compile(r"\bremember(?:\s+that)?\s+(.+)", re.IGNORECASE)
_RECALL = re.compile(r"\b(?:what(?:'s| is| was| are)?|do you (?:know|remember)|recall|tell me)\b(.*)", re.IGNORECASE)
_REHEARSE = re.compile(r"^\s*rehearse\s+(wait|fail|long|429)\b\s*(\S*)", re.IGNORECASE)
_SIZE = re.compile(r"^(\d+)\s*(kb|k)?$", re.IGNORECASE)
_FILLER = frozenset(
    [
        "my",
        "the",
        "a",
        "an",
        "is",
        "was",
        "are",
        "do",
        "you",
        "remember",
        "know",
        "of",
        "about",
        "please",
        "me",
        "again",
        "that",
        "it",
        "what",
        "i",
        "said",
    ]
)


class RehearsalAgent:
    """The `Agent` that needs nothing; deterministic, and it says what it is."""

    backend = "rehearsal"
    project = "local"
    start_timeout = 0.0
    first_look = 0.0
    takes = Takes()

    def __init__(self, history: History, clock: Clock, texts: Texts) -> None:
        self._history = history
        self._clock = clock
        self._texts = texts

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        """See `Agent.open_thread`."""
        thread_id = f"thread_{uuid.uuid4().hex[:20]}"
        entries = list(carried.messages)
        if carried.summary:
            entries.insert(0, Said("user", self._texts.carried_summary(carried.summary)))
        await self._history.create_thread(thread_id, entries)
        return thread_id

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        """See `Agent.start`."""
        text = ask.text
        if ask.held:
            said = [entry.text for entry in await self._history.entries(thread_id, READ) if entry.role == "user"]
            text = said[-1] if said else ""
        rehearsed = _REHEARSE.match(text)
        if rehearsed and rehearsed[1] == "429" and ask.mark.attempt.endswith("-0"):
            await self._busy_once(thread_id, ask)
        state = self._plan(text, ask)
        run_id = f"run_{uuid.uuid4().hex[:20]}"
        await self._history.start_run(thread_id, run_id, ask.mark, None if ask.held else ask.text, state)
        return Handle(thread_id, run_id)

    async def _busy_once(self, thread_id: str, ask: Ask) -> None:
        """Refuse the first start of this turn, as a busy service does."""
        seen = RunMark(ask.mark.turn, "refused", ask.mark.reference)
        if await self._history.find_run(thread_id, seen) is None:
            run_id = f"run_{uuid.uuid4().hex[:20]}"
            await self._history.start_run(thread_id, run_id, seen, None, {})
            await self._history.save_run(run_id, {}, ended=True)
            raise ServiceBusy("rehearsed 429", retry_after=1.0)

    def _plan(self, text: str, ask: Ask) -> JsonObject:
        rounds = _rounds(text, ask.tools, ask.mark) if ask.tools is not None else []
        state: JsonObject = {"text": text, "rounds": rounds, "answered": 0, "outputs": {}, "status": "queued"}
        rehearsed = _REHEARSE.match(text)
        if rehearsed:
            what, argument = rehearsed[1].lower(), rehearsed[2]
            if what == "wait":
                seconds = float(argument) if argument.replace(".", "", 1).isdigit() else 20.0
                state["until"] = self._clock.now() + seconds
            elif what == "fail":
                state["fail"] = argument or "server_error"
            elif what == "long":
                size = _SIZE.match(argument)
                state["long"] = (int(size[1]) * (1024 if size[2] else 1)) if size else 200 * 1024
        return state

    async def look(self, handle: Handle) -> Step:
        """See `Agent.look`."""
        state = await self._history.run(handle.run_id)
        if state is None:
            raise RunGone(handle.run_id)
        if state["status"] == "completed":
            return _finished(state)
        if state["status"] in ("cancelled", "failed"):
            return Stopped(state["status"], state.get("fail", ""))
        if state.get("until", 0) > self._clock.now():
            return Working("in_progress", retry_after=min(1.0, state["until"] - self._clock.now()))
        if state.get("fail"):
            await self._history.save_run(handle.run_id, state | {"status": "failed"}, ended=True)
            return Stopped("failed", state["fail"])
        if calls := _open_calls(state):
            return NeedsTools(tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in calls))
        answer = await self._answer(handle.thread_id, state)
        done = state | {"status": "completed", "answer": answer}
        await self._history.save_run(handle.run_id, done, ended=True, answer=answer)
        return _finished(done)

    async def changed(self, handle: Handle, seconds: float) -> None:
        """See `Agent.changed`."""
        await self._clock.sleep(seconds)

    async def download(self, file: RemoteFile) -> bytes:
        """See `Agent.download`: it makes no files."""
        raise RequestRefused("no such file")

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        """See `Agent.answer`."""
        state = await self._history.run(handle.run_id)
        given = {output.call_id: output.output for output in outputs}
        if state is None or state["status"] != "queued" or set(given) != {call["id"] for call in _open_calls(state)}:
            raise RequestRefused("the run does not wait for these outputs")
        answered = {"outputs": state["outputs"] | given, "answered": state["answered"] + 1}
        await self._history.save_run(handle.run_id, state | answered, ended=False)
        return handle

    async def cancel(self, handle: Handle) -> None:
        """See `Agent.cancel`."""
        state = await self._history.run(handle.run_id)
        if state is not None and state["status"] == "queued":
            await self._history.save_run(handle.run_id, state | {"status": "cancelled"}, ended=True)

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        """See `Agent.find`. Run and message are one transaction here, so there is never only the message."""
        run_id = await self._history.find_run(thread_id, mark)
        return Found(Handle(thread_id, run_id)) if run_id else Found()

    async def active(self, thread_id: str) -> Handle | None:
        """See `Agent.active`."""
        run_id = await self._history.active_run(thread_id)
        return Handle(thread_id, run_id) if run_id else None

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        """See `Agent.history`."""
        return await self._history.entries(thread_id, limit)

    async def delete_thread(self, thread_id: str) -> None:
        """See `Agent.delete_thread`."""
        await self._history.delete_thread(thread_id)

    async def close(self) -> None:
        """Nothing to give back."""

    async def _answer(self, thread_id: str, state: JsonObject) -> str:
        text: str = state["text"]
        if state.get("long"):
            return _long(state["long"])
        if "until" in state:
            return "I waited, as rehearsed."
        if _REHEARSE.match(text):
            return "Rehearsed: the service was busy, and then it answered."
        if state["rounds"]:
            calls = [call for calls in state["rounds"] for call in calls]
            return "\n".join(f"{call['name']}: {state['outputs'][call['id']]}" for call in calls)
        entries = await self._history.entries(thread_id, READ)
        facts = _facts(entries, self._texts.carried_summary("").strip())
        if text == self._texts.summary_request():
            return "\n".join(f"remember {fact}" for fact in facts) or "Nothing was to be remembered."
        if fact := _REMEMBER.search(text):
            return f"I'll remember: {fact[1].strip()}"
        if question := _RECALL.search(text):
            return _recall(question[1], facts) or ABOUT
        return ABOUT


def _open_calls(state: JsonObject) -> list[JsonObject]:
    """The calls that the run waits for."""
    rounds: list[list[JsonObject]] = state["rounds"]
    answered: int = state["answered"]
    return rounds[answered] if answered < len(rounds) else []


def _rounds(text: str, tools: Sequence[ToolSpec], mark: RunMark) -> list[list[JsonObject]]:
    """The tools to call for a text, all in one round; what comes after "then use" in the next."""
    specs = {tool.name: tool for tool in tools}
    rounds: list[list[JsonObject]] = []
    for number, part in enumerate(re.split(r"\bthen\b(?=\s+use\b)", text, flags=re.IGNORECASE)):
        calls = [
            {
                "id": f"call_{mark.turn}_{mark.attempt}_{number}_{position}",
                "name": name,
                "arguments": json.dumps(_typed(arguments, specs.get(name))),
            }
            for position, (name, arguments) in enumerate(_wanted(part, specs))
        ]
        if calls:
            rounds.append(calls)
    return rounds


def _wanted(text: str, specs: Mapping[str, ToolSpec]) -> list[tuple[str, dict[str, str]]]:
    """The tools that the text names, else those that it seems to ask for."""
    named = [(match[1], _arguments(match[2])) for match in _USE.finditer(text)]
    if named:
        return named
    if "current_time" in specs:
        named += [("current_time", {"place": match[1].strip(" .")}) for match in _TIME.finditer(text)]
    if "calculate" in specs:
        named += [("calculate", {"expression": match[1].strip()}) for match in _SUM.finditer(text)]
    return named


def _arguments(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def _typed(arguments: dict[str, str], spec: ToolSpec | None) -> JsonObject:
    """`sides=20` as the number that the tool's schema asks for; what does not fit is left for the tool to refuse."""
    properties: JsonObject = spec.parameters.get("properties", {}) if spec else {}
    typed: JsonObject = {}
    for name, value in arguments.items():
        wanted = properties.get(name, {}).get("type", "string")
        typed[name] = value if wanted == "string" else _value(value)
    return typed


def _value(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _facts(entries: Sequence[Said], summary: str) -> list[str]:
    """What was to be remembered, in order, each once; every line of a carried summary is."""
    found: dict[str, None] = {}
    for entry in entries:
        carried = entry.text.startswith(summary)
        for line in entry.text.removeprefix(summary).splitlines():
            fact = _REMEMBER.search(line)
            if entry.role == "user" and (fact or (carried and line.strip())):
                found.setdefault((fact[1] if fact else line).strip())
    return list(found)


def _recall(question: str, facts: Sequence[str]) -> str:
    """The remembered facts that share a word with the question, the newest first."""
    wanted = set(re.findall(r"\w+", question.casefold())) - _FILLER
    matching = [fact for fact in reversed(facts) if wanted & set(re.findall(r"\w+", fact.casefold()))]
    if matching:
        return f"You told me: {matching[0]}"
    return "\n".join(["You told me:", *(f"- {fact}" for fact in facts)]) if facts and not wanted else ""


def _long(size: int) -> str:
    paragraph = "This is a rehearsed long answer. " * 8
    count = size // (len(paragraph) + 8) + 1
    return "\n\n".join(f"{number}. {paragraph.strip()}" for number in range(1, count + 1))[:size]


def _finished(state: JsonObject) -> Finished:
    answer: str = state["answer"]
    tokens = max(1, len(state["text"]) // 4)
    return Finished(Reply(answer), Usage(tokens, max(1, len(answer) // 4), tokens))


async def create(settings: Settings, *, history: History, clock: Clock, texts: Texts) -> RehearsalAgent:
    """The agent that AGENT_BACKEND=rehearsal names."""
    return RehearsalAgent(history, clock, texts)
