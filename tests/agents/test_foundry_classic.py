"""The classic client against the local Foundry: the contract, and what it makes of every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from bot.agents import azure, foundry_classic
from bot.agents.azure import retry_after
from bot.agents.foundry_classic import FoundryClassicAgent
from bot.errors import OperatorError, RequestRefused, ServiceBusy, ServiceUnavailable, ThreadGone
from bot.ports import Agent
from bot.settings import Settings, load
from bot.types import Ask, Carried, Finished, Found, Handle, NeedsTools, Reply, RunMark, Said, Stopped, Usage, Working
from tests.agents.still import StillClock
from tests.contracts.agent import (
    OSLO,
    TOOLS,
    AgentContract,
    World,
    mark,
    outputs_of,
    to_the_end,
    until_it_waits,
    waiting,
)
from tests.foundry import Answer, Call, Calls, Fault, FoundryServer, Incomplete, ManualClock, Rules, Script
from tests.foundry import Usage as ServerUsage

RUNS = "/threads/*/runs"


class FoundryWorld(World):
    """The client and the local Foundry; its runs take two seconds of a clock that stands still between looks."""

    def __init__(self, agent: Agent, server: FoundryServer, clock: ManualClock) -> None:
        super().__init__(agent)
        self.server = server
        self.clock = clock

    async def tick(self) -> None:
        self.clock.advance(1)

    async def leave_message(self, thread_id: str, mark: RunMark, text: str) -> bool:
        url = f"{self.server.endpoint}/threads/{thread_id}/messages?api-version=v1"
        body = {"role": "user", "content": text, "metadata": mark.metadata()}
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session,
            session.post(url, json=body) as response,
        ):
            assert response.status == 200
        return True

    async def lose_thread(self, thread_id: str) -> None:
        self.server.lose_thread(thread_id)

    def requests(self) -> int:
        return len(self.server.requests)

    def posts(self) -> list[str]:
        return [record.path for record in self.server.requests if record.method == "POST"]


def settings_for(server: FoundryServer, **more: Any) -> Settings:
    given = {"agent_id": "asst_1"} | more
    return load(None, agent_backend="foundry-classic", project_endpoint=server.endpoint, **given)


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(server_clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with FoundryServer(clock=server_clock, rules=Rules(queue=1, work=1, cancel=1)) as server:
        server.add_assistant(assistant_id="asst_1", tools=[{"type": "code_interpreter"}])
        yield server


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


Make = Callable[..., Awaitable[FoundryClassicAgent]]


@pytest_asyncio.fixture
async def make(server: FoundryServer, clock: StillClock) -> AsyncIterator[Make]:
    made: list[FoundryClassicAgent] = []

    async def make(*, credential: Any = None, post_seconds: float = 30.0, **settings: Any) -> FoundryClassicAgent:
        agent = await foundry_classic.create(
            settings_for(server, **settings), clock=clock, credential=credential, post_seconds=post_seconds
        )
        made.append(agent)
        return agent

    yield make
    for agent in made:
        await agent.close()


@pytest_asyncio.fixture
async def world(make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
    return FoundryWorld(await make(), server, server_clock)


class TestContract(AgentContract):
    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        return FoundryWorld(await make(), server, server_clock)


async def opened(world: World) -> str:
    return await world.agent.open_thread(Carried(), mark())


async def started(world: World, text: str = "Good morning") -> Handle:
    return await world.agent.start(await opened(world), Ask(mark(), text, TOOLS))


# -- what is sent ---------------------------------------------------------------------------------------------


async def test_a_run_is_one_request_with_everything_in_it(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS, note="Be brief."))
    [post] = server.requests_to("POST", RUNS)
    assert post.body["assistant_id"] == "asst_1"
    assert post.body["metadata"] == mark().metadata()
    assert post.body["additional_messages"] == [
        {"role": "user", "content": "Good morning", "metadata": mark().metadata()}
    ]
    assert post.body["additional_instructions"] == "Be brief."
    names = [tool.get("function", {}).get("name", tool["type"]) for tool in post.body["tools"]]
    assert names == ["weather", "stock", "code_interpreter"], "ours, and the agent's own"
    assert "tool_choice" not in post.body


async def test_a_run_without_tools_may_call_none(world: FoundryWorld, server: FoundryServer):
    await world.agent.start(await opened(world), Ask(mark(), "Summarise", tools=None))
    [post] = server.requests_to("POST", RUNS)
    assert post.body["tool_choice"] == "none"
    assert "tools" not in post.body


async def test_our_tool_stands_for_the_agents_of_the_same_name(world: FoundryWorld, server: FoundryServer, make: Make):
    server.add_assistant(assistant_id="asst_2", tools=[{"type": "function", "function": {"name": "weather"}}])
    agent = await make(agent_id="asst_2")
    await agent.start(await opened(world), Ask(mark(), "Good morning", TOOLS))
    [post] = server.requests_to("POST", RUNS)
    assert [tool["function"]["name"] for tool in post.body["tools"]] == ["weather", "stock"]


async def test_messages_beyond_what_a_new_thread_takes_are_carried_in_the_first(
    world: FoundryWorld, server: FoundryServer
):
    carried = tuple(Said("user" if n % 2 else "assistant", f"entry {n}") for n in range(40))
    await world.agent.open_thread(Carried(messages=carried), mark())
    [post] = server.requests_to("POST", "/threads")
    messages = post.body["messages"]
    assert len(messages) == foundry_classic.OPENING_MESSAGES
    assert [message["content"] for message in messages[1:]] == [said.text for said in carried[-31:]]
    assert all(said.text in messages[0]["content"] for said in carried[:-31])
    assert post.body["metadata"] == mark().metadata()


async def test_requests_of_a_plain_turn(world: FoundryWorld, server: FoundryServer):
    handle = await started(world)
    await to_the_end(world, handle)
    asked = [
        (record.method, record.path.replace(handle.thread_id, "T").replace(handle.run_id, "R"))
        for record in server.requests
    ]
    assert asked[:3] == [("POST", "/threads"), ("GET", "/assistants/asst_1"), ("POST", "/threads/T/runs")]
    assert asked[3:6] == [("GET", "/threads/T/runs/R")] * 3, "one request a look while it works"
    assert sorted(asked[6:]) == [("GET", "/threads/T/messages"), ("GET", "/threads/T/runs/R/steps")]
    first = world.requests()
    await to_the_end(world, await world.agent.start(handle.thread_id, Ask(mark(turn="2"), "Good evening", TOOLS)))
    assert world.requests() - first == 1 + 3 + 2, "the agent is known by now"


async def test_requests_of_a_turn_with_tools(world: FoundryWorld):
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS)))
    before = world.requests()
    handle, step = await waiting(world, thread, mark(turn="2"))
    await to_the_end(world, await world.agent.answer(handle, outputs_of(step)))
    assert world.requests() - before == 1 + 3 + 1 + 3 + 2, "start, looks, answer, looks, messages and steps"
    assert len(world.posts()) == 1 + 1 + 2


# -- a request that fails -------------------------------------------------------------------------------------

FAILURES = [
    (Fault("status", status=429, retry_after=7), ServiceBusy, 7.0),
    (Fault("status", status=429), ServiceBusy, None),
    (Fault("status", status=408), ServiceUnavailable, None),
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
    (Fault("status", status=413), RequestRefused, None),
]


def _name(value: object) -> str | None:
    return f"{value.kind}-{value.status}-{value.when}" if isinstance(value, Fault) else None


@pytest.mark.parametrize(("fault", "expected", "wait"), FAILURES, ids=_name)
@pytest.mark.invariant("I4")
async def test_a_failed_post_is_sent_once(
    world: FoundryWorld, server: FoundryServer, fault: Fault, expected: type[Exception], wait: float | None
):
    thread = await opened(world)
    own = Fault(**(fault.body() | {"method": "POST", "path": RUNS, "struck": 0, "count": None}))
    server.inject(own)
    with pytest.raises(expected) as raised:
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    assert type(raised.value) is expected or issubclass(type(raised.value), RequestRefused)
    assert len(server.requests_to("POST", RUNS)) == 1
    assert getattr(raised.value, "retry_after", None) == wait
    server.faults.clear()
    found = await world.agent.find(thread, mark())
    assert (found.handle is not None) == (fault.when == "after"), "what was done is found, what was not is not"
    assert len(server.runs_of(thread)) == (1 if fault.when == "after" else 0)


@pytest.mark.parametrize("kind", ["cut", "malformed"])
@pytest.mark.invariant("I4")
async def test_what_was_done_is_found_and_goes_on(world: FoundryWorld, server: FoundryServer, kind: Any):
    thread = await opened(world)
    server.inject(Fault(kind, method="POST", path=RUNS, when="after"))
    with pytest.raises(ServiceUnavailable):
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    handle = (await world.agent.find(thread, mark())).handle
    assert handle is not None
    assert isinstance(await to_the_end(world, handle), Finished)
    assert len(server.messages_of(thread)) == 2


@pytest.mark.invariant("I4")
async def test_a_slow_start_is_given_up_and_found_later(
    world: FoundryWorld, server: FoundryServer, server_clock: ManualClock, make: Make
):
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(turn="0"), "Warm up", TOOLS)))
    hasty = await make(post_seconds=0.5)
    assert hasty.start_timeout == 0.5
    server.inject(Fault("slow", method="POST", path=RUNS, seconds=60))
    with pytest.raises(ServiceUnavailable, match=r"within 0\.5 s"):
        await hasty.start(thread, Ask(mark(), "Good morning", TOOLS))
    assert await world.agent.find(thread, mark()) == Found()
    assert len(server.requests_to("POST", RUNS)) == 2


@pytest.mark.parametrize("fault", [Fault("status", status=500), Fault("cut"), Fault("malformed")], ids=_name)
async def test_a_failed_look_can_be_made_again(world: FoundryWorld, server: FoundryServer, fault: Fault):
    handle = await started(world)
    # For ever, since aiohttp itself asks again where a kept connection was closed under a GET (never under a POST).
    server.inject(Fault(**(fault.body() | {"method": "GET", "path": RUNS + "/*", "count": None})))
    with pytest.raises(ServiceUnavailable):
        await world.agent.look(handle)
    server.faults.clear()
    assert isinstance(await to_the_end(world, handle), Finished)


@pytest.mark.invariant("I9")
async def test_a_submission_that_was_cut_off_is_seen_by_looking(world: FoundryWorld, server: FoundryServer):
    handle, step = await waiting(world, await opened(world), mark())
    server.inject(Fault("cut", method="POST", path=RUNS + "/*/submit_tool_outputs", when="after"))
    with pytest.raises(ServiceUnavailable):
        await world.agent.answer(handle, outputs_of(step))
    assert len(server.requests_to("POST", RUNS + "/*/submit_tool_outputs")) == 1
    with pytest.raises(RequestRefused):
        await world.agent.answer(handle, outputs_of(step))
    assert isinstance(await until_it_waits(world, handle), Finished)


async def test_a_service_that_is_down_is_unavailable(world: FoundryWorld, server: FoundryServer):
    handle = await started(world)
    await server.stop()
    for request in (world.agent.look(handle), world.agent.cancel(handle), opened(world)):
        with pytest.raises(ServiceUnavailable):
            await request
    await server.start()
    assert isinstance(await to_the_end(world, handle), Finished)


async def test_a_page_of_a_proxy_is_read_by_its_status():
    """The SDK would parse the HTML as JSON and lose the status."""

    class Html:
        status_code, reason, headers = 502, "Bad Gateway", {"Retry-After": "4"}

        def text(self) -> str:
            return "<html>secret-looking page</html>"

    async def operation(error_map: dict[int, Any], **_: Any) -> None:
        raise error_map[502](response=Html())

    with pytest.raises(ServiceUnavailable) as raised:
        await azure.request(operation, seconds=1)
    assert raised.value.retry_after == 4
    assert "secret" not in str(raised.value)


@pytest.mark.invariant("I13")
async def test_errors_hold_no_words_and_no_token(make: Make, server: FoundryServer):
    agent = await make(credential=Credential("very-secret"))
    thread = await agent.open_thread(Carried(), mark())
    server.inject(Fault("status", status=400, message="You said: my pin is swordfish", method="POST", path=RUNS))
    with pytest.raises(RequestRefused) as raised:
        await agent.start(thread, Ask(mark(), "my pin is swordfish", TOOLS))
    error: BaseException | None = raised.value
    while error is not None:
        assert "swordfish" not in f"{error} {error.args}"
        assert "very-secret" not in repr(vars(error))
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__


# -- who we are -----------------------------------------------------------------------------------------------


class Credential:
    """Hands out one token, or fails."""

    def __init__(self, token: str = "", failure: Exception | None = None) -> None:
        self.token = token
        self.failure = failure
        self.closed = False

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (azure.SCOPE,)
        if self.failure:
            raise self.failure
        return AccessToken(self.token, 2**31)

    async def close(self) -> None:
        self.closed = True


@pytest.mark.invariant("I16")
@pytest.mark.parametrize("failure", [ClientAuthenticationError("AADSTS"), CredentialUnavailableError("no IMDS")])
async def test_without_a_token_an_operator_must_act(make: Make, server: FoundryServer, failure: Exception):
    agent = await make(credential=Credential(failure=failure))
    with pytest.raises(OperatorError, match="AZURE_CLIENT_ID"):
        await agent.open_thread(Carried(), mark())
    assert server.requests == []


@pytest.mark.invariant("I16")
@pytest.mark.parametrize("kind", ["unauthorized", "permission_denied", "forbidden"])
async def test_without_a_right_the_role_is_named(world: FoundryWorld, server: FoundryServer, kind: Any):
    server.inject(Fault(kind))
    with pytest.raises(OperatorError, match="Foundry User"):
        await opened(world)


async def test_what_is_given_is_closed(make: Make):
    credential = Credential("any")
    agent = await make(credential=credential)
    await agent.open_thread(Carried(), mark())
    await agent.close()
    assert credential.closed


async def test_a_token_goes_over_http_to_this_machine_only():
    async with azure.open_session() as session:
        options = azure.client_options(session, "https://x.services.ai.azure.com/api/projects/p", azure.FixedToken())
        assert "authentication_policy" not in options
    assert azure.is_plain("http://127.0.0.1:1/api")
    assert not azure.is_plain("http://10.0.0.1/api")
    assert not azure.is_plain("https://127.0.0.1/api")


async def test_the_credential_fits_the_environment():
    endpoint = "https://x.services.ai.azure.com/api/projects/p"
    named = {"AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111"}
    for production, environ, expected in [
        (True, named, ManagedIdentityCredential),
        (False, named, DefaultAzureCredential),
        (True, {}, DefaultAzureCredential),
        (True, named | {"AZURE_CLIENT_SECRET": "x"}, DefaultAzureCredential),
    ]:
        credential = azure.credential_for(endpoint, production=production, environ=environ)
        assert type(credential) is expected
        await credential.close()
    assert type(azure.credential_for("http://127.0.0.1:9", production=True)) is azure.FixedToken


# -- the agent ------------------------------------------------------------------------------------------------


async def test_without_an_id_the_agent_is_made_once_and_then_found(make: Make, server: FoundryServer):
    own = {"agent_id": "", "model_deployment_name": "gpt-4o"}
    first, second = await make(**own), await make(**own)
    thread = await first.open_thread(Carried(), mark())
    await first.start(thread, Ask(mark(), "Good morning"))
    other = await second.open_thread(Carried(), mark())
    await second.start(other, Ask(mark(), "Good morning"))
    named = [a for a in server.state.assistants.values() if a.body()["name"] == "threadkeeper"]
    assert [a.body()["model"] for a in named] == ["gpt-4o"]
    assert first.project == second.project


async def test_an_agent_is_found_behind_the_first_page(make: Make, server: FoundryServer):
    for number in range(150):
        server.add_assistant(name=f"other {number}")
    server.add_assistant(name="threadkeeper", model="gpt-4o", assistant_id="asst_last")
    agent = await make(agent_id="", model_deployment_name="gpt-4o")
    await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    [post] = server.requests_to("POST", RUNS)
    assert post.body["assistant_id"] == "asst_last"


async def test_an_agent_of_ours_that_was_deleted_is_made_again(make: Make, server: FoundryServer):
    agent = await make(agent_id="", model_deployment_name="gpt-4o")
    thread = await agent.open_thread(Carried(), mark())
    handle = await agent.start(thread, Ask(mark(), "Good morning"))
    await agent.cancel(handle)
    del server.state.assistants[server.runs_of(thread)[0].assistant_id]
    server.rules.cancel = 0
    await agent.look(handle)
    with pytest.raises(ServiceUnavailable):
        await agent.start(thread, Ask(mark(turn="2"), "Good evening"))
    assert await agent.start(thread, Ask(mark(turn="2"), "Good evening"))


@pytest.mark.invariant("I16")
async def test_a_missing_agent_is_no_lost_thread(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    await to_the_end(world, await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS)))
    server.lose_thread(thread)
    del server.state.assistants["asst_1"]
    with pytest.raises(OperatorError, match="AGENT_ID"):
        await world.agent.start(thread, Ask(mark(turn="2"), "Good evening", TOOLS))
    with pytest.raises(OperatorError, match="AGENT_ID"):
        await world.agent.find(thread, mark())


async def test_a_thread_that_is_there_is_not_lost(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    server.inject(Fault("status", status=404, method="POST", path=RUNS))
    with pytest.raises(ServiceUnavailable):
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))
    server.inject(Fault("thread_gone", method="POST", path=RUNS))
    with pytest.raises(ThreadGone):
        await world.agent.start(thread, Ask(mark(), "Good morning", TOOLS))


@pytest.mark.invariant("I16")
async def test_a_wrong_project_is_named(make: Make, server: FoundryServer):
    server.inject(Fault("status", status=404, count=None))
    for settings in ({}, {"agent_id": "", "model_deployment_name": "gpt-4o"}):
        agent = await make(**settings)
        with pytest.raises(OperatorError, match="PROJECT_ENDPOINT"):
            await agent.open_thread(Carried(), mark())


@pytest.mark.invariant("I16")
async def test_a_refused_deployment_is_named(make: Make, server: FoundryServer):
    agent = await make(agent_id="", model_deployment_name="gpt-none")
    server.inject(Fault("status", status=400, method="POST", path="/assistants"))
    with pytest.raises(OperatorError, match="MODEL_DEPLOYMENT_NAME"):
        await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))


async def test_the_agent_is_asked_for_once_and_again_when_old(make: Make, server: FoundryServer, clock: StillClock):
    agent = await make()
    threads = [await agent.open_thread(Carried(), mark()) for _ in range(5)]
    await asyncio.gather(*(agent.start(thread, Ask(mark(), "Good morning")) for thread in threads))
    assert len(server.requests_to("GET", "/assistants/*")) == 1
    clock.time += 301
    await agent.start(await agent.open_thread(Carried(), mark()), Ask(mark(), "Good morning"))
    assert len(server.requests_to("GET", "/assistants/*")) == 2


async def test_a_start_needs_no_service(server: FoundryServer, make: Make):
    await server.stop()
    agent = await make()
    assert agent.project == f"{server.endpoint}#asst_1"
    with pytest.raises(ServiceUnavailable):
        await agent.start("thread_1", Ask(mark(), "Good morning"))


# -- how a run ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (Fault("run_failed"), Stopped("failed", "server_error")),
        (
            Fault("run_failed", code="rate_limit_exceeded", message="Rate limit is exceeded. Try again in 22 seconds."),
            Stopped("failed", "rate_limit_exceeded", 22.0),
        ),
        (Fault("run_failed", code="content_filter"), Stopped("failed", "content_filter")),
        (
            Fault("run_failed", message="The response was filtered by Azure OpenAI's content management policy."),
            Stopped("failed", "content_filter"),
        ),
        (Fault("run_expired"), Stopped("expired")),
        (Fault("run_incomplete"), Stopped("incomplete", "max_completion_tokens")),
        (Fault("run_incomplete", reason="content_filter", text="I"), Stopped("incomplete", "content_filter")),
    ],
)
async def test_a_run_without_an_answer(world: FoundryWorld, server: FoundryServer, fault: Fault, end: Stopped):
    server.inject(Fault(**(fault.body() | {"struck": 0, "count": 1})))
    assert await to_the_end(world, await started(world)) == end


async def test_an_answer_that_was_cut(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Incomplete(text="As far as")])
    end = await to_the_end(world, await started(world))
    assert isinstance(end, Finished)
    assert end.reply == Reply("As far as", cut=True)


async def test_tokens_are_the_last_steps(world: FoundryWorld, server: FoundryServer):
    from_first, from_last = ServerUsage(100, 10), ServerUsage(150, 20)
    server.model = Script([Calls([Call("weather", {"city": "Oslo"})], from_first), Answer("Rain.", from_last)])
    end = await to_the_end(world, await started(world))
    assert end == Finished(Reply("Rain."), Usage(prompt=250, completion=30, last_prompt=150))


@pytest.mark.parametrize("kind", ["cut", "forbidden", "malformed"])
async def test_without_steps_the_runs_tokens_serve(world: FoundryWorld, server: FoundryServer, kind: Any):
    server.model = Script([Answer("Rain.", ServerUsage(150, 20))])
    server.inject(Fault(kind, method="GET", path=RUNS + "/*/steps"))
    assert await to_the_end(world, await started(world)) == Finished(Reply("Rain."), Usage(150, 20, 150))


async def test_marks_of_citations_are_left_out(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Answer("Rain 【4:0†source】. 【重要】 Snow【13†a.pdf】.")])
    end = await to_the_end(world, await started(world))
    assert isinstance(end, Finished)
    assert end.reply.text == "Rain. 【重要】 Snow."


async def test_arguments_need_not_be_json(world: FoundryWorld, server: FoundryServer):
    server.model = Script([Calls([Call("weather", raw="{Oslo")])])
    step = await until_it_waits(world, await started(world))
    assert isinstance(step, NeedsTools)
    assert step.calls[0].arguments == "{Oslo"
    assert step.expires_at is not None


async def test_a_run_under_way_says_when_it_expires(world: FoundryWorld, server_clock: ManualClock):
    handle = await started(world)
    assert await world.agent.look(handle) == Working("queued", expires_at=server_clock.time() + 600)
    await world.agent.cancel(handle)
    step = await world.agent.look(handle)
    assert isinstance(step, Working)
    assert step.state == "cancelling"
    assert await world.agent.active(handle.thread_id) == handle, "the thread is still held"


@pytest.mark.invariant("I8")
async def test_a_run_that_will_not_end_is_seen(world: FoundryWorld, server: FoundryServer, server_clock: ManualClock):
    server.inject(Fault("cancel_stuck"))
    handle, _ = await waiting(world, await opened(world), mark(), [OSLO])
    await world.agent.cancel(handle)
    server_clock.advance(30)
    assert isinstance(await world.agent.look(handle), Working)
    assert await world.agent.active(handle.thread_id) == handle


async def test_a_long_history_comes_in_pages(world: FoundryWorld, server: FoundryServer):
    thread = await opened(world)
    for number in range(150):
        await world.leave_message(thread, mark(turn=str(number)), f"entry {number}")
    history = await world.agent.history(thread, 120)
    assert [said.text for said in history] == [f"entry {number}" for number in range(30, 150)]
    assert [r.query["limit"] for r in server.requests_to("GET", "/threads/*/messages")] == ["100", "20"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "200", "Retry-After": "9"}, 0.2),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers) == seconds
