"""Files of the agent's in Teams: shown, offered, brought after a yes, or named; over restarts, and to nobody else."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.channels import teams_offers
from bot.channels.teams_offers import CONSENT, INFO, INVOKE, inline
from bot.clock import SystemClock
from bot.errors import RequestRefused, ServiceUnavailable
from bot.pictures import Picture, picture_in
from bot.store import SqlStore, open_store
from bot.types import File, JsonObject, Part, RemoteFile
from tests.channels.conftest import MakeRig
from tests.teams import group_message, message
from tests.teams.activities import ANN
from tests.teams.connector import status
from tests.teams.files import SIGNED, FakeFiles, png
from tests.teams.rig import Rig

REPORT = RemoteFile("file-1", "report.xlsx", "application/vnd.ms-excel")
CONTENT = b"the numbers"
Made = Callable[..., Awaitable[Rig]]


class Service:
    """Where the agent's files lie."""

    def __init__(self) -> None:
        self.content: bytes | Exception = CONTENT
        self.asked: list[RemoteFile] = []

    async def download(self, file: RemoteFile) -> bytes:
        self.asked.append(file)
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
    yield store
    await store.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def drive() -> AsyncIterator[FakeFiles]:
    fake = FakeFiles()
    await fake.start()
    yield fake
    await fake.close()


@pytest.fixture
async def made(make_rig: MakeRig, store: SqlStore, service: Service) -> Made:
    """Rigs over one database: each is a life of the bot, or a replica."""

    async def make() -> Rig:
        return await make_rig(options={"file_offers": store.offers, "download": service.download})

    return make


def part(file: RemoteFile = REPORT, data: bytes = CONTENT) -> Part:
    return Part("", by_agent=True, file=File(file.name, file.content_type, data), remote=file)


async def offered(rig: Rig) -> JsonObject:
    """The card, as it was sent to Ann."""
    await rig.teams.send(await rig.address(message(rig.url)), part())
    [card] = rig.connector.messages[-1]["attachments"]
    return card


def reply(rig: Rig, card: JsonObject, drive: FakeFiles, action: str = "accept", **changes: Any) -> JsonObject:
    """What Teams sends when she presses a button."""
    upload = {
        "contentUrl": "https://contoso.sharepoint.com/personal/ann/report.xlsx",
        "name": "report.xlsx",
        "uploadUrl": drive.url("upload"),
        "uniqueId": "1150D938",
        "fileType": "xlsx",
    }
    value: JsonObject = {"type": "fileUpload", "action": action, "context": card["content"][f"{action}Context"]}
    if action == "accept":
        value["uploadInfo"] = upload
    pressed = message(rig.url, None, type="invoke", id="f:invoke", name=INVOKE, value=value, replyToId="delivered-1")
    return pressed | changes


# -- pictures -----------------------------------------------------------------------------------------------


async def test_a_picture_is_shown_in_a_message_of_its_own(made: Made) -> None:
    rig = await made()
    for address in (await rig.address(message(rig.url)), await rig.address(group_message(rig.url, id="2"))):
        assert await rig.teams.send(address, part(RemoteFile("f", "chart.png", "image/png"), png()))
    for sent in rig.connector.messages:
        [shown] = sent["attachments"]
        head, _, data = shown["contentUrl"].partition(",")
        assert (head, b64decode(data), shown["name"]) == ("data:image/png;base64", png(), "chart.png")
        assert "text" not in sent, "with text the service makes two messages, and gives no id"
        assert sent["entities"][0]["additionalType"] == ["AIGeneratedContent"]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (png(1024, 1), True),
        (png(1025, 1), False),
        (png(1, 1025), False),
        (png() + b"x" * (1 << 20), False),
        (b"<svg/>", False),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"", False),
    ],
)
def test_what_a_message_can_show(data: bytes, shown: bool) -> None:
    assert (inline(File("x.png", "image/png", data)) is not None) is shown


FRAME = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
GIF = b"GIF89a\x01\0\x02\0\x80\0\0" + b"\0" * 6


@pytest.mark.parametrize(
    ("data", "picture"),
    [
        (GIF + FRAME + b";", Picture("image/gif", 1, 2)),
        (GIF + b"\x21\xf9\x04\0\0\0\0\0" + FRAME + FRAME + b";", Picture("image/gif", 1, 2, moves=True)),
        (
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x0b\x08\x00\x10\x00\x20\x01\x01\x11\0\xff\xd9",
            Picture("image/jpeg", 32, 16),
        ),
        (b"\xff\xd8\xff\xe0\0\x04ab", None),
        (png()[:20], None),
        (png().replace(b"IDAT", b"acTL") + b"IDAT", Picture("image/png", 2, 2, moves=True)),
        (b"", None),
    ],
)
def test_pictures_are_known_by_their_first_bytes(data: bytes, picture: Picture | None) -> None:
    assert picture_in(data) == picture


# -- the card, and a yes ------------------------------------------------------------------------------------


async def test_another_file_is_offered(made: Made) -> None:
    rig = await made()
    card = await offered(rig)
    assert (card["contentType"], card["name"]) == (CONSENT, "report.xlsx")
    assert card["content"]["sizeInBytes"] == len(CONTENT)
    assert card["content"]["acceptContext"] == card["content"]["declineContext"]


