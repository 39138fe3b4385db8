"""What a tool is given of the one who asks, and of the bot it runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from adapters.contract import NotAwaited
from bot.types import Caller, Earlier, NoRecords, Person, Records

if TYPE_CHECKING:
    import aiohttp

MOST_EARLIER = 500
"""Entries of earlier threads that one call is given at most."""


def _no_session() -> aiohttp.ClientSession:
    raise RuntimeError("there is an HTTP session only while the bot, or adapters.testing, runs the tool")


@dataclass(frozen=True, slots=True)
class ToolContext:
    """On whose behalf a tool runs. A parameter of this type is filled by us and hidden from the agent.

    Attributes:
        person: Who asks: `id` (lasting, unique within tenant and channel) and `name`, as the channel gives them.
        tenant: The organisation, by the channel's id of it.
        channel: Where they ask: `msteams`, `slack`, `local`, ...
        reference: What the person is told when something fails, such as 7F3K-2Q; it leads to the log's lines.
        key: Of this call alone, and the same when the same call is made again: give it to services that know
            idempotency keys.
        repeated: The call is made again, after a crash in the middle of the first.
        records: What tools keep for the whole organisation: `await context.records.put("tickets", "T-1", {...})`.
            Everybody's tools see it; put `context.person.id` into the value, or the key, where it matters whose it
            is. It stays when a person says "forget me".
        own: The same for this person alone. It is deleted when they say "forget me".
        roles: What the person may use tools as: the names that TOOL_ROLES gives them, and `admin`.

    `records`, `own`, `earlier` and `http` belong to the event loop: a tool that uses them is an `async def`.
    """

    person: Person
    tenant: str
    channel: str
    reference: str
    key: str
    repeated: bool = False
    records: Records = field(default_factory=NoRecords, repr=False)
    own: Records = field(default_factory=NoRecords, repr=False)
    roles: frozenset[str] = frozenset()
    _secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    _progress: Callable[[str], None] = field(default=lambda words: None, repr=False)
    _earlier: Callable[[int], Awaitable[Sequence[Earlier]]] | None = field(default=None, repr=False)
    _http: Callable[[], aiohttp.ClientSession] = field(default=_no_session, repr=False)
    _awaits: Callable[[str], None] = field(default=lambda member: None, repr=False)

    @property
    def locale(self) -> str:
        """The person's language as the channel gives it, such as `de-DE`; empty where it does not."""
        return self.person.locale

    @property
    def time_zone(self) -> str:
        """The person's time zone, such as `Europe/Berlin`; empty where the channel does not give it."""
        return self.person.time_zone

    @property
    def http(self) -> aiohttp.ClientSession:
        """One HTTP session for all tools: connections are kept, cookies are not, since they would be of all people.

        Raises:
            RuntimeError: nobody runs the tool who has one.
        """
        self._awaits("http")
        return self._http()

    def secret(self, name: str) -> str:
        """The value of a variable that `@tool(secrets=[...])` names, from the environment or `.env`.

        Raises:
            LookupError: the mark does not name it.
        """
        try:
            return self._secrets[name]
        except KeyError:
            raise LookupError(f'name {name} in the mark: @tool(secrets=["{name}"])') from None

    def progress(self, words: str) -> None:
        """Show a few words in the chat while the tool runs ("Searching 3 of 10 folders"), in the place of earlier ones.

        One line of at most 80 characters is shown, at most one a second, and only where the channel can show it. It
        never waits, never fails, and may be called from a thread.
        """
        self._progress(words)

    def earlier(self, most: int = MOST_EARLIER) -> Coroutine[object, object, Sequence[Earlier]]:
        """What was said in this conversation in earlier threads, since the last "start over", newest first.

        The thread that the agent is in is not among them: it knows that one. At most `most` entries, each with
        `role`, `text` and `at`. What cannot be read now is left out.
        """
        self._awaits("earlier")  # before there is a coroutine that nobody awaits
        return self._told(most)

    async def _told(self, most: int) -> Sequence[Earlier]:
        return () if self._earlier is None else await self._earlier(max(1, min(most, MOST_EARLIER)))


class _InLoop:
    """Records of which nothing can be asked outside the event loop."""

    def __init__(self, kept: Records, check: Callable[[], None]) -> None:
        self._kept = kept
        self._check = check

    def __getattr__(self, name: str) -> object:
        if not name.startswith("_"):
            self._check()
        return getattr(self._kept, name)


def context_of(
    caller: Caller, secrets: Mapping[str, str], http: Callable[[], aiohttp.ClientSession] = _no_session
) -> ToolContext:
    """What a tool is given of this caller; `secrets` are those that its mark names."""
    return ToolContext(
        person=caller.person,
        tenant=caller.tenant,
        channel=caller.channel,
        reference=caller.reference,
        key=caller.key,
        repeated=caller.repeated,
        records=caller.records,
        own=caller.own,
        roles=caller.roles,
        _secrets=secrets,
        _progress=caller.progress,
        _earlier=caller.earlier,
        _http=http,
    )


def in_thread(context: ToolContext, tool: str) -> ToolContext:
    """The same for a plain `def`: what has to be awaited raises NotAwaited there, before anything is done."""

    def awaits(member: str) -> None:
        try:
            asyncio.get_running_loop()  # it may wrap an `async def`, which runs where it should
        except RuntimeError:
            words = f"{tool} uses context.{member} in a plain def: write it as async def and await it"
            raise NotAwaited(words) from None

    kept = {name: _InLoop(getattr(context, name), partial(awaits, name)) for name in ("records", "own")}
    return replace(context, **cast("dict[str, Any]", kept), _awaits=awaits)
