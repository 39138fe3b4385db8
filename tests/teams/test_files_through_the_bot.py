"""A file sent in Teams, from the request to the agent, through the whole bot; and what is left of it on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot.clock import SystemClock
from bot.types import File, Takes
from tests.scripted import ScriptedAgent
from tests.teams import FakeConnector, message
from tests.teams.files import FakeFiles, file_attachment, image_attachment, png
from tests.test_forgetting import holding
from tests.world import open_world


@pytest.mark.invariant("I13")
async def test_a_file_reaches_the_agent_and_its_address_no_disk(tmp_path: Path) -> None:
    agent = ScriptedAgent(takes=Takes(frozenset({"image/png", "application/pdf"}), 1000))
    connector, drive = FakeConnector(), FakeFiles()
    await connector.start()
    await drive.start()
    drive.content |= {"report.pdf": b"%PDF", "image": png(), "large.pdf": b"x" * 1001}
    attachments = [
        file_attachment(drive.url("report.pdf")),
        image_attachment(drive.view("image")),
        file_attachment(drive.url("large.pdf"), "large.pdf"),
        file_attachment(drive.url("gone.pdf"), "gone.pdf"),
        file_attachment(drive.url("film.mp4"), "film.mp4"),
    ]
    try:
        async with (
            # Real time: what is shown while the answer is made comes in the pace of the chat.
            open_world(tmp_path, agent=agent, clock=SystemClock()) as world,  # type: ignore[arg-type]
            TestClient(TestServer(world.bot.app, host="127.0.0.1")) as client,
        ):
            async with client.post(
                "/api/messages", json=message(connector.url, "see?", attachments=attachments)
            ) as response:
                assert response.status == 202
            await world.quiet(60.0)  # a machine that stalls gets a 429 or two, and each is waited for
            assert holding(tmp_path, "tempauth") == []
    finally:
        await drive.close()
        await connector.close()
    assert agent.runs[0].ask.files == (
        File("report.pdf", "application/pdf", b"%PDF"),
        File("image", "image/png", png()),
    )
    assert [asked.path for asked in drive.asked] == ["report.pdf", "image", "large.pdf", "gone.pdf"]
    answer = " ".join(one["text"] for one in connector.messages)
    assert "couldn't give the agent large.pdf, film.mp4" in answer
    assert "couldn't fetch gone.pdf" in answer
