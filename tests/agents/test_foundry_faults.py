"""The new client where the service fails: refusals, broken streams, responses that cannot be looked at, no token."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from bot.agents import azure, responses
from bot.errors import (
    OperatorError,
    RequestRefused,
    RunActive,
    RunGone,
    ServiceBusy,
    ServiceUnavailable,
    ThreadkeeperError,
)
from bot.events import RunStarted
from bot.types import Ask, Carried, Finished, Found, Handle, NeedsTools, Step, Stopped, Working
from tests.agents.new_foundry import (
    CONVERSATIONS,
    ITEMS,
    RESPONSES,
    FoundryWorld,
    Make,
    StreamingWorld,
    opened_agents,
    opened_server,
    strikes,
)
from tests.contracts.agent import OSLO, TOOLS, mark, outputs_of, to_the_end, until_it_waits, waiting
from tests.foundry import Fault, FoundryServer, ManualClock
from tests.scenarios.services import opened_service
from tests.world import RecordingChannel, open_world

RETRIEVE = RESPONSES + "/*"


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


@pytest_asyncio.fixture
async def world(make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
    return FoundryWorld(await make(), server, server_clock)


@pytest_asyncio.fixture
async def streaming(make: Make, server: FoundryServer, server_clock: ManualClock) -> StreamingWorld:
    return StreamingWorld(await make(), server, server_clock)


# -- a request that fails -------------------------------------------------------------------------------------

FAILURES = [
    (Fault("status", status=429, retry_after=7), ServiceBusy, 7.0),
    (Fault("status", status=429), ServiceBusy, None),
    (Fault("status", status=408), ServiceUnavailable, None),
    (Fault("status", status=409), ServiceUnavailable, None),
    (Fault("status", status=500), ServiceUnavailable, None),
    (Fault("status", status=500, when="after"), ServiceUnavailable, None),
    (Fault("status", status=502), ServiceUnavailable, None),
    (Fault("status", status=503, retry_after=3), ServiceUnavailable, 3.0),
    (Fault("status", status=504), ServiceUnavailable, None),
    (Fault("cut"), ServiceUnavailable, None),
    (Fault("cut", when="after"), ServiceUnavailable, None),
    (Fault("malformed"), ServiceUnavailable, None),
    (Fault("malformed", when="after"), ServiceUnavailable, None),
    (Fault("unauthorized"), OperatorError, None),
    (Fault("permission_denied"), OperatorError, None),
    (Fault("forbidden"), OperatorError, None),
    (Fault("status", status=400, code="content_filter"), RequestRefused, None),
    (Fault("status", status=400, code="context_length_exceeded"), RequestRefused, None),
    (Fault("status", status=413), RequestRefused, None),
]


def _name(value: object) -> str | None:
    return f"{value.kind}-{value.status}-{value.code}-{value.when}" if isinstance(value, Fault) else None


@pytest.mark.parametrize("form", [FoundryWorld, StreamingWorld])
@pytest.mark.parametrize(("fault", "expected", "wait"), FAILURES, ids=_name)
@pytest.mark.invariant("I4")
async def test_a_failed_post_is_sent_once(
    make: Make,
    server: FoundryServer,
    server_clock: ManualClock,
    form: type[FoundryWorld],
    fault: Fault,
    expected: type[Exception],
    wait: float | None,
):
    world = form(await make(), server, server_clock)
    thread = await world.opened()
    server.inject(strikes(fault, method="POST", path=RESPONSES))
    with pytest.raises(expected) as raised:
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    assert len(server.requests_to("POST", RESPONSES)) == 1
    assert getattr(raised.value, "retry_after", None) == wait
    server.faults.clear()
    done = fault.when == "after"
    assert len(server.responses_of(thread)) == done
    if done:
        server_clock.advance(2)
        await world.agent.look(Handle(thread, server.responses_of(thread)[0].id))
    found = await world.agent.find(thread, mark())
    assert (found.handle is not None) == done, "what was done is found, what was not is not"


@pytest.mark.invariant("I4")
async def test_a_slow_start_is_given_up_and_found_later(world: FoundryWorld, server: FoundryServer, make: Make):
    thread = await world.opened()
    await to_the_end(world, await world.agent.start(thread, Ask(mark(turn="0"), "Warm up", TOOLS)))
    hasty = await make(post_seconds=0.5)
    assert hasty.start_timeout == 0.5
    for stream in (False, True):
        server.inject(Fault("slow", method="POST", path=RESPONSES, seconds=60))
        with pytest.raises(ServiceUnavailable, match=r"within 0\.5 s"):
            await hasty.start(thread, Ask(mark(), "Good morning", TOOLS, stream=stream))
    assert await world.agent.find(thread, mark()) == Found()
    assert len(server.requests_to("POST", RESPONSES)) == 3


@pytest.mark.parametrize("fault", [Fault("status", status=500), Fault("cut"), Fault("malformed")], ids=_name)
async def test_a_failed_look_can_be_made_again(world: FoundryWorld, server: FoundryServer, fault: Fault):
    handle = await world.started()
    server.inject(strikes(fault, method="GET", path=RETRIEVE))
    with pytest.raises(ServiceUnavailable):
        await world.agent.look(handle)
    server.faults.clear()
    assert isinstance(await to_the_end(world, handle), Finished)


async def test_a_service_that_is_down_is_unavailable(world: FoundryWorld, server: FoundryServer):
    handle = await world.started()
    await server.stop()
    for request in (world.agent.look(handle), world.agent.cancel(handle), world.opened()):
        with pytest.raises(ServiceUnavailable):
            await request
    await server.start()
    assert isinstance(await to_the_end(world, handle), Finished)


async def test_a_response_that_was_deleted_is_gone(world: FoundryWorld, server: FoundryServer):
    handle = await world.started()
    server.project.responses.clear()
    with pytest.raises(RunGone):
        await world.agent.look(handle)
    await world.agent.cancel(handle)


# -- what a proxy says ----------------------------------------------------------------------------------------


@asynccontextmanager
async def proxy(status: int, headers: dict[str, str]) -> AsyncGenerator[tuple[str, list[str]]]:
    """Answers every request with a page; its address, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.headers.get('Authorization')}")
        return web.Response(status=status, text="<html>secret-looking page</html>", headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/projects/p", asked
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {"Content-Type": "text/html"}, ServiceUnavailable),
        (302, {"Location": "http://127.0.0.1:9/elsewhere"}, ServiceUnavailable),
        (400, {"Content-Type": "text/html"}, RequestRefused),
        (403, {"Content-Type": "text/html"}, OperatorError),
        (404, {"Content-Type": "text/html"}, OperatorError),
        (502, {"Content-Type": "text/html", "Retry-After": "4"}, ServiceUnavailable),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.invariant("I13")
