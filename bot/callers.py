"""On whose behalf a tool runs, and what the bot lends it for the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from bot.lease import Turn
from bot.past import Past
from bot.ports import Channel, Clock, RecordStore, ShowsProgress
from bot.progress import Progress
from bot.roles import Roles
from bot.types import Caller, ToolRow, ToolSpec


@dataclass(frozen=True, slots=True)
class Callers:
    """Makes the `Caller` of each call."""

    records: RecordStore
    past: Past
    channels: Mapping[str, Channel]
    clock: Clock
    roles: Roles = field(default_factory=Roles)

    def may(self, turn: Turn, spec: ToolSpec) -> bool:
        """Whether the person of the turn may use this tool."""
        return spec.is_for(self.roles.of(turn.message.person))

    def of(self, turn: Turn, row: ToolRow, *, repeated: bool) -> Caller:
        """The caller of one call of a turn."""
        place, person = turn.message.conversation, turn.message.person
        channel = self.channels.get(place.channel)
        caller = Caller(
            person=person,
            tenant=place.tenant,
            channel=place.channel,
            reference=turn.reference,
            key=f"{turn.id}/{row.round}/{row.position}",
            repeated=repeated,
            roles=self.roles.of(person),
            records=self.records.of_organisation(place.tenant),
            own=self.records.of_person(place.channel, place.tenant, person.id),
            earlier=partial(self.past.of, turn),
        )
        if not isinstance(channel, ShowsProgress):
            return caller
        return replace(caller, progress=Progress(partial(channel.progress, turn.message.address), self.clock))
