"""Each failure of each agent service ends as docs/agent-services.md says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.events import RunStarted, ThreadOpened, TurnEnded, TurnReleased
from bot.types import Ended
from tests.scenarios import errors
from tests.scenarios.errors import CASES, CHAT, CLASSIC, NEW, Case
from tests.scenarios.services import Service, opened_service
from tests.world import RecordingChannel, World, open_world

PAGE = Path(__file__).parents[2] / "docs" / "agent-services.md"
ALL = [
    pytest.param(service, case, id=f"{service}-{case.name}")
    for service in (CLASSIC, NEW, CHAT)
    for case in CASES
    if case.expected(service) is not None
]


def outcome(world: World) -> str:
    """What became of the last message, by what the bot says of itself."""
    released = world.of(TurnReleased)
    if any(event.cure for event in released):
        return errors.PARKED
    if len(world.of(ThreadOpened)) > 1:
        return errors.ROLLED
    if world.of(TurnEnded)[-1].ended == Ended.APOLOGY:
        return errors.SORRY
    if released:
        return errors.AGAIN
    last = world.of(RunStarted)[-1].reference
    attempts = {event.attempt for event in world.of(RunStarted) if event.reference == last}
    return errors.ANOTHER if len(attempts) > 1 else errors.ANSWERED


def strike(service: Service, case: Case) -> None:
    fault = dict(case.fault)
    if case.at == "lose":
        service.lose(service.threads()[0])
    elif case.at == "run":
        service.run_fails("run_failed", **fault)
    elif fault.pop("agent_missing", False):
        service.agent_is_missing()
    else:
        service.start_fails(**fault)


async def waited(world: World, seconds: float) -> None:
    """What the service asks for is over."""
    async with asyncio.timeout(10):
        while seconds > 10 and world.bot.inbox.running:
            await asyncio.sleep(0.01)
    world.clock.advance(seconds)


@pytest.mark.parametrize(("name", "case"), ALL)
@pytest.mark.invariant("I5")
async def test_a_failure_ends_as_the_docs_say(tmp_path: Path, name: str, case: Case):
    channel = RecordingChannel()
    channel.streams = case.streamed
    async with (
        opened_service(name, tmp_path) as service,
        open_world(tmp_path, **service.overrides, channel=channel) as world,
    ):
        await world.ask("remember my code is 2208")
        strike(service, case)
        before = len(channel.sent)
        await world.say("what is my code?")
        await world.answers(before + 1, ended=False)
        if case.expected(name) == errors.PARKED:
            service.mended()
        await waited(world, case.fault.get("retry_after", 0))
        await world.quiet(20)
        seen = outcome(world)
        assert seen == case.expected(name) or (seen, case.expected(name)) == (errors.ANSWERED, errors.TRIMMED)
        words = channel.texts[-1]
        assert ("2208" in words) == (case.expected(name) != errors.SORRY and name not in case.forgets), words


def test_the_docs_show_the_list():
    assert errors.table() in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{errors.table()}"
