"""How a response goes on: by the clock, its model, and what a test has decided for it.

As in the classic half, nothing runs in the background: whoever asks brings a background response up to the
present, and the connection that waits for a foreground one brings that forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from . import checks, items
from .errors import foundry, invalid
from .events import events_of
from .faults import Fate
from .project import Conversation, Ending, Item, Project, Response, Version
from .reading import check_answers, look, rounds_of
from .runner import Runner
from .sight import OPENING, Act, Answer, Calls, Failure, Incomplete, Sight
from .state import State, new_id
from .switches import Switches

AGENTS_OWN = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "instructions",
    "text",
    "reasoning",
    "temperature",
    "top_p",
)
"""Refused beside an agent: microsoft/agent-framework#5087 (tools), #5101, #2573 (temperature, top_p); instructions,
text and reasoning by public code that met the same 400."""
SETTINGS: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}
_CLASSIC_REASONS = {"max_completion_tokens": "max_output_tokens", "max_prompt_tokens": "max_output_tokens"}


class Responder:
    """Creates responses and brings them forward."""

    def __init__(self, state: State, project: Project, runner: Runner, switches: Switches) -> None:
        self.state = state
        self.project = project
        self.runner = runner
        self.switches = switches

    # How it begins

    def create(self, body: Mapping[str, Any]) -> Response:
        """A response that has begun, or a refusal that leaves nothing."""
        conversation = self._conversation(body)
        agent = self._agent(body)
        settings = _settings(body, agent)
        background, store = bool(body.get("background")), body.get("store") is not False
        if background and not self.switches.background:
            raise invalid("Background mode is not supported.", param="background", code="unsupported_parameter")
        if background and not store:
            raise invalid("background=true requires store=true", param="background", code="unsupported_parameter")
        metadata = checks.metadata(body.get("metadata"))
        context, depth = self._context(body, conversation)
        given = self._input(body, has_context=conversation is not None or bool(context))
        if conversation and conversation.active:
            raise locked()
        now = self.state.clock.time()
        response = Response(
            new_id("resp_"),
            int(now),
            conversation,
            [] if conversation else context,
            given,
            settings,
            agent,
            metadata,
            background,
            bool(body.get("stream")),
            store,
            now,
        )
        for item in given:
            item.batch, item.response_id, item.agent = depth, response.id, agent
        check_answers([*context, *given])
        response.rounds, before = rounds_of([*context, *given])
        response.fates = self.project.responses[before].fates if before in self.project.responses else []
        response.skipped = self._fit(response, [*context, *given])
        self._keep(response)
        return response

    def begin(self, response: Response, fates: list[Fate]) -> None:
        """Tell that it has begun. A response that answers calls goes on with what was decided for its turn."""
        if not response.rounds:
            response.fates = fates
        response.stuck = response.take("run_stuck") is not None
        if response.background:
            response.tell("response.created", response=response.body())
            response.tell("response.queued", response=response.body())
        else:
            # A foreground response is never shown as queued; it waits as long all the same.
            response.status, response.driven = "in_progress", True
            response.tell("response.created", response=response.body())
            response.tell("response.in_progress", response=response.body())

    def _conversation(self, body: Mapping[str, Any]) -> Conversation | None:
        named: object = body.get("conversation")
        if isinstance(named, dict):
            named = cast(dict[str, Any], named).get("id")
        if named is None:
            return None
        if not isinstance(named, str):
            raise checks.wrong_type("conversation", "a string or an object", named)
        conversation = self.project.conversation(named)
        self.settle(conversation.active, reading=False)
        return conversation

    def _agent(self, body: Mapping[str, Any]) -> Version | None:
        # "agent" is the older spelling of the same reference.
        named: object = body.get("agent_reference") or body.get("agent")
        if named is None:
            return None
        if not isinstance(named, dict) or not cast(dict[str, Any], named).get("name"):
            raise foundry("invalid_payload", "Required", param="agent_reference.name")
        wanted = cast(dict[str, Any], named)
        agent = self.project.agent(wanted["name"])
        own = [name for name in AGENTS_OWN if body.get(name) is not None]
        if len(own) == 1:
            raise foundry("invalid_payload", "Not allowed when agent is specified.", param=own[0])
        if own:
            message = {"code": "ValidationError", "message": "Not allowed when agent is specified.", "type": "error"}
            raise foundry("invalid_payload", "Invalid payload", details=[message | {"param": name} for name in own])
        version = wanted.get("version")
        return agent.version(str(version)) if version else agent.latest

    def _context(self, body: Mapping[str, Any], conversation: Conversation | None) -> tuple[list[Item], int]:
        """What was said before, and how many responses there have been."""
        before = body.get("previous_response_id")
        if conversation:
            if before:
                raise invalid(
                    "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. "
                    "Ensure you are only providing one of: 'previous_response_id' or 'conversation'.",
                    param="previous_response_id",
                    code="mutually_exclusive_parameters",
                )
            return list(conversation.items), len(conversation.responses)
        if not before:
            return [], 0
        if before not in self.project.responses:
            raise invalid(
                f"Previous response with id '{before}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        previous = self.project.responses[before]
        held = previous.conversation.items if previous.conversation else []
        # What has joined a conversation is not read twice.
        context = list(dict.fromkeys([*held, *previous.context, *previous.given, *previous.output]))
        return context, max((item.batch for item in context), default=OPENING) + 1

    def _input(self, body: Mapping[str, Any], *, has_context: bool) -> list[Item]:
        given = body.get("input")
        if given is None and (self.switches.needs_input or not has_context):
            raise invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
        return items.given(given, "input", self.state)

    def _fit(self, response: Response, read: Sequence[Item]) -> int:
        """How many of the oldest items do not fit into what the model can read."""
        limit = self.switches.context_tokens
        if limit is None:
            return 0
        for skipped in range(len(read) + 1):
            if look(read[skipped:], response.settings).usage("").prompt <= limit:
                return skipped
            if response.settings["truncation"] != "auto":
                break
        raise invalid(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            param="input",
            code="context_length_exceeded",
        )

    def _keep(self, response: Response) -> None:
        if response.store:
            self.project.responses[response.id] = response
        if conversation := response.conversation:
            conversation.responses.append(response)
            if self.switches.input_joins == "start":
                join(conversation, response.given)

    # How it goes on

    def settle(self, response: Response | None, *, reading: bool) -> None:
        """Bring it up to the present, unless a connection does that."""
        while response and not response.driven and self.step(response, reading=reading):
            pass

    def step(self, response: Response, *, reading: bool) -> bool:
        """One step forward, if there is one to take now."""
        now = self.state.clock.time()
        if not response.active or now < (due := self.due(response)):
            return False
        if response.cancel_at is not None and response.cancel_at <= now:
            self.end(response, Ending("cancelled"))
        elif response.coming:
            _, event, item = response.coming.popleft()
            if item:
                response.output.append(item)
            response.tell(**event)
        elif response.ending:
            self.end(response, response.ending)
        elif due == response.phase_began and not reading:
            return False
        else:
            # A phase that takes time ended when it was due, however late anyone looks.
            response.phase_began = due if due > response.phase_began else now
            self._forward(response)
        return True

    def due(self, response: Response) -> float:
        """When it can go on."""
        if response.coming:
            due = response.coming[0][0]
        elif response.ending:
            due = response.phase_began
        elif response.stuck:
            due = float("inf")
        else:
            rules = self.runner.rules
            due = response.phase_began + (rules.queue if response.status == "queued" else rules.work)
            if not response.background:
                due += rules.queue
        return due if response.cancel_at is None else min(due, response.cancel_at)

    def _forward(self, response: Response) -> None:
        if response.status == "queued":
            response.status = "in_progress"
            response.tell("response.in_progress", response=response.body())
            return
        act, sight = self._act(response)
        at = response.phase_began
        for told in events_of(act, parallel=response.settings["parallel_tool_calls"]):
            at += self.runner.rules.delta if told.late else 0
            item = Item(told.item) if told.item else None
            if item:
                item.response_id, item.agent = response.id, response.agent
                item.batch = response.given[0].batch if response.given else OPENING
            response.coming.append((at, told.body, item))
        response.phase_began = at
        response.ending = _ending(act, sight)

    def _act(self, response: Response) -> tuple[Act, Sight]:
        """The model's turn, unless a test has decided otherwise."""
        sight = look(self.read(response), response.settings)
        if fate := response.take("run_failed") or response.take("run_expired"):
            # A response does not expire; what the classic API says so comes as a failure.
            return Failure(fate.code, fate.message, fate.text), sight
        if fate := response.take("run_incomplete"):
            return Incomplete(fate.reason, fate.text), sight
        return self.runner.ask(response.id, response.settings["model"], sight), sight

    def read(self, response: Response) -> list[Item]:
        """What the model reads: what its conversation holds, and what came with the request."""
        held = list(response.conversation.items) if response.conversation else list(response.context)
        read = held + [item for item in response.given if item not in held]
        return read[response.skipped :]

    # How it ends

    def cancel(self, response: Response) -> None:
        """Idempotent: a response that has ended stays as it is."""
        if not response.background:
            raise invalid("Cannot cancel a synchronous response.")
        self.settle(response, reading=False)
        if not response.active or response.cancel_at is not None:
            return
        if response.take("cancel_stuck"):
            response.cancel_at = float("inf")
            return
        response.cancel_at = self.state.clock.time() + self.runner.rules.cancel
        self.settle(response, reading=False)

    def drop(self, response: Response, *, cancelling: bool = True) -> None:
        """Nobody is connected to a foreground response any more."""
        if response.background:
            return
        response.driven = False
        if response.active and cancelling and self.switches.drop_cancels:
            self.end(response, Ending("cancelled"))
        self.settle(response, reading=True)

    def end(self, response: Response, ending: Ending) -> None:
        """It is over; only what was completed, or cut short by a limit, reaches the conversation."""
        response.status, response.driven = ending.status, False
        response.coming.clear()
        response.usage, response.error = ending.usage, ending.error
        response.incomplete_details = ending.incomplete_details
        if ending.status == "completed":
            response.completed_at = self.state.now()
        if response.conversation and ending.status in ("completed", "incomplete"):
            join(response.conversation, [*response.given, *response.output])
        if ending.status == "cancelled":
            # There is no event for it in the SDK: the stream just ends.
            response.moved.set()
        else:
            response.tell(f"response.{ending.status}", response=response.body())


