"""A small help desk, kept with the bot's own data: those who ask open tickets, the desk solves them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from adapters import ToolContext, ToolFailed, tool

State = Literal["open", "in progress", "waiting", "solved", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]

NEXT: dict[str, tuple[str, ...]] = {
    "open": ("in progress", "waiting", "solved", "closed"),
    "in progress": ("open", "waiting", "solved", "closed"),
    "waiting": ("in progress", "solved", "closed"),
    "solved": ("open", "closed"),
    "closed": (),
}
"""What may follow a state. "waiting" is for the one who asked; a closed ticket stays closed."""
OWN = {
    "open": ("closed",),
    "in progress": ("closed",),
    "waiting": ("in progress", "closed"),
    "solved": ("open", "closed"),
}
"""What those may change who opened it: take it back, answer what is waited for, say that it is not solved."""
DESK = frozenset({"admin", "help-desk"})
"""The roles that see and change every ticket."""

TICKETS, OWNERS, COMMENTS, COUNTER = "tickets", "tickets.owners", "tickets.comments", "tickets.counter"
LONGEST_TITLE, LONGEST_TEXT = 200, 4_000
MOST_LISTED, MOST_COMMENTS = 50, 200
TRIES = 20
"""Changes of one record that may come between; so many at once nobody makes."""


def offered(variables: Mapping[str, str]) -> Sequence[Callable[..., Any]]:
    """The tools, where tickets are kept here."""
    here = variables.get("TICKETS") == "records"
    return [create_ticket, list_tickets, show_ticket, comment_ticket, change_ticket] if here else []


@tool(once=True)
async def create_ticket(
    context: ToolContext, title: str, text: str = "", priority: Priority = "normal"
) -> dict[str, Any]:
    """Open a ticket with the help desk, for the person who asks.

    Args:
        title: What is wrong or wanted, in one line.
        text: All that helps to solve it.
        priority: How urgent it is; normal unless the person says otherwise.
    """
    title, text = _worded(title, "title", LONGEST_TITLE), _worded(text, "text", LONGEST_TEXT, empty=True)
    name = await _next_name(context)
    ticket = _Ticket(name, title, text, "open", priority, _owner(context), context.person.name, _now(), _now())
    # First whose it is: if we are cut off between the two, there is a name that leads nowhere, not a lost ticket.
    await context.records.put(OWNERS, f"{_digest(ticket.owner)}/{name}", name)
    if not await context.records.put(TICKETS, name, ticket.kept(), new=True):
        raise ToolFailed("The ticket was not opened. Try again.")
    return ticket.told()


@tool
async def list_tickets(context: ToolContext, state: State | None = None, everyone: bool = False) -> dict[str, Any]:
    """List tickets, the last changed first: the person's own, or everyone's where they work at the help desk.

    Args:
        state: Only tickets in this state; else all that are not closed.
        everyone: All people's tickets. Only for the help desk.
    """
    if everyone and not _is_desk(context):
        raise ToolFailed("Only the help desk sees the tickets of others. List the person's own.")
    found = await (_all(context) if everyone else _own(context))
    fits = [one for one in found if (one.state == state if state else one.state != "closed")]
    fits.sort(key=lambda one: one.changed, reverse=True)
    shown = [one.brief(whose=everyone) for one in fits[:MOST_LISTED]]
    more = len(fits) - len(shown)
    return {"tickets": shown} | ({"more": f"{more} more; ask for one state"} if more else {})


@tool
async def show_ticket(context: ToolContext, ticket: str) -> dict[str, Any]:
    """Show a ticket with its comments, and the states that it may be changed to.

    Args:
        ticket: Its name, such as T-118.
    """
    found = await _ticket(context, ticket)
    records = await context.records.list(COMMENTS, prefix=f"{found.name}/", most=MOST_COMMENTS)
    comments = [{key: one.value[key] for key in ("by", "at", "text")} for one in records]
    return found.told() | {"comments": comments, "may become": list(_may(context, found))}


@tool(once=True)
async def comment_ticket(context: ToolContext, ticket: str, text: str) -> str:
    """Add a comment to a ticket.

    Args:
        ticket: Its name, such as T-118.
        text: The comment.
    """
    text = _worded(text, "text", LONGEST_TEXT)
    found = await _ticket(context, ticket)
    if found.state == "closed":
        raise ToolFailed(f"{found.name} is closed. Open a new ticket that names it.")
    value = {"by": context.person.name or "?", "at": _now(), "text": text}
    number = len(await context.records.list(COMMENTS, prefix=f"{found.name}/", most=MOST_COMMENTS))
    for at in range(number + 1, min(number + TRIES, MOST_COMMENTS) + 1):
        if await context.records.put(COMMENTS, f"{found.name}/{at:04}", value, new=True):
            await _changed(context, found.name, lambda one: one.with_(changed=_now()))
            return f"The comment stands in {found.name}."
    raise ToolFailed(f"{found.name} has {number} comments, and takes no more. Open a new ticket that names it.")


@tool(once=True)
async def change_ticket(
    context: ToolContext, ticket: str, state: State | None = None, priority: Priority | None = None
) -> dict[str, Any]:
    """Change a ticket's state or priority.

    The states: open, in progress, waiting (for the person), solved, closed. A person may close their own ticket, answer
    one that waits, and open a solved one again; the rest is the help desk's.

    Args:
        ticket: Its name, such as T-118.
        state: The new state.
        priority: The new priority.
    """
    if state is None and priority is None:
        raise ToolFailed("Say what to change: the state or the priority.")
    await _ticket(context, ticket)

    def changed(one: _Ticket) -> _Ticket:
        if state is not None and state != one.state and state not in _may(context, one):
            allowed = ", ".join(_may(context, one)) or "nothing else"
            raise ToolFailed(
                f"{one.name} is {one.state}, and {context.person.name or 'this person'} may make it: {allowed}."
            )
        return one.with_(state=state or one.state, priority=priority or one.priority, changed=_now())

    return (await _changed(context, _name(ticket), changed)).told()


@dataclass(frozen=True, slots=True)
class _Ticket:
    """`owner` says who opened it, for us; `by` is their name, for people. Times are in UTC (ISO 8601)."""

    name: str
    title: str
    text: str
    state: str
    priority: str
    owner: str
    by: str
    opened: str
    changed: str

    def kept(self) -> dict[str, str]:
        """It as it is kept."""
        return {name: getattr(self, name) for name in _FIELDS}

    def told(self) -> dict[str, Any]:
        """It as the agent is told of it."""
        given = self.kept()
        del given["owner"]
        return given

    def brief(self, *, whose: bool) -> dict[str, str]:
        """It in a list."""
        shown = ("name", "title", "state", "priority", "changed") + (("by",) if whose else ())
        return {name: getattr(self, name) for name in shown}

    def with_(self, **changes: str) -> _Ticket:
        """It with something changed."""
        return _Ticket(**(self.kept() | changes))


_FIELDS = ("name", "title", "text", "state", "priority", "owner", "by", "opened", "changed")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _owner(context: ToolContext) -> str:
    """Who asks, within the tenant, whose records these are: ids are unique within a channel only."""
    return f"{context.channel}:{context.person.id}"


def _digest(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:32]  # an id may be longer than a key, or hold a slash


def _is_desk(context: ToolContext) -> bool:
    return bool(context.roles & DESK)


def _may(context: ToolContext, one: _Ticket) -> Sequence[str]:
    return NEXT[one.state] if _is_desk(context) else OWN.get(one.state, ())


def _worded(text: str, what: str, longest: int, *, empty: bool = False) -> str:
    text = text.replace("\0", "").encode("utf-8", "replace").decode().strip()  # what no database takes
    if not text and not empty:
        raise ToolFailed(f"The {what} is empty. Ask the person for it.")
    if len(text) > longest:
        raise ToolFailed(f"The {what} has {len(text)} characters, and at most {longest} are taken. Shorten it.")
    return text


def _name(given: str) -> str:
    """A ticket's name as it is kept; people write T118, t-118, #118 and 118."""
    digits = given.strip().upper().removeprefix("#").removeprefix("T").removeprefix("-").strip()
    return f"T-{int(digits)}" if digits.isdecimal() and digits.isascii() and len(digits) < 12 else ""


