"""The classic client beyond plain text: sources, files both ways, and text as it grows; the contract, streamed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.agents import classic_message, foundry_classic
from bot.agents.citations import growing
from bot.agents.classic_message import tools_for, upload_name
from bot.agents.foundry_classic import FoundryClassicAgent
from bot.errors import RequestRefused, RunActive, ServiceUnavailable
from bot.types import (
    Ask,
    Attachment,
    Carried,
    Citation,
    File,
    Finished,
    Found,
    Handle,
    NeedsTools,
    RemoteFile,
    Reply,
    Said,
    Stopped,
    Working,
)
from tests.agents.still import StillClock
from tests.agents.test_foundry_classic import FoundryWorld, settings_for
from tests.contracts.agent import OSLO, TOOLS, AgentContract, mark, outputs_of, to_the_end, until_it_waits
from tests.foundry import (
    Answer,
    Call,
    Calls,
    Fault,
    FoundryServer,
    Incomplete,
    ManualClock,
    RealClock,
    Rules,
    Script,
    image,
)
from tests.world import FakeToolbox, FastClock, RecordingChannel, message, open_world

RUNS = "/threads/*/runs"
SUBMIT = RUNS + "/*/submit_tool_outputs"
PDF = File("handbook.pdf", "application/pdf", b"%PDF-1.7 the handbook")
CSV = File("figures.csv", "text/csv", b"month,sum\n1,2\n")
PNG = File("plan.png", "image/png", b"\x89PNG the plan")


class StreamingWorld(FoundryWorld):
    """Somebody reads along with every run."""

    def __init__(self, agent: FoundryClassicAgent, server: FoundryServer, clock: ManualClock) -> None:
        super().__init__(agent, server, clock)
        start = agent.start

        async def streamed(thread_id: str, ask: Ask) -> Handle:
            return await start(thread_id, replace(ask, stream=True))

        agent.start = streamed  # pyright: ignore[reportAttributeAccessIssue]

    async def tick(self) -> None:
        """Move the server's clock once a stream waits for it; for a moment, since none may be left to wait."""
        with suppress(TimeoutError):
            await self.clock.until_asleep(timeout=0.02)
        self.clock.advance(1)


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(server_clock: ManualClock) -> AsyncIterator[FoundryServer]:
    # Time goes on at every look here, and a look at a stream is no request: runs must not expire meanwhile.
    rules = Rules(queue=1, work=1, cancel=1, expires=36_000)
    async with FoundryServer(clock=server_clock, rules=rules) as server:
        server.add_assistant(assistant_id="asst_1", tools=[{"type": "code_interpreter"}])
        yield server


Make = Callable[..., Awaitable[FoundryClassicAgent]]


@pytest_asyncio.fixture
async def make(server: FoundryServer) -> AsyncIterator[Make]:
    made: list[FoundryClassicAgent] = []

    async def make(*, post_seconds: float = 30.0, **more: Any) -> FoundryClassicAgent:
        agent = await foundry_classic.create(
            settings_for(server, **more), clock=StillClock(), post_seconds=post_seconds
        )
        made.append(agent)
        return agent

    yield make
    for agent in made:
        await agent.close()


