"""The local channel over HTTP, and the guard in front of it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from bot.channels import stream as stream_module
from bot.channels.local import LocalChannel
from bot.channels.stream import Happened, Stream, without_repeats
from bot.clock import SystemClock
from bot.errors import DeliveryRefused, OperatorError, ServiceUnavailable
from bot.events import LeaseLost, RunLooked, TurnReleased
from bot.ports import Channel
from bot.types import ConversationKind, JsonObject, MessageKind, Part, reference_of
from bot.web.app import create_app
from tests.web.local_bot import LocalBot, view

ALEX = {"person": "alex", "conversation": "personal"}
SAM_TEAM = {"person": "sam", "conversation": "team"}
ADDRESS = {"conversation": "personal-alex", "person": "alex"}


@pytest.fixture
def bot() -> LocalBot:
    return LocalBot()


@pytest.fixture
async def client(bot: LocalBot) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(bot.app())) as client:
        yield client


async def events(response: ClientResponse, count: int) -> list[tuple[str, str, JsonObject]]:
    """The next events of a stream, as (id, kind, data)."""
    found: list[tuple[str, str, JsonObject]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        while len(found) < count:
            line = (await response.content.readline()).decode()
            assert line, "the stream ended"
            if line == "\n":
                if "id" in fields:  # what grows has none, and is no part of what happened
                    found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value
    return found


async def say(client: TestClient, text: str, **more: str) -> JsonObject:
    async with client.post("/local/messages", json={**ALEX, "text": text, **more}) as response:
        assert response.status == 202
        return await response.json()


# -- messages ----------------------------------------------------------------------------------------------------


def test_it_is_a_channel(bot: LocalBot) -> None:
    channel: Channel = bot.channel
    assert (channel.name, channel.limit) == ("local", 80 * 1024)


async def test_a_message_is_accepted_whole(bot: LocalBot, client: TestClient) -> None:
    body = await say(client, "hello", id="0b5d-1111")
    assert body == {"reference": reference_of(1), "fresh": True}
    [message] = bot.accepted
    assert (message.id, message.text, message.kind) == ("0b5d-1111", "hello", MessageKind.TEXT)
    assert (message.person.id, message.sent_at, message.address) == ("alex", None, ADDRESS)
    assert message.conversation.kind is ConversationKind.PERSONAL


@pytest.mark.invariant("I2")
async def test_a_message_sent_again_with_its_id_is_one_turn_and_shown_once(bot: LocalBot, client: TestClient) -> None:
    first = await say(client, "hello", id="0b5d-1111")
    second = await say(client, "hello", id="0b5d-1111")
    assert first["reference"] == second["reference"]
    assert (first["fresh"], second["fresh"]) == (True, False)
    state = await (await client.get("/local/state", params=ALEX)).json()
    assert [event["kind"] for event in state["events"]] == ["said"]


async def test_without_an_id_each_message_is_its_own(bot: LocalBot, client: TestClient) -> None:
    await say(client, "hello")
    await say(client, "hello")
    assert len({message.id for message in bot.accepted}) == 2


async def test_the_group_is_one_conversation_of_both(bot: LocalBot, client: TestClient) -> None:
    async with client.post("/local/messages", json={**SAM_TEAM, "text": "hello all"}) as response:
        assert response.status == 202
    assert bot.accepted[0].conversation.kind is ConversationKind.GROUP
    seen = await (await client.get("/local/state", params={**ALEX, "conversation": "team"})).json()
    assert [event["data"]["person"] for event in seen["events"]] == ["sam"]
    private = await (await client.get("/local/state", params=ALEX)).json()
    assert private["events"] == []


async def test_words_that_no_database_takes_are_mended(bot: LocalBot, client: TestClient) -> None:
    await say(client, "a\x00b\ud800")
    await say(client, "  ")
    assert [message.text for message in bot.accepted] == ["ab?", "  "]
    assert bot.accepted[1].kind is MessageKind.EMPTY


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[]", 400, "object"),
        (json.dumps({**ALEX}).encode(), 400, "text"),
        (json.dumps({**ALEX, "text": 5}).encode(), 400, "text"),
        (json.dumps({**ALEX, "text": "x", "id": "../../etc"}).encode(), 400, "id must be"),
        (json.dumps({**ALEX, "text": "x", "person": "eve"}).encode(), 400, "alex or sam"),
        (json.dumps({**ALEX, "text": "x", "conversation": "personal-sam"}).encode(), 400, "personal or team"),
        (json.dumps({**ALEX, "text": "x" * 100_001}).encode(), 413, "100000"),
        (b" " * 9_000_000, 413, "5 MB together"),
    ],
)
async def test_bad_input_is_refused_with_the_reason(
    bot: LocalBot, client: TestClient, body: bytes, status: int, reason: str
) -> None:
    headers = {"Content-Type": "application/json"}
    async with client.post("/local/messages", data=io.BytesIO(body), headers=headers) as response:
        assert response.status == status
        assert reason in (await response.json())["error"]
    assert not bot.accepted


async def test_a_store_that_does_not_answer_is_a_503_to_be_sent_again(bot: LocalBot, client: TestClient) -> None:
    bot.refusals.append(ServiceUnavailable("secret words", retry_after=7))
    async with client.post("/local/messages", json={**ALEX, "text": "x"}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
        assert "secret" not in await response.text()


@pytest.mark.invariant("I13")
async def test_a_fault_of_ours_says_nothing(
    bot: LocalBot, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    bot.refusals.append(ZeroDivisionError("password=hunter2"))
    async with client.post("/local/messages", json={**ALEX, "text": "x"}) as response:
        assert (response.status, await response.json()) == (500, {"error": "Internal Server Error"})
    assert "POST /local/messages failed: ZeroDivisionError at local_bot.py" in caplog.text
    assert "hunter2" not in caplog.text


# -- deliveries --------------------------------------------------------------------------------------------------


async def test_what_a_tool_is_doing_is_told_while_an_answer_is_made(bot: LocalBot, client: TestClient) -> None:
    async with client.get("/local/events", params=ALEX) as response:
        bot.channel.progress(ADDRESS, "too early")
        async with bot.channel.working(ADDRESS):
            bot.channel.progress(ADDRESS, "Reading 1 of 2")
        bot.channel.progress(ADDRESS, "too late")
        bot.channel.progress({"conversation": "nowhere"}, "of nobody")
        await bot.channel.send(ADDRESS, Part("4 pm"))
        told = await events(response, 4)
    assert [(kind, data.get("words")) for _, kind, data in told] == [
        ("typing", None),
        ("typing", "Reading 1 of 2"),
        ("typing", None),
        ("message", None),
    ]


async def test_deliveries_and_typing_are_told_as_they_happen(bot: LocalBot, client: TestClient) -> None:
    async with client.get("/local/events", params=ALEX) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        async with bot.channel.working(ADDRESS), bot.channel.working(ADDRESS):
            delivered = await bot.channel.send(ADDRESS, Part("4 pm", by_agent=True, buttons=("retry",)))
            await bot.channel.update(ADDRESS, delivered, Part("5 pm", by_agent=True))
        told = await events(response, 4)
    assert [kind for _, kind, _ in told] == ["typing", "message", "update", "typing"]
    message = told[1][2]
    assert (message["text"], message["by_agent"], message["buttons"]) == ("4 pm", True, ["retry"])
    assert message["id"] == told[2][2]["id"] == delivered
    numbers = [int(event_id.split("-")[1]) for event_id, _, _ in told]
    assert numbers == sorted(set(numbers))


async def test_a_delivery_to_nowhere_is_refused(bot: LocalBot) -> None:
    with pytest.raises(DeliveryRefused):
        await bot.channel.send({"conversation": "personal-eve"}, Part("x"))
    async with bot.channel.working({}):
        pass


async def test_a_runs_state_is_told_where_it_changes(bot: LocalBot, client: TestClient) -> None:
    async with client.get("/local/events", params=ALEX) as response:
        await say(client, "hello")
        [message] = bot.accepted
        bot.start(message, thread="t-1")
        to = (bot.reference(message), "personal-alex/alex")
        for _ in range(5):
            bot.tell(RunLooked(*to, "run", "in_progress"))
        call = bot.call_starts(message, "clock")
        bot.call_ends(message, "clock", call, "timeout")
        bot.tell(TurnReleased(*to, 20.0, "ServiceBusy"), LeaseLost(*to))
        bot.end(message)
        told = await events(response, 11)
    assert [(kind, data.get("state")) for _, kind, data in told[1:]] == [
        ("thread", None),
        ("run", "started"),
        ("run", "queued"),
        ("run", "in_progress"),
        ("tool", "started"),
        ("tool", "done"),
        ("run", "waiting"),
        ("run", "taken over"),
        ("run", "completed"),
        ("ended", None),
    ]
    assert told[6][2]["error"] == "timeout"


async def test_the_events_of_a_lane_that_is_not_ours_are_left_alone(bot: LocalBot, client: TestClient) -> None:
    bot.tell(RunLooked("7F3K-2Q", "teams/somebody", "run", "in_progress"))
    assert (await (await client.get("/local/state", params=ALEX)).json())["events"] == []


# -- coming back -------------------------------------------------------------------------------------------------


async def test_who_comes_back_is_told_what_was_missed(bot: LocalBot, client: TestClient) -> None:
    for number in range(5):
        await bot.channel.send(ADDRESS, Part(f"part {number}"))
    state = await (await client.get("/local/state", params=ALEX)).json()
    third = state["events"][2]["id"]
    async with client.get("/local/events", params=ALEX, headers={"Last-Event-ID": third}) as response:
        told = await events(response, 2)
    async with client.get("/local/events", params={**ALEX, "after": third}) as response:
        assert told == await events(response, 2)
    assert [data["text"] for _, _, data in told] == ["part 3", "part 4"]
    assert told[-1][0] == state["last"]


@pytest.mark.parametrize("event_id", ["00000000-1", "nonsense", "future"])
async def test_an_id_of_another_life_is_a_reset(bot: LocalBot, client: TestClient, event_id: str) -> None:
    await bot.channel.send(ADDRESS, Part("x"))
    last = (await (await client.get("/local/state", params=ALEX)).json())["last"]
    given = event_id.replace("future", f"{last}000")
    async with client.get("/local/events", params=ALEX, headers={"Last-Event-ID": given}) as response:
        [(event_now, kind, _)] = await events(response, 1)
        assert (event_now, kind) == (last, "reset")


@pytest.mark.invariant("I14")
async def test_the_past_is_bounded_in_number_and_in_size(bot: LocalBot, client: TestClient) -> None:
    first = f"{(await (await client.get('/local/state', params=ALEX)).json())['last']}"
    for number in range(300):
        await bot.channel.send(ADDRESS, Part(f"part {number}"))
    state = await (await client.get("/local/state", params=ALEX)).json()
    assert len(state["events"]) == stream_module.PAST_EVENTS
    async with client.get("/local/events", params=ALEX, headers={"Last-Event-ID": first}) as response:
        assert (await events(response, 1))[0][1] == "reset"
    for _ in range(50):
        await bot.channel.send(ADDRESS, Part("x" * 100_000))
    state = await (await client.get("/local/state", params=ALEX)).json()
    assert sum(len(event["data"]["text"]) for event in state["events"]) <= stream_module.PAST_CHARACTERS


@pytest.mark.invariant("I14")
async def test_who_reads_too_slowly_is_cut_off() -> None:
    dropped: list[str] = []
    stream = Stream("00000000", SystemClock())
    slow = stream_module.Listener(lambda: dropped.append("slow"))
    stream.listeners.add(slow)
    for _ in range(stream_module.QUEUE + 5):
        stream.publish("typing", on=True)
    assert dropped == ["slow"]
    assert not stream.listeners
    assert len(slow.waiting) == stream_module.QUEUE


async def test_a_quiet_stream_is_kept_alive_and_a_reader_who_left_is_forgotten(
    bot: LocalBot, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "KEEP_ALIVE_SECONDS", 0.01)
    [stream] = [s for name, s in bot.channel._streams.items() if name == "personal-alex"]
    async with client.get("/local/events", params=ALEX) as response:
        async with asyncio.timeout(5):
            while (await response.content.readline()) != b": keep-alive\n":
                pass
        assert len(stream.listeners) == 1
    async with asyncio.timeout(5):
        while stream.listeners:
            await asyncio.sleep(0.005)


async def test_a_server_that_stops_does_not_wait_for_open_streams(bot: LocalBot) -> None:
    client = TestClient(TestServer(bot.app()))
    await client.start_server()
    response = await client.get("/local/events", params=ALEX)
    async with asyncio.timeout(5):
        await client.server.close()
        assert (await response.content.read()).startswith(b"retry:")
    await client.close()


async def test_no_stream_is_opened_on_a_channel_that_is_closed(bot: LocalBot, client: TestClient) -> None:
    await bot.channel.close()
    async with client.get("/local/events", params=ALEX) as response:
        assert response.status == 503


# -- state -------------------------------------------------------------------------------------------------------


async def test_the_state_is_the_view_and_what_happened_since(bot: LocalBot, client: TestClient) -> None:
    bot.views["personal-alex/alex"] = view(("before", "then"), thread="t-1", running=reference_of(9), waiting=1)
    await bot.channel.send(ADDRESS, Part("Done: new conversation."))
    state = await (await client.get("/local/state", params=ALEX)).json()
    assert (state["thread"]["number"], state["running"], state["waiting"]) == (3, reference_of(9), 1)
    assert [entry["text"] for entry in state["history"]] == ["before", "then"]
    assert [event["data"]["text"] for event in state["events"]] == ["Done: new conversation."]


async def test_a_view_that_fails_is_told_with_its_cure(bot: LocalBot) -> None:
    async def failing(_lane: str) -> JsonObject:
        raise failures.pop()

    failures: list[Exception] = [ServiceUnavailable("down"), OperatorError("No agent.", "Set AGENT_ID.")]
    bot.channel = LocalChannel(bot.accept, failing, lambda message: message.person.id, SystemClock())
    async with TestClient(TestServer(bot.app())) as client:
        state = await (await client.get("/local/state", params=ALEX)).json()
        assert (state["problem"], state["thread"]) == ("No agent. Set AGENT_ID.", None)
        state = await (await client.get("/local/state", params=ALEX)).json()
        assert "isn't reachable" in state["problem"]


def user(text: str) -> JsonObject:
    return {"role": "user", "text": text}


def agent(text: str) -> JsonObject:
    return {"role": "assistant", "text": text}


def past(*entries: str) -> list[Happened]:
    """'? words' was said, '= words' is an answer, '! words' is the bot's own."""
    kinds = {"?": ("said", False), "=": ("message", True), "!": ("message", False)}
    return [Happened("e-1", kinds[e[0]][0], {"text": e[2:], "by_agent": kinds[e[0]][1]}) for e in entries]


