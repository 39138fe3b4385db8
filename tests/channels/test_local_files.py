"""The local channel beyond words, over HTTP: text as it grows, sources, files out and files in."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot.channels import local_files
from bot.channels.growth import Growth
from bot.channels.local_files import clean_name
from bot.channels.local_posts import FILES_BYTES
from bot.channels.stream import QUEUE, Listener
from bot.types import Attachment, Citation, File, JsonObject, MessageKind, Part
from tests.channels.test_local import ADDRESS, ALEX, events
from tests.web.local_bot import LocalBot, view
from tests.web.pictures import PNG, SVG

SAM_TEAM = {"person": "sam", "conversation": "team"}


@pytest.fixture
def bot() -> LocalBot:
    return LocalBot()


@pytest.fixture
async def client(bot: LocalBot) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(bot.app())) as client:
        yield client


async def frames(client: TestClient, **params: str) -> AsyncIterator[tuple[str, JsonObject]]:
    """Every frame of a new event stream, those that grow too, as (kind, data)."""
    async with client.get("/local/events", params={**ALEX, **params}) as response:
        fields: dict[str, str] = {}
        while line := (await response.content.readline()).decode():
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
            if name == "data":
                yield fields["event"], json.loads(value)


async def state(client: TestClient) -> JsonObject:
    return await (await client.get("/local/state", params=ALEX)).json()


def texts(data: JsonObject) -> list[str]:
    return [draft["text"] for draft in data["drafts"]]


# -- text as it grows --------------------------------------------------------------------------------------------


async def test_it_shows_files_and_sources(bot: LocalBot) -> None:
    assert bot.channel.shows == {"files", "citations"}


async def test_a_text_is_told_as_it_grows_and_its_end_with_the_final_words(bot: LocalBot, client: TestClient) -> None:
    told = frames(client)
    async with asyncio.timeout(5):
        assert await anext(told) == ("drafts", {"drafts": []})
        async with bot.channel.working(ADDRESS) as show:
            assert show is not None
            assert (await anext(told))[0] == "typing"
            show("It")
            [draft] = (await anext(told))[1]["drafts"]
            assert (draft["to"], draft["text"]) == ("alex", "It")
            show("It is")
            assert texts((await anext(told))[1]) == ["It is"]
            await bot.channel.send(ADDRESS, Part("still at it"))
            kind, notice = await anext(told)
            assert (kind, notice["text"], "draft" in notice) == ("message", "still at it", False)
            await bot.channel.send(ADDRESS, Part("It is four.", by_agent=True))
            kind, final = await anext(told)
            assert (kind, final["text"], final["draft"]) == ("message", "It is four.", draft["id"])
            assert await anext(told) == ("drafts", {"drafts": []})
            show("too late")
        assert (await anext(told))[0] == "typing", "the end of the turn tells nothing of what has been settled"
    await told.aclose()


async def test_what_grows_fast_is_told_seldom_and_the_newest_is_kept(bot: LocalBot, client: TestClient) -> None:
    told = frames(client)
    async with asyncio.timeout(5), bot.channel.working(ADDRESS) as show:
        assert show is not None
        assert await anext(told) == ("drafts", {"drafts": []})
        show("x")
        assert texts((await anext(told))[1]) == ["x"]
        for length in range(2, 501):
            show("x" * length)
            await asyncio.sleep(0)  # so that each could be told
        assert texts((await anext(told))[1]) == ["x" * 500]
    await told.aclose()


async def test_a_turn_that_ends_otherwise_takes_its_text_away(bot: LocalBot, client: TestClient) -> None:
    told = frames(client)
    async with asyncio.timeout(5):
        assert (await anext(told))[1] == {"drafts": []}
        with contextlib.suppress(ZeroDivisionError):
            async with bot.channel.working(ADDRESS) as show:
                assert show is not None
                assert (await anext(told))[0] == "typing"
                show("It")
                assert texts((await anext(told))[1]) == ["It"]
                raise ZeroDivisionError
        assert await anext(told) == ("drafts", {"drafts": []})
        assert (await anext(told))[0] == "typing"
    await told.aclose()


async def test_who_comes_back_in_the_middle_is_told_the_newest_alone(bot: LocalBot, client: TestClient) -> None:
    async with asyncio.timeout(5), bot.channel.working(ADDRESS) as show:
        assert show is not None
        for length in range(1, 400):
            show("x" * length)
        now = await state(client)
        assert [event["kind"] for event in now["events"]] == ["typing"], "what grows is no part of the past"
        await bot.channel.send(ADDRESS, Part("a notice"))
        told = frames(client, after=now["last"])
        assert [(await anext(told))[0], texts((await anext(told))[1])] == ["message", ["x" * 399]]
        await told.aclose()
    async with asyncio.timeout(5):
        told = frames(client)
        assert await anext(told) == ("drafts", {"drafts": []})
        await told.aclose()


async def test_in_the_group_two_answers_grow_beside_each_other(bot: LocalBot) -> None:
    growth = Growth(lambda frame: None)
    alex, sam = growth.begin("alex"), growth.begin("sam")
    growth.show(alex, "for Alex")
    growth.show(sam, "for Sam")
    assert growth.settle("sam") == sam.id
    assert growth.settle("sam") is None
    assert b"for Alex" in growth.frame()
    assert b"for Sam" not in growth.frame()


@pytest.mark.invariant("I14")
async def test_a_slow_reader_keeps_one_growing_text_waiting() -> None:
    slow = Listener(lambda: pytest.fail("it is not to be cut off for this"))
    for number in range(10 * QUEUE):
        slow.tell(b"grows %d" % number, grows=True)
    slow.tell(b"message")
    slow.tell(b"grows on", grows=True)
    assert [await slow.next() for _ in range(3)] == [b"grows %d" % (10 * QUEUE - 1), b"message", b"grows on"]


# -- sources -----------------------------------------------------------------------------------------------------


async def test_sources_are_told_with_the_words(bot: LocalBot, client: TestClient) -> None:
    source = Citation("[1]", "The handbook", "https://example.org/handbook", "Ask the desk.")
    await bot.channel.send(ADDRESS, Part("Read this [1].", by_agent=True, citations=(source,)))
    [event] = (await state(client))["events"]
    assert event["data"]["citations"] == [
        {"mark": "[1]", "title": "The handbook", "url": "https://example.org/handbook", "quote": "Ask the desk."}
    ]


@pytest.mark.invariant("I14")
async def test_long_quotes_count_in_the_past(bot: LocalBot, client: TestClient) -> None:
    source = Citation("[1]", "Long", quote="q" * 900_000)
    for _ in range(5):
        await bot.channel.send(ADDRESS, Part("x", by_agent=True, citations=(source,)))
    assert len((await state(client))["events"]) == 2


# -- files out ---------------------------------------------------------------------------------------------------


async def given(bot: LocalBot, client: TestClient, file: File) -> JsonObject:
    await bot.channel.send(ADDRESS, Part("", by_agent=True, file=file))
    return (await state(client))["events"][-1]["data"]["file"]


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/gif", "image/webp"])
async def test_a_raster_image_is_shown_in_the_page(bot: LocalBot, client: TestClient, kind: str) -> None:
    told = await given(bot, client, File("chart", kind, PNG))
    assert (told["name"], told["size"], told["inline"]) == ("chart", len(PNG), True)
    async with client.get(told["url"]) as response:
        assert (response.status, response.headers["Content-Type"], await response.read()) == (200, kind, PNG)
        assert "Content-Disposition" not in response.headers
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'; sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "declared", "kind"),
    [
        ("drawing.svg", "image/svg+xml", "image/svg+xml"),
        ("page.html", "text/html; charset=utf-8", "text/html"),
        ("table.csv", "", "text/csv"),
        ("table.csv", "application/octet-stream", "text/csv"),
        ("x.nothing-known", "text/html\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("image.png", "image/PNG2", "image/png2"),
    ],
)
async def test_everything_else_is_a_download(
    bot: LocalBot, client: TestClient, name: str, declared: str, kind: str
) -> None:
    told = await given(bot, client, File(name, declared, SVG))
    assert not told["inline"]
    async with client.get(told["url"]) as response:
        assert response.headers["Content-Type"] == kind
        assert response.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in response.headers


async def test_a_name_cannot_leave_its_header(bot: LocalBot, client: TestClient) -> None:
    told = await given(bot, client, File('../../a"; x=\r\n\u202eü.txt', "text/plain", b"x"))
    assert told["name"] == 'a"; x=ü.txt'
    async with client.get(told["url"]) as response:
        expected = "attachment; filename*=UTF-8''a%22%3B%20x%3D%C3%BC.txt"
        assert response.headers["Content-Disposition"] == expected


@pytest.mark.invariant("I14")
async def test_the_shelf_is_bounded_and_the_oldest_are_let_go(
    bot: LocalBot, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "SHELF_BYTES", 100)
    monkeypatch.setattr(local_files, "SHELF_FILES", 3)

    async def statuses(files: list[JsonObject]) -> list[int]:
        return [(await client.head(file["url"])).status for file in files]

    files = [await given(bot, client, File(f"{n}.txt", "text/plain", b"x" * 40)) for n in range(3)]
    assert await statuses(files) == [404, 200, 200]
    files += [await given(bot, client, File("huge.txt", "text/plain", b"x" * 101))]
    assert await statuses(files) == [404, 200, 200, 404], "what does not fit pushes nothing out"
    files = [await given(bot, client, File("empty.txt", "text/plain", b"")) for _ in range(4)]
    assert await statuses(files) == [404, 200, 200, 200]
    async with client.get(files[0]["url"]) as response:
        assert "kept no more" in (await response.json())["error"]


@pytest.mark.invariant("I11")
async def test_a_file_is_for_this_machine_and_for_who_was_told_of_it(bot: LocalBot, client: TestClient) -> None:
    told = await given(bot, client, File("chart.png", "image/png", PNG))
    assert len(told["url"].removeprefix("/local/files/")) >= 24
    assert (await client.get(told["url"], headers={"Host": "evil.example"})).status == 403
    assert (await client.get("/local/files/1")).status == 404
    for place in ({"person": "sam", "conversation": "personal"}, SAM_TEAM):
        assert (await (await client.get("/local/state", params=place)).json())["events"] == []


# -- files in ----------------------------------------------------------------------------------------------------


def attachment(name: str = "plan.png", kind: str = "image/png", data: bytes = PNG) -> JsonObject:
    return {"name": name, "content_type": kind, "data": b64encode(data).decode()}


async def post(client: TestClient, *attachments: object, text: str = "") -> tuple[int, JsonObject]:
    body = json.dumps({**ALEX, "text": text, "attachments": attachments}).encode()
    headers = {"Content-Type": "application/json"}
    async with client.post("/local/messages", data=io.BytesIO(body), headers=headers) as response:
        return response.status, await response.json()


async def test_files_come_along_with_the_message(bot: LocalBot, client: TestClient) -> None:
    assert (await post(client, attachment(), attachment("a.csv", "", b"a;b"), text="what is this?"))[0] == 202
    [message] = bot.accepted
    assert (message.text, message.kind) == ("what is this?", MessageKind.TEXT)
    assert message.attachments == (
        Attachment("plan.png", "image/png", len(PNG), b64encode(PNG).decode()),
        Attachment("a.csv", "text/csv", 3, "YTti"),
    )


async def test_a_file_alone_is_a_question(bot: LocalBot, client: TestClient) -> None:
    await post(client, attachment())
    assert bot.accepted[0].kind is MessageKind.TEXT
    await post(client)
    assert bot.accepted[1].kind is MessageKind.EMPTY


@pytest.mark.invariant("I15")
async def test_the_past_names_the_files_and_nothing_keeps_or_logs_their_content(
    bot: LocalBot, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = b64encode(b"the plan as it was drawn").decode()
    async with client.get("/local/events", params=ALEX) as response:
        await post(client, attachment(data=b"the plan as it was drawn"))
        [(_, kind, said)] = await events(response, 1)
    assert (kind, said["text"], said["files"]) == ("said", "", [{"name": "plan.png", "content_type": "image/png"}])
    bot.refusals.append(ValueError(secret))
    assert (await post(client, attachment(data=b"the plan as it was drawn")))[0] == 500
    assert secret not in json.dumps(await state(client)) + json.dumps(said) + caplog.text


async def test_five_megabytes_fit_and_a_byte_more_does_not(bot: LocalBot, client: TestClient) -> None:
    half = FILES_BYTES // 2
    fitting = [attachment("1", "", b"x" * half), attachment("2", "", b"x" * half)]
    assert (await post(client, *fitting, text="ü" * 100_000))[0] == 202
    assert sum(one.size for one in bot.accepted[0].attachments) == FILES_BYTES
    status, answer = await post(client, *fitting, attachment("3", "", b"x"))
    assert (status, answer["error"]) == (413, "The files of a message may have 5 MB together; these have 5.0 MB.")
    status, answer = await post(client, attachment("1", "", b"x" * (FILES_BYTES + FILES_BYTES // 2)))
    assert (status, answer["error"]) == (413, "The files of a message may have 5 MB together; this message is larger.")
    assert len(bot.accepted) == 1


async def test_a_large_body_without_its_length_is_cut_off(bot: LocalBot, client: TestClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(9 * 16):
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    async with client.post("/local/messages", data=endless(), headers=headers) as response:
        assert response.status == 413


async def test_other_routes_take_no_large_body(client: TestClient) -> None:
    app = client.server.app
    assert app is not None
    assert app._client_max_size == 256 * 1024


@pytest.mark.parametrize(
    ("attachments", "reason"),
    [
        ([attachment()] * 5, "may have 4 files; this one has 5"),
        (["plan.png"], "must be an object"),
        ([{"name": "a", "data": 5}], "must be strings"),
        ([{"name": "a", "content_type": None, "data": "YQ=="}], "must be strings"),
        ([{"name": "a", "data": "<script>"}], "The data of a is not base64."),
        ([{"name": "a", "data": "ü"}], "The data of a is not base64."),
        ([{"name": "../a", "data": ""}], "a is empty."),
    ],
)
async def test_what_is_no_attachment_is_refused_with_the_reason(
    bot: LocalBot, client: TestClient, attachments: list[object], reason: str
) -> None:
    status, answer = await post(client, *attachments, text="x")
    assert status == 400
    assert reason in answer["error"]
    assert not bot.accepted


async def test_attachments_that_are_no_list_are_refused(bot: LocalBot, client: TestClient) -> None:
    async with client.post("/local/messages", json={**ALEX, "text": "x", "attachments": {}}) as response:
        assert (response.status, await response.json()) == (400, {"error": "attachments must be a list."})


@pytest.mark.parametrize("remembered", ["", "(plan.png)"])
async def test_a_message_of_files_alone_is_told_once(bot: LocalBot, client: TestClient, remembered: str) -> None:
    await post(client, attachment())
    await bot.answer(bot.accepted[0], "a plan")
    bot.views["personal-alex/alex"] = view(("before", "then"), (remembered, "a plan"), thread="t-1")
    seen = await state(client)
    assert [entry["text"] for entry in seen["history"]] == ["before", "then"]
    assert [event["kind"] for event in seen["events"] if event["kind"] in ("said", "message")] == ["said", "message"]


async def test_a_file_stays_with_words_that_the_history_tells(bot: LocalBot, client: TestClient) -> None:
    await bot.channel.send(ADDRESS, Part("Here it is.", by_agent=True))
    await bot.channel.send(ADDRESS, Part("", by_agent=True, file=File("chart.png", "image/png", PNG)))
    bot.views["personal-alex/alex"] = view(("draw", "Here it is."), thread="t-1")
    [event] = (await state(client))["events"]
    assert event["data"]["file"]["name"] == "chart.png"


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("plan.png", "plan.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\alex\\plan.png", "plan.png"),
        ("a\x00b\r\n\x1b[31m.txt", "ab[31m.txt"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("half \ud800 a pair", "half a pair"),
        ("..", "file"),
        ("", "file"),
        ("folder/", "folder"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
        ("." + "x" * 300, "." + "x" * 119),
    ],
)
def test_names_are_cleaned(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned
