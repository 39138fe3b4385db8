"""The new client beyond plain text: sources, files both ways, refusals, and text as it grows."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.agents import foundry
from bot.agents.foundry import FoundryAgent
from bot.errors import RequestRefused, ServiceUnavailable
from bot.types import (
    Ask,
    Attachment,
    Citation,
    File,
    Finished,
    NeedsTools,
    RemoteFile,
    Reply,
    Said,
    Stopped,
    Working,
)
from tests.agents.new_foundry import (
    RESPONSES,
    FoundryWorld,
    Make,
    StreamingWorld,
    opened_agents,
    opened_server,
)
from tests.contracts.agent import OSLO, TOOLS, mark, outputs_of, to_the_end
from tests.foundry import Answer, Call, Calls, Fault, FoundryServer, Incomplete, ManualClock, Script, picture

PDF = File("handbook.pdf", "application/pdf", b"%PDF-1.7 the handbook")
CSV = File("figures.csv", "text/csv; charset=utf-8", b"month,sum\n1,2\n\xff")
PNG = File("plan.png", "image/png", b"\x89PNG the plan")


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(server_clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with opened_server(server_clock) as server:
        yield server


@pytest_asyncio.fixture
async def make(server: FoundryServer) -> AsyncIterator[Make]:
    async with opened_agents(server) as make:
        yield make


@pytest_asyncio.fixture(params=[FoundryWorld, StreamingWorld])
async def world(
    request: pytest.FixtureRequest, make: Make, server: FoundryServer, server_clock: ManualClock
) -> FoundryWorld:
    return request.param(await make(), server, server_clock)


@pytest_asyncio.fixture
async def streaming(make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
    return StreamingWorld(await make(), server, server_clock)


def cites(text: str, words: str, kind: str, **source: Any) -> dict[str, Any]:
    start = text.index(words)
    return {"type": kind, "start_index": start, "end_index": start + len(words), **source}


# -- what comes back ------------------------------------------------------------------------------------------


async def test_sources_stand_as_marks_that_a_chat_can_show(world: FoundryWorld):
    text = "Two weeks【4:0†source】, see the law【4:1†law.gov】. Always【4:0†source】!【重要】【9:9†source】"
    file = {"type": "file_citation", "file_id": "file_1", "filename": "handbook.md"}
    reply = await world.answered(
        Answer(
            text,
            annotations=[
                file | {"index": text.index("【4:0")},
                cites(text, "【4:1†law.gov】", "url_citation", url="https://law.gov/1", title="The law"),
            ],
        )
    )
    assert reply.text.startswith("Two weeks")
    assert "see the law [2]" in reply.text
    assert "【4" not in reply.text
    assert "【9" not in reply.text
    assert reply.text.endswith("【重要】")
    assert reply.citations == (Citation("[1]", "handbook.md"), Citation("[2]", "The law", "https://law.gov/1"))


async def test_an_address_in_the_text_keeps_its_words(world: FoundryWorld):
    text = "As [the law](https://law.gov/1) says."
    note = cites(text, "[the law](https://law.gov/1)", "url_citation", url="https://law.gov/1", title="The law")
    reply = await world.answered(Answer(text, annotations=[note]))
    assert reply.text == "As [the law](https://law.gov/1) [1] says."


@pytest.mark.parametrize(
    "note",
    [
        {"type": "url_citation"},
        {"type": "file_citation", "index": None, "file_id": None},
        {"type": "container_file_citation"},
        {"type": "tomorrows_citation", "start_index": 1},
        {"type": "url_citation", "start_index": 900, "end_index": 2, "url": "https://law.gov/1"},
        {},
    ],
)
async def test_what_is_missing_spoils_no_answer(make: Make, server: FoundryServer, note: dict[str, Any]):
    """The service sends what it likes; the double's own stream would not."""
    agent = await make()
    part = {"type": "output_text", "text": "Rain.", "annotations": [note]}
    message = {"type": "message", "role": "assistant", "content": [part, {"type": "strange"}, None]}
    body = {"status": "completed", "output": [message, {"type": "mcp_call"}, None], "usage": None}
    step = await agent._stood("resp_1", body)
    assert isinstance(step, Finished)
    assert step.reply.text.startswith("Rain.")


async def test_files_of_a_container_come_along(world: FoundryWorld, server: FoundryServer):
    chart = server.add_container_file("cntr_1", "/mnt/data/chart.png", b"png")
    text = "Here: [the chart](sandbox:/mnt/data/chart.png), or sandbox:/mnt/data/chart.png."
    where = {"container_id": "cntr_1", "file_id": chart, "filename": "/mnt/data/chart.png"}
    note = cites(text, "[the chart](sandbox:/mnt/data/chart.png)", "container_file_citation", **where)
    reply = await world.answered(Answer(text, annotations=[note, note]))
    assert reply == Reply(
        "Here: the chart, or chart.png.", files=(RemoteFile(chart, "chart.png", "image/png", "cntr_1"),)
    )
    assert await world.agent.download(reply.files[0]) == b"png"