@pytest.mark.parametrize(
    ("history", "happened", "older", "newer"),
    [
        pytest.param([user("a"), agent("b")], [], ["a", "b"], [], id="after a restart"),
        pytest.param([user("a"), agent("b")], ["? a", "= b"], [], ["a", "b"], id="all of it in this process"),
        pytest.param([user("a"), agent("b"), user("c"), agent("d")], ["? c", "= d"], ["a", "b"], ["c", "d"], id="both"),
        pytest.param(
            [user("a"), agent("b")], ["= b", "! late"], ["a", "b"], ["late"], id="a turn taken up after a restart"
        ),
        pytest.param([user("x\n\ny"), agent("z")], ["? x", "? y", "= z"], [], ["x", "y", "z"], id="merged"),
        pytest.param([user("Alex: x"), agent("z")], ["? x", "= z"], [], ["x", "z"], id="a named speaker"),
        pytest.param([user("a"), agent("b")], ["? status", "! fine"], ["a", "b"], ["status", "fine"], id="a command"),
        pytest.param([user("hi"), agent("ho")], ["? hi"], ["hi", "ho"], ["hi"], id="said again, not yet answered"),
        pytest.param([], ["? a", "= b", "? start over"], [], ["a", "b", "start over"], id="a new thread"),
        pytest.param(
            [user("a"), agent("b"), user("a"), agent("b")],
            ["? a", "= b", "? a", "= b"],
            [],
            ["a", "b", "a", "b"],
            id="the same words twice",
        ),
    ],
)
def test_history_and_past_are_one_conversation(
    history: list[JsonObject], happened: list[str], older: list[str], newer: list[str]
) -> None:
    kept, rest = without_repeats(history, past(*happened))
    assert [entry["text"] for entry in kept] == older
    assert [one.data["text"] for one in rest] == newer