@pytest_asyncio.fixture
async def world(make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
    return FoundryWorld(await make(), server, server_clock)


@pytest_asyncio.fixture
async def streaming(make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
    return StreamingWorld(await make(), server, server_clock)


class TestContractStreamed(AgentContract):
    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
        return StreamingWorld(await make(), server, server_clock)


async def opened(world: FoundryWorld) -> str:
    return await world.agent.open_thread(Carried(), mark())


async def answered(world: FoundryWorld, answer: Answer | Incomplete) -> Reply:
    """What a run becomes in which the model answers so."""
    world.server.model = Script([answer])
    end = await to_the_end(world, await world.agent.start(await opened(world), Ask(mark(), "Well?", TOOLS)))
    assert isinstance(end, Finished)
    return end.reply


def asked_for(server: FoundryServer, path: str) -> int:
    return len(server.requests_to("GET", path))


# -- what comes back ------------------------------------------------------------------------------------------


def cites(text: str, words: str, kind: str, **source: str) -> dict[str, Any]:
    start = text.index(words)
    return {"type": kind, "text": words, "start_index": start, "end_index": start + len(words), kind: source}


async def test_sources_stand_as_marks_that_a_chat_can_show(world: FoundryWorld):
    handbook = world.server.add_file("handbook.md", b"...")
    text = "Two weeks【4:0†source】, see the law【4:1†law.gov】. Always【4:2†source】!【重要】【9:9†source】"
    reply = await answered(
        world,
        Answer(
            text,
            annotations=[
                cites(text, "【4:0†source】", "file_citation", file_id=handbook, quote="Two weeks."),
                cites(text, "【4:1†law.gov】", "url_citation", url="https://law.gov/1", title="The law"),
                cites(text, "【4:2†source】", "file_citation", file_id=handbook, quote="Always."),
            ],
        ),
    )
    assert reply.text == "Two weeks [1], see the law [2]. Always [1]!【重要】"
    assert reply.citations == (
        Citation("[1]", "handbook.md", quote="Two weeks."),
        Citation("[2]", "The law", "https://law.gov/1"),
    )


async def test_a_files_name_is_asked_for_once(world: FoundryWorld, server: FoundryServer):
    handbook = server.add_file("handbook.md", b"...")
    text = "Yes【1†source】"
    answer = Answer(text, annotations=[cites(text, "【1†source】", "file_citation", file_id=handbook)])
    for _ in range(2):
        assert (await answered(world, answer)).citations == (Citation("[1]", "handbook.md"),)
    assert asked_for(server, "/files/*") == 1


@pytest.mark.parametrize(
    ("words", "source", "title"),
    [
        ("【1†guide.pdf】", {"file_id": "gone", "quote": "Never."}, "guide.pdf"),
        ("【1†source】", {"file_id": "gone", "quote": "Never."}, "Never."),
        ("【1†source】", {"file_id": "gone"}, "gone"),
    ],
)
async def test_a_source_without_a_name_has_a_title(world: FoundryWorld, words: str, source: dict[str, str], title: str):
    answer = Answer(f"No{words}", annotations=[cites(f"No{words}", words, "file_citation", **source)])
    assert [one.title for one in (await answered(world, answer)).citations] == [title]


@pytest.mark.parametrize("fault", [Fault("status", status=503), Fault("cut"), Fault("forbidden")])
async def test_a_name_that_cannot_be_had_spoils_no_answer(world: FoundryWorld, server: FoundryServer, fault: Fault):
    handbook = server.add_file("handbook.md", b"...")
    server.inject(Fault(**(fault.body() | {"method": "GET", "path": "/files/*", "count": None})))
    answer = Answer(
        "Yes【1†source】", annotations=[cites("Yes【1†source】", "【1†source】", "file_citation", file_id=handbook)]
    )
    assert (await answered(world, answer)).citations == (Citation("[1]", handbook),)


async def test_images_and_files_come_along(world: FoundryWorld, server: FoundryServer):
    chart, table = server.add_file("/mnt/data/chart.png", b"png"), server.add_file("/mnt/data/sums.csv", b"a,b")
    bare = server.add_file("0a1b2c", b"png")
    text = "Here: [the sums](sandbox:/mnt/data/sums.csv), or sandbox:/mnt/data/sums.csv."
    note = cites(text, "sandbox:/mnt/data/sums.csv", "file_path", file_id=table)
    reply = await answered(world, Answer(text, annotations=[note], parts=[image(chart), image(bare)]))
    assert reply.text == "Here: the sums, or sums.csv."
    assert reply.files == (
        RemoteFile(chart, "chart.png", "image/png"),
        RemoteFile(bare, "0a1b2c.png", "image/png"),
        RemoteFile(table, "sums.csv", "text/csv"),
    )
    assert asked_for(server, f"/files/{table}") == 0, "the path says its name"
    assert await world.agent.download(reply.files[2]) == b"a,b"


async def test_a_picture_alone_is_an_answer(world: FoundryWorld, server: FoundryServer):
    chart = server.add_file("chart.png", b"png")
    assert await answered(world, Answer("", parts=[image(chart)])) == Reply(
        "", files=(RemoteFile(chart, "chart.png", "image/png"),)
    )


async def test_a_refusal_is_text(world: FoundryWorld):
    assert await answered(world, Answer("I can't help with that.", refused=True)) == Reply("I can't help with that.")


async def test_a_filtered_answer_is_none(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Incomplete("content_filter", "I")])
    end = await to_the_end(world, await world.agent.start(await opened(world), Ask(mark(), "Well?", TOOLS)))
    assert end == Stopped("incomplete", "content_filter")


async def test_what_is_gone_or_too_large_is_refused(
    world: FoundryWorld, server: FoundryServer, monkeypatch: pytest.MonkeyPatch
):
    file_id = server.add_file("large.bin", b"x" * 200_000)
    assert len(await world.agent.download(RemoteFile(file_id, "large.bin", ""))) == 200_000
    monkeypatch.setattr("bot.agents.classic_files.MOST_BYTES", 100_000)
    with pytest.raises(RequestRefused):
        await world.agent.download(RemoteFile(file_id, "large.bin", ""))
    with pytest.raises(RequestRefused):
        await world.agent.download(RemoteFile("gone", "gone.bin", ""))
    server.inject(Fault("status", status=503, path="/files/*/content"))
    with pytest.raises(ServiceUnavailable):
        await world.agent.download(RemoteFile(file_id, "large.bin", ""))
    assert classic_message.MOST_BYTES == 20 * 1024 * 1024


async def test_the_history_shows_no_marks(world: FoundryWorld, server: FoundryServer):
    text = "Two weeks【4:0†source】. [Sums](sandbox:/mnt/data/sums.csv)"
    server.model = Script([Answer(text, annotations=[cites(text, "【4:0†source】", "file_citation", file_id="f")])])
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "How long【1†x】?", TOOLS)))
    assert await world.agent.history(thread, 10) == [
        Said("user", "How long【1†x】?"),
        Said("assistant", "Two weeks. Sums"),
    ]