async def test_after_a_yes_the_file_is_brought_without_a_token(made: Made, drive: FakeFiles) -> None:
    rig = await made()
    card = await offered(rig)
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert drive.brought == {"upload": CONTENT}
    [asked] = drive.asked
    assert (asked.method, asked.authorization, asked.range) == ("PUT", None, "bytes 0-10/11")
    assert asked.query.startswith(SIGNED)
    [info] = rig.connector.messages[-1]["attachments"]
    assert info == {
        "contentType": INFO,
        "contentUrl": "https://contoso.sharepoint.com/personal/ann/report.xlsx",
        "name": "report.xlsx",
        "content": {"uniqueId": "1150D938", "fileType": "xlsx"},
    }
    assert [(one.method, one.activity_id) for one in rig.connector.deliveries][-1] == ("DELETE", "delivered-1")


@pytest.mark.invariant("I4")
async def test_a_yes_after_a_restart_brings_it(made: Made, drive: FakeFiles, service: Service) -> None:
    card = await offered(await made())
    assert service.asked == [], "the content is not kept: only where it lies"
    later = await made()
    assert (await later.post(reply(later, card, drive)))[0] == 200
    assert drive.brought == {"upload": CONTENT}
    assert service.asked == [REPORT]


async def test_a_yes_that_comes_again_brings_nothing_again(made: Made, drive: FakeFiles) -> None:
    rig = await made()
    card = await offered(rig)
    for _ in range(3):
        assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert len(drive.asked) == 1
    assert len(rig.connector.messages) == 2


async def test_while_it_is_being_brought_the_answer_does_not_wait_for_ever(
    made: Made, drive: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams_offers, "ANSWER_WITHIN", 0.05)
    go = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await request.read()
        await go.wait()
        return web.Response(status=201)

    drive.answers["upload"] = slow
    rig = await made()
    card = await offered(rig)
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    go.set()
    await rig.connector.wait_for(3)
    assert len(drive.asked) == 1


async def test_a_no_lets_it_go(made: Made, drive: FakeFiles) -> None:
    rig = await made()
    card = await offered(rig)
    assert await rig.post(reply(rig, card, drive, "decline")) == (200, {})
    assert rig.connector.deliveries[-1].method == "DELETE"
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert drive.asked == []


@pytest.mark.invariant("I10")
@pytest.mark.parametrize(
    "change",
    [
        {"from": ANN | {"aadObjectId": "0eve", "id": "29:1eve"}},
        {"conversation": {"conversationType": "personal", "id": "a:another"}},
    ],
)
async def test_nobody_else_takes_it(made: Made, drive: FakeFiles, change: JsonObject) -> None:
    rig = await made()
    card = await offered(rig)
    assert await rig.post(reply(rig, card, drive, **change)) == (200, {})
    assert drive.asked == []
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert drive.brought == {"upload": CONTENT}


@pytest.mark.parametrize("value", [None, {}, {"action": "accept"}, {"action": "accept", "context": {"offer": 1}}])
async def test_what_is_no_answer_has_no_effect(made: Made, drive: FakeFiles, value: Any) -> None:
    rig = await made()
    assert await rig.post(reply(rig, await offered(rig), drive) | {"value": value}) == (200, {})
    assert drive.asked == []


@pytest.mark.invariant("I11")
async def test_it_goes_to_allowed_hosts_alone(made: Made, drive: FakeFiles) -> None:
    rig = await made()
    card = await offered(rig)
    pressed = reply(rig, card, drive)
    pressed["value"]["uploadInfo"]["uploadUrl"] = f"https://evil.example/upload?{SIGNED}"
    assert await rig.post(pressed) == (200, {})
    assert "couldn't put report.xlsx" in rig.connector.messages[-1]["text"]
    assert SIGNED not in str(rig.connector.messages)


@pytest.mark.parametrize(
    ("fault", "said", "again"),
    [
        (ServiceUnavailable("away"), "couldn't put report.xlsx", True),
        (RequestRefused("gone"), "isn't there any more", False),
    ],
)
async def test_what_fails_is_said(
    made: Made, drive: FakeFiles, service: Service, fault: Exception, said: str, again: bool
) -> None:
    rig = await made()
    card = await offered(rig)
    service.content = fault
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert said in rig.connector.messages[-1]["text"]
    service.content = CONTENT
    await rig.post(reply(rig, card, drive))
    assert bool(drive.brought) is again


async def test_a_card_that_cannot_be_taken_away_is_no_failure(made: Made, drive: FakeFiles) -> None:
    rig = await made()
    card = await offered(rig)
    rig.connector.faults.extend([status(404)])
    assert await rig.post(reply(rig, card, drive, "decline")) == (200, {})


# -- where none can be brought ------------------------------------------------------------------------------


async def test_in_a_group_it_is_named(made: Made) -> None:
    rig = await made()
    await rig.teams.send(await rig.address(group_message(rig.url)), part())
    assert rig.connector.messages[0]["text"] == "_The agent made report.xlsx, which I can't show here._"


async def test_slack_shows_none(rig: Rig) -> None:
    assert "files" not in rig.framework.channels()["slack"].shows
    assert "files" in rig.teams.shows


# -- the store ----------------------------------------------------------------------------------------------


async def test_an_offer_ends_by_itself(
    store: SqlStore, made: Made, drive: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams_offers, "OFFERED_SECONDS", -1.0)
    rig = await made()
    card = await offered(rig)
    assert await rig.post(reply(rig, card, drive)) == (200, {})
    assert drive.asked == []
    await store.records.sweep(1e9, 1e9)


@pytest.mark.invariant("I13")
async def test_no_upload_address_is_kept(made: Made, drive: FakeFiles, tmp_path: Path) -> None:
    rig = await made()
    await rig.post(reply(rig, await offered(rig), drive))
    for file in tmp_path.rglob("*.db*"):  # noqa: ASYNC240 (a test may wait for its disk)
        assert SIGNED.encode() not in file.read_bytes()