# -- the guard ---------------------------------------------------------------------------------------------------


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3978", "localhost.evil.example", "10.0.0.4", "[", "", "user@evil.example"]
)
async def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/static/chat.js", "/local/state"):
        async with client.get(path, headers={"Host": host}) as response:
            assert response.status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:3978", "127.0.0.1:1", "[::1]:3978"])
async def test_this_machine_by_any_of_its_names_is_welcome(client: TestClient, host: str) -> None:
    async with client.get("/", headers={"Host": host}) as response:
        assert response.status == 200


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9", "http://127.0.0.1"])
async def test_a_foreign_origin_is_refused(bot: LocalBot, client: TestClient, origin: str) -> None:
    async with client.post("/local/messages", json={**ALEX, "text": "x"}, headers={"Origin": origin}) as response:
        assert response.status == 403
    assert not bot.accepted


async def test_our_own_origin_is_welcome(bot: LocalBot, client: TestClient) -> None:
    origin = str(client.make_url("/")).rstrip("/")
    async with client.post("/local/messages", json={**ALEX, "text": "x"}, headers={"Origin": origin}) as response:
        assert response.status == 202


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_a_form_could_send_is_refused(bot: LocalBot, client: TestClient, kind: str) -> None:
    body = json.dumps({**ALEX, "text": "x"}).encode()
    async with client.post("/local/messages", data=body, headers={"Content-Type": kind}) as response:
        assert response.status == 415
    assert not bot.accepted


