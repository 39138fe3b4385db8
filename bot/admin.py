"""What admins may say, and what it does. The same acts as `python -m bot threads`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from bot.commands import bare
from bot.lease import Turn
from bot.ports import Store
from bot.texts import Texts
from bot.types import Act, Known

ASKED, EVERYONE = "asked to start over for everyone", "start over for everyone"
CONFIRM_WITHIN = 300.0
REMEMBERED = 3600.0
"""Seconds in which a late "confirm 412" is still answered; later it is a message like any other."""

LONGEST = 120
_FORMS: dict[str, re.Pattern[str]] = {
    "everyone": re.compile(r"start over for everyone", re.IGNORECASE),
    "reset": re.compile(r"start over for (?P<who>.+)", re.IGNORECASE),
    "status": re.compile(r"status of (?P<who>.+)", re.IGNORECASE),
    "confirm": re.compile(r"confirm (?P<number>[0-9]{1,9})", re.IGNORECASE),
}
_EVERY = re.compile(r"(?P<who>.+) all", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Form:
    """What was said: the act, and whom or which number it names. `every`: all of the person's conversations."""

    act: Literal["everyone", "reset", "status", "confirm"]
    who: str = ""
    every: bool = False
    number: int = 0


def parse(text: str) -> Form | None:
    """The admin form that the whole message is."""
    said = bare(text)
    if len(said) > LONGEST:
        return None
    for act, pattern in _FORMS.items():
        match = pattern.fullmatch(said)
        if match is None:
            continue
        groups = match.groupdict()
        if "number" in groups:
            return Form("confirm", number=int(groups["number"]))
        who = groups.get("who", "")
        every = _EVERY.fullmatch(who) if act == "reset" else None
        who = (every["who"] if every else who).strip("<@> ")
        if act == "everyone":
            return Form("everyone")
        return Form("reset" if act == "reset" else "status", who, every=every is not None)
    return None


@dataclass(frozen=True, slots=True)
class Admin:
    """Answers admins, and tells others no. Each act is an audit row, written with what it does."""

    store: Store
    texts: Texts
    admins: Collection[str]
    backend: str
    undo_seconds: float

    async def answer(self, form: Form, turn: Turn) -> str | None:
        """The words for a form; None if the message is one for the agent after all."""
        if turn.message.person.id not in self.admins:
            ours = form.act in ("everyone", "reset") or (form.who and await self.store.people.find(form.who))
            return self.texts.not_an_admin(turn.message.person.id) if ours else None
        if form.act == "everyone":
            return await self._ask(turn)
        if form.act == "confirm":
            return await self._confirm(form.number, turn)
        found = await self.store.people.find(form.who)
        if len(found) != 1:
            named = [(person.name, person.id, person.channel) for person in found]
            return self.texts.several(named) if found else self.texts.nobody(form.who)
        if form.act == "status":
            return await self._status(found[0], turn)
        keys = await self.store.people.lanes(found[0], every=form.every)
        act = self._act("start over", found[0].id, turn)
        done = await self.store.forgetting.reset(keys, act, self.undo_seconds)
        return self.texts.reset_for(found[0].name or found[0].id, done.detail["conversations"])

    def _act(self, act: str, subject: str, turn: Turn, **detail: int) -> Act:
        return Act(turn.message.person.id, act, subject, turn.id, dict(detail))

    async def _status(self, person: Known, turn: Turn) -> str:
        await self.store.people.record(self._act("status", person.id, turn))
        lines = [f"**{person.name or person.id}** ({person.id}, {person.channel})"]
        for key in await self.store.people.lanes(person, every=False):
            lane = await self.store.threads.lane(key)
            thread = lane.thread if lane else None
            running, waiting = await self.store.records.busy(key)
            lines.append(
                self.texts.status_of(
                    thread=thread.remote_id if thread else None,
                    opened_at=thread.opened_at if thread else None,
                    messages=thread.messages if thread else 0,
                    running=running is not None and running != turn.id,
                    waiting=waiting,
                    backend=thread.backend if thread else self.backend,
                )
            )
        return "\n\n".join(lines)

    async def _ask(self, turn: Turn) -> str:
        conversations, people = await self.store.people.count()
        act = self._act(ASKED, "everyone", turn, conversations=conversations, people=people)
        asked = await self.store.people.record(act)
        return self.texts.confirm_everyone(asked.detail["conversations"], asked.detail["people"])

    async def _confirm(self, number: int, turn: Turn) -> str | None:
        done = await self.store.people.acted(turn.id)
        if done is None:
            mine = await self.store.people.acts(turn.message.person.id, 20)
            last = next((act for act in mine if act.act in (ASKED, EVERYONE)), None)
            if last is None or last.act == EVERYONE or turn.accepted_at - last.at > REMEMBERED:
                return None
            if turn.accepted_at - last.at > CONFIRM_WITHIN:
                return self.texts.confirm_late()
            if last.detail["conversations"] != number:
                return self.texts.confirm_wrong(last.detail["conversations"])
            done = await self.store.people.record(self._act(EVERYONE, "everyone", turn, conversations=number))
        after: str | None = ""
        while after is not None:
            after = await self.store.forgetting.reset_some(done, self.undo_seconds, after)
            turn.check()
        return self.texts.reset_everyone()
