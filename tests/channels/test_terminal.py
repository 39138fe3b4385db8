"""The terminal's side of the local conversation, against the real channel with a scripted bot behind it."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from bot.channels import terminal
from bot.channels.screen import plain
from bot.channels.terminal import chat, joined, typed_lines
from bot.errors import ServiceUnavailable
from bot.events import RunLooked
from bot.types import Asked, Citation, Control, File, Part
from bot.web.app import create_app
from tests.web.local_bot import LocalBot, lane_of, view

ADDRESS = {"conversation": "personal-alex", "person": "alex"}


class Seat:
    """Someone at a terminal: types lines, and reads what is printed."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()
        self.printed = io.StringIO()
        self.console = Console(file=self.printed, width=100, force_terminal=terminal, color_system=None)

    def type(self, *lines: str | None) -> None:
        for line in lines:
            self.lines.put_nowait(line)

    async def typed(self) -> AsyncIterator[str]:
        while (line := await self.lines.get()) is not None:
            yield line

    async def reads(self, text: str) -> None:
        async with asyncio.timeout(5):
            while text not in self.printed.getvalue():
                await asyncio.sleep(0.005)

    def sit(self, server: TestServer, *, wait: bool = False) -> asyncio.Task[None]:
        url = str(server.make_url("/"))
        return asyncio.create_task(
            chat(url, person="alex", console=self.console, lines=self.typed(), wait=wait), name="chat"
        )


@pytest.fixture
def bot() -> LocalBot:
    return LocalBot()


@pytest.fixture
async def server(bot: LocalBot) -> AsyncIterator[TestServer]:
    async with TestServer(bot.app()) as server:
        yield server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "RETRY_SECONDS", 0.02)


async def test_a_turn_is_shown_as_it_happens(bot: LocalBot, server: TestServer) -> None:
    seat = Seat(terminal=True)
    talk = seat.sit(server)
    await seat.reads("No thread yet")
    seat.type("what time is it?")
    message = await bot.said(1)
    bot.start(message, thread="t-1")
    await seat.reads(f"in progress · {bot.reference(message)} · stop interrupts")
    call = bot.call_starts(message, "clock")
    await seat.reads("→ clock running")
    bot.call_ends(message, "clock", call)
    await seat.reads("✓ clock 0.2 s")
    bot.call_ends(message, "crm", bot.call_starts(message, "crm"), "timeout")
    await seat.reads("✗ crm failed: timeout")
    seat.type("stop")  # while it runs
    assert (await bot.said(2)).text == "stop"
    asked = Asked("appr-1", "crm", {}, "Alex")
    delivered = await bot.channel.send(message.address, Part("May I use **crm**?", asks=asked))
    await seat.reads("May I use crm?")
    decided = replace(asked, outcome="_Approved by Alex._")
    await bot.channel.update(message.address, delivered, Part("May I use **crm**? Yes.", asks=decided))
    await seat.reads("Threadkeeper, decided")
    await seat.reads("Approved by Alex.")
    await bot.say(message, "It is **21:04**.", buttons=("retry",), controls=(Control.START_OVER,))
    bot.end(message)
    await seat.reads("It is 21:04.")
    await seat.reads("You can say: retry, start over")
    await seat.reads("answered in 1.2 s")
    seat.type("", "exit")
    await talk
    assert "what time" not in seat.printed.getvalue().split("stop interrupts")[-1], (
        "one's own words come back to nobody"
    )


async def test_it_goes_on_with_the_thread_that_is_there(bot: LocalBot, server: TestServer) -> None:
    opened = 1.0
    bot.views["personal-alex/alex"] = view(
        ("my code is 4711", "noted"), thread="t", opened_at=opened, running="7F3K-2Q"
    )
    await bot.channel.send(ADDRESS, Part("the newest"))
    seat = Seat()
    talk = seat.sit(server)
    await seat.reads("Going on in thread 3 (2 messages, opened")
    await seat.reads("you  my code is 4711")
    await seat.reads("bot  the newest")
    seat.type("quit")
    await talk


async def test_what_is_said_in_another_window_is_shown(bot: LocalBot, server: TestServer) -> None:
    first, second = Seat(), Seat()
    talks = [first.sit(server), second.sit(server)]
    await second.reads("exit (or Ctrl-D)")
    await first.reads("exit (or Ctrl-D)")
    first.type("hello from here")
    await second.reads("you, elsewhere › hello from here")
    message = await bot.said(1)
    delivered = await bot.say(message, "one")
    await bot.channel.update(message.address, delivered, Part("two", by_agent=True))
    await first.reads("Threadkeeper (AI), corrected")
    assert "elsewhere" not in first.printed.getvalue()
    for seat in (first, second):
        seat.type("exit")
    await asyncio.gather(*talks)


async def test_lines_from_a_pipe_are_answered_before_it_leaves(bot: LocalBot, server: TestServer) -> None:
    bot.views["personal-alex/alex"] = view(waiting=1)
    seat = Seat()
    seat.type("hello", None)
    talk = seat.sit(server, wait=True)
    message = await bot.said(1)
    assert not talk.done()
    del bot.views["personal-alex/alex"]
    await bot.answer(message, "the answer")
    async with asyncio.timeout(5):
        await talk
    assert "the answer" in seat.printed.getvalue()


