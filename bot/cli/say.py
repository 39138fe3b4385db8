"""say: words to a person who has not asked, said by the bot that runs, or by the next that does."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from bot import settings as environment
from bot.bootstrap import open_beside
from bot.cli.run import Unusable, out, run
from bot.desk import whoever
from bot.errors import NotSaid
from bot.events import Event
from bot.say import Says
from bot.types import reference_of


def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    to: Annotated[str, typer.Option("--to", metavar="PERSON", help="An id, or a name if it is unique.")],
    key: Annotated[str | None, typer.Option("--key", help="Said once for each key, however often it is run.")] = None,
) -> None:
    """Say something to a person in their personal conversation."""
    run(_say(to, text, key or uuid.uuid4().hex))


async def _say(to: str, text: str, key: str) -> None:
    settings = environment.load()
    store = await open_beside(settings)
    try:
        accepted = await Says(store, _nothing, settings.group_threads).say(to, text, key, whoever())
    except NotSaid as fault:
        raise Unusable(fault.reason) from None
    finally:
        await store.close()
    reference = reference_of(accepted.turn)
    if accepted.fresh:
        out.print(f"Taken: {reference}. `inbox show {reference}` tells what became of it.", highlight=False)
    else:
        out.print(f"Taken before: {reference}. Nothing was added.", highlight=False)


def _nothing(_: Event) -> None:
    """The command tells what it did in its own words."""