async def test_a_plain_file_comes_along(world: FoundryWorld, server: FoundryServer):
    table = server.add_file("sums.csv", b"a,b")
    note = {"type": "file_path", "file_id": table, "filename": "sums.csv", "index": 0}
    reply = await world.answered(Answer("The sums.", annotations=[note]))
    assert reply == Reply("The sums.", files=(RemoteFile(table, "sums.csv", "text/csv"),))
    assert await world.agent.download(reply.files[0]) == b"a,b"


async def test_a_picture_alone_is_an_answer(world: FoundryWorld):
    data = b"\xff\xd8 a picture"
    reply = await world.answered(Answer("", items=[picture(b64encode(data).decode(), output_format="jpeg")]))
    assert reply.text == ""
    [file] = reply.files
    assert (file.name, file.content_type) == ("image.jpeg", "image/jpeg")
    assert file.container.startswith("conv_"), "it lies in the conversation"
    assert await world.agent.download(file) == data


async def test_a_refusal_is_text(world: FoundryWorld):
    assert await world.answered(Answer("I can't help with that.", refused=True)) == Reply("I can't help with that.")


async def test_a_search_before_the_answer_is_no_part_of_it(world: FoundryWorld):
    search = {"type": "web_search_call", "action": {"type": "search", "query": "rain"}}
    assert await world.answered(Answer("Rain.", items=[search])) == Reply("Rain.")


async def test_a_filtered_answer_is_none(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Incomplete("content_filter", "I")])
    assert await to_the_end(world, await world.started()) == Stopped("incomplete", "content_filter")


@pytest.mark.parametrize("container", ["", "cntr_1"])
async def test_what_is_gone_or_too_large_is_refused(
    make: Make, server: FoundryServer, monkeypatch: pytest.MonkeyPatch, container: str
):
    agent, data = await make(), b"x" * 200_000
    file_id = server.add_container_file("cntr_1", "a.bin", data) if container else server.add_file("a.bin", data)
    file = RemoteFile(file_id, "a.bin", "", container)
    assert await agent.download(file) == data
    monkeypatch.setattr(foundry, "MOST_BYTES", 100_000)
    with pytest.raises(RequestRefused):
        await agent.download(file)
    with pytest.raises(RequestRefused):
        await agent.download(RemoteFile("gone", "gone.bin", "", container))
    server.inject(Fault("status", status=503, path="/openai/v1/**/content"))
    with pytest.raises(ServiceUnavailable):
        await agent.download(file)


@pytest.mark.parametrize("result", [None, "not base64!", "", b64encode(b"x" * 200).decode()])
async def test_a_picture_that_is_none_is_refused(
    make: Make, server: FoundryServer, server_clock: ManualClock, monkeypatch: pytest.MonkeyPatch, result: Any
):
    world = FoundryWorld(await make(), server, server_clock)
    server.model = Script([Answer("Here.", items=[picture(result)])])
    handle = await world.started()
    await to_the_end(world, handle)
    [item] = [item for item in server.items_of(handle.thread_id) if item.type == "image_generation_call"]
    monkeypatch.setattr(foundry, "MOST_BYTES", 100)
    with pytest.raises(RequestRefused):
        await world.agent.download(RemoteFile(item.id, "image.png", "image/png", handle.thread_id))


async def test_the_history_shows_no_marks(world: FoundryWorld, server: FoundryServer):
    text = "Two weeks【4:0†source】. [Sums](sandbox:/mnt/data/sums.csv)"
    server.model = Script(
        [Answer(text, annotations=[cites(text, "【4:0†source】", "url_citation", url="https://a.b")])]
    )
    handle = await world.started("How long【1†x】?")
    await to_the_end(world, handle)
    assert await world.agent.history(handle.thread_id, 10) == [
        Said("user", "How long【1†x】?"),
        Said("assistant", "Two weeks. Sums"),
    ]


# -- what goes in ---------------------------------------------------------------------------------------------


async def test_files_stand_in_the_message(world: FoundryWorld, server: FoundryServer):
    await world.started("What is this?", files=(PNG, PDF, CSV))
    [post] = server.requests_to("POST", RESPONSES)
    [message] = post.body["input"]
    assert message["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {
            "type": "input_image",
            "image_url": f"data:image/png;base64,{b64encode(PNG.data).decode()}",
            "detail": "auto",
        },
        {
            "type": "input_file",
            "filename": "handbook.pdf",
            "file_data": f"data:application/pdf;base64,{b64encode(PDF.data).decode()}",
        },
        {"type": "input_text", "text": "figures.csv:\n\nmonth,sum\n1,2\n\ufffd"},
    ]


