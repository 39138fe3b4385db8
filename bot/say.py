"""Words to a person who has not asked: found, checked, and put into their lane behind what waits there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bot.errors import NotSaid
from bot.events import Emit, WordsTaken
from bot.ports import Store
from bot.threads import thread_key
from bot.types import Accepted, Conversation, Person, Saying, reference_of, storable

MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Says:
    """Takes such words. `wake` tells the inbox of this process, where one runs, that there is something to do."""

    store: Store
    emit: Emit
    groups: Literal["person", "shared"] = "person"
    wake: Callable[[], None] = lambda: None

    async def say(self, who: str, text: str, key: str, actor: str) -> Accepted:
        """Store the words for the one person who is meant: an id, a whole name, or words of it. Once a key.

        Raises:
            NotSaid: they cannot be said: see its code.
            ServiceUnavailable: not now.
        """
        words = storable(text).strip()
        if not words:
            raise NotSaid("empty", "There are no words to say.")
        if len(words) > MOST_CHARACTERS:
            raise NotSaid("too_long", f"At most {MOST_CHARACTERS} characters can be said; these are {len(words)}.")
        found = await self.store.people.find(who)
        if not found:
            raise NotSaid("unknown_person", "Nobody of that id or name has spoken with the bot.")
        if len(found) > 1:
            raise NotSaid("several_people", "Several people match; name one by id.")
        person = found[0]
        place = Conversation(person.channel, person.tenant, "")
        lane = thread_key(place, Person(person.id), self.groups)
        accepted = await self.store.says.put(Saying(key, person, lane, words, actor))
        self.emit(WordsTaken(reference_of(accepted.turn), lane, person.channel, accepted.fresh))
        self.wake()
        return accepted