# -- what goes in ---------------------------------------------------------------------------------------------


async def test_files_are_uploaded_and_stand_in_the_message(world: FoundryWorld, server: FoundryServer):
    await world.agent.start(await opened(world), Ask(mark(), "What is this?", TOOLS, files=(PNG, PDF, CSV)))
    held = {file.filename: file for file in server.files()}
    assert {name: (file.purpose, file.content) for name, file in held.items()} == {
        "plan.png": ("vision", PNG.data),
        "handbook.pdf": ("assistants", PDF.data),
        "figures.csv": ("assistants", CSV.data),
    }
    [post] = server.requests_to("POST", RUNS)
    [message] = post.body["additional_messages"]
    assert message == {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_file", "image_file": {"file_id": held["plan.png"].id, "detail": "auto"}},
        ],
        "attachments": [
            {"file_id": held["handbook.pdf"].id, "tools": [{"type": "file_search"}, {"type": "code_interpreter"}]},
            {"file_id": held["figures.csv"].id, "tools": [{"type": "code_interpreter"}]},
        ],
        "metadata": mark().metadata(),
    }
    names = [tool.get("function", {}).get("name", tool["type"]) for tool in post.body["tools"]]
    assert names == ["weather", "stock", "code_interpreter", "file_search"], (
        "what the agent lacked is there for the run"
    )


