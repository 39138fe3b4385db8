"""Waiting that something may cut short."""

from __future__ import annotations

import asyncio

from bot.ports import Clock


async def pause(clock: Clock, seconds: float, unless: asyncio.Event) -> None:
    """Sleep so long, or until the event, if that is sooner."""
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    waiting = asyncio.ensure_future(unless.wait())
    try:
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waiting.cancel()
        await asyncio.wait({sleeping, waiting})
