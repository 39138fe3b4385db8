"""Where the new API's behaviour is not proved, or differs between reports: one switch for each doubt."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

Operation = Literal["retrieve", "cancel", "delete", "input_items"]


@dataclass
class Switches:
    """A client has to live with either position; the default is what is documented or recorded."""

    input_joins: Literal["end", "start"] = "end"
    """When a response's input enters the conversation. "Input items and output items from this response are
    automatically added to this conversation after this response completes" (openai, `conversation` of create);
    "start": they are there at once, and stay whatever becomes of the response."""
    needs_input: bool = False
    """Whether a create without `input` is refused. Microsoft's sample_agent_basic.py once sent `input=""`, "TODO:
    Remove 'input' once service is fixed"; an empty text is taken in either position, and makes no item."""
    background: bool = True
    """Whether `background=true` is served at all."""
    broken: list[Operation] = field(default_factory=list[Operation])
    """Operations on a response that answer 500, as the SDK's own tests/agents/test_agent_responses_crud.py says."""
    drop_cancels: bool = True
    """Whether a foreground response ends with its connection ("to cancel a synchronous response, terminate the
    connection", responses.md). False: it goes on unseen, and its items reach the conversation."""
    locks_items: bool = False
    """Whether items are refused too while a response of the conversation runs. Reported is the lock of create only."""
    context_tokens: int | None = None
    """What the model can read; beyond it, `truncation` "auto" drops the oldest and "disabled" (default) refuses."""

    def turn(self, positions: dict[str, Any]) -> None:
        """Set some. Raises ValueError for a switch or a position that does not exist."""
        unknown = positions.keys() - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"there is no switch '{min(unknown)}'")
        if positions.get("input_joins", "end") not in ("end", "start"):
            raise ValueError("input_joins is 'end' or 'start'")
        if strange := set(positions.get("broken", ())) - set(get_args(Operation)):
            raise ValueError(f"broken: there is no operation '{min(strange)}'")
        for name, position in positions.items():
            setattr(self, name, position)