async def test_the_agents_own_tools_stay_where_the_run_brings_none(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    await world.agent.start(thread, Ask(mark(), "Add it up", files=(CSV,)))
    assert "tools" not in server.requests_to("POST", RUNS)[0].body
    other = await opened(world)
    await world.agent.start(other, Ask(mark(), "Read it", files=(PDF,)))
    assert server.requests_to("POST", RUNS)[1].body["tools"] == [{"type": "code_interpreter"}, {"type": "file_search"}]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_file_can_be_asked_about_later(world: FoundryWorld, server: FoundryServer, make: Make, elsewhere: bool):
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Read it", TOOLS, files=(PDF,))))
    agent = await make() if elsewhere else world.agent
    for turn in ("2", "3"):
        await to_the_end(world, await agent.start(thread, Ask(mark(turn), "And then?", TOOLS)))
        assert {"type": "file_search"} in server.requests_to("POST", RUNS)[-1].body["tools"]
    assert asked_for(server, "/threads/*") == elsewhere, "the service is asked once, where nobody here knows"


@pytest.mark.parametrize("files", [(PDF,), (PNG,)])
async def test_files_need_no_words(world: FoundryWorld, server: FoundryServer, files: tuple[File, ...]):
    thread = await opened(world)
    await world.agent.start(thread, Ask(mark(), "", TOOLS, files=files))
    [message] = server.messages_of(thread)
    assert message.text == ("handbook.pdf" if files == (PDF,) else "")


@pytest.mark.parametrize(
    ("name", "content_type", "sent", "tools"),
    [
        ("notes.txt", "text/plain", "notes.txt", ("file_search", "code_interpreter")),
        ("NOTES.PDF", "application/pdf", "NOTES.pdf", ("file_search", "code_interpreter")),
        ("server.log", "text/plain; charset=utf-8", "server.log.txt", ("file_search", "code_interpreter")),
        ("figures", "text/csv", "figures.csv", ("code_interpreter",)),
        ("data.json", "application/json", "data.json", ("code_interpreter",)),
        ("old.doc", "application/msword", "old.doc", ("file_search",)),
        ("C:\\x\\Prüfung.md", "text/markdown", "Prüfung.md", ("file_search", "code_interpreter")),
        ("photo.JPEG", "image/jpeg", "photo.jpeg", ()),
        ("image", "image/webp", "image.webp", ()),
        ("", "text/plain", "file.txt", ("file_search", "code_interpreter")),
    ],
)
async def test_a_file_goes_by_its_extension(
    world: FoundryWorld, server: FoundryServer, name: str, content_type: str, sent: str, tools: tuple[str, ...]
):
    file = File(name, content_type, b"x")
    assert world.agent.takes.fits(Attachment(name, content_type, 1, ""))
    assert (upload_name(file), tools_for(file)) == (sent, tools)
    await world.agent.start(await opened(world), Ask(mark(), "Well?", TOOLS, files=(file,)))
    assert [held.filename for held in server.files()] == [sent], "and the service takes it so"


def test_what_it_takes():
    takes = FoundryClassicAgent.takes
    office = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    for kind, size, fits in [
        (office, 100, True),
        ("image/gif", 20 * 1024 * 1024, True),
        ("image/gif", 20 * 1024 * 1024 + 1, False),
        ("video/mp4", 100, False),
        ("image/svg+xml", 100, False),
    ]:
        assert takes.fits(Attachment("a", kind, size, "")) is fits, kind


@pytest.mark.invariant("I4")
async def test_a_start_that_meets_another_run_uploads_once(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    first = await world.agent.start(thread, Ask(mark(), "Wait", TOOLS))
    ask = Ask(mark(turn="2"), "Read it", TOOLS, files=(PDF,))
    with pytest.raises(RunActive):
        await world.agent.start(thread, ask)
    await to_the_end(world, first)
    await to_the_end(world, await world.agent.start(thread, ask))
    assert len(server.files()) == 1
    assert [len(message.attachments) for message in server.messages_of(thread)] == [0, 0, 1, 0]


@pytest.mark.invariant("I4")
async def test_a_message_that_the_thread_holds_takes_its_files_along(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Read it", TOOLS, files=(PDF,))))
    held = Ask(mark(attempt="1"), "Read it", TOOLS, held=True, files=(PDF,))
    await to_the_end(world, await world.agent.start(thread, held))
    assert len(server.files()) == 1
    assert {"type": "file_search"} in server.requests_to("POST", RUNS)[1].body["tools"]


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("fault", [Fault("status", status=503), Fault("cut"), Fault("status", status=413)])
async def test_without_its_files_no_message_is_posted(world: FoundryWorld, server: FoundryServer, fault: Fault):
    thread = await opened(world)
    server.inject(Fault(**(fault.body() | {"method": "POST", "path": "/files", "count": None})))
    with pytest.raises(RequestRefused if fault.status == 413 else ServiceUnavailable):
        await world.agent.start(thread, Ask(mark(), "Read it", TOOLS, files=(PDF, CSV)))
    assert server.requests_to("POST", RUNS) == []


@pytest.mark.invariant("I4")
async def test_slow_uploads_count_as_the_starts_time(world: FoundryWorld, server: FoundryServer, make: Make):
    thread = await opened(world)
    hasty = await make(post_seconds=0.3)
    server.inject(Fault("slow", method="POST", path="/files", seconds=60))
    with pytest.raises(ServiceUnavailable):
        await hasty.start(thread, Ask(mark(), "Read it", TOOLS, files=(PDF,)))
    assert server.requests_to("POST", RUNS) == []


async def test_images_go_as_other_files_where_the_service_has_no_purpose_for_them(
    world: FoundryWorld, server: FoundryServer
):
    server.inject(Fault("status", status=400, message="Invalid value for 'purpose'.", method="POST", path="/files"))
    await world.agent.start(await opened(world), Ask(mark(), "What is this?", TOOLS, files=(PNG,)))
    assert [file.purpose for file in server.files()] == ["assistants"]


async def test_a_deleted_thread_takes_its_files_along(world: FoundryWorld, server: FoundryServer):
    handbook = server.add_file("handbook.md", b"of the agent", "assistants")
    chart, table = server.add_file("chart.png", b"png"), server.add_file("sums.csv", b"a,b")
    text = "See【1†source】 and sandbox:/mnt/data/sums.csv"
    notes = [
        cites(text, "【1†source】", "file_citation", file_id=handbook),
        cites(text, "sandbox:/mnt/data/sums.csv", "file_path", file_id=table),
    ]
    server.model = Script([Answer(text, annotations=notes, parts=[image(chart)])])
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Read", TOOLS, files=(PDF, PNG))))
    assert len(server.files()) == 5
    await world.agent.delete_thread(thread)
    assert [file.id for file in server.files()] == [handbook], "what the agent searches is not the thread's"


# -- text as it grows -----------------------------------------------------------------------------------------


async def texts_until_it_rests(world: FoundryWorld, handle: Handle) -> tuple[list[str], Any]:
    """What a reader sees, and how it ends."""
    seen: list[str] = []
    while isinstance(step := await world.agent.look(handle), Working):
        if step.text and [step.text] != seen[-1:]:
            seen.append(step.text)
        await world.tick()
    return seen, step


def gets(server: FoundryServer) -> list[str]:
    return [record.path.rpartition("/")[2] for record in server.requests if record.method == "GET"]


async def test_text_is_read_as_it_grows(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Answer("One two three four five")])
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Count", TOOLS))
    assert (await streaming.agent.find(handle.thread_id, mark())).handle == handle
    seen, end = await texts_until_it_rests(streaming, handle)
    assert isinstance(end, Finished)
    assert end.reply == Reply("One two three four five")
    assert len(seen) >= 3
    assert all(later.startswith(earlier) for earlier, later in zip(seen, [*seen[1:], end.reply.text], strict=True))
    assert sorted(gets(server)) == ["asst_1", "messages", "runs", "steps"], "looking along costs no request"
    assert [post.body["stream"] for post in server.requests_to("POST", RUNS)] == [True]


async def test_a_run_that_nobody_reads_is_no_stream(world: FoundryWorld, server: FoundryServer):
    await world.agent.start(await opened(world), Ask(mark(), "Count", TOOLS))
    assert [post.body["stream"] for post in server.requests_to("POST", RUNS)] == [False]


async def test_the_stream_goes_on_after_tools(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Calls([Call("weather", {"city": "Oslo"})]), Answer("It rains in Oslo")])
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Weather?", TOOLS))
    seen, step = await texts_until_it_rests(streaming, handle)
    assert isinstance(step, NeedsTools)
    assert seen == []
    assert await streaming.agent.answer(handle, outputs_of(step)) == handle
    seen, end = await texts_until_it_rests(streaming, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "It rains in Oslo"
    assert len(seen) >= 2
    assert [post.body["stream"] for post in server.requests_to("POST", SUBMIT)] == [True]
    assert "run_" not in "".join(gets(server)), "no look was a request"


async def test_sources_and_files_are_those_of_the_message(streaming: StreamingWorld, server: FoundryServer):
    handbook, chart = server.add_file("handbook.md", b"..."), server.add_file("chart.png", b"png")
    text = "Two weeks 【4:0†source】 of them"
    note = cites(text, "【4:0†source】", "file_citation", file_id=handbook)
    server.rules.delta = 1
    server.model = Script([Answer(text, annotations=[note], parts=[image(chart)])])
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "How long?", TOOLS))
    seen, end = await texts_until_it_rests(streaming, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "Two weeks [1] of them"
    assert [one.title for one in end.reply.citations] == ["handbook.md"]
    assert [file.id for file in end.reply.files] == [chart]
    assert not any("【" in text for text in seen)


def test_a_mark_is_not_shown_while_it_is_written():
    text = "Two weeks【4:0†source】 of【重要】 them"
    shown = [growing(text[:end]) for end in range(len(text) + 1)]
    assert not any("†" in one for one in shown)
    assert shown[-1] == "Two weeks of【重要】 them"


async def test_a_refusal_grows_too(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Answer("I will not do that", refused=True)])
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Do it", TOOLS))
    seen, end = await texts_until_it_rests(streaming, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "I will not do that"
    assert seen


BREAKS = [
    Fault("stream_cut"),
    Fault("stream_cut", event="thread.message.delta"),
    Fault("stream_ended"),
    Fault("stream_ended", event="thread.message.delta"),
    Fault("stream_garbled"),
]


def _name(fault: object) -> str | None:
    return f"{fault.kind}-{fault.event}" if isinstance(fault, Fault) else None


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("fault", BREAKS, ids=_name)
async def test_a_stream_that_breaks_is_looked_at(streaming: StreamingWorld, server: FoundryServer, fault: Fault):
    server.inject(Fault(**(fault.body() | {"struck": 0, "count": 1})))
    thread = await opened(streaming)
    handle = await streaming.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    _, end = await texts_until_it_rests(streaming, handle)
    while isinstance(end, Working):
        await streaming.tick()
        end = await streaming.agent.look(handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "You said: Good morning"
    assert len(server.runs_of(thread)) == 1
    assert len(server.messages_of(thread)) == 2


@pytest.mark.invariant("I9")
@pytest.mark.parametrize("fault", BREAKS, ids=_name)
async def test_a_stream_that_breaks_after_tools_is_looked_at(
    streaming: StreamingWorld, server: FoundryServer, fault: Fault
):
    thread = await opened(streaming)
    ask = Ask(mark(), streaming.asking_for([OSLO], [OSLO]), TOOLS)
    handle = await streaming.agent.start(thread, ask)
    step = await until_it_waits(streaming, handle)
    assert isinstance(step, NeedsTools)
    server.inject(Fault(**(fault.body() | {"struck": 0, "count": 1, "path": SUBMIT})))
    await streaming.agent.answer(handle, outputs_of(step))
    second = await until_it_waits(streaming, handle)
    assert isinstance(second, NeedsTools)
    assert second.calls[0].id != step.calls[0].id
    assert isinstance(await to_the_end(streaming, handle), Finished)


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("fault", [Fault("cut", when="after"), Fault("malformed", when="after")], ids=_name)
async def test_a_run_whose_stream_never_came_is_found(streaming: StreamingWorld, server: FoundryServer, fault: Fault):
    thread = await opened(streaming)
    server.inject(Fault(**(fault.body() | {"method": "POST", "path": RUNS})))
    with pytest.raises(ServiceUnavailable):
        await streaming.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    handle = (await streaming.agent.find(thread, mark())).handle
    assert handle is not None
    assert isinstance(await to_the_end(streaming, handle), Finished)
    assert len(server.messages_of(thread)) == 2


async def test_an_error_in_the_stream_is_asked_about(streaming: StreamingWorld, server: FoundryServer):
    server.inject(
        Fault("stream_error", event="thread.run.in_progress", code="rate_limit_exceeded", message="Slow down.")
    )
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Good morning", TOOLS))
    assert await until_it_waits(streaming, handle) == Stopped("failed", "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ({"type": "invalid_request_error", "message": "Thread t already has an active run run_1."}, RunActive),
        ({"type": "invalid_request_error", "message": "Nonsense"}, RequestRefused),
        ({"type": "server_error", "message": "Sorry"}, ServiceUnavailable),
    ],
)
async def test_an_error_in_place_of_the_run(
    streaming: StreamingWorld, monkeypatch: pytest.MonkeyPatch, error: dict[str, str], raised: type[Exception]
):
    monkeypatch.setattr("tests.foundry.sources.RunSource.frame", lambda self, _: error_frame({"error": error}))
    with pytest.raises(raised):
        await streaming.agent.start(await opened(streaming), Ask(mark(), "Good morning", TOOLS))


def error_frame(data: dict[str, Any]) -> bytes:
    return b"event: error\ndata: " + str(data).replace("'", '"').encode() + b"\n\n"


@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
async def test_events_come_in_any_pieces(streaming: StreamingWorld, monkeypatch: pytest.MonkeyPatch, ends: bytes):
    whole = "tests.foundry.stream._write"

    async def in_pieces(stream: Any, frame: bytes) -> None:
        for byte in (b": a comment\n\n" + frame).replace(b"\n", ends):
            await stream.write(bytes([byte]))

    monkeypatch.setattr(whole, in_pieces)
    streaming.server.model = Script([Answer("Grüße 【4:0†source】!")])
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Good morning", TOOLS))
    _, end = await texts_until_it_rests(streaming, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "Grüße!"
    assert "run_" not in "".join(gets(streaming.server)), "no look was a request"


@pytest.mark.invariant("I9")
async def test_a_refused_submission_is_looked_at(streaming: StreamingWorld, server: FoundryServer):
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), streaming.asking_for([OSLO]), TOOLS))
    step = await until_it_waits(streaming, handle)
    assert isinstance(step, NeedsTools)
    server.clock.advance(40_000)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RequestRefused):
        await streaming.agent.answer(handle, outputs_of(step))
    assert await streaming.agent.look(handle) == Stopped("expired"), "not the calls that were read before"


