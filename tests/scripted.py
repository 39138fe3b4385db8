"""An agent that does what a test tells it, and records what it was asked. Its threads outlive the bot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.clock import SystemClock
from bot.errors import RequestRefused, RunActive, RunGone, ThreadGone
from bot.ports import Clock
from bot.types import (
    Ask,
    Carried,
    Finished,
    Found,
    Handle,
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
    Usage,
    Working,
)

PATIENT_LOOKS = 100
"""Looks at one run, after which no more of the bot's time passes between two."""

Script = list[Any]
"""What the run does at each look: a `Step`, an exception, or a list of tool names for a round."""


@dataclass
class ScriptedRun:
    id: str
    thread: str
    ask: Ask
    script: Script
    outputs: list[dict[str, str]] = field(default_factory=list)
    ended: Step | None = None
    calls: tuple[ToolCall, ...] = ()
    looks: int = 0


@dataclass
class ScriptedAgent:
    """`scripts` are taken one by each run; a run without one answers at once."""

    scripts: list[Script] = field(default_factory=list)
    backend: str = "scripted"
    project: str = "p"
    start_timeout: float = 30.0
    first_look: float = 0.5
    threads: dict[str, list[Said]] = field(default_factory=dict)
    runs: list[ScriptedRun] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    before: dict[str, list[Exception]] = field(default_factory=dict)
    after: dict[str, list[Exception]] = field(default_factory=dict)
    stubborn: bool = False
    lost: set[str] = field(default_factory=set)
    takes: Takes = field(default_factory=Takes)
    files: dict[str, bytes] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    def _enter(self, verb: str) -> None:
        self.log.append(verb)
        if self.before.get(verb):
            raise self.before[verb].pop(0)

    def _leave(self, verb: str) -> None:
        if self.after.get(verb):
            raise self.after[verb].pop(0)

    async def open_thread(self, carried: Carried, mark: RunMark) -> str:
        self._enter("open")
        thread = f"t{len(self.threads) + 1}"
        entries = list(carried.messages)
        if carried.summary:
            entries.insert(0, Said("user", carried.summary))
        self.threads[thread] = entries
        self._leave("open")
        return thread

    def _thread(self, thread_id: str) -> list[Said]:
        if thread_id in self.lost or thread_id not in self.threads:
            raise ThreadGone(thread_id)
        return self.threads[thread_id]

    async def start(self, thread_id: str, ask: Ask) -> Handle:
        self._enter("start")
        entries = self._thread(thread_id)
        if await self.active(thread_id):
            raise RunActive(thread_id)
        if not ask.held:
            entries.append(Said("user", ask.text))
        script = self.scripts.pop(0) if self.scripts else [f"answer to {entries[-1].text}"]
        run = ScriptedRun(f"r{len(self.runs) + 1}", thread_id, ask, list(script))
        self.runs.append(run)
        self._leave("start")
        return Handle(thread_id, run.id)

    def _run(self, handle: Handle) -> ScriptedRun:
        for run in self.runs:
            if run.id == handle.run_id:
                return run
        raise RunGone(handle.run_id)

    async def look(self, handle: Handle) -> Step:
        self._enter("look")
        run = self._run(handle)
        run.looks += 1
        if run.ended:
            return run.ended
        if run.calls:
            return NeedsTools(run.calls)
        step = run.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, str):
            self.threads[run.thread].append(Said("assistant", step))
            step = Finished(Reply(step), Usage(10, 5, 10))
        if isinstance(step, list):
            run.calls = tuple(ToolCall(f"{run.id}-c{len(run.outputs)}-{n}", name, "{}") for n, name in enumerate(step))
            return NeedsTools(run.calls)
        if isinstance(step, (Finished, Stopped)):
            run.ended = step
        return step

    async def changed(self, handle: Handle, seconds: float) -> None:
        if any(run.id == handle.run_id and run.looks > PATIENT_LOOKS for run in self.runs):
            await asyncio.sleep(0.001)  # a clock that a test made fast would be hours ahead, and all else too late
        else:
            await self.clock.sleep(seconds)

    async def download(self, file: RemoteFile) -> bytes:
        if file.id not in self.files:
            raise RequestRefused("gone")
        if file.id not in self.files:
            raise RequestRefused("gone")
        return self.files[file.id]

    async def answer(self, handle: Handle, outputs: Sequence[ToolOutput], *, again: bool = False) -> Handle:
        self._enter("answer")
        run = self._run(handle)
        if {output.call_id for output in outputs} != {call.id for call in run.calls} or run.ended:
            raise RequestRefused("not these")
        assert len(outputs) == len(run.calls)
        run.outputs.append({output.call_id: output.output for output in outputs})
        run.calls = ()
        self._leave("answer")
        return handle

    async def cancel(self, handle: Handle) -> None:
        self._enter("cancel")
        run = self._run(handle)
        self.cancelled.append(run.id)
        if not self.stubborn and run.ended is None:
            run.ended = Stopped("cancelled")

    async def find(self, thread_id: str, mark: RunMark) -> Found:
        self._enter("find")
        self._thread(thread_id)
        for run in self.runs:
            if run.thread == thread_id and (run.ask.mark.turn, run.ask.mark.attempt) == (mark.turn, mark.attempt):
                return Found(Handle(thread_id, run.id))
        return Found()

    async def active(self, thread_id: str) -> Handle | None:
        for run in self.runs:
            if run.thread == thread_id and run.ended is None:
                return Handle(thread_id, run.id)
        return None

    async def history(self, thread_id: str, limit: int) -> list[Said]:
        return self._thread(thread_id)[-limit:]

    async def delete_thread(self, thread_id: str) -> None:
        self.threads.pop(thread_id, None)

    async def close(self) -> None:
        self.log.append("close")


WORKING = Working("in_progress")
