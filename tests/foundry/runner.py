"""How a run goes on: by the clock, its model, what the client submits, and what a test has decided for it.

Nothing runs in the background. Each request first brings the thread it touches up to the present; so the
course of a run depends on the clock and the requests alone, and a test can repeat it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from . import checks
from .attachments import check_files
from .errors import invalid
from .faults import Fate
from .run_events import content_of, written
from .sight import Act, Answer, Call, Calls, Failure, Incomplete, Model, Output, Said, Sight, Usage
from .state import Assistant, Message, Run, State, Step, Thread, new_id

DEFAULTS: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "max_completion_tokens": None,
    "max_prompt_tokens": None,
    "truncation_strategy": {"type": "auto", "last_messages": None},
    "response_format": "auto",
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}


@dataclass
class Rules:
    """How long things take, in seconds of the server's clock, and how large they may be.

    A phase of 0 seconds ends at the next GET; the answer to a POST always shows the run before it (but for
    a foreground response of the new API: the POST waits until it ends).
    """

    queue: float = 0.0
    work: float = 0.0
    cancel: float = 0.0
    delta: float = 0.0
    """Between two pieces of text, of a run only where it is streamed."""
    expires: float = 600.0
    max_messages: int = 100_000
    max_output: int | None = None
    """Characters of one tool output; no limit is documented for the service."""


class Runner:
    """Creates runs and brings them forward."""

    def __init__(self, state: State, rules: Rules, model: Model, models: Mapping[str, Model]) -> None:
        self.state = state
        self.rules = rules
        self.model = model
        self.models = dict(models)
        self.sights: deque[tuple[str, Sight]] = deque(maxlen=1000)

    def create(self, thread: Thread, assistant: Assistant, body: Mapping[str, Any]) -> Run:
        """A queued run; its additional messages are added with it or, if anything is wrong, not at all."""
        now = self.state.now()
        metadata = checks.metadata(body.get("metadata"))
        extra = cast(list[object], body.get("additional_messages") or [])
        fresh = [self.message(thread, item, f"additional_messages[{place}]") for place, item in enumerate(extra)]
        tools = checks.tools(body["tools"]) if body.get("tools") is not None else assistant.body()["tools"]
        if thread.active_run:
            raise invalid(f"Thread {thread.id} already has an active run {thread.active_run.id}.")
        self.room(thread, len(fresh))
        given = {name: value for name, value in body.items() if name in DEFAULTS and value is not None}
        inherited = {name: assistant.body()[name] for name in ("temperature", "top_p", "response_format")}
        settings: dict[str, Any] = {
            "model": body.get("model") or assistant.settings["model"],
            "instructions": body.get("instructions") or assistant.settings.get("instructions"),
            "additional_instructions": body.get("additional_instructions"),
            "tools": tools,
            "tool_resources": body.get("tool_resources") or {},
            **DEFAULTS,
            **inherited,
            **given,
        }
        thread.add(*fresh)
        expires = int(now + self.rules.expires)
        run = Run(new_id("run_"), now, thread.id, assistant.id, settings, metadata, self.state.clock.time(), expires)
        thread.runs.append(run)
        run.streamed = bool(body.get("stream"))
        run.tell("thread.run.created", run.body())
        run.tell_status()
        return run

    def message(self, thread: Thread, body: object, param: str = "") -> Message:
        """A checked message, not yet in the thread."""
        role, content, metadata, attachments = checks.message(body, param)
        check_files(self.state, content, attachments, param)
        now = self.state.now()
        return Message(new_id("msg_"), now, thread.id, role, content, metadata, attachments, batch=len(thread.runs))

    def room(self, thread: Thread, more: int) -> None:
        if len(thread.messages) + more > self.rules.max_messages:
            raise invalid(
                f"The thread has reached its limit of {self.rules.max_messages} messages.",
                code="message_limit_exceeded",
            )

    def submit(self, run: Run, body: Mapping[str, Any]) -> None:
        """The outputs of the pending calls, all of them at once; the run waits in the queue again."""
        if run.status != "requires_action":
            raise invalid(f'Runs in status "{run.status}" do not accept tool outputs.')
        given = self._outputs(body.get("tool_outputs"))
        expected = [call_id for call_id, _ in run.pending]
        got = [call_id for call_id, _ in given]
        if sorted(got) != sorted(expected):
            raise invalid(f"Expected tool outputs for call_ids {expected}, got {got}")
        texts = dict(given)
        outputs = [Output(call_id, call, texts[call_id]) for call_id, call in run.pending]
        step = run.steps[-1]
        for entry, output in zip(step.details["tool_calls"], outputs, strict=True):
            entry["function"]["output"] = output.output
        run.streamed = bool(body.get("stream"))
        step.status, step.completed_at = "completed", self.state.now()
        step.tell()
        run.rounds.append(outputs)
        run.pending = []
        run.status, run.phase_began = "queued", self.state.clock.time()
        run.tell_status()

    def _outputs(self, value: object) -> list[tuple[str, str]]:
        if not isinstance(value, list):
            raise checks.wrong_type("tool_outputs", "an array", value)
        given: list[tuple[str, str]] = []
        for place, entry in enumerate(cast(list[dict[str, Any]], value)):
            for name in ("tool_call_id", "output"):
                if not isinstance(entry.get(name), str):
                    raise checks.wrong_type(f"tool_outputs[{place}].{name}", "a string", entry.get(name))
            limit = self.rules.max_output
            if limit is not None and len(entry["output"]) > limit:
                raise checks.too_long(f"tool_outputs[{place}].output", limit, len(entry["output"]))
            given.append((entry["tool_call_id"], entry["output"]))
        return given

    def cancel(self, run: Run) -> None:
        if not run.active or run.status == "cancelling":
            raise invalid(f"Cannot cancel run with status '{run.status}'.")
        run.status, run.phase_began = "cancelling", self.state.clock.time()
        run.coming.clear()
        run.tell_status()

    def settle(self, thread: Thread, *, reading: bool) -> None:
        """Bring the thread's run up to the present."""
        run = thread.active_run
        while run and self.step(thread, run, reading=reading):
            pass

    def step(self, thread: Thread, run: Run, *, reading: bool) -> bool:
        """One step forward, if there is one to take now."""
        if not run.active:
            return False
        now = self.state.clock.time()
        due = self._due(run)
        takes_time = due > run.phase_began
        ready = due <= now and (takes_time or reading or bool(run.coming))
        in_time = run.expires_at is None or due < run.expires_at or run.status == "cancelling"
        if ready and in_time:
            # A phase that takes time ended when it was due, however late anyone looks.
            self._forward(thread, run, due if takes_time else now)
            return True
        if run.expires_at is not None and now >= run.expires_at and run.status != "cancelling":
            self._end(run, "expired")
            return True
        return False

    def due(self, run: Run) -> float:
        """When it can go on by itself, or expires."""
        due = self._due(run)
        return due if run.expires_at is None or run.status == "cancelling" else min(due, run.expires_at)

    def _due(self, run: Run) -> float:
        return run.coming[0][0] if run.coming else run.phase_began + self._phase(run)

    def _phase(self, run: Run) -> float:
        """How long the run's present phase lasts; for ever, where it waits for somebody."""
        match run.status:
            case "queued":
                return float("inf") if _struck(run, "run_stuck") else self.rules.queue
            case "in_progress":
                return self.rules.work
            case "cancelling":
                return float("inf") if run.fate("cancel_stuck") else self.rules.cancel
            case _:
                return float("inf")

    def _forward(self, thread: Thread, run: Run, at: float) -> None:
        run.phase_began = at
        if run.coming:
            _, act = run.coming.popleft()
            act()
        elif run.status == "queued":
            run.status, run.started_at = "in_progress", run.started_at or int(at)
            run.tell_status()
        elif run.status == "cancelling":
            self._end(run, "cancelled")
        else:
            self._act(thread, run)

    def _act(self, thread: Thread, run: Run) -> None:
        """The model's turn, unless a test has decided otherwise."""
        if fate := _struck(run, "run_expired"):
            self._end(run, "expired")
            return
        if fate := _struck(run, "run_failed"):
            act: Act = Failure(fate.code, fate.message)
            sight = None
        elif fate := _struck(run, "run_incomplete"):
            act = Incomplete(fate.reason, fate.text)
            sight = None
        else:
            sight = look(thread, run)
            act = self.ask(run.id, run.settings["model"], sight)
        match act:
            case Calls():
                self._call(run, act, sight)
            case Answer():
                self._say(thread, run, act, act.usage or (sight and sight.usage(act.text)), "completed")
            case Failure():
                self._end(run, "failed", {"code": act.code, "message": act.message})
            case Incomplete():
                run.incomplete_details = {"reason": act.reason}
                if act.text is None:
                    self._end(run, "incomplete")
                else:
                    self._say(thread, run, Answer(act.text), look(thread, run).usage(act.text), "incomplete")

    def ask(self, run_id: str, deployment: str, sight: Sight) -> Act:
        """What the model does; what it saw is kept."""
        self.sights.append((run_id, sight))
        return self.models.get(deployment, self.model)(sight)

    def _call(self, run: Run, act: Calls, sight: Sight | None) -> None:
        if not act.calls:
            raise ValueError("a model made a round of no calls")
        calls: list[Call] = list(act.calls if run.settings["parallel_tool_calls"] else act.calls[:1])
        run.pending = [(new_id("call_"), call) for call in calls]
        entries = [call.body(call_id) for call_id, call in run.pending]
        step = self._step(run, {"type": "tool_calls", "tool_calls": entries})
        self._spend(run, step, act.usage or (sight and sight.usage("".join(call.text for call in calls))))
        run.status, run.phase_began = "requires_action", self.state.clock.time()
        run.tell_status()

    def _say(self, thread: Thread, run: Run, answer: Answer, usage: Usage | None, status: str) -> None:
        """Write the message, piece by piece where it is streamed, and end the run."""
        message = Message(new_id("msg_"), self.state.now(), thread.id, "assistant", content_of(answer), {})
        message.assistant_id, message.run_id = run.assistant_id, run.id
        step = self._step(run, {"type": "message_creation", "message_creation": {"message_id": message.id}})

        def said() -> None:
            thread.add(message)
            step.status, step.completed_at = "completed", self.state.now()
            run.tell(f"thread.message.{status}", message.body())
            self._spend(run, step, usage)
            step.tell()
            self._end(run, status)

        at = run.phase_began
        for told in written(message) if run.streamed else ():
            at += self.rules.delta if told.late else 0
            run.coming.append((at, partial(run.tell, told.name, told.data)))
        if run.coming:
            run.coming.append((at, said))
        else:
            said()

    def _step(self, run: Run, details: dict[str, Any]) -> Step:
        step = Step(new_id("step_"), self.state.now(), run, details)
        run.steps.append(step)
        run.tell("thread.run.step.created", step.body())
        step.tell()
        return step

    def _spend(self, run: Run, step: Step, usage: Usage | None) -> None:
        if usage:
            step.usage = usage
            run.usage = run.usage + usage if run.usage else usage

    def fail(self, run: Run, error: dict[str, str]) -> None:
        """Let the run fail, at whatever point it is."""
        if run.active:
            self._end(run, "failed", error)

    def _end(self, run: Run, status: str, error: dict[str, str] | None = None) -> None:
        """The run is over, and with it what was open in it."""
        now = self.state.now()
        run.status, run.last_error, run.pending = status, error, []
        run.coming.clear()
        match status:
            case "completed":
                run.completed_at, run.expires_at = now, None
            case "cancelled":
                run.cancelled_at, run.expires_at = now, None
            case "failed":
                run.failed_at, run.expires_at = now, None
            case "incomplete":
                run.expires_at = None
            case _:
                pass
        for step in run.steps:
            if step.status == "in_progress":
                step.status = status if status in ("cancelled", "failed", "expired") else "completed"
                step.cancelled_at = now if status == "cancelled" else None
                step.failed_at = now if status == "failed" else None
                step.tell()
        run.tell_status()


def _struck(run: Run, kind: str) -> Fate | None:
    fate = run.fate(kind)
    return fate if fate and fate.rounds <= len(run.rounds) else None


def look(thread: Thread, run: Run) -> Sight:
    """What the run's model is shown."""
    settings = run.settings
    messages = thread.messages
    strategy = cast(dict[str, Any], settings["truncation_strategy"])
    if strategy.get("type") == "last_messages" and strategy.get("last_messages"):
        messages = messages[-int(strategy["last_messages"]) :]
    choice = settings["tool_choice"]
    functions = [tool["function"] for tool in settings["tools"] if tool["type"] == "function"]
    if choice == "none":
        functions = []
    elif isinstance(choice, dict) and "function" in choice:
        only = cast(dict[str, Any], choice["function"])["name"]
        functions = [function for function in functions if function["name"] == only]
    instructions = [settings[name] for name in ("instructions", "additional_instructions") if settings[name]]
    return Sight(
        instructions="\n".join(instructions),
        messages=[Said(m.role, m.text, dict(m.metadata), m.batch) for m in messages],
        rounds=[list(outputs) for outputs in run.rounds],
        tools=functions,
    )