async def _next_name(context: ToolContext) -> str:
    for _ in range(TRIES):
        last = await context.records.get(COUNTER, "last")
        number = int(last or 0) + 1
        if await context.records.put(COUNTER, "last", number, new=last is None, was=last):
            return f"T-{number}"
    raise ToolFailed("Too many tickets are opened at the moment; none was opened. Try again.")


async def _ticket(context: ToolContext, given: str) -> _Ticket:
    """The ticket, if the person may see it. Of another's they are told as of one that there is not."""
    name = _name(given)
    kept = await context.records.get(TICKETS, name) if name else None
    found = _Ticket(**kept) if kept else None
    if found is None or (found.owner != _owner(context) and not _is_desk(context)):
        raise ToolFailed(f"There is no ticket {(name or given)[:40]!r} that this person may see. List their tickets.")
    return found


async def _own(context: ToolContext) -> list[_Ticket]:
    names = await context.records.list(OWNERS, prefix=f"{_digest(_owner(context))}/", most=1_000, newest=True)
    kept = [await context.records.get(TICKETS, one.value) for one in names]
    return [_Ticket(**one) for one in kept if one]


async def _all(context: ToolContext) -> list[_Ticket]:
    return [_Ticket(**one.value) for one in await context.records.list(TICKETS, most=1_000, newest=True)]


async def _changed(context: ToolContext, name: str, change: Callable[[_Ticket], _Ticket]) -> _Ticket:
    """Change the ticket as it is now; if somebody else changed it meanwhile, as it is then."""
    for _ in range(TRIES):
        kept = await context.records.get(TICKETS, name)
        if kept is None:
            break
        new = change(_Ticket(**kept))
        if await context.records.put(TICKETS, name, new.kept(), was=kept):
            return new
    raise ToolFailed(f"{name} was not changed, for others are changing it. Try again.")