@pytest.mark.invariant("I1")
async def test_a_restart_is_told_and_nothing_is_lost(bot: LocalBot, unused_tcp_port: int) -> None:
    seat = Seat()
    first = TestServer(bot.app(), port=unused_tcp_port)
    await first.start_server()
    talk = seat.sit(first)
    await seat.reads("No thread yet")
    await first.close()
    await seat.reads("The connection is lost; trying again…")
    seat.type("while it was away")
    await seat.reads("Not sent yet; trying again…")
    again = LocalBot()
    async with TestServer(again.app(), port=unused_tcp_port):
        message = await again.said(1)
        await again.answer(message, "answered after")
        await seat.reads("Connected again.")
        await seat.reads("Sent.")
        await seat.reads("answered after")
        assert (len(again.accepted), seat.printed.getvalue().count("answered after")) == (1, 1)
        seat.type("exit")
        await talk


async def test_a_store_that_is_away_for_a_moment_gets_the_message_once(bot: LocalBot, server: TestServer) -> None:
    bot.refusals.append(ServiceUnavailable("down"))
    seat = Seat()
    seat.type("hello", "x" * 100_001, None)
    await seat.sit(server, wait=True)
    assert [message.text for message in bot.accepted] == ["hello"]
    assert "Not taken: text may have 100000 characters" in seat.printed.getvalue()


async def test_an_answer_cannot_command_the_terminal(bot: LocalBot, server: TestServer) -> None:
    seat = Seat()
    talk = seat.sit(server)
    await seat.reads("No thread yet")
    seat.type("go")
    message = await bot.said(1)
    await bot.say(message, "\x1b]0;owned\x07\x1b[2Jsafe\x9b31m [red]markup[/red]")
    bot.tell(RunLooked(bot.reference(message), lane_of(message), "run", "in_progress"))
    await seat.reads("safe")
    await seat.reads("[red]markup[/red]")
    seat.type("exit")
    await talk
    assert not {"\x1b", "\x07", "\x9b"} & set(seat.printed.getvalue())
    assert plain("a\tb\nc\x7f") == "a\tb\nc"


async def test_files_and_sources_are_named_and_what_grows_is_shown_when_it_is_whole(
    bot: LocalBot, server: TestServer
) -> None:
    seat = Seat()
    talk = seat.sit(server)
    await seat.reads("exit (or Ctrl-D)")
    seat.type("draw")
    message = await bot.said(1)
    source = Citation("[1]", "The\x1b[31m\nhandbook", "https://example.org/handbook", "quoted")
    async with bot.channel.working(message.address) as show:
        assert show is not None
        show("Read")
        show("Read this")
        await bot.channel.send(message.address, Part("Read this [1].", by_agent=True, citations=(source,)))
        await bot.give(message, File("chart.png", "image/png", b"png"))
    await seat.reads(f"chart.png: {server.make_url('/local/files/')}")
    await seat.reads("[1] The[31m handbook (https://example.org/handbook)")
    printed = seat.printed.getvalue()
    assert printed.count("Read this") == 1
    address = printed.partition("chart.png: ")[2].split()[0]
    async with aiohttp.ClientSession() as http, http.get(address) as response:
        assert await response.read() == b"png"
    await bot.channel.send(message.address, Part("the last"))
    await seat.reads("the last")
    seat.type("exit")
    await talk


async def test_files_of_another_window_are_named(bot: LocalBot, server: TestServer) -> None:
    seat = Seat()
    talk = seat.sit(server)
    await seat.reads("exit (or Ctrl-D)")
    along = {"name": "plan.png", "content_type": "image/png", "data": "cG5n"}
    body = {"person": "alex", "conversation": "personal", "text": "what is this?", "attachments": [along]}
    async with aiohttp.ClientSession() as http, http.post(server.make_url("/local/messages"), json=body) as response:
        assert response.status == 202
    await seat.reads("you, elsewhere › what is this? [plan.png]")
    await bot.give(bot.accepted[0], File("chart.png", "image/png", b"png"))
    await seat.reads("chart.png: ")
    later = Seat()
    other = later.sit(server)
    await later.reads("you  what is this? [plan.png]")
    await later.reads("bot  [chart.png: ")
    for one in (seat, later):
        one.type("exit")
    await asyncio.gather(talk, other)


async def test_where_nobody_answers_it_says_so(unused_tcp_port: int) -> None:
    seat = Seat()
    address = f"http://127.0.0.1:{unused_tcp_port}"
    assert not await chat(address, person="alex", console=seat.console, lines=seat.typed())
    assert f"Threadkeeper doesn't answer at {address}." in " ".join(seat.printed.getvalue().split())


async def test_a_person_whom_nobody_knows_is_told_who_is_known(server: TestServer) -> None:
    seat = Seat()
    assert not await chat(str(server.make_url("/")), person="eve", console=seat.console, lines=seat.typed())
    assert seat.printed.getvalue().startswith("person must be alex or sam")


async def test_it_joins_only_a_threadkeeper_in_local_mode(server: TestServer, unused_tcp_port: int) -> None:
    async def ready() -> list[str]:
        return []

    assert await joined(str(server.make_url("/")))
    assert not await joined(f"http://127.0.0.1:{unused_tcp_port}")
    for app in (web.Application(), create_app(routes=[], ready=ready, page=False)):
        async with TestServer(app) as other:
            assert not await joined(str(other.make_url("/")))


async def test_typed_lines_arrive_one_by_one_and_the_last_needs_no_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, "first\nsecönd\n\nlast".encode())
    os.close(writing)
    assert [line async for line in typed_lines(reading)] == ["first", "secönd", "", "last"]
    os.close(reading)
