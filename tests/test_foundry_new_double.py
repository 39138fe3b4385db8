"""The local Foundry's new API, driven by the real SDKs: what holds here, the bot may rely on in its own tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import FunctionTool, PromptAgentDefinition
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.foundry import (
    Answer,
    Call,
    Calls,
    Failure,
    Fault,
    FoundryServer,
    Incomplete,
    ManualClock,
    Rules,
    Script,
    Switches,
    picture,
)

ROOT = Path(__file__).parent.parent
AGENT: dict[str, Any] = {"agent_reference": {"name": "keeper", "type": "agent_reference"}}
CLOCK = {"type": "function", "name": "clock", "parameters": {"properties": {"city": {"type": "string"}}}}
ROLL = {"type": "function", "name": "roll", "parameters": {"properties": {"sides": {"type": "integer"}}}}
RESPONSES = "/openai/v1/responses"


class Bearer(SansIOHTTPPolicy[Any, Any]):
    """Sends a token over plain http, which azure-core's own policy refuses to do."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = "Bearer any"


class FixedToken:
    """Hands out one token."""

    async def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken("any", 2**31)

    async def close(self) -> None:
        """Nothing to close."""


def connect(server: FoundryServer) -> AIProjectClient:
    credential: Any = FixedToken()
    return AIProjectClient(server.endpoint, credential, authentication_policy=Bearer(), retry_total=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with FoundryServer(clock=clock) as server:
        server.add_agent("keeper", instructions="Be brief.", tools=[CLOCK, ROLL])
        yield server


@pytest_asyncio.fixture
async def project(server: FoundryServer) -> AsyncIterator[AIProjectClient]:
    async with connect(server) as project:
        yield project


@pytest_asyncio.fixture
async def client(project: AIProjectClient) -> AsyncIterator[AsyncOpenAI]:
    # The client makes a TLS context otherwise, which takes 30 ms and is of no use here.
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    async with project.get_openai_client(max_retries=0, http_client=plain) as client:
        yield client


async def start(client: AsyncOpenAI, text: Any, conversation: str | None = None, **more: Any) -> Response:
    """A background response in a conversation, a new one unless it is given."""
    conversation = conversation or (await client.conversations.create()).id
    more.setdefault("background", True)
    return await client.responses.create(conversation=conversation, input=text, extra_body=AGENT, **more)


async def look(client: AsyncOpenAI, response: Response) -> Response:
    return await client.responses.retrieve(response.id)


async def ask(client: AsyncOpenAI, text: Any, conversation: str | None = None, **more: Any) -> Response:
    """A response in the background, and its end."""
    return await look(client, await start(client, text, conversation, **more))


def conversation_of(response: Response) -> str:
    assert response.conversation is not None
    return response.conversation.id


def outputs(response: Response, *texts: str) -> list[dict[str, str]]:
    calls = [item for item in response.output if item.type == "function_call"]
    return [
        {"type": "function_call_output", "call_id": call.call_id, "output": text}
        for call, text in zip(calls, texts, strict=True)
    ]


async def events(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


async def open_stream(client: AsyncOpenAI, text: Any, conversation: str | None = None, **more: Any) -> Any:
    more.setdefault("background", False)
    return await start(client, text, conversation, stream=True, **more)


def says(items: list[Any]) -> list[str]:
    """What a conversation holds, as the server keeps it."""
    return [item.text if item.type == "message" else item.type for item in items]


async def refused(awaitable: Awaitable[Any]) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await awaitable
    return caught.value


class TestAgents:
    async def test_versions_count_up_even_for_the_same_definition(self, project: AIProjectClient) -> None:
        tool = FunctionTool(name="roll", description="Rolls", parameters={"type": "object"}, strict=True)
        definition = PromptAgentDefinition(model="gpt-4o", instructions="Be kind.", tools=[tool])
        made = [
            await project.agents.create_version(
                "two-words", definition=definition, description="d", metadata={"a": "b"}
            )
            for _ in range(2)
        ]
        assert [(version.id, version.version) for version in made] == [("two-words:1", "1"), ("two-words:2", "2")]
        agent = await project.agents.get("two-words")
        assert (agent.name, agent.versions.latest.version) == ("two-words", "2")
        latest = agent.versions.latest.definition
        assert (latest["instructions"], latest["tools"][0]["name"]) == ("Be kind.", "roll")
        assert [version.version async for version in project.agents.list_versions("two-words")] == ["2", "1"]
        one = await project.agents.get_version("two-words", "1")
        assert (one.description, one.metadata) == ("d", {"a": "b"})

    async def test_a_deleted_versions_number_does_not_come_again(self, project: AIProjectClient) -> None:
        definition = PromptAgentDefinition(model="gpt-4o")
        for _ in range(2):
            await project.agents.create_version("a", definition=definition)
        deleted = await project.agents.delete_version("a", "2")
        assert (deleted.deleted, deleted.version) == (True, "2")
        assert (await project.agents.get("a")).versions.latest.version == "1"
        assert (await project.agents.create_version("a", definition=definition)).version == "3"
        with pytest.raises(ResourceNotFoundError):
            await project.agents.get_version("a", "2")

    async def test_list_delete_and_unknown(self, project: AIProjectClient) -> None:
        assert [agent.name async for agent in project.agents.list()] == ["keeper"]
        await project.agents.delete("keeper")
        assert [agent.name async for agent in project.agents.list()] == []
        with pytest.raises(ResourceNotFoundError, match="Agent keeper"):
            await project.agents.get("keeper")

    @pytest.mark.parametrize(
        ("name", "definition"),
        [
            ("-a", PromptAgentDefinition(model="m")),
            ("a" * 64, PromptAgentDefinition(model="m")),
            (
                "a",
                PromptAgentDefinition(model="m", tools=[FunctionTool(name="has space", parameters={}, strict=False)]),
            ),
            ("a", {"kind": "prompt"}),
        ],
    )
    async def test_bad_definitions(self, project: AIProjectClient, name: str, definition: Any) -> None:
        with pytest.raises(HttpResponseError) as caught:
            await project.agents.create_version(name, definition=definition)
        assert caught.value.status_code == 400

    async def test_a_version_may_be_named(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.add_agent("keeper", instructions="Be long.")
        for version, instructions in (("1", "Be brief."), (None, "Be long.")):
            named = {"name": "keeper", "type": "agent_reference", "version": version}
            made = await client.responses.create(input="hi", extra_body={"agent_reference": named})
            assert made.instructions == instructions
        unknown = {"name": "keeper", "type": "agent_reference", "version": "9"}
        error = await refused(client.responses.create(input="hi", extra_body={"agent_reference": unknown}))
        assert (error.status_code, error.code) == (404, "not_found")


class TestConversations:
    async def test_create_get_update_delete(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        item: Any = {"type": "message", "role": "assistant", "content": "- my code is 4711"}
        made = await client.conversations.create(items=[item], metadata={"key": "k"})
        assert (await client.conversations.retrieve(made.id)).metadata == {"key": "k"}
        assert (await client.conversations.update(made.id, metadata={"key": "other"})).metadata == {"key": "other"}
        assert says(server.items_of(made.id)) == ["- my code is 4711"]
        assert (await client.conversations.delete(made.id)).deleted
        error = await refused(client.conversations.retrieve(made.id))
        assert (error.status_code, f"Conversation with id '{made.id}' not found." in str(error)) == (404, True)
        assert (await refused(start(client, "hi", made.id))).status_code == 404
        assert says(server.items_of(made.id)) == ["- my code is 4711"]

    @pytest.mark.parametrize(
        "metadata", [{f"k{n}": "v" for n in range(17)}, {"k" * 65: "v"}, {"k": "v" * 513}, {"k": 1}]
    )
    async def test_metadata_has_limits(self, client: AsyncOpenAI, metadata: Any) -> None:
        assert (await refused(client.conversations.create(metadata=metadata))).status_code == 400
        assert (await refused(start(client, "hi", metadata=metadata))).status_code == 400

    async def test_items_are_listed_newest_first_a_page_at_a_time(
        self, client: AsyncOpenAI, server: FoundryServer
    ) -> None:
        conversation = await client.conversations.create()
        items: Any = [{"type": "message", "role": "user", "content": str(n)} for n in range(5)]
        added = await client.conversations.items.create(conversation.id, items=items)
        ids = [item.id or "" for item in added.data]
        assert ids == [item.id for item in server.items_of(conversation.id)]
        listed = [item.id async for item in client.conversations.items.list(conversation.id, limit=2)]
        assert listed == ids[::-1]
        # Unlike Azure's pager, this one honours has_more.
        assert len(server.requests_to("GET", "/openai/v1/conversations/*/items")) == 3
        page = await client.conversations.items.list(conversation.id, after=ids[1], order="asc")
        assert ([item.id for item in page.data], page.has_more) == (ids[2:], False)
        assert (await refused(client.conversations.items.list(conversation.id, limit=101))).status_code == 400  # pyright: ignore

    async def test_one_item(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        conversation = await client.conversations.create()
        part = {"type": "input_text", "text": "hi"}
        items: Any = [{"role": "user", "content": [part]}]
        item: Any = (await client.conversations.items.create(conversation.id, items=items)).data[0]
        kept: Any = await client.conversations.items.retrieve(item.id, conversation_id=conversation.id)
        assert (kept.content[0].text, kept.status) == ("hi", "completed")
        # Only what belongs to a response says who made it.
        assert not hasattr(kept, "created_by")
        left = await client.conversations.items.delete(item.id, conversation_id=conversation.id)
        assert (left.id, server.items_of(conversation.id)) == (conversation.id, [])
        gone = client.conversations.items.retrieve(item.id, conversation_id=conversation.id)
        assert (await refused(gone)).status_code == 404

    async def test_at_most_twenty_at_a_time(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        items: Any = [{"role": "user", "content": "x"}] * 21
        conversation = await client.conversations.create(items=items[:20])
        for request in (
            client.conversations.items.create(conversation.id, items=items),
            client.conversations.create(items=items),
        ):
            assert (await refused(request)).code == "array_above_max_length"
        assert len(server.items_of(conversation.id)) == 20

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "message", "content": "no role"},
            {"type": "message", "role": "critic", "content": "x"},
            {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_file"}]},
            {"type": "function_call_output", "output": "x"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
    )
    async def test_bad_items(self, client: AsyncOpenAI, item: Any) -> None:
        assert (await refused(client.conversations.create(items=[item]))).status_code == 400
        assert (await refused(start(client, [item]))).status_code == 400


class TestResponses:
    async def test_in_the_foreground(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await start(client, "hello", background=False, metadata={"turn": "t1"})
        assert (made.status, made.output_text, made.metadata) == ("completed", "You said: hello", {"turn": "t1"})
        assert (made.background, made.instructions, made.error) == (False, "Be brief.", None)
        assert made._request_id
        assert made.usage is not None
        assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens > 0
        extra: Any = made
        assert extra.agent_reference == {"type": "agent_reference", "name": "keeper", "version": "1"}
        items: list[Any] = [item async for item in client.conversations.items.list(conversation_of(made), order="asc")]
        assert [item.content[0].text for item in items] == ["hello", "You said: hello"]
        created_by = {"response_id": made.id, "agent": {"type": "agent_id", "name": "keeper", "version": "1"}}
        assert [item.created_by for item in items] == [created_by, created_by]
        (given,) = (await client.responses.input_items.list(made.id)).data
        assert given.id == items[0].id
        assert made.output[0].id == items[1].id

    async def test_in_the_background(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await start(client, "hello")
        assert (made.status, made.background, made.output) == ("queued", True, [])
        # Documented: items are added after the response completes.
        assert server.items_of(conversation_of(made)) == []
        done = await look(client, made)
        assert (done.status, done.output_text) == ("completed", "You said: hello")
        assert says(server.items_of(conversation_of(made))) == ["hello", "You said: hello"]
        await client.responses.delete(made.id)
        assert (await refused(look(client, made))).status_code == 404

    async def test_phases_take_their_seconds(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.queue, server.rules.work = 2, 3
        made = await start(client, "hi")
        seen: list[str | None] = []
        for _ in range(6):
            seen.append((await look(client, made)).status)
            clock.advance(1)
        assert seen == ["queued", "queued", "in_progress", "in_progress", "in_progress", "completed"]

    async def test_a_foreground_response_makes_its_request_wait(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.queue, server.rules.work = 2, 3
        request = asyncio.create_task(start(client, "hi", background=False))
        await clock.until_asleep()
        clock.advance(4)
        await asyncio.sleep(0)
        assert not request.done()
        clock.advance(1)
        assert (await request).status == "completed"

    async def test_a_conversation_takes_one_response_at_a_time(
        self, client: AsyncOpenAI, server: FoundryServer
    ) -> None:
        first = await start(client, "one")
        error = await refused(start(client, "two", conversation_of(first)))
        assert (error.status_code, error.code, error.param) == (400, "conversation_locked", "conversation")
        assert error.body == {
            "message": "Another process is currently operating on this conversation. Please retry in a few seconds.",
            "type": "invalid_request_error",
            "param": "conversation",
            "code": "conversation_locked",
        }
        # It is a 400, so the client's own retries do not help.
        assert len(server.requests_to("POST", RESPONSES)) == 2
        items: Any = [{"role": "user", "content": "x"}]
        await client.conversations.items.create(conversation_of(first), items=items)
        server.switches.locks_items = True
        locked = client.conversations.items.create(conversation_of(first), items=items)
        assert (await refused(locked)).code == "conversation_locked"
        await look(client, first)
        assert (await ask(client, "three", conversation_of(first))).status == "completed"

    async def test_the_message_as_an_item_and_no_input(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        conversation = (await client.conversations.create()).id
        given: list[tuple[str, dict[str, Any]]] = [("first", {}), ("second", {"input": ""})]
        for text, absent in given:
            items: Any = [{"role": "user", "content": text}]
            await client.conversations.items.create(conversation, items=items)
            made = await client.responses.create(conversation=conversation, extra_body=AGENT, **absent)
            assert made.output_text == f"You said: {text}"
        assert len(server.items_of(conversation)) == 4
        server.switches.needs_input = True
        error = await refused(client.responses.create(conversation=conversation, extra_body=AGENT))
        assert (error.status_code, error.code, error.param) == (400, "missing_required_parameter", "input")

    async def test_no_input_at_all(self, client: AsyncOpenAI) -> None:
        assert (await refused(client.responses.create(extra_body=AGENT))).code == "missing_required_parameter"

    async def test_without_a_conversation(self, client: AsyncOpenAI) -> None:
        first = await client.responses.create(input="remember my code is 4711", extra_body=AGENT)
        second = await client.responses.create(
            input="what is my code?", previous_response_id=first.id, extra_body=AGENT
        )
        assert (first.conversation, second.output_text) == (None, "I recall: my code is 4711.")
        both = start(client, "x", previous_response_id=first.id)
        assert (await refused(both)).code == "mutually_exclusive_parameters"
        unknown = client.responses.create(input="x", previous_response_id="resp_no", extra_body=AGENT)
        assert (await refused(unknown)).code == "previous_response_not_found"

    async def test_without_an_agent(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        tools: Any = [ROLL]
        made = await client.responses.create(model="m", instructions="Sum up.", input="my code is 4711", tools=tools)
        assert made.output_text == "Summary:\n- my code is 4711"
        (sight,) = server.sights_of(made.id)
        assert (sight.instructions, [tool["name"] for tool in sight.tools]) == ("Sum up.", ["roll"])
        assert (await refused(client.responses.create(input="x"))).param == "model"

    @pytest.mark.parametrize(
        "more",
        [
            {"tools": [ROLL]},
            {"tool_choice": "none"},
            {"parallel_tool_calls": False},
            {"instructions": "x"},
            {"reasoning": {"effort": "low"}},
            {"temperature": 0.5},
        ],
    )
    async def test_what_the_agent_says_is_not_said_again(self, client: AsyncOpenAI, more: dict[str, Any]) -> None:
        error = await refused(start(client, "hi", **more))
        body: Any = error.body
        assert (error.status_code, error.code, error.param) == (400, "invalid_payload", next(iter(more)))
        assert (body["message"], body["details"]) == ("Not allowed when agent is specified.", [])

    async def test_two_of_them_come_as_details(self, client: AsyncOpenAI) -> None:
        error = await refused(start(client, "hi", temperature=0.5, top_p=0.5))
        body: Any = error.body
        assert (body["message"], body["param"]) == ("Invalid payload", None)
        assert [detail["param"] for detail in body["details"]] == ["temperature", "top_p"]

    async def test_background_has_to_be_stored(self, client: AsyncOpenAI) -> None:
        assert (await refused(start(client, "hi", store=False))).status_code == 400
        unstored = await start(client, "hi", store=False, background=False)
        assert (await refused(look(client, unstored))).status_code == 404

    async def test_what_is_too_much_is_refused_or_cut_off(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.switches.context_tokens = 100
        conversation = conversation_of(await ask(client, "my code is 4711"))
        await ask(client, "x" * 250, conversation)
        assert (await refused(start(client, "what is my code?", conversation))).code == "context_length_exceeded"
        cut = await ask(client, "what is my code?", conversation, truncation="auto")
        assert cut.output_text == "I recall nothing about your code."


class TestCancel:
    async def test_it_is_idempotent_and_frees_the_conversation(
        self, client: AsyncOpenAI, server: FoundryServer
    ) -> None:
        made = await start(client, "hi")
        assert [(await client.responses.cancel(made.id)).status for _ in range(2)] == ["cancelled", "cancelled"]
        assert server.items_of(conversation_of(made)) == []
        done = await ask(client, "again", conversation_of(made))
        assert done.output_text == "You said: again"
        assert (await client.responses.cancel(done.id)).status == "completed"

    async def test_a_synchronous_response(self, client: AsyncOpenAI) -> None:
        made = await start(client, "hi", background=False)
        error = await refused(client.responses.cancel(made.id))
        assert (error.status_code, "Cannot cancel a synchronous response." in str(error)) == (400, True)

    async def test_it_may_take_its_time(self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock) -> None:
        server.rules.work, server.rules.cancel = 60, 5
        made = await start(client, "hi")
        assert (await client.responses.cancel(made.id)).status == "queued"
        clock.advance(4)
        assert (await look(client, made)).status == "in_progress"
        clock.advance(1)
        assert (await look(client, made)).status == "cancelled"

    async def test_it_may_do_nothing(self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock) -> None:
        server.rules.work = 60
        server.inject(Fault("cancel_stuck"))
        server.inject(Fault("run_stuck"))
        made = await start(client, "hi")
        await client.responses.cancel(made.id)
        clock.advance(100_000)
        assert (await look(client, made)).status == "queued"
        assert (await refused(start(client, "x", conversation_of(made)))).code == "conversation_locked"

    async def test_deleting_a_running_response_ends_it(self, client: AsyncOpenAI) -> None:
        made = await start(client, "hi")
        await client.responses.delete(made.id)
        assert (await ask(client, "free", conversation_of(made))).output_text == "You said: free"


class TestFunctionCalls:
    async def test_two_calls_of_one_tool_in_parallel(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        asked = await ask(client, "use roll sides=6 and use roll sides=20")
        calls: list[Any] = list(asked.output)
        assert asked.status == "completed"
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [
            ("roll", {"sides": 6}),
            ("roll", {"sides": 20}),
        ]
        answered = await ask(client, outputs(asked, "4", "13"), conversation_of(asked))
        assert answered.output_text == "roll: 4\nroll: 13"
        assert says(server.items_of(conversation_of(asked)))[1:5] == [
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
        ]
        (sight,) = server.sights_of(answered.id)
        assert [[output.output for output in outputs] for outputs in sight.rounds] == [["4", "13"]]

    async def test_then_makes_a_second_round(self, client: AsyncOpenAI) -> None:
        made = await ask(client, "use clock city=Oslo then use roll sides=6")
        conversation = conversation_of(made)
        for expected in ("clock", "roll"):
            (call,) = made.output
            assert call.type == "function_call"
            assert call.name == expected
            made = await ask(client, outputs(made, expected.upper()), conversation)
        assert made.output_text == "clock: CLOCK\nroll: ROLL"

    async def test_a_conversation_with_an_unanswered_call_is_stuck(
        self, client: AsyncOpenAI, server: FoundryServer
    ) -> None:
        asked = await ask(client, "use roll and use clock")
        conversation = conversation_of(asked)
        both = outputs(asked, "4", "noon")
        for given in ("hello", both[:1]):
            error = await refused(start(client, given, conversation))
            assert (error.status_code, error.param) == (400, "input")
            assert "No tool output found for function call call_" in str(error)
        # Whoever gives up answers all the same, here as items and with the next message.
        items: Any = both[:1]
        await client.conversations.items.create(conversation, items=items)
        freed = await ask(client, [both[1], {"role": "user", "content": "hello"}], conversation)
        assert freed.output_text == "You said: hello"

    async def test_an_answer_to_no_call(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        stray: Any = [{"type": "function_call_output", "call_id": "call_no", "output": "x"}]
        error = await refused(start(client, stray))
        assert "No tool call found for function call output with call_id call_no." in str(error)
        # As an item it is taken, and then the conversation is spoilt.
        conversation = (await client.conversations.create(items=stray)).id
        assert (await refused(start(client, "hi", conversation))).status_code == 400

    async def test_arguments_that_are_no_json(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script([Calls([Call("roll", raw="{not json")], text="Let me see."), "done"])
        asked = await ask(client, "x")
        assert [item.type for item in asked.output] == ["message", "function_call"]
        assert asked.output[1].arguments == "{not json"  # pyright: ignore
        assert (await ask(client, outputs(asked, ""), conversation_of(asked))).output_text == "done"

    async def test_an_old_order_is_not_carried_out_again(self, client: AsyncOpenAI) -> None:
        asked = await ask(client, "use roll")
        await ask(client, outputs(asked, "6"), conversation_of(asked))
        assert (await ask(client, "hello", conversation_of(asked))).output_text == "You said: hello"


class TestModels:
    async def test_memory_lasts_as_long_as_the_conversation(self, client: AsyncOpenAI) -> None:
        first = await ask(client, "remember my code is 4711")
        assert (await ask(client, "What is my code?", conversation_of(first))).output_text == (
            "I recall: my code is 4711."
        )
        assert (await ask(client, "what is my code?")).output_text == "I recall nothing about your code."

    async def test_a_script_may_begin_anew_with_every_turn(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script([Calls([Call("roll")]), "rolled"], each_run=True)
        conversation = (await client.conversations.create()).id
        for _ in range(2):
            asked = await ask(client, "x", conversation)
            assert (await ask(client, outputs(asked, "6"), conversation)).output_text == "rolled"

    @pytest.mark.parametrize("reason", ["max_completion_tokens", "content_filter"])
    async def test_incomplete(self, client: AsyncOpenAI, server: FoundryServer, reason: str) -> None:
        server.model = Script([Incomplete(reason, "Half an ans")])
        cut = await ask(client, "x")
        assert cut.incomplete_details is not None
        expected = "max_output_tokens" if reason == "max_completion_tokens" else reason
        assert (cut.status, cut.incomplete_details.reason, cut.output_text) == ("incomplete", expected, "Half an ans")
        assert says(server.items_of(conversation_of(cut))) == ["x", "Half an ans"]

    async def test_failed(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script([Failure("rate_limit_exceeded", "Try again in 60 seconds."), "fine"])
        failed = await ask(client, "x")
        assert failed.error is not None
        assert (failed.status, failed.error.code, failed.usage) == ("failed", "rate_limit_exceeded", None)
        assert server.items_of(conversation_of(failed)) == []
        assert (await ask(client, "x", conversation_of(failed))).output_text == "fine"

    async def test_a_refusal(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script([Answer("I'm sorry, but I can't.", refused=True)])
        made = await ask(client, "x")
        (message,) = made.output
        assert message.type == "message"
        assert (message.content[0].type, made.output_text) == ("refusal", "")
        assert says(server.items_of(conversation_of(made))) == ["x", "I'm sorry, but I can't."]

    async def test_annotations(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        file_id = server.add_container_file("cntr_1", "plot.png", b"\x89PNG")
        place = {"start_index": 0, "end_index": 4}
        server.model = Script(
            [
                Answer(
                    "Here",
                    annotations=[
                        {"type": "url_citation", "url": "https://example.com", "title": "T", **place},
                        # As the classic API has it.
                        {"type": "file_citation", "file_citation": {"file_id": "assistant-1", "quote": "q"}, **place},
                        {
                            "type": "container_file_citation",
                            "container_id": "cntr_1",
                            "file_id": file_id,
                            "filename": "plot.png",
                            **place,
                        },
                    ],
                )
            ]
        )
        made: Any = await ask(client, "x")
        url, file, plot = made.output[0].content[0].annotations
        assert (url.url, file.file_id, plot.filename) == ("https://example.com", "assistant-1", "plot.png")
        content = await client.containers.files.content.retrieve(plot.file_id, container_id=plot.container_id)
        assert content.content == b"\x89PNG"
        assert (await client.containers.files.retrieve(file_id, container_id="cntr_1")).bytes == 4
        unknown = client.containers.files.content.retrieve("cfile_no", container_id="cntr_1")
        assert (await refused(unknown)).status_code == 404

    async def test_a_picture(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script([Answer("", items=[picture("iVBORw0=")]), Answer("Look.", items=[picture("eA==")])])
        made = await ask(client, "draw")
        (item,) = made.output
        assert item.type == "image_generation_call"
        assert (item.result, item.status) == ("iVBORw0=", "completed")
        again = await ask(client, "and now in red", conversation_of(made))
        assert [item.type for item in again.output] == ["image_generation_call", "message"]


class TestStream:
    async def test_the_events_of_an_answer(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        told = await events(await open_stream(client, "hello"))
        assert [event.type for event in told] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert [event.sequence_number for event in told] == list(range(11))
        assert "".join(event.delta for event in told[4:7]) == told[7].text == "You said: hello"
        assert (told[0].response.status, told[-1].response.status) == ("in_progress", "completed")
        assert told[0].response.id == told[-1].response.id
        assert told[-1].response.output_text == "You said: hello"
        assert told[-1].response.usage.total_tokens > 0
        assert says(server.items_of(conversation_of(told[0].response))) == ["hello", "You said: hello"]

    async def test_the_sdks_own_collector_understands_it(self, client: AsyncOpenAI) -> None:
        async with client.responses.stream(model="m", input="hello") as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_response()).output_text == "You said: hello"

    async def test_the_events_of_other_items(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.model = Script(
            [
                Calls([Call("roll", {"sides": 6})]),
                Answer("No.", refused=True, items=[picture("eA==")]),
            ]
        )
        told = await events(await open_stream(client, "x"))
        assert [event.type.removeprefix("response.") for event in told[2:-1]] == [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        asked = told[-1].response
        told = await events(await open_stream(client, outputs(asked, "6"), conversation_of(asked)))
        assert [event.type.removeprefix("response.") for event in told[2:-1]] == [
            "output_item.added",
            "image_generation_call.in_progress",
            "image_generation_call.generating",
            "image_generation_call.completed",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
        ]

    @pytest.mark.parametrize(
        ("act", "last"),
        [
            (Failure(text="H"), "response.failed"),
            (Incomplete("content_filter", "H"), "response.incomplete"),
        ],
    )
    async def test_other_ends(self, client: AsyncOpenAI, server: FoundryServer, act: Any, last: str) -> None:
        server.model = Script([act])
        told = await events(await open_stream(client, "x"))
        assert (told[-1].type, told[-1].response.output_text) == (last, "H")

    async def test_text_comes_piece_by_piece(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.work, server.rules.delta = 5, 1
        stream = await open_stream(client, "hello")
        assert [(await anext(stream)).type for _ in range(2)] == ["response.created", "response.in_progress"]
        for seconds, expected in ((6, "You"), (1, "said:"), (1, "hello")):
            await clock.until_asleep()
            clock.advance(seconds)
            async for event in stream:
                if event.type == "response.output_text.delta":
                    assert event.delta.strip() == expected
                    break
            conversation = next(iter(server.project.conversations))
            assert server.items_of(conversation) == []
        assert (await events(stream))[-1].type == "response.completed"

    async def test_in_the_background_it_can_be_taken_up_again(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.work = 5
        stream = await open_stream(client, "hello", background=True)
        seen = [await anext(stream) for _ in range(3)]
        assert [event.type for event in seen] == ["response.created", "response.queued", "response.in_progress"]
        assert seen[0].response.status == "queued"
        await stream.close()
        clock.advance(5)
        made = seen[0].response
        more = await client.responses.retrieve(made.id, stream=True, starting_after=2)
        told = await events(more)
        assert [event.sequence_number for event in told] == list(range(3, 12))
        assert told[-1].type == "response.completed"
        everything = await events(await client.responses.retrieve(made.id, stream=True))
        assert [event.sequence_number for event in everything] == list(range(12))

    async def test_only_such_a_one_can(self, client: AsyncOpenAI) -> None:
        made = await start(client, "hello")
        assert (await refused(client.responses.retrieve(made.id, stream=True))).status_code == 400

    async def test_a_cancelled_one_just_ends(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.work = 60
        stream = await open_stream(client, "hello", background=True)
        created = await anext(stream)
        await clock.until_asleep()
        await client.responses.cancel(created.response.id)
        assert [event.type for event in await events(stream)] == ["response.queued", "response.in_progress"]


class TestDroppedConnections:
    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.parametrize("cancels", [True, False])
    async def test_a_foreground_response_ends_with_its_connection(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock, streamed: bool, cancels: bool
    ) -> None:
        server.rules.work = 5
        server.switches.drop_cancels = cancels
        conversation = (await client.conversations.create()).id
        request = asyncio.create_task(start(client, "hi", conversation, background=False, stream=streamed))
        await server.until(lambda: server.responses_of(conversation))
        await clock.until_asleep()
        (response,) = server.responses_of(conversation)
        if streamed:
            stream: Any = await request
            await stream.close()
        else:
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
        await server.until(lambda: not response.driven)
        assert response.status == ("cancelled" if cancels else "in_progress")
        clock.advance(5)
        items = [item async for item in client.conversations.items.list(conversation)]
        assert (response.status, len(items)) == (("cancelled", 0) if cancels else ("completed", 2))

    async def test_a_background_response_does_not(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.inject(Fault("stream_cut", "POST", RESPONSES))
        stream = await open_stream(client, "hi", background=True)
        with pytest.raises(openai.APIConnectionError):
            await events(stream)
        (response,) = server.project.responses.values()
        assert (await client.responses.retrieve(response.id)).status == "completed"


class TestFaults:
    async def test_status_before_the_work(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        fault = server.inject(Fault("status", "POST", RESPONSES, status=503))
        assert (await refused(start(client, "hi"))).status_code == 503
        assert (server.project.responses, fault.struck) == ({}, 1)
        await start(client, "hi")

    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.parametrize("background", [True, False])
    @pytest.mark.parametrize("kind", ["status", "cut", "malformed"])
    async def test_after_the_work(
        self, client: AsyncOpenAI, server: FoundryServer, kind: Any, background: bool, streamed: bool
    ) -> None:
        server.inject(Fault(kind, "POST", RESPONSES, when="after"))
        conversation = (await client.conversations.create()).id
        begun = start(client, "hi", conversation, background=background, stream=streamed)
        if kind == "malformed" and streamed:
            stream: Any = await begun
            # What is no stream has no events.
            assert await events(stream) == []
        else:
            wrong = {"status": openai.InternalServerError, "cut": openai.APIConnectionError, "malformed": ValueError}
            with pytest.raises(wrong[kind]):
                await begun
        (response,) = server.responses_of(conversation)
        assert response.status == ("queued" if background else "completed")
        assert len(server.items_of(conversation)) == (0 if background else 2)

    async def test_retry_after_makes_the_sdk_send_a_post_again(
        self, project: AIProjectClient, server: FoundryServer
    ) -> None:
        server.inject(Fault("status", "POST", RESPONSES, status=429, retry_after=0.001, when="after"))
        async with project.get_openai_client() as client:
            made = await start(client, "once", background=False)
        # The service has no idempotency key: this is how a message comes to stand there twice.
        assert says(server.items_of(conversation_of(made)))[::2] == ["once", "once"]

    async def test_a_body_of_ones_own(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        answer = {"error": {"code": "content_filter", "message": "No.", "param": "prompt", "type": None}}
        server.inject(Fault("status", "POST", RESPONSES, status=400, answer=answer))
        error = await refused(start(client, "hi"))
        assert (error.code, error.param) == ("content_filter", "prompt")

    async def test_thread_gone(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.inject(Fault("thread_gone", "POST", RESPONSES))
        assert (await refused(start(client, "hi"))).status_code == 404
        conversation = (await client.conversations.create()).id
        server.lose_conversation(conversation)
        assert (await refused(client.conversations.items.list(conversation))).status_code == 404  # pyright: ignore

    async def test_slow_work_is_not_done_for_a_client_that_has_left(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        conversation = (await client.conversations.create()).id
        server.inject(Fault("slow", "POST", RESPONSES, seconds=30))
        request = asyncio.create_task(start(client, "hi", conversation, background=False))
        await clock.until_asleep()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        clock.advance(30)
        await server.until(lambda: server.responses_of(conversation))
        assert server.responses_of(conversation)[0].status == "cancelled"

    async def test_run_failed_after_a_round_of_tools_and_only_once(
        self, client: AsyncOpenAI, server: FoundryServer
    ) -> None:
        server.inject(Fault("run_failed", rounds=1, code="rate_limit_exceeded"))
        asked = await ask(client, "use roll")
        given = outputs(asked, "6")
        statuses = [(await ask(client, given, conversation_of(asked))).status for _ in range(2)]
        assert statuses == ["failed", "completed"]

    @pytest.mark.parametrize(
        ("fault", "status"),
        [(Fault("run_expired"), "failed"), (Fault("run_incomplete", text="H"), "incomplete")],
    )
    async def test_what_the_classic_half_knows(
        self, client: AsyncOpenAI, server: FoundryServer, fault: Fault, status: str
    ) -> None:
        fresh: dict[str, Any] = fault.body() | {"count": 1, "struck": 0}
        server.inject(Fault(**fresh))
        assert (await ask(client, "hi")).status == status

    async def test_run_stuck(self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock) -> None:
        server.inject(Fault("run_stuck"))
        made = await start(client, "hi")
        clock.advance(100_000)
        assert (await look(client, made)).status == "queued"
        assert (await client.responses.cancel(made.id)).status == "cancelled"

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("stream_cut", openai.APIConnectionError),
            # The SDK does not wrap what is no JSON.
            ("stream_garbled", json.JSONDecodeError),
            # ...and does not notice that the last event is missing.
            ("stream_ended", None),
        ],
    )
    async def test_streams_that_break_off(
        self, client: AsyncOpenAI, server: FoundryServer, kind: Any, error: type[Exception] | None
    ) -> None:
        server.inject(Fault(kind, "POST", RESPONSES, event="response.output_text.delta"))
        stream = await open_stream(client, "hello")
        told: list[Any] = []
        with pytest.raises(error) if error else contextlib.nullcontext():
            async for event in stream:
                told.append(event)  # noqa: PERF401 - what came before the error counts
        assert [event.type for event in told][-1] == "response.output_text.delta"
        (record,) = server.requests_to("POST", RESPONSES)
        assert record.fault == kind
        response = server.project.responses[told[0].response.id]
        await server.until(lambda: not response.driven)
        assert (response.status, server.items_of(conversation_of(told[0].response))) == ("cancelled", [])

    async def test_an_error_in_the_stream(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.inject(Fault("stream_error", events=3, code="rate_limit_exceeded", message="Slow down."))
        told = await events(await open_stream(client, "hello"))
        # It has no field "error", so the SDK does not raise it: it comes as one more event.
        assert (len(told), told[-1].type, told[-1].code) == (4, "error", "rate_limit_exceeded")
        assert (await look(client, told[0].response)).status == "failed"

    async def test_a_stream_that_stalls(self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock) -> None:
        server.inject(Fault("stream_stalled", seconds=30))
        stream = await open_stream(client, "hello")
        await clock.until_asleep()
        clock.advance(30)
        assert len(await events(stream)) == 11


class TestSwitches:
    async def test_input_may_join_at_the_start_and_stay(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.switches.input_joins = "start"
        server.inject(Fault("run_failed"))
        made = await start(client, "hi")
        assert says(server.items_of(conversation_of(made))) == ["hi"]
        assert (await look(client, made)).status == "failed"
        again = await ask(client, "there", conversation_of(made))
        assert says(server.items_of(conversation_of(made))) == ["hi", "there", "You said: there"]
        assert [said.text for said in server.sights_of(again.id)[0].messages] == ["hi", "there"]

    async def test_no_background(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        server.switches.background = False
        error = await refused(start(client, "hi"))
        assert (error.status_code, error.param) == (400, "background")
        assert (await start(client, "hi", background=False)).status == "completed"

    async def test_broken_operations(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await start(client, "hi", background=False)
        server.switches.broken = ["retrieve", "cancel", "delete", "input_items"]
        operations: list[Callable[[str], Awaitable[Any]]] = [
            client.responses.retrieve,
            client.responses.cancel,
            client.responses.delete,
        ]
        for operation in operations:
            assert (await refused(operation(made.id))).status_code == 500
        assert (await refused(client.responses.input_items.list(made.id))).status_code == 500  # pyright: ignore

    async def test_from_outside(self, server: FoundryServer) -> None:
        async with aiohttp.ClientSession(server.address) as session:
            for body, status in (
                ({"broken": ["cancel"], "needs_input": True}, 200),
                ({"gravity": True}, 400),
                ({"input_joins": "never"}, 400),
                ({"broken": ["breathe"]}, 400),
            ):
                async with session.post("/_control/switches", json=body) as response:
                    assert response.status == status
        assert server.switches == Switches(broken=["cancel"], needs_input=True)


class TestFiles:
    async def test_a_file_and_a_picture_in_a_message(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await client.files.create(file=("a.txt", b"hello"), purpose="assistants")
        assert (made.filename, made.bytes) == ("a.txt", 5)
        assert (await client.files.content(made.id)).content == b"hello"
        parts: Any = [
            {"type": "input_text", "text": "See this."},
            {"type": "input_file", "file_id": made.id},
            {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
        ]
        answer = await ask(client, [{"role": "user", "content": parts}])
        assert answer.output_text == "You said: See this."
        kept = server.items_of(conversation_of(answer))[0].content["content"]
        assert (kept[1]["file_id"], kept[2]["image_url"]) == (made.id, "data:image/png;base64,eA==")
        unknown: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": "assistant-no"}]}]
        assert (await refused(start(client, unknown))).status_code == 404
        await client.files.delete(made.id)
        assert (await refused(client.files.retrieve(made.id))).status_code == 404


class TestDoor:
    async def test_every_request_is_recorded(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await start(client, "hi")
        await look(client, made)
        assert [(record.method, record.path, record.status) for record in server.requests] == [
            ("POST", "/openai/v1/conversations", 200),
            ("POST", RESPONSES, 200),
            ("GET", f"{RESPONSES}/{made.id}", 200),
        ]
        record = server.requests[1]
        body = {"conversation": conversation_of(made), "input": "hi", "background": True, **AGENT}
        assert (record.body, record.query, record.headers["authorization"]) == (body, {}, "Bearer any")

    async def test_both_halves_at_one_address(self, server: FoundryServer) -> None:
        server.token = "right"
        async with aiohttp.ClientSession() as session:
            for path, token, status in (
                ("/openai/v1/conversations", "wrong", 401),
                ("/openai/v1/nothing", "right", 404),
                ("/agents", "right", 400),  # the control plane wants an api-version
                ("/agents?api-version=v1", "right", 200),
                ("/threads?api-version=v1", "right", 200),
            ):
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(server.endpoint + path, headers=headers) as response:
                    assert response.status == status

    async def test_stopped_and_started_again_it_still_knows(
        self, client: AsyncOpenAI, server: FoundryServer, clock: ManualClock
    ) -> None:
        server.rules.work = 5
        made = await start(client, "hello")
        foreground = asyncio.create_task(start(client, "x", background=False))
        await clock.until_asleep()
        await server.stop()
        with pytest.raises(openai.APIConnectionError):
            await foreground
        with pytest.raises(openai.APIConnectionError):
            await look(client, made)
        await server.start()
        assert (await look(client, made)).status == "in_progress"
        clock.advance(5)
        assert (await look(client, made)).output_text == "You said: hello"
        assert [response.status for response in server.project.responses.values()] == ["completed", "cancelled"]

    async def test_what_a_conversation_holds_from_outside(self, client: AsyncOpenAI, server: FoundryServer) -> None:
        made = await ask(client, "hi")
        async with aiohttp.ClientSession(server.address) as session:
            async with session.get("/_control/conversations") as response:
                assert (await response.json())["conversations"] == [conversation_of(made)]
            async with session.get(f"/_control/conversations/{conversation_of(made)}") as response:
                seen = await response.json()
        assert (len(seen["items"]), seen["responses"][0]["status"]) == (2, "completed")


async def test_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.foundry", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().strip().partition("=") for _ in range(3)]
    told = {name: value for name, _, value in lines}
    credential: Any = FixedToken()
    async with AIProjectClient(told["PROJECT_ENDPOINT"], credential, authentication_policy=Bearer()) as project:
        assert (await project.agents.get(told["AGENT_NAME"])).versions.latest.version == "1"
        async with project.get_openai_client() as client:
            named = {"name": told["AGENT_NAME"], "type": "agent_reference"}
            made = await client.responses.create(input="hi", extra_body={"agent_reference": named})
    assert made.output_text == "You said: hi"
    process.terminate()
    assert await process.wait() == 0


async def test_a_real_clock_takes_its_time() -> None:
    async with FoundryServer(rules=Rules(work=0.05)) as server, connect(server) as project:
        server.add_agent("keeper")
        async with project.get_openai_client() as client:
            began = time.monotonic()
            await start(client, "hi", background=False)
            assert time.monotonic() - began >= 0.05


@pytest.fixture(autouse=True)
def nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A handler that raises makes aiohttp log an error and answer 500, which a test could take for a fault."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
