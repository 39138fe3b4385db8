"""Each turn on each agent service costs as many requests as docs/agent-services.md says."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.scenarios import costs
from tests.scenarios.costs import COSTS, STREAMED, Cost
from tests.scenarios.services import opened_service
from tests.world import FakeToolbox, RecordingChannel, open_world

PAGE = Path(__file__).parents[2] / "docs" / "agent-services.md"


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: f"{cost.service}-{cost.form}")
async def test_a_turn_costs_as_much_as_the_docs_say(tmp_path: Path, cost: Cost):
    channel, toolbox = RecordingChannel(), FakeToolbox()
    channel.streams = cost.form == STREAMED
    toolbox.add("time", lambda *_: "noon")
    async with opened_service(cost.service, tmp_path) as service:
        service.tools(["time"])
        async with open_world(tmp_path, **service.overrides, channel=channel, toolbox=toolbox) as world:
            counted = [0]
            for text in ("good morning", "good evening", "use time"):
                await world.ask(text)
                await world.quiet()
                counted.append(service.requests())
    first, plain, with_tools = (after - before for before, after in itertools.pairwise(counted))
    assert (plain, with_tools) == (cost.plain, cost.with_tools)
    assert first == cost.first + cost.opening + cost.plain


def test_the_docs_show_the_list():
    assert costs.table() in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{costs.table()}"
