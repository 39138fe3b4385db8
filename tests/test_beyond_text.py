"""What goes in and what comes back beside text: attachments, sources, files, and text as it grows."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from bot import attached
from bot.errors import DeliveryRefused, OperatorError, ServiceUnavailable, TooLarge
from bot.types import Attachment, Citation, File, Finished, JsonObject, RemoteFile, Reply, Stopped, Takes, Working
from tests.scripted import ScriptedAgent
from tests.teams.files import png
from tests.world import RecordingChannel, message, open_world

PLAN = Attachment("plan.png", "image/png", 3, b64encode(b"the plan as it was drawn").decode())
FILM = Attachment("film.mp4", "video/mp4", 3, b64encode(b"mp4").decode())
CHART = RemoteFile("file-1", "chart.png", "image/png")
SOURCE = Citation("[1]", "The handbook", "https://example.org/handbook")


def agent_that_sees() -> ScriptedAgent:
    return ScriptedAgent(takes=Takes(frozenset({"image/*"}), 1000))


async def test_an_attachment_reaches_the_agent_with_the_words(tmp_path: Path):
    agent = agent_that_sees()
    async with open_world(tmp_path, agent=agent) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(PLAN,)))
        assert await world.answers(1) == ["answer to what is this?"]
        assert agent.runs[0].ask.files == (File("plan.png", "image/png", b"the plan as it was drawn"),)


async def test_what_the_agent_does_not_take_is_said_below_the_answer(tmp_path: Path):
    agent = agent_that_sees()
    large = replace(PLAN, name="large.png", size=1001)
    async with open_world(tmp_path, agent=agent) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(FILM, PLAN, large)))
        [said] = await world.answers(1)
        assert said.startswith("answer to what is this?\n\n_I couldn't give the agent film.mp4, large.png:")
        assert [file.name for file in agent.runs[0].ask.files] == ["plan.png"]


ELSEWHERE = Attachment("there.png", "image/*", 0, source={"held": "key"})


async def test_what_lies_elsewhere_is_fetched_for_the_agent(tmp_path: Path):
    agent, channel = agent_that_sees(), RecordingChannel()
    channel.files["there.png"] = png()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(ELSEWHERE,)))
        assert await world.answers(1) == ["answer to what is this?"]
        assert agent.runs[0].ask.files == (File("there.png", "image/png", png()),)
        assert channel.fetched == [("there.png", 1000)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (DeliveryRefused("gone"), "I couldn't fetch there.png. Please send it again."),
        (ServiceUnavailable("away"), "I couldn't fetch there.png. Please send it again."),
        (OperatorError("no token", "mend it"), "I couldn't fetch there.png. Please send it again."),
        (b"x" * 1001, "I couldn't give the agent there.png: it doesn't take that type or size."),
        (b"no picture at all", "I couldn't give the agent there.png: it doesn't take that type or size."),
    ],
)
@pytest.mark.invariant("I5")
async def test_what_cannot_be_fetched_is_named_and_fails_nothing(tmp_path: Path, found: Exception | bytes, said: str):
    agent, channel = agent_that_sees(), RecordingChannel()
    channel.files["there.png"] = TooLarge("too large") if isinstance(found, bytes) and len(found) > 1000 else found
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(ELSEWHERE,)))
        assert await world.answers(1) == [f"answer to what is this?\n\n_{said}_"]
        await world.bot.accept(replace(message(""), attachments=(ELSEWHERE,)))
        assert "there.png" in (await world.answers(2))[1]
        assert len(agent.runs) == 1


async def test_what_is_not_taken_is_not_fetched(tmp_path: Path):
    agent, channel = agent_that_sees(), RecordingChannel()
    film = Attachment("film.mp4", "video/mp4", 0, source={"held": "key"})
    large = replace(ELSEWHERE, name="large.png", size=1001)
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(film, large)))
        assert "film.mp4, large.png" in (await world.answers(1))[0]
        assert channel.fetched == []


async def test_so_much_is_fetched_for_one_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attached, "TOGETHER_BYTES", 2 * len(png()))
    agent, channel = agent_that_sees(), RecordingChannel()
    many = tuple(replace(ELSEWHERE, name=f"{n}.png") for n in range(3))
    channel.files |= {one.name: png() for one in many}
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=many))
        assert "I couldn't give the agent 2.png" in (await world.answers(1))[0]
        assert [file.name for file in agent.runs[0].ask.files] == ["0.png", "1.png"]


class OnceThere(RecordingChannel):
    """Forgets where a file lies once it was fetched, as a process does that is killed."""

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        try:
            return await super().fetch(address, attachment, most)
        finally:
            self.files.clear()


async def test_what_the_agent_has_already_is_not_said_to_be_missing(tmp_path: Path):
    agent, channel = agent_that_sees(), OnceThere()
    agent.scripts = [[OperatorError("The permission is gone.", "Give it back."), "Hello!"]]
    channel.files["there.png"] = png()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(ELSEWHERE,)))
        assert (await world.answers(2))[1] == "Hello!"
        assert len(channel.fetched) == 2
        assert [len(run.ask.files) for run in agent.runs] == [1]


async def test_what_the_agent_never_got_is_said_to_be_missing(tmp_path: Path):
    agent, channel = agent_that_sees(), OnceThere()
    agent.before["open"] = [ServiceUnavailable("away")]
    channel.files["there.png"] = png()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(ELSEWHERE,)))
        assert "I couldn't fetch there.png" in (await world.answers(1))[0]


async def test_files_alone_that_the_agent_does_not_take_start_no_run(tmp_path: Path):
    agent = agent_that_sees()
    async with open_world(tmp_path, agent=agent) as world:
        await world.bot.accept(replace(message(""), attachments=(FILM,)))
        [said] = await world.answers(1)
        assert "film.mp4" in said
        assert agent.runs == []


async def test_sources_and_files_are_named_where_the_channel_shows_text_only(tmp_path: Path):
    reply = Reply("Read this [1].", citations=(SOURCE,), files=(CHART,))
    async with open_world(tmp_path, agent=ScriptedAgent([[Finished(reply)]])) as world:
        said = await world.ask("question")
        assert said == (
            "Read this [1].\n\n- [1] The handbook (https://example.org/handbook)\n\n"
            "_The agent made chart.png, which I can't show here._"
        )


async def test_sources_and_files_are_shown_where_the_channel_can(tmp_path: Path):
    channel = RecordingChannel()
    channel.shows = frozenset({"files", "citations"})
    agent = ScriptedAgent([[Finished(Reply("Read this [1].", citations=(SOURCE,), files=(CHART,)))]])
    agent.files["file-1"] = b"png"
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        await world.say("question")
        await world.answers(2)
        words, picture = (part for _, part in channel.sent)
        assert (words.text, words.citations, words.by_agent) == ("Read this [1].", (SOURCE,), True)
        assert (picture.text, picture.file) == ("", File("chart.png", "image/png", b"png"))


async def test_a_file_that_is_gone_is_said(tmp_path: Path):
    channel = RecordingChannel()
    channel.shows = frozenset({"files"})
    agent = ScriptedAgent([[Finished(Reply("", files=(CHART,)))]])
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        assert await world.ask("question") == "_chart.png isn't there any more._"


async def test_text_is_shown_as_it_grows(tmp_path: Path):
    channel = RecordingChannel()
    channel.streams = True
    growing = [
        Working("in_progress", text="He"),
        Working("in_progress"),
        Working("in_progress", text="Hello"),
        "Hello!",
    ]
    agent = ScriptedAgent([growing])
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        assert await world.ask("question") == "Hello!"
        assert channel.shown == ["He", "Hello"]
        assert agent.runs[0].ask.stream


@pytest.mark.invariant("I5")
async def test_an_apology_comes_while_the_channel_still_shows_the_work(tmp_path: Path):
    """So that it can take the place of what grew."""
    channel = RecordingChannel()
    working: list[int] = []
    channel.after_send = lambda: working.append(channel.working_now)
    async with open_world(tmp_path, agent=ScriptedAgent([[Stopped("failed", "broken")]]), channel=channel) as world:
        assert (await world.ask("question")).startswith("Sorry")
    assert working == [1]


async def test_nothing_is_streamed_where_nobody_reads_along(tmp_path: Path):
    agent = ScriptedAgent([[Working("in_progress", text="He"), "Hello!"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "Hello!"
        assert not agent.runs[0].ask.stream


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


@pytest.mark.invariant("I15")
async def test_what_a_person_sent_along_is_forgotten_with_the_words(tmp_path: Path):
    async with open_world(tmp_path, agent=agent_that_sees()) as world:
        await world.bot.accept(replace(message("what is this?"), attachments=(PLAN,)))
        await world.answers(1)
    assert PLAN.data.encode() not in on_disk(tmp_path)