async def test_health_is_told_to_any_name(bot: LocalBot, client: TestClient) -> None:
    async with client.get("/healthz", headers={"Host": "probe.internal"}) as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
        assert response.headers["X-Threadkeeper-Mode"] == "local"
    async with client.get("/readyz", headers={"Host": "probe.internal"}) as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})


# -- the application ---------------------------------------------------------------------------------------------


async def test_what_is_not_ready_is_named_with_its_cure() -> None:
    async def ready() -> list[str]:
        return ["The agent is missing. Set AGENT_ID."]

    async with TestClient(TestServer(create_app(routes=[], ready=ready, page=False))) as client:
        async with client.get("/readyz") as response:
            assert response.status == 503
            problems = (await response.json())["problems"]
            assert problems == ["The agent is missing. Set AGENT_ID."]
        async with client.get("/") as response:
            assert (response.status, await response.json()) == (404, {"error": "Not Found"})
        async with client.post("/healthz", json={}) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")


async def test_the_page_loads_only_from_here_and_is_never_framed_or_kept(client: TestClient) -> None:
    async with client.get("/") as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert "://" not in await response.text()
    for path in ("/static/", "/static/../app.py", "/static/%2e%2e/app.py", "/static/page.py"):
        async with client.get(path) as response:
            assert response.status == 404