@pytest.mark.invariant("I8")
async def test_cancelling_leaves_the_stream(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Answer("One two three four five")])
    thread = await opened(streaming)
    handle = await streaming.agent.start(thread, Ask(mark(), "Count", TOOLS))
    while not getattr(await streaming.agent.look(handle), "text", ""):
        await streaming.tick()
    await streaming.agent.cancel(handle)
    assert await until_it_waits(streaming, handle) == Stopped("cancelled")
    assert await streaming.agent.active(thread) is None
    assert [message.role for message in server.messages_of(thread)] == ["user"]


async def test_a_failed_run_says_so(streaming: StreamingWorld, server: FoundryServer):
    message = "Rate limit is exceeded. Try again in 22 seconds."
    server.inject(Fault("run_failed", code="rate_limit_exceeded", message=message))
    handle = await streaming.agent.start(await opened(streaming), Ask(mark(), "Good morning", TOOLS))
    assert await until_it_waits(streaming, handle) == Stopped("failed", "rate_limit_exceeded", 22.0)


async def test_a_reader_that_is_closed_leaves_the_run(make: Make, server: FoundryServer):
    agent = await make()
    thread = await agent.open_thread(Carried(), mark())
    handle = await agent.start(thread, Ask(mark(), "Good morning", TOOLS, stream=True))
    await agent.close()
    other = await make()
    assert await other.find(thread, mark()) == Found(handle)
    server.clock.advance(5)  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(await other.look(handle), Finished)