@pytest.mark.invariant("I4")
async def test_a_message_that_the_conversation_holds_takes_its_files_along(world: FoundryWorld, server: FoundryServer):
    server.switches.input_joins = "start"
    server.inject(Fault("run_failed"))
    handle = await world.started("Read it", files=(PDF, CSV))
    await to_the_end(world, handle)
    held = Ask(mark(attempt="1"), "Read it", TOOLS, held=True, files=(PDF, CSV))
    await to_the_end(world, await world.agent.start(handle.thread_id, held))
    assert "input" not in server.requests_to("POST", RESPONSES)[1].body
    assert [said.role for said in await world.agent.history(handle.thread_id, 10)] == ["user", "assistant"]


@pytest.mark.parametrize("files", [(PDF,), (PNG,), (CSV,)])
@pytest.mark.invariant("I4")
async def test_files_need_no_words(world: FoundryWorld, server: FoundryServer, files: tuple[File, ...]):
    server.switches.input_joins = "start"
    server.inject(Fault("run_failed"))
    handle = await world.started("", files=files)
    await to_the_end(world, handle)
    [message] = [item for item in server.items_of(handle.thread_id) if item.type == "message"]
    assert len(message.content["content"]) == 1
    await world.agent.start(handle.thread_id, Ask(mark(attempt="1"), "", TOOLS, held=True, files=files))
    assert "input" not in server.requests_to("POST", RESPONSES)[1].body, "it is there"


def test_what_it_takes():
    takes = FoundryAgent.takes
    for kind, size, fits in [
        ("image/gif", 10 * 1024 * 1024, True),
        ("image/gif", 10 * 1024 * 1024 + 1, False),
        ("text/markdown; charset=utf-8", 100, True),
        ("application/json", 100, True),
        ("application/pdf", 100, True),
        ("image/svg+xml", 100, False),
        ("video/mp4", 100, False),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 100, False),
    ]:
        assert takes.fits(Attachment("a", kind, size, "")) is fits, kind


# -- text as it grows -----------------------------------------------------------------------------------------


async def test_text_grows_to_the_answer(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    handle = await streaming.started("Good morning to all of you")
    seen, step = await streaming.read_along(handle)
    assert isinstance(step, Finished)
    assert step.reply.text == "You said: Good morning to all of you"
    assert len(seen) > 3
    assert all(longer.startswith(shorter) for shorter, longer in zip(seen, [*seen[1:], step.reply.text], strict=True))
    assert [record.method for record in server.requests] == ["POST", "POST"], "nothing else is asked"


async def test_text_grows_in_every_round(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    calls = Calls([Call(OSLO.tool, OSLO.arguments)], text="One moment, please.")
    server.model = Script([calls, Answer("It will rain in Oslo.")])
    handle = await streaming.started()
    seen, step = await streaming.read_along(handle)
    assert isinstance(step, NeedsTools)
    assert seen[-1:] == ["One moment, please."]
    seen, step = await streaming.read_along(await streaming.agent.answer(handle, outputs_of(step)))
    assert isinstance(step, Finished)
    assert seen[0].startswith("It")
    assert step.reply.text == "It will rain in Oslo."
    assert len(server.requests) == 3


async def test_growing_text_shows_no_marks(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Answer("Two weeks 【4:0†a source】 and then some 【重要】 more words.")])
    seen, step = await streaming.read_along(await streaming.started())
    assert isinstance(step, Finished)
    assert not [text for text in seen if "†" in text or text.endswith("【4:0")]


async def test_a_refusal_grows_too(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    server.model = Script([Answer("I cannot help with that.", refused=True)])
    seen, step = await streaming.read_along(await streaming.started())
    assert len(seen) > 2
    assert isinstance(step, Finished)


async def test_whoever_did_not_start_it_looks_by_requests(
    streaming: StreamingWorld, server: FoundryServer, make: Make, server_clock: ManualClock
):
    handle = await streaming.started()
    other = FoundryWorld(await make(), server, server_clock)
    assert isinstance(await other.agent.look(handle), Working)
    server_clock.advance(5)
    assert isinstance(await to_the_end(other, handle), Finished)


async def test_a_reader_who_stops_lets_the_response_end(streaming: StreamingWorld, server: FoundryServer):
    server.rules.delta = 1
    handle = await streaming.started("Good morning to all of you")
    while not (isinstance(step := await streaming.agent.look(handle), Working) and step.text):
        await streaming.tick()
    await streaming.agent.cancel(handle)
    assert isinstance(await to_the_end(streaming, handle), Stopped)
    assert await streaming.agent.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))
