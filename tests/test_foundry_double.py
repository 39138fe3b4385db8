"""The local Foundry, driven by the real SDK: what holds here is what the bot may rely on in its own tests."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.ai.agents.aio import AgentsClient
from azure.ai.agents.models import AsyncAgentEventHandler, ThreadMessageOptions, ThreadRun, ToolOutput
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from tests.foundry import (
    OPENING,
    Answer,
    Call,
    Calls,
    Failure,
    Fault,
    FoundryServer,
    Incomplete,
    ManualClock,
    Rules,
    Said,
    Script,
    Sight,
    default,
    image,
    summariser,
)
from tests.foundry.__main__ import main as command

ROOT = Path(__file__).parent.parent
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"properties": {"city": {"type": "string"}}}},
}
ROLL = {
    "type": "function",
    "function": {"name": "roll", "parameters": {"properties": {"sides": {"type": "integer"}}}},
}


class Bearer(SansIOHTTPPolicy[Any, Any]):
    """Sends a token over plain http, which the SDK's own policy refuses to do."""

    def __init__(self, token: str = "any") -> None:
        self.token = token

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {self.token}"


class Credential:
    """Hands out one token and notes what it was asked for."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.scopes: list[tuple[str, ...]] = []

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes.append(scopes)
        return AccessToken(self.token, 2**31)

    async def close(self) -> None:
        """Nothing to close."""


def connect(server: FoundryServer, token: str = "any", **options: Any) -> AgentsClient:
    options.setdefault("retry_total", 0)
    credential: Any = object()
    return AgentsClient(server.endpoint, credential, authentication_policy=Bearer(token), **options)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with FoundryServer(clock=clock) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: FoundryServer) -> AsyncIterator[AgentsClient]:
    async with connect(server) as client:
        yield client


async def ask(
    client: AgentsClient, server: FoundryServer, text: str, thread_id: str | None = None, **more: Any
) -> ThreadRun:
    """A run with its message, in one request."""
    thread_id = thread_id or (await client.threads.create()).id
    agent = next(iter(server.state.assistants), None) or server.add_assistant(tools=[CLOCK, ROLL])
    said = [ThreadMessageOptions(role="user", content=text, metadata={"turn": "t1"})]
    return await client.runs.create(thread_id, agent_id=agent, additional_messages=said, **more)


async def look(client: AgentsClient, run: ThreadRun) -> ThreadRun:
    return await client.runs.get(run.thread_id, run.id)


async def answer(client: AgentsClient, run: ThreadRun) -> str:
    return await _last(client, (await look(client, run)).thread_id)


async def _last(client: AgentsClient, thread_id: str) -> str:
    pager = client.messages.list(thread_id, limit=1).by_page()
    async for page in pager:
        async for message in page:
            return message.text_messages[0].text.value
    return ""


async def refused(awaitable: Any) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        await awaitable
    return caught.value


class TestAssistants:
    async def test_create_get_update_list_delete(self, client: AgentsClient) -> None:
        made = await client.create_agent(model="gpt-4o", name="one", tools=[CLOCK], metadata={"a": "b"})  # pyright: ignore
        assert (await client.get_agent(made.id)).metadata == {"a": "b"}
        changed = await client.update_agent(made.id, instructions="Be brief.")
        assert (changed.instructions, changed.name, len(changed.tools)) == ("Be brief.", "one", 1)
        assert [agent.id async for agent in client.list_agents()] == [made.id]
        await client.delete_agent(made.id)
        with pytest.raises(ResourceNotFoundError, match="No assistant found with id"):
            await client.get_agent(made.id)

    async def test_a_run_on_an_unknown_assistant_is_refused_and_leaves_nothing(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        thread = await client.threads.create()
        said = [ThreadMessageOptions(role="user", content="hi")]
        with pytest.raises(ResourceNotFoundError, match="No assistant found with id 'asst_no'"):
            await client.runs.create(thread.id, agent_id="asst_no", additional_messages=said)
        assert server.messages_of(thread.id) == []


class TestThreads:
    async def test_opened_with_messages_and_metadata(self, client: AgentsClient) -> None:
        carried = ThreadMessageOptions(role="assistant", content="- my code is 4711", metadata={"carried": "yes"})
        thread = await client.threads.create(messages=[carried], metadata={"key": "k"})
        assert (await client.threads.get(thread.id)).metadata == {"key": "k"}
        messages = [message async for message in client.messages.list(thread.id)]
        assert [(m.role, m.metadata) for m in messages] == [("assistant", {"carried": "yes"})]
        await client.threads.update(thread.id, metadata={"key": "other"})
        assert (await client.threads.get(thread.id)).metadata == {"key": "other"}

    async def test_a_deleted_thread_is_unknown(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        await client.messages.create(thread.id, role="user", content="hi")
        await client.threads.delete(thread.id)
        with pytest.raises(ResourceNotFoundError, match=f"No thread found with id '{thread.id}'."):
            await client.threads.get(thread.id)
        with pytest.raises(ResourceNotFoundError):
            await client.messages.create(thread.id, role="user", content="hi")
        assert [message.text for message in server.messages_of(thread.id)] == ["hi"]

    @pytest.mark.parametrize(
        ("metadata", "problem"),
        [
            ({f"k{n}": "v" for n in range(17)}, "too many properties"),
            ({"k" * 65: "v"}, "maximum length 64"),
            ({"k": "v" * 513}, "maximum length 512"),
            ({"k": 1}, "expected a string"),
        ],
    )
    async def test_metadata_has_limits(self, client: AgentsClient, metadata: dict[str, Any], problem: str) -> None:
        error = await refused(client.threads.create(metadata=metadata))
        assert (error.status_code, problem in str(error)) == (400, True)


class TestPaging:
    async def test_by_page_honours_after_and_ends(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        for number in range(5):
            await client.messages.create(thread.id, role="user", content=str(number))
        pages = [
            [message.text_messages[0].text.value async for message in page]
            async for page in client.messages.list(thread.id, limit=2).by_page()
        ]
        # The pager ignores has_more: it asks until a page is empty.
        assert pages == [["4", "3"], ["2", "1"], ["0"], []]
        cursors = [record.query.get("after") for record in server.requests_to("GET", "/threads/*/messages")]
        ids = [message.id for message in server.messages_of(thread.id)]
        assert cursors == [None, ids[3], ids[1], ids[0]]

    async def test_order_before_and_the_frame_of_a_page(self, server: FoundryServer, client: AgentsClient) -> None:
        thread = await client.threads.create()
        for number in range(4):
            await client.messages.create(thread.id, role="user", content=str(number))
        ids = [message.id for message in server.messages_of(thread.id)]
        url = f"{server.endpoint}/threads/{thread.id}/messages?api-version=v1"
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer x"}) as session:
            frame = await (await session.get(f"{url}&order=asc&limit=3")).json()
            above = await (await session.get(f"{url}&before={ids[1]}&limit=1")).json()
            too_many = await session.get(f"{url}&limit=101")
            assert too_many.status == 400
        assert (frame["object"], frame["first_id"], frame["last_id"], frame["has_more"]) == (
            "list",
            ids[0],
            ids[2],
            True,
        )
        assert [message["id"] for message in above["data"]] == [ids[2]]
        # As the real service answers: these fields are missing, whatever the SDK's model says.
        assert frame["data"][0].keys().isdisjoint({"status", "completed_at", "incomplete_details"})

    async def test_messages_of_one_run(self, client: AgentsClient, server: FoundryServer) -> None:
        first = await ask(client, server, "one")
        await look(client, first)
        await look(client, await ask(client, server, "two", first.thread_id))
        texts = [m.text_messages[0].text.value async for m in client.messages.list(first.thread_id, run_id=first.id)]
        assert texts == ["You said: one"]

    async def test_an_empty_list(self, client: AgentsClient) -> None:
        thread = await client.threads.create()
        assert [run async for run in client.runs.list(thread.id)] == []


class TestRuns:
    async def test_message_and_run_in_one_request(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await ask(client, server, "hello", metadata={"turn": "t1", "attempt": "0"})
        assert (run.status, run.metadata) == ("queued", {"turn": "t1", "attempt": "0"})
        done = await look(client, run)
        assert (done.status, done.expires_at) == ("completed", None)
        assert done.usage.total_tokens > 0
        assert await _last(client, run.thread_id) == "You said: hello"
        assert [message.metadata for message in server.messages_of(run.thread_id)] == [{"turn": "t1"}, {}]
        assert [listed.metadata async for listed in client.runs.list(run.thread_id)] == [run.metadata]

    async def test_one_bad_message_and_none_is_added(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        said = [
            ThreadMessageOptions(role="user", content="fine"),
            ThreadMessageOptions(role="user", content="too much", metadata={"k": "v" * 513}),
        ]
        await refused(client.runs.create(thread.id, agent_id=server.add_assistant(), additional_messages=said))
        assert (server.messages_of(thread.id), server.runs_of(thread.id)) == ([], [])

    async def test_two_calls_of_one_tool_in_parallel(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await look(client, await ask(client, server, "use roll sides=6 and use roll sides=20"))
        assert run.status == "requires_action"
        calls = run.required_action.submit_tool_outputs.tool_calls  # pyright: ignore
        assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
            ("roll", {"sides": 6}),
            ("roll", {"sides": 20}),
        ]
        assert len({call.id for call in calls}) == 2
        outputs = [ToolOutput(tool_call_id=call.id, output=f"out {place}") for place, call in enumerate(calls)]
        again = await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs)
        assert (again.status, again.required_action) == ("queued", None)
        assert await answer(client, run) == "roll: out 0\nroll: out 1"
        steps = [step async for step in client.run_steps.list(run.thread_id, run.id)]
        assert [(step.type, step.status) for step in steps] == [
            ("message_creation", "completed"),
            ("tool_calls", "completed"),
        ]
        one = await client.run_steps.get(run.thread_id, run.id, steps[1].id)
        assert one.step_details.tool_calls[0]["function"]["output"] == "out 0"  # pyright: ignore

    async def test_then_makes_a_second_round(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await look(client, await ask(client, server, "use clock city=Oslo then use roll sides=6"))
        for expected in ("clock", "roll"):
            (call,) = run.required_action.submit_tool_outputs.tool_calls  # pyright: ignore
            assert call.function.name == expected
            outputs = [ToolOutput(tool_call_id=call.id, output=expected.upper())]
            await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs)
            run = await look(client, run)
        assert await _last(client, run.thread_id) == "clock: CLOCK\nroll: ROLL"

    async def test_outputs_must_be_for_all_pending_calls_and_no_other(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        run = await ask(client, server, "use roll and use clock")
        early = await refused(client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=[]))
        assert 'Runs in status "queued" do not accept tool outputs.' in str(early)
        run = await look(client, run)
        calls = run.required_action.submit_tool_outputs.tool_calls  # pyright: ignore
        for ids in ([calls[0].id], [calls[0].id, "call_no"], [calls[0].id, calls[1].id, calls[1].id]):
            outputs = [ToolOutput(tool_call_id=call_id, output="x") for call_id in ids]
            error = await refused(client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs))
            assert (error.status_code, "Expected tool outputs for call_ids" in str(error)) == (400, True)
        assert (await look(client, run)).status == "requires_action"

    async def test_tools_and_instructions_of_the_run_take_the_place_of_the_agents(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        agent = server.add_assistant(instructions="Old.", tools=[CLOCK])
        thread = await client.threads.create()
        run = await client.runs.create(
            thread.id,
            agent_id=agent,
            instructions="New.",
            additional_instructions="More.",
            tools=[ROLL],  # pyright: ignore
        )
        await look(client, run)
        (sight,) = server.sights_of(run.id)
        assert (sight.instructions, [tool["name"] for tool in sight.tools]) == ("New.\nMore.", ["roll"])

    async def test_tool_choice_none_offers_no_tool(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await ask(client, server, "use roll", tool_choice="none")
        assert await answer(client, run) == "I have no tool called roll."

    async def test_one_call_at_a_time(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await look(client, await ask(client, server, "use roll and use clock", parallel_tool_calls=False))
        assert len(run.required_action.submit_tool_outputs.tool_calls) == 1  # pyright: ignore

    async def test_thread_and_run_in_one_request(self, client: AgentsClient, server: FoundryServer) -> None:
        body = {
            "assistant_id": server.add_assistant(),
            "thread": {"messages": [{"role": "user", "content": "hi"}]},
        }
        run = await client.create_thread_and_run(body)
        assert await answer(client, run) == "You said: hi"

    async def test_update_changes_metadata(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await ask(client, server, "hi")
        await client.runs.update(run.thread_id, run.id, metadata={"seen": "yes"})
        assert (await look(client, run)).metadata == {"seen": "yes"}

    async def test_a_function_name_that_no_model_takes(self, client: AgentsClient, server: FoundryServer) -> None:
        bad: Any = [{"type": "function", "function": {"name": "has space", "parameters": {}}}]
        error = await refused(client.create_agent(model="m", tools=bad))
        assert "does not match pattern" in str(error)


class TestActiveRun:
    async def test_neither_a_message_nor_a_second_run(self, client: AgentsClient, server: FoundryServer) -> None:
        run = await ask(client, server, "one")
        message = await refused(client.messages.create(run.thread_id, role="user", content="two"))
        assert message.status_code == 400
        assert f"Can't add messages to {run.thread_id} while a run {run.id} is active." in str(message)
        second = await refused(ask(client, server, "two", run.thread_id))
        assert f"Thread {run.thread_id} already has an active run {run.id}." in str(second)
        assert len(server.messages_of(run.thread_id)) == 1

    async def test_cancel_frees_the_thread_once_it_is_through(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        run = await look(client, await ask(client, server, "use roll"))
        assert (await client.runs.cancel(run.thread_id, run.id)).status == "cancelling"
        assert "already has an active run" in str(await refused(ask(client, server, "x", run.thread_id)))
        done = await look(client, run)
        assert (done.status, done.required_action) == ("cancelled", None)
        assert [step.status async for step in client.run_steps.list(run.thread_id, run.id)] == ["cancelled"]
        again = await refused(client.runs.cancel(run.thread_id, run.id))
        assert "Cannot cancel run with status 'cancelled'." in str(again)
        assert await answer(client, await ask(client, server, "free", run.thread_id)) == "You said: free"


class TestTime:
    async def test_phases_take_their_seconds(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.queue, server.rules.work = 2, 3
        run = await ask(client, server, "hi")
        seen: list[str] = []
        for _ in range(6):
            seen.append((await look(client, run)).status)
            clock.advance(1)
        assert seen == ["queued", "queued", "in_progress", "in_progress", "in_progress", "completed"]

    async def test_unanswered_calls_expire(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        run = await look(client, await ask(client, server, "use roll"))
        assert run.expires_at.timestamp() - run.created_at.timestamp() == 600  # pyright: ignore
        clock.advance(599)
        assert (await look(client, run)).status == "requires_action"
        clock.advance(1)
        assert (await look(client, run)).status == "expired"
        late = await refused(client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=[]))
        assert 'Runs in status "expired" do not accept tool outputs.' in str(late)
        assert await answer(client, await ask(client, server, "free", run.thread_id)) == "You said: free"

    async def test_rules_may_shorten_the_life_of_runs(self, clock: ManualClock) -> None:
        async with FoundryServer(clock=clock, rules=Rules(expires=5)) as server, connect(server) as client:
            run = await look(client, await ask(client, server, "use roll"))
            clock.advance(5)
            assert (await look(client, run)).status == "expired"


class TestModels:
    async def test_memory_lasts_as_long_as_the_thread(self, client: AgentsClient, server: FoundryServer) -> None:
        first = await ask(client, server, "remember my code is 4711")
        assert await answer(client, first) == "I will remember: my code is 4711"
        assert await answer(client, await ask(client, server, "What is my code?", first.thread_id)) == (
            "I recall: my code is 4711."
        )
        assert (
            await answer(client, await ask(client, server, "what is my code?")) == "I recall nothing about your code."
        )

    async def test_a_summary_carries_memory_into_the_next_thread(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        first = await ask(client, server, "Remember that the door is green")
        await look(client, first)
        await look(client, await ask(client, server, "my code is 4711", first.thread_id))
        summary = await answer(client, await ask(client, server, "Summarise our conversation.", first.thread_id))
        assert summary == "Summary:\n- the door is green\n- my code is 4711"
        carried = ThreadMessageOptions(role="user", content=summary)
        second = await client.threads.create(messages=[carried])
        assert (
            await answer(client, await ask(client, server, "what is my code", second.id))
            == "I recall: my code is 4711."
        )
        everything = await answer(client, await ask(client, server, "what do you remember?", second.id))
        assert "the door is green" in everything

    def test_what_a_thread_was_opened_with_is_not_asked_again(self) -> None:
        opening = Said("user", "use roll sides=6", {}, OPENING)
        sight = Sight("", [opening, Said("user", "hello", {})], [], [ROLL["function"]])  # pyright: ignore
        assert default(sight) == Answer("You said: hello")

    def test_a_later_value_replaces_the_earlier(self) -> None:
        told = [Said("user", f"remember my code is {code}", {}) for code in (1, 2)]
        assert summariser(Sight("", told, [], [])) == Answer("Summary:\n- my code is 2")

    async def test_a_script_plays_its_steps_and_then_fails(self, client: AgentsClient, server: FoundryServer) -> None:
        server.model = Script([Calls([Call("roll", raw="{not json")]), "done"])
        run = await look(client, await ask(client, server, "x"))
        (call,) = run.required_action.submit_tool_outputs.tool_calls  # pyright: ignore
        assert call.function.arguments == "{not json"
        outputs = [ToolOutput(tool_call_id=call.id, output="")]
        await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs)
        assert await answer(client, run) == "done"
        over = await look(client, await ask(client, server, "y", run.thread_id))
        assert (over.status, over.last_error.message) == ("failed", "The script has no more steps.")  # pyright: ignore

    async def test_a_script_may_begin_anew_with_every_run(self, client: AgentsClient, server: FoundryServer) -> None:
        server.model = Script(["hello"], each_run=True)
        first = await ask(client, server, "x")
        assert await answer(client, first) == "hello"
        assert await answer(client, await ask(client, server, "y", first.thread_id)) == "hello"

    def test_a_script_from_json(self) -> None:
        steps: list[dict[str, Any]] = [
            {"calls": [{"name": "roll", "arguments": {"sides": 6}}, {"name": "clock", "raw": "{"}]},
            {"failure": {"code": "server_error"}},
            {"incomplete": {"text": "Half"}},
            {"answer": "done"},
        ]
        assert Script.parse(steps).steps == [
            Calls([Call("roll", {"sides": 6}), Call("clock", raw="{")]),
            Failure("server_error"),
            Incomplete(text="Half"),
            Answer("done"),
        ]
        for step in ({"shrug": 1}, {}, {"answer": "a", "calls": []}):
            with pytest.raises(ValueError):
                Script.parse([step])

    @pytest.mark.parametrize(
        ("text", "act"),
        [
            ("How do I use Excel?", Answer("You said: How do I use Excel?")),
            ("please use roll sides=20.", Calls([Call("roll", {"sides": 20})])),
            ('use clock city="New York"', Calls([Call("clock", {"city": "New York"})])),
            ("use clock city=1", Calls([Call("clock", {"city": "1"})])),
            ("use oven", Answer("I have no tool called oven.")),
        ],
    )
    def test_the_default_model_tells_an_order_from_a_question(self, text: str, act: Answer | Calls) -> None:
        tools: Any = [CLOCK["function"], ROLL["function"]]
        assert default(Sight("", [Said("user", text, {})], [], tools)) == act

    async def test_a_cancelled_order_is_not_carried_out_later(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        run = await look(client, await ask(client, server, "use roll"))
        await client.runs.cancel(run.thread_id, run.id)
        await look(client, run)
        later = await look(client, await ask(client, server, "hello", run.thread_id))
        assert later.status == "completed"

    async def test_models_by_deployment_name(self) -> None:
        models = {"parrot": Script(["squawk"])}
        async with FoundryServer(models=models) as server, connect(server) as client:
            run = await ask(client, server, "hi", model="parrot")
            assert await answer(client, run) == "squawk"

    async def test_incomplete_comes_as_a_plain_string(self, client: AgentsClient, server: FoundryServer) -> None:
        server.model = Script(
            [Incomplete("max_prompt_tokens"), Failure("rate_limit_exceeded", "Try again in 60 seconds.")]
        )
        cut = await look(client, await ask(client, server, "x"))
        # The SDK's RunStatus has no such member.
        assert (cut.status, type(cut.status)) == ("incomplete", str)
        assert cut.incomplete_details.reason == "max_prompt_tokens"  # pyright: ignore
        failed = await look(client, await ask(client, server, "y", cut.thread_id))
        assert failed.last_error.code == "rate_limit_exceeded"  # pyright: ignore

    async def test_the_longer_the_thread_the_more_tokens(self, client: AgentsClient, server: FoundryServer) -> None:
        short = await look(client, await ask(client, server, "x"))
        long = await look(client, await ask(client, server, "x" * 4000))
        assert long.usage.prompt_tokens - short.usage.prompt_tokens > 900


class TestFaults:
    async def test_status_before_the_work(self, client: AgentsClient, server: FoundryServer) -> None:
        fault = server.inject(Fault("status", "POST", "/threads", status=503))
        assert (await refused(client.threads.create())).status_code == 503
        assert (server.state.threads, fault.struck) == ({}, 1)
        await client.threads.create()

    async def test_status_after_the_work(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("status", "POST", "/threads/*/runs", status=500, when="after"))
        thread = await client.threads.create()
        assert (await refused(ask(client, server, "hi", thread.id))).status_code == 500
        assert len(server.runs_of(thread.id)) == 1

    async def test_retry_after_makes_the_sdk_send_a_post_again(self, server: FoundryServer) -> None:
        server.inject(Fault("status", "POST", "/threads/*/messages", status=429, retry_after=0, when="after"))
        async with connect(server, retry_total=3) as client:
            thread = await client.threads.create()
            await client.messages.create(thread.id, role="user", content="once")
        # The service has no idempotency key: this is how a message comes to stand there twice.
        assert [message.text for message in server.messages_of(thread.id)] == ["once", "once"]

    @pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
    async def test_cut(self, client: AgentsClient, server: FoundryServer, when: Any, kept: int) -> None:
        server.inject(Fault("cut", "POST", "/threads", when=when))
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            await client.threads.create()
        assert len(server.state.threads) == kept
        assert (server.requests[-1].status, server.requests[-1].fault) == (None, "cut")

    async def test_slow_work_is_done_though_the_client_has_left(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.inject(Fault("slow", "POST", "/threads", seconds=30))
        request = asyncio.create_task(client.threads.create())
        await clock.until_asleep()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert server.state.threads == {}
        clock.advance(30)
        await server.until(lambda: server.state.threads)

    async def test_malformed_body(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("malformed", "POST", "/threads", when="after"))
        with pytest.raises(DecodeError):
            await client.threads.create()
        assert len(server.state.threads) == 1

    @pytest.mark.parametrize(
        ("kind", "status", "code"),
        [
            ("unauthorized", 401, "Unauthorized"),
            ("permission_denied", 401, "PermissionDenied"),
            ("forbidden", 403, None),
        ],
    )
    async def test_identity(
        self, client: AgentsClient, server: FoundryServer, kind: Any, status: int, code: str | None
    ) -> None:
        server.inject(Fault(kind))
        error = await refused(client.threads.create())
        assert error.status_code == status
        assert isinstance(error, ClientAuthenticationError) == (status == 401)
        assert code is None or code in str(error)

    async def test_thread_gone(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        server.inject(Fault("thread_gone", "POST", "/threads/*/runs"))
        with pytest.raises(ResourceNotFoundError, match="No thread found"):
            await ask(client, server, "hi", thread.id)
        server.lose_thread((await client.threads.create()).id)
        assert server.state.threads == {}

    async def test_run_failed(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("run_failed", code="rate_limit_exceeded", message="Try again in 60 seconds."))
        run = await look(client, await ask(client, server, "hi"))
        assert (run.status, run.last_error.code) == ("failed", "rate_limit_exceeded")  # pyright: ignore
        assert await answer(client, await ask(client, server, "again", run.thread_id)) == "You said: again"

    async def test_run_failed_after_a_round_of_tools(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("run_failed", rounds=1))
        run = await look(client, await ask(client, server, "use roll"))
        (call,) = run.required_action.submit_tool_outputs.tool_calls  # pyright: ignore
        outputs = [ToolOutput(tool_call_id=call.id, output="6")]
        await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs)
        assert (await look(client, run)).status == "failed"

    async def test_run_expired(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("run_expired"))
        assert (await look(client, await ask(client, server, "hi"))).status == "expired"

    @pytest.mark.parametrize("text", [None, "Half an ans"])
    async def test_run_incomplete(self, client: AgentsClient, server: FoundryServer, text: str | None) -> None:
        server.inject(Fault("run_incomplete", reason="content_filter", text=text))
        run = await look(client, await ask(client, server, "hi"))
        assert (run.status, run["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
        assert await _last(client, run.thread_id) == (text or "hi")

    async def test_run_stuck_until_it_expires(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.inject(Fault("run_stuck"))
        run = await ask(client, server, "hi")
        assert (await look(client, run)).status == "queued"
        clock.advance(600)
        assert (await look(client, run)).status == "expired"

    async def test_a_cancel_that_never_ends(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.inject(Fault("cancel_stuck"))
        run = await look(client, await ask(client, server, "use roll"))
        await client.runs.cancel(run.thread_id, run.id)
        clock.advance(100_000)
        assert (await look(client, run)).status == "cancelling"
        assert "already has an active run" in str(await refused(ask(client, server, "x", run.thread_id)))

    async def test_skip_count_and_order(self, client: AgentsClient, server: FoundryServer) -> None:
        server.inject(Fault("status", "POST", "/threads", status=500, skip=1, count=2))
        statuses: list[int] = []
        for _ in range(4):
            try:
                await client.threads.create()
                statuses.append(200)
            except HttpResponseError as error:
                statuses.append(error.status_code or 0)
        assert statuses == [200, 500, 500, 200]

    @pytest.mark.parametrize(
        ("pattern", "path", "struck"),
        [
            ("/threads/*", "/threads/t", True),
            ("/threads/*", "/threads/t/runs", False),
            ("/threads/**", "/threads/t/runs", True),
            ("/threads/**/runs", "/threads/runs", True),
            ("/threads/**/runs", "/threads/t/runs", True),
            ("/**", "/assistants", True),
        ],
    )
    def test_patterns(self, pattern: str, path: str, struck: bool) -> None:
        assert Fault("status", path=pattern).matches("GET", path) is struck

    def test_a_fault_that_does_not_exist(self) -> None:
        for body in ({"kind": "earthquake"}, {"kind": "cut", "when": "later"}, {"kind": "cut", "x": 1}, {}):
            with pytest.raises(ValueError):
                Fault.parse(body)


class TestDoor:
    async def test_only_the_expected_token(self, server: FoundryServer) -> None:
        server.token = "right"
        async with connect(server, "wrong") as client:
            assert (await refused(client.threads.create())).status_code == 401
        async with connect(server, "right") as client:
            await client.threads.create()
        assert [record.status for record in server.requests] == [401, 200]

    async def test_no_token_and_no_version(self, server: FoundryServer) -> None:
        bearer = {"Authorization": "Bearer x"}
        async with aiohttp.ClientSession() as session:
            for query, headers, status in [
                ("?api-version=v1", {}, 401),
                ("?api-version=v1", {"Authorization": "Bearer "}, 401),
                ("", bearer, 400),
                ("?api-version=v0", bearer, 400),
                ("?api-version=v1", bearer, 200),
            ]:
                async with session.get(f"{server.endpoint}/threads{query}", headers=headers) as response:
                    assert response.status == status
            async with session.get(f"{server.endpoint}/nothing?api-version=v1", headers=bearer) as response:
                assert (response.status, "error" in await response.json()) == (404, True)
            async with session.post(
                f"{server.endpoint}/threads?api-version=v1", headers=bearer, data=b"{not json"
            ) as response:
                assert response.status == 400

    async def test_requests_are_recorded(self, client: AgentsClient, server: FoundryServer, clock: ManualClock) -> None:
        await client.threads.create(metadata={"k": "v"})
        (record,) = server.requests
        assert (record.method, record.path, record.query) == ("POST", "/threads", {"api-version": "v1"})
        assert (record.body, record.at, record.status) == ({"metadata": {"k": "v"}}, clock.time(), 200)
        assert record.headers["authorization"] == "Bearer any"
        assert "x-ms-client-request-id" in record.headers

    async def test_stopped_and_started_again_it_still_knows(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        await server.stop()
        with pytest.raises(ServiceRequestError):
            await client.threads.get(thread.id)
        await server.start()
        assert (await client.threads.get(thread.id)).id == thread.id

    async def test_a_credentials_token_arrives(self, server: FoundryServer) -> None:
        server.token = "from the credential"
        credential: Any = Credential(server.token)
        async with AgentsClient(server.endpoint, credential) as client:
            # The client takes this option for each call only, not when it is made.
            await client.threads.create(enforce_https=False)
        assert credential.scopes == [("https://ai.azure.com/.default",)]


class TestFiles:
    async def test_upload_read_delete(self, client: AgentsClient) -> None:
        made = await client.files.upload(file=("a.txt", b"hello"), purpose="assistants")  # pyright: ignore
        assert (made.filename, made.bytes, made.purpose) == ("a.txt", 5, "assistants")
        assert b"".join([chunk async for chunk in await client.files.get_content(made.id)]) == b"hello"
        assert [file.id for file in (await client.files.list()).data] == [made.id]
        await client.files.delete(made.id)
        with pytest.raises(ResourceNotFoundError):
            await client.files.get(made.id)

    async def test_a_message_names_files_that_are_there_and_can_be_read(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        table, notes = server.add_file("sums.csv", b"a,b"), server.add_file("notes.md", b"x")
        thread = await client.threads.create()

        def attached(file_id: str, *kinds: str) -> Any:
            tools: Any = [{"type": kind} for kind in kinds]
            attachments: Any = [{"file_id": file_id, "tools": tools}]
            return client.messages.create(thread.id, role="user", content="read", attachments=attachments)

        for file_id, kinds, problem in [
            ("assistant-none", ["file_search"], "No file found with id 'assistant-none'."),
            (table, ["code_interpreter", "file_search"], "Files with extensions [.csv] are not supported"),
            (notes, ["bing"], "Invalid value: 'bing'."),
            (notes, [], "Missing required parameter"),
        ]:
            assert problem in str(await refused(attached(file_id, *kinds)))
        assert server.messages_of(thread.id) == []
        await attached(table, "code_interpreter")
        await attached(notes, "file_search")
        held = (await client.threads.get(thread.id)).tool_resources
        assert held is not None
        assert held.code_interpreter is not None
        assert held.code_interpreter.file_ids == [table]
        assert held.file_search is not None
        assert len(held.file_search.vector_store_ids or []) == 1


class TestStreams:
    """As the SDK's own handlers read them."""

    @staticmethod
    def stream(client: AgentsClient, server: FoundryServer, thread: str, text: str, **more: Any) -> Any:
        agent = next(iter(server.state.assistants), None) or server.add_assistant(tools=[CLOCK, ROLL])
        said = [ThreadMessageOptions(role="user", content=text)]
        return client.runs.stream(thread, agent_id=agent, additional_messages=said, **more)

    async def told(self, stream: Any) -> list[tuple[str, Any]]:
        async with await stream as events:
            return [(name, data) async for name, data, _ in events]

    async def test_a_run_from_its_beginning_to_its_end(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        told = await self.told(self.stream(client, server, thread.id, "hello"))
        assert [name for name, _ in told] == [
            "thread.run.created",
            "thread.run.queued",
            "thread.run.in_progress",
            "thread.run.step.created",
            "thread.run.step.in_progress",
            "thread.message.created",
            "thread.message.in_progress",
            "thread.message.delta",
            "thread.message.delta",
            "thread.message.delta",
            "thread.message.completed",
            "thread.run.step.completed",
            "thread.run.completed",
            "done",
        ]
        assert "".join(data.text for name, data in told if name == "thread.message.delta") == "You said: hello"
        assert told[-2][1].usage.prompt_tokens > 0
        assert await _last(client, thread.id) == "You said: hello"

    async def test_calls_end_a_stream_and_a_submission_opens_the_next(
        self, client: AgentsClient, server: FoundryServer
    ) -> None:
        thread = await client.threads.create()
        told = await self.told(self.stream(client, server, thread.id, "use roll sides=6"))
        name, run = told[-2]
        assert (name, run.status, told[-1][0]) == ("thread.run.requires_action", "requires_action", "done")
        [call] = run.required_action.submit_tool_outputs.tool_calls
        handler: AsyncAgentEventHandler[Any] = AsyncAgentEventHandler()
        outputs = [ToolOutput(tool_call_id=call.id, output="4")]
        await client.runs.submit_tool_outputs_stream(thread.id, run.id, tool_outputs=outputs, event_handler=handler)
        names = [name async for name, _, _ in handler]
        assert names[:3] == ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
        assert names[-2:] == ["thread.run.completed", "done"]
        assert await _last(client, thread.id) == "roll: 4"

    async def test_images_annotations_and_refusals(self, client: AgentsClient, server: FoundryServer) -> None:
        thread = await client.threads.create()
        chart = server.add_file("chart.png", b"png")
        cites = {"type": "url_citation", "text": "x", "url_citation": {"url": "https://a", "title": "A"}}
        server.model = Script([Answer("See x", annotations=[cites], parts=[image(chart)]), Answer("No.", refused=True)])
        told = await self.told(self.stream(client, server, thread.id, "draw"))
        message = next(data for name, data in told if name == "thread.message.completed")
        assert message.image_contents[0].image_file.file_id == chart
        assert message.url_citation_annotations[0].url_citation.url == "https://a"
        await self.told(self.stream(client, server, thread.id, "no"))
        assert server.messages_of(thread.id)[-1].content == [{"type": "refusal", "refusal": "No."}]

    async def test_pieces_take_their_time_and_the_run_goes_on_unread(
        self, client: AgentsClient, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.delta = 1
        thread = await client.threads.create()
        async with await self.stream(client, server, thread.id, "hello") as events:
            async for name, _, _ in events:
                if name == "thread.message.in_progress":
                    break
        [run] = server.runs_of(thread.id)
        assert (await client.runs.get(thread.id, run.id)).status == "in_progress"
        clock.advance(2)
        assert (await client.runs.get(thread.id, run.id)).status == "in_progress"
        clock.advance(1)
        assert (await client.runs.get(thread.id, run.id)).status == "completed"

    async def test_thread_and_run_in_one_stream(self, client: AgentsClient, server: FoundryServer) -> None:
        body = {"assistant_id": server.add_assistant(), "stream": True}
        body["thread"] = {"messages": [{"role": "user", "content": "hi"}]}
        headers = {"Authorization": "Bearer any"}
        url = f"{server.endpoint}/threads/runs?api-version=v1"
        async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as response:
            assert response.content_type == "text/event-stream"
            text = await response.text()
        assert text.startswith("event: thread.created\ndata: {")
        assert "\n\nevent: thread.run.created\ndata: {" in text
        assert text.endswith("\n\nevent: done\ndata: [DONE]\n\n")

    @pytest.mark.parametrize("kind", ["stream_cut", "stream_garbled", "stream_ended", "stream_error"])
    async def test_streams_that_break_off(self, client: AgentsClient, server: FoundryServer, kind: Any) -> None:
        thread = await client.threads.create()
        fault = server.inject(Fault(kind, event="thread.run.in_progress"))
        names: list[str] = []
        with suppress(IncompleteReadError):
            async with await self.stream(client, server, thread.id, "hello") as events:
                names += [name async for name, _, _ in events]
        assert fault.struck == 1
        assert "done" not in names
        [run] = server.runs_of(thread.id)
        ended = (await client.runs.get(thread.id, run.id)).status
        assert ended == ("failed" if kind == "stream_error" else "completed")


class TestControl:
    async def test_everything_over_http(self, client: AgentsClient, server: FoundryServer) -> None:
        async with aiohttp.ClientSession(server.address) as session:

            async def post(path: str, body: Any) -> int:
                async with session.post(f"/_control/{path}", json=body) as response:
                    return response.status

            fault = {"kind": "status", "method": "POST", "path": "/threads", "status": 503}
            assert await post("faults", fault) == 201
            assert await post("faults", {"kind": "earthquake"}) == 400
            assert (await refused(client.threads.create())).status_code == 503
            assert await post("model", {"script": [{"calls": [{"name": "roll"}]}, {"answer": "done"}]}) == 200
            run = await look(client, await ask(client, server, "x"))
            assert await post("clock", {"advance": 600}) == 200
            assert (await look(client, run)).status == "expired"
            assert await post("model", {"name": "echo"}) == 200
            assert await post("model", {"name": "oracle"}) == 400
            assert await post("rules", {"queue": 1}) == 200
            assert await post("rules", {"gravity": 1}) == 400
            assert await post("token", {"token": "secret"}) == 200
            assert (await refused(client.threads.create())).status_code == 401
            async with session.get(f"/_control/threads/{run.thread_id}") as response:
                seen = await response.json()
            assert [run["status"] for run in seen["runs"]] == ["expired"]
            async with session.get("/_control/requests") as response:
                assert [record["status"] for record in await response.json()][:2] == [503, 200]
            async with session.delete("/_control/faults") as response:
                assert await response.json() == []

    async def test_real_time_cannot_be_moved(self) -> None:
        async with (
            FoundryServer() as server,
            aiohttp.ClientSession(server.address) as session,
            session.post("/_control/clock", json={"advance": 1}) as response,
        ):
            assert response.status == 400


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command(["--help"])
    assert "--tls" in capsys.readouterr().out


async def test_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.foundry", "--manual-clock", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().strip().partition("=")[2] for _ in range(2)]
    endpoint, agent = lines
    credential: Any = object()
    async with AgentsClient(endpoint, credential, authentication_policy=Bearer()) as client:
        assert (await client.get_agent(agent)).name == "local"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.fixture(autouse=True)
def nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A handler that raises makes aiohttp log an error and answer 500, which a test could take for a fault."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