@pytest.mark.parametrize("fault", [None, Fault("stream_cut", event="thread.message.delta")], ids=_name)
async def test_the_whole_bot_with_everything(tmp_path: Path, fault: Fault | None):
    """A picture and a document go in; what comes back grows, with a tool, a source and a file."""
    toolbox, channel, clock = FakeToolbox(), RecordingChannel(), FastClock()
    toolbox.add("measure", lambda *_: "4 m")
    channel.streams, channel.shows = True, frozenset({"files", "citations"})
    # The bot's clock runs ahead with each look at a run that is not read along any more.
    rules = Rules(delta=0.0 if fault else 0.02)
    async with FoundryServer(clock=RealClock(), rules=rules) as server:
        server.add_assistant(assistant_id="asst_1")
        table = server.add_file("sums.csv", b"a,b")
        text = "Four metres【1†law】 of seven, as in [the table](sandbox:/mnt/data/sums.csv)"
        notes = [
            cites(text, "【1†law】", "url_citation", url="https://law.gov", title="The law"),
            cites(text, "sandbox:/mnt/data/sums.csv", "file_path", file_id=table),
        ]
        server.model = Script([Calls([Call("measure")]), Answer(text, annotations=notes)])
        if fault:
            server.inject(Fault(**(fault.body() | {"path": SUBMIT})))
        agent = await foundry_classic.create(settings_for(server), clock=clock)
        asked = replace(message("how long?"), attachments=(_attached(PNG), _attached(PDF)))
        async with open_world(tmp_path, agent=agent, clock=clock, toolbox=toolbox, channel=channel) as world:
            await world.bot.accept(asked)
            await world.answers(2)
        await agent.close()
        words, file = (part for _, part in channel.sent)
        assert words.text == "Four metres [1] of seven, as in the table"
        assert words.citations == (Citation("[1]", "The law", "https://law.gov"),)
        assert file.file == File("sums.csv", "text/csv", b"a,b")
        [thread] = server.state.threads
        [sent, _] = server.messages_of(thread)
        assert (len(sent.content), len(sent.attachments)) == (2, 1)
        assert [len(server.requests_to("POST", path)) for path in ("/files", RUNS, SUBMIT)] == [2, 1, 1]
        assert fault or len(set(channel.shown)) >= 3
        assert not any("【" in shown for shown in channel.shown)


def _attached(file: File) -> Attachment:
    return Attachment(file.name, file.content_type, len(file.data), b64encode(file.data).decode())


async def test_it_streams_in_real_time():
    async with FoundryServer(clock=RealClock(), rules=Rules(queue=0.01, work=0.01, delta=0.02)) as server:
        server.add_assistant(assistant_id="asst_1")
        server.model = Script([Answer("One two three four five six seven")])
        agent = await foundry_classic.create(settings_for(server), clock=StillClock())
        thread = await agent.open_thread(Carried(), mark())
        handle = await agent.start(thread, Ask(mark(), "Count", TOOLS, stream=True))
        seen: list[str] = []
        while isinstance(step := await agent.look(handle), Working):
            seen.append(step.text)
            await agent.changed(handle, 1)
        await agent.close()
    assert isinstance(step, Finished)
    assert len(set(seen)) >= 3