def locked() -> Exception:
    # OpenAI's words (paulgmiller/careme#379); none of Azure's own are known.
    return invalid(
        "Another process is currently operating on this conversation. Please retry in a few seconds.",
        param="conversation",
        code="conversation_locked",
    )


def join(conversation: Conversation, joining: Sequence[Item]) -> None:
    for item in joining:
        if item not in conversation.items:
            item.conversation_id = conversation.id
            conversation.items.append(item)


def _settings(body: Mapping[str, Any], agent: Version | None) -> dict[str, Any]:
    definition = agent.definition if agent else {}
    given = {name: value for name, value in body.items() if name in SETTINGS and value is not None}
    own = {name: value for name, value in definition.items() if name in SETTINGS and value is not None}
    model = definition.get("model") or body.get("model")
    if not model:
        raise invalid("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    return {"model": model, **SETTINGS, **own, **given}


def _ending(act: Act, sight: Sight) -> Ending:
    match act:
        case Calls():
            text = (act.text or "") + "".join(call.text for call in act.calls)
            return Ending("completed", act.usage or sight.usage(text))
        case Answer():
            return Ending("completed", act.usage or sight.usage(act.text))
        case Failure():
            return Ending("failed", error={"code": act.code, "message": act.message})
        case Incomplete():
            reason = _CLASSIC_REASONS.get(act.reason, act.reason)
            return Ending("incomplete", sight.usage(act.text or ""), incomplete_details={"reason": reason})
