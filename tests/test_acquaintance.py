"""People's e-mail addresses are asked for beside the turns, and admins name people by them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.acquaintance import GIVE_UP_AFTER, Acquaintance
from bot.errors import DeliveryFailed, DeliveryRefused
from bot.types import JsonObject, Mails, Person
from tests.scripted import ScriptedAgent
from tests.world import ADA, GRACE, RecordingChannel, World, open_world

BOSS = Person("boss", "The Boss")
MAILS = Mails("Ada@Contoso.example", "al@contoso.example")


class Knowing(RecordingChannel):
    """A channel with a roster."""

    def __init__(self, answer: Callable[[], Mails]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[JsonObject] = []

    async def mails(self, address: JsonObject) -> Mails:
        self.asked.append(address)
        return self.answer()


def fails(error: Exception) -> Callable[[], Mails]:
    def answer() -> Mails:
        raise error

    return answer


@asynccontextmanager
async def world_with(folder: Path, channel: RecordingChannel) -> AsyncGenerator[World]:
    async with open_world(folder, channel=channel, agent=ScriptedAgent(), admins="boss") as world:
        yield world


def look_in(world: World) -> Acquaintance:
    return Acquaintance(world.bot.store, {world.channel.name: world.channel})


async def test_an_admin_names_a_person_by_either_address(tmp_path: Path):
    channel = Knowing(lambda: MAILS)
    async with world_with(tmp_path, channel) as world:
        await world.ask("hello", person=ADA)
        assert "nobody called ada@contoso" in await world.ask("status of ada@contoso.example", person=BOSS)
        channel.answer = lambda: MAILS if len(channel.asked) == 2 else Mails()
        assert await look_in(world).look() == 2
        assert "Ada" in await world.ask("status of ada@contoso.EXAMPLE", person=BOSS)
        assert "1 conversation of Ada" in await world.ask("start over for AL@contoso.example", person=BOSS)


async def test_everyone_is_asked_about_once(tmp_path: Path):
    channel = Knowing(Mails)
    async with world_with(tmp_path, channel) as world:
        await world.ask("hello", person=ADA)
        assert [await look_in(world).look() for _ in range(2)] == [1, 0]
        await world.ask("hello again", person=ADA)
        await world.ask("hello", person=GRACE)
        assert await look_in(world).look() == 1
        assert len(channel.asked) == 2


async def test_one_who_cannot_be_asked_about_is_left_and_one_who_can_later_comes_again(tmp_path: Path):
    channel = Knowing(fails(DeliveryFailed("not now")))
    async with world_with(tmp_path, channel) as world:
        await world.ask("hello", person=ADA)
        assert await look_in(world).look() == 0
        channel.answer = fails(DeliveryRefused("gone"))
        assert [await look_in(world).look() for _ in range(2)] == [1, 0]


async def test_a_platform_that_is_away_is_not_asked_about_everybody(tmp_path: Path):
    channel = Knowing(fails(DeliveryFailed("away")))
    async with world_with(tmp_path, channel) as world:
        for number in range(GIVE_UP_AFTER + 2):
            await world.ask("hello", person=Person(f"p{number}", f"Person {number}"))
        with pytest.raises(DeliveryFailed):
            await look_in(world).look()
        assert len(channel.asked) == GIVE_UP_AFTER


async def test_a_channel_without_a_roster_is_left_alone(tmp_path: Path):
    async with world_with(tmp_path, RecordingChannel()) as world:
        await world.ask("hello", person=ADA)
        assert await look_in(world).look() == 0