async def test_a_page_of_a_proxy_is_read_by_its_status(
    make: Make, status: int, headers: dict[str, str], expected: type[Exception], streamed: bool
):
    async with proxy(status, headers) as (endpoint, asked):
        agent = await make(project_endpoint=endpoint)
        with pytest.raises(expected) as opening:
            await agent.open_thread(Carried(), mark())
        with pytest.raises(expected) as starting:
            await agent.start("conv_1", Ask(mark(), "my pin is swordfish", stream=streamed))
        for raised in (opening, starting):
            assert getattr(raised.value, "retry_after", None) == (4 if status == 502 else None)
            assert_plain(raised.value, endpoint)
        assert sum(one.startswith("POST") for one in asked) == 2


# -- streams that break ---------------------------------------------------------------------------------------

BREAKS = ["stream_cut", "stream_ended", "stream_garbled", "stream_stalled"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that says nothing is given up soon; its server stands still meanwhile."""
    monkeypatch.setattr(responses, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(responses, "THOUGHT_SECONDS", 0.3)


async def until_it_broke(world: StreamingWorld, handle: Handle) -> None:
    """The fault has struck the stream, and its reader has noticed."""
    while not any(record.fault for record in world.server.requests):
        await world.tick()
    looks = len(world.server.requests_to("GET", RETRIEVE))
    while len(world.server.requests_to("GET", RETRIEVE)) == looks:
        await world.agent.changed(handle, 0)
        await world.agent.look(handle)


async def test_the_id_is_known_when_the_response_begins(streaming: StreamingWorld, server: FoundryServer):
    handle = await streaming.started()
    [response] = server.responses_of(handle.thread_id)
    assert handle.run_id == response.id
    assert response.active
    assert isinstance(await streaming.agent.look(handle), Working)
    assert server.requests_to("GET", RETRIEVE) == [], "what is read along needs no look"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [*BREAKS, "stream_error"])
@pytest.mark.parametrize("at", [{"events": 1}, {"event": "response.output_text.delta"}])
async def test_a_broken_stream_falls_back_to_looking(
    streaming: StreamingWorld, server: FoundryServer, kind: Any, at: dict[str, Any]
):
    server.inject(Fault(kind, method="POST", path=RESPONSES, seconds=3600, **at))
    handle = await streaming.started("Good morning to all")
    await until_it_broke(streaming, handle)
    end = await to_the_end(streaming, handle)
    if kind == "stream_error":
        assert end == Stopped("failed", "server_error")
    else:
        assert isinstance(end, Finished)
        assert end.reply.text == "You said: Good morning to all"
    assert len(server.requests_to("POST", RESPONSES)) == 1
    assert server.requests_to("GET", RETRIEVE)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.invariant("I4")
async def test_in_the_foreground_a_broken_stream_is_worth_another_attempt(
    streaming: StreamingWorld, server: FoundryServer, make: Make, kind: Any
):
    server.switches.background = False
    server.inject(Fault(kind, method="POST", path=RESPONSES, seconds=3600, events=3, skip=0))
    handle = await streaming.started()
    await until_it_broke(streaming, handle)
    assert await until_it_waits(streaming, handle) == Stopped("cut", "server_error")
    assert await (await make()).look(handle) == Stopped("cut", "server_error"), "whoever looks"
    assert await streaming.agent.find(handle.thread_id, mark()) == Found()
    again = Ask(mark(attempt="1"), "Good morning", TOOLS, held=True)
    assert isinstance(await to_the_end(streaming, await streaming.agent.start(handle.thread_id, again)), Finished)
    assert [said.role for said in await streaming.agent.history(handle.thread_id, 10)] == ["user", "assistant"]


async def test_a_foreground_response_whose_reader_has_gone(
    streaming: StreamingWorld, server: FoundryServer, make: Make
):
    server.switches.background = False
    handle = await streaming.started()
    await streaming.agent.close()
    other = await make()
    with suppress(TimeoutError):
        await server.until(lambda: not server.responses_of(handle.thread_id)[0].active)
    assert await other.look(handle) == Stopped("cut", "server_error")


async def test_a_foreground_response_that_is_cancelled_is_no_cut_one(streaming: StreamingWorld, server: FoundryServer):
    server.switches.background = False
    handle = await streaming.started()
    await streaming.agent.cancel(handle)
    assert await until_it_waits(streaming, handle) == Stopped("cancelled")
    assert server.requests_to("POST", RETRIEVE + "/cancel") == [], "it would be refused"


@pytest.mark.invariant("I4")
async def test_a_foreground_response_that_goes_on_unread_is_looked_at(
    streaming: StreamingWorld, server: FoundryServer, server_clock: ManualClock, make: Make
):
    server.switches.background = server.switches.drop_cancels = False
    handle = await streaming.started(streaming.asking_for([OSLO]))
    await streaming.agent.close()
    world = FoundryWorld(await make(), server, server_clock)
    with pytest.raises(RunActive):
        await world.agent.start(handle.thread_id, Ask(mark(), "Good morning", TOOLS))
    assert isinstance(await until_it_waits(world, handle), NeedsTools)
    assert (await world.agent.find(handle.thread_id, mark())).handle == handle


@pytest.mark.parametrize("kind", ["stream_cut", "stream_ended", "stream_error"])
@pytest.mark.invariant("I5")
async def test_a_turn_survives_a_broken_stream_in_the_foreground(tmp_path: Path, kind: str):
    channel = RecordingChannel()
    channel.streams = True
    async with opened_service("foundry foreground", tmp_path) as service:
        service.start_fails(kind, events=3)
        async with open_world(tmp_path, **service.overrides, channel=channel) as world:
            assert await world.ask("good morning") == "You said: good morning"
            assert [event.attempt for event in world.of(RunStarted)] == ["run-0", "run-1"]
        [thread] = service.threads()
        assert service.roles(thread) == ["user", "assistant"]


@pytest.mark.parametrize("looks", [1, 3, 4, 6, 7])
@pytest.mark.invariant("I4")
async def test_a_lost_response_that_ends_while_it_is_waited_for_is_not_made_again(
    tmp_path: Path, server: FoundryServer, server_clock: ManualClock, looks: int
):
    server.inject(Fault("cut", method="POST", path=RESPONSES, when="after"))
    settings = {"agent_backend": "foundry", "project_endpoint": server.endpoint, "agent_name": "keeper"}
    async with open_world(tmp_path, **settings) as world:
        await world.say("good morning")
        # Not those right before a start: the one gap that no order of requests can close.
        await server.until(lambda: len(server.requests_to("GET", ITEMS)) >= looks)
        server_clock.advance(10)
        assert await world.answers(1) == ["You said: good morning"]
    [conversation] = server.project.conversations
    assert len(server.responses_of(conversation)) == 1


# -- operations that the service has, and that answer 500 -----------------------------------------------------


async def looked(world: FoundryWorld, handle: Handle) -> Step:
    """Look until it rests; a look that fails is made again."""
    for _ in range(20):
        with suppress(ServiceUnavailable):
            step = await world.agent.look(handle)
            if not isinstance(step, Working):
                return step
        await world.tick()
    raise AssertionError("still working")


@pytest.mark.parametrize("ready", [False, True])
async def test_where_no_response_can_be_looked_at_its_items_are(
    world: FoundryWorld, server: FoundryServer, ready: bool
):
    server.switches.broken = ["retrieve"]
    server.rules.queue = server.rules.work = 0 if ready else 3
    handle = await world.started(world.asking_for([OSLO]))
    step = await looked(world, handle)
    assert isinstance(step, NeedsTools)
    assert [call.name for call in step.calls] == ["weather"]
    end = await looked(world, await world.agent.answer(handle, outputs_of(step)))
    assert isinstance(end, Finished)
    assert "weather of Oslo" in end.reply.text
    assert len(server.requests_to("GET", RETRIEVE)) <= responses.BLIND_AFTER


async def test_whoever_is_blind_looks_again_some_day(
    world: FoundryWorld, server: FoundryServer, monkeypatch: pytest.MonkeyPatch, make: Make
):
    for seconds, asked in ((300.0, responses.BLIND_AFTER), (0.0, responses.BLIND_AFTER + 2)):
        monkeypatch.setattr(responses, "BLIND_SECONDS", seconds)
        agent = await make()
        server.switches.broken = []
        thread = await agent.open_thread(Carried(), mark())
        handle = await agent.start(thread, Ask(mark(), "Good morning", TOOLS))
        await to_the_end(world, handle)
        before = len(server.requests_to("GET", RETRIEVE))
        server.switches.broken = ["retrieve"]
        for _ in range(asked):
            assert isinstance(await agent.look(handle), Finished)
        server.switches.broken = []
        assert isinstance(await agent.look(handle), Finished)
        assert len(server.requests_to("GET", RETRIEVE)) - before == asked + (seconds == 0)


async def test_a_service_that_is_down_makes_nobody_blind(world: FoundryWorld, server: FoundryServer):
    handle = await world.started()
    server.inject(Fault("status", status=503, path="/**", count=None))
    for _ in range(5):
        with pytest.raises(ServiceUnavailable):
            await world.agent.look(handle)
    server.faults.clear()
    assert isinstance(await world.agent.look(handle), Working)


@pytest.mark.parametrize("broken", [["cancel"], ["cancel", "retrieve"], ["retrieve"]])
@pytest.mark.invariant("I8")
async def test_a_response_that_cannot_be_cancelled_leaves_the_conversation_usable(
    world: FoundryWorld, server: FoundryServer, broken: list[Any]
):
    handle, _ = await waiting(world, await world.opened(), mark())
    server.switches.broken = broken
    await world.agent.cancel(handle)
    assert await looked(world, handle) == Stopped("cancelled")
    assert await world.agent.active(handle.thread_id) is None
    assert await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "And now?", TOOLS))


@pytest.mark.invariant("I4")
async def test_where_no_response_can_be_looked_at_a_lost_id_is_not_found(world: FoundryWorld, server: FoundryServer):
    """The weaker form: nothing else than the response bears the mark."""
    handle = await world.started()
    await to_the_end(world, handle)
    server.switches.broken = ["retrieve"]
    for _ in range(responses.BLIND_AFTER):
        with pytest.raises(ServiceUnavailable):
            await world.agent.find(handle.thread_id, mark())
    assert await world.agent.find(handle.thread_id, mark()) == Found()


# -- who we are, and what is said of it -----------------------------------------------------------------------


class Credential:
    """Hands out one token, or fails."""

    def __init__(self, token: str = "any", failure: Exception | None = None) -> None:
        self.token = token
        self.failure = failure
        self.asked = 0
        self.closed = 0

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (azure.SCOPE,)
        self.asked += 1
        if self.failure:
            raise self.failure
        return AccessToken(self.token, 2**31)

    async def close(self) -> None:
        self.closed += 1


def assert_plain(raised: BaseException, *secrets: str) -> None:
    """Nothing of the service's words, of an address or a token, in the error or in what it hangs on."""
    error: BaseException | None = raised
    while error is not None:
        assert isinstance(error, ThreadkeeperError)
        told = f"{error} {error.args} {getattr(error, 'cure', '')}"
        held = repr({name: value for name, value in vars(error).items() if name != "words"})
        for secret in ("swordfish", "secret", "127.0.0.1", "http:", *secrets):
            assert secret not in told
            assert secret not in held
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__


@pytest.mark.invariant("I16")
@pytest.mark.parametrize("failure", [ClientAuthenticationError("AADSTS"), CredentialUnavailableError("no IMDS")])
@pytest.mark.parametrize("streamed", [False, True])
async def test_without_a_token_an_operator_must_act(
    make: Make, server: FoundryServer, failure: Exception, streamed: bool
):
    agent = await make(credential=Credential(failure=failure))
    asked = (agent.open_thread(Carried(), mark()), agent.start("conv_1", Ask(mark(), "Hello", stream=streamed)))
    for request in asked:
        with pytest.raises(OperatorError, match="AZURE_CLIENT_ID") as raised:
            await request
        assert_plain(raised.value, "AADSTS", "IMDS")
    assert server.requests == []


@pytest.mark.invariant("I16")
@pytest.mark.parametrize("kind", ["unauthorized", "permission_denied", "forbidden"])
async def test_without_a_right_the_role_is_named(world: FoundryWorld, server: FoundryServer, kind: Any):
    server.inject(Fault(kind))
    with pytest.raises(OperatorError, match="Foundry User") as raised:
        await world.opened()
    assert_plain(raised.value)


@pytest.mark.parametrize("status", [400, 403, 404, 408, 429, 500])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.invariant("I13")
async def test_errors_hold_no_words_and_no_token(
    make: Make, server: FoundryServer, caplog: pytest.LogCaptureFixture, status: int, streamed: bool
):
    agent = await make(credential=Credential("very-secret"))
    thread = await agent.open_thread(Carried(), mark())
    words = "You said: my pin is swordfish"
    caplog.set_level(logging.DEBUG, "threadkeeper")
    server.inject(Fault("status", status=status, message=words, method="POST", path=RESPONSES))
    with pytest.raises(ThreadkeeperError) as raised:
        await agent.start(thread, Ask(mark(), "my pin is swordfish", TOOLS, stream=streamed))
    assert_plain(raised.value)
    assert "swordfish" not in caplog.text


async def test_what_is_given_is_made_once_and_closed(make: Make, server: FoundryServer, server_clock: ManualClock):
    credential = Credential()
    world = FoundryWorld(await make(credential=credential), server, server_clock)
    thread = await world.opened()
    for turn in range(5):
        await to_the_end(world, await world.agent.start(thread, Ask(mark(str(turn)), "Good morning", TOOLS)))
    assert credential.asked == 1, "a token is kept until it is old"
    streamed = await world.agent.start(thread, Ask(mark("9"), "Good evening", TOOLS, stream=True))
    await world.agent.close()
    assert credential.closed == 1
    assert streamed.run_id in server.project.responses
    assert not [task for task in asyncio.all_tasks() if "Live" in repr(task.get_coro())]


CONSOLE = """
import asyncio, sys
from bot.agents import foundry
from bot.settings import load
from bot.types import Ask, Carried, RunMark
from tests.agents.new_foundry import StillClock

async def main(endpoint):
    settings = load(None, agent_backend="foundry", agent_name="keeper", project_endpoint=endpoint)
    mark = RunMark("1", "0", "7F3K-2Q")
    agent = await foundry.create(settings, clock=StillClock())
    await agent.mismatch(())
    thread = await agent.open_thread(Carried(summary="my pin is swordfish"), mark)
    for stream in (False, True):
        try:
            await agent.start(thread, Ask(mark, "my pin is swordfish", stream=stream))
        except Exception as error:
            print(type(error).__name__)
    await agent.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.invariant("I13")
async def test_no_variable_makes_the_sdk_print_what_is_said(server: FoundryServer):
    environ = os.environ | {"AZURE_AI_PROJECTS_CONSOLE_LOGGING": "true", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", CONSOLE, server.endpoint]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "RunActive\n"
    assert done.stderr == ""
    assert len(server.requests_to("POST", CONVERSATIONS)) == 1
    assert server.requests_to("GET", ITEMS) == []
