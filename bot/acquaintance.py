"""People's e-mail addresses, asked of their platform a while after they first spoke: admins may name people by them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from bot.errors import DeliveryRefused, OperatorError, ServiceUnavailable
from bot.ports import Channel, KnowsMails, Store
from bot.types import Mails

log = logging.getLogger("threadkeeper.acquaintance")

PAUSE = 60.0
"""Seconds between two looks for people whose address was never asked for."""
MOST = 20
"""People asked about in one look: a platform counts these requests with the answers."""
GIVE_UP_AFTER = 3
"""Failures of one look."""


class Acquaintance:
    """Asks beside the turns, one person at a time. Two replicas may ask twice, which changes nothing."""

    def __init__(self, store: Store, channels: Mapping[str, Channel]) -> None:
        """`channels` may still be filled until `start`."""
        self._store = store
        self._channels = channels
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, now and then."""
        self._loop = asyncio.create_task(self._looking(), name="acquaintance")

    async def stop(self) -> None:
        """Stop looking."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            try:
                await self.look()
            except (ServiceUnavailable, OperatorError) as error:
                log.warning("people's addresses cannot be asked for: %s", error)
            except Exception:
                log.exception("the look for people's addresses failed")

    async def look(self) -> int:
        """Ask for those who were never asked for; of how many people something is known now.

        Raises:
            ServiceUnavailable, OperatorError: not now; whoever is left comes with the next look.
        """
        knowing = {name: channel for name, channel in self._channels.items() if isinstance(channel, KnowsMails)}
        if not knowing:
            return 0
        introduced = failed = 0
        for person, address in await self._store.people.strangers([*knowing], MOST):
            try:
                mails = await knowing[person.channel].mails(address)
            except DeliveryRefused:
                mails = Mails()  # they have left, or the platform will not say
            except ServiceUnavailable:
                failed += 1
                if failed == GIVE_UP_AFTER:
                    raise
                continue
            await self._store.people.introduce(person, mails)
            introduced += 1
        return introduced
