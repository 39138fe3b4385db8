"""Files and images that people send along in Teams: from which host, with which token, how much, and what is kept."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.channels import teams_files
from bot.channels.service_hosts import ServiceHosts
from bot.channels.teams_files import Addresses, FileRequests
from bot.errors import DeliveryRefused, ServiceUnavailable, TooLarge
from bot.settings import DEFAULT_FILE_HOSTS, DEFAULT_SERVICE_HOSTS
from bot.store.codec import decode, encode
from bot.types import Attachment, Message, MessageKind
from tests.channels.conftest import MakeRig
from tests.teams import HeldClock, abs_slack, message
from tests.teams.files import SIGNED, FakeFiles, endless, file_attachment, image_attachment, png
from tests.teams.rig import Rig

HTML = {"contentType": "text/html", "content": "<p>hello</p>"}
MOST = 100_000


@pytest.fixture
async def files() -> AsyncIterator[FakeFiles]:
    fake = FakeFiles()
    await fake.start()
    yield fake
    await fake.close()


async def sent(
    rig: Rig, *attachments: dict[str, object], text: str | None = "look", id: str = "1700000000001"
) -> Message:
    """What the inbox is given of a message with attachments."""
    status, _ = await rig.post(message(rig.url, text, attachments=[*attachments, HTML], id=id))
    assert status == 202
    return rig.accepted[-1]


async def test_a_file_is_had_without_the_bots_token(rig: Rig, files: FakeFiles) -> None:
    files.content["report.pdf"] = b"%PDF the report"
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    [one] = said.attachments
    assert (said.kind, said.text, said.files) == (MessageKind.TEXT, "look", ())
    assert (one.name, one.content_type, one.size, one.data) == ("report.pdf", "application/pdf", 0, "")
    assert await rig.teams.fetch(said.address, one, MOST) == b"%PDF the report"
    [asked] = files.asked
    assert asked.authorization is None
    assert asked.query == f"{SIGNED}%2F%3D"


async def test_an_image_is_had_with_the_bots_token(rig: Rig, files: FakeFiles) -> None:
    files.content["v3/attachments/0/views/original"] = png()
    said = await sent(rig, image_attachment(files.view("v3/attachments/0/views/original")), text=None)
    [one] = said.attachments
    assert (said.kind, one.content_type) == (MessageKind.TEXT, "image/*")
    assert await rig.teams.fetch(said.address, one, MOST) == png()
    assert files.asked[0].authorization == f"Bearer {rig.entra.valid}"


@pytest.mark.invariant("I13")
async def test_a_pre_signed_address_is_kept_in_memory_alone(
    rig: Rig, files: FakeFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signed = files.url("report.pdf")
    said = await sent(rig, file_attachment(signed), image_attachment(f"{files.view('image')}?sig=secret"))
    stored = json.dumps(encode(said))
    assert "tempauth" not in stored
    assert "sig=secret" not in stored
    assert "held" in stored
    with pytest.raises(DeliveryRefused) as refused:
        await rig.teams.fetch(said.address, said.attachments[0], MOST)
    ours = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # that is the fake's
    assert not any(word in f"{refused.value} {ours} {said!r} {rig.events}" for word in ("tempauth", "sig="))


async def test_what_the_store_gave_back_is_fetched(rig: Rig, files: FakeFiles) -> None:
    files.content |= {"report.pdf": b"one", "image": b"two"}
    said = await sent(rig, file_attachment(files.url("report.pdf")), image_attachment(files.view("image")))
    again = decode(json.loads(json.dumps(encode(said))))
    assert [await rig.teams.fetch(again.address, one, MOST) for one in again.attachments] == [b"one", b"two"]


async def test_after_a_restart_the_image_is_there_and_the_file_only_if_it_comes_again(
    make_rig: MakeRig, files: FakeFiles
) -> None:
    files.content |= {"report.pdf": b"one", "image": b"two"}
    before, after = await make_rig(), await make_rig()
    attachments = (file_attachment(files.url("report.pdf")), image_attachment(files.view("image")))
    said = await sent(before, *attachments)
    file, image = said.attachments
    address = await after.address(message(after.url, id="another"))
    assert await after.teams.fetch(address, image, MOST) == b"two"
    with pytest.raises(DeliveryRefused):
        await after.teams.fetch(address, file, MOST)
    await sent(after, *attachments)  # Teams delivers again what was not acknowledged
    assert await after.teams.fetch(address, file, MOST) == b"one"


async def test_an_address_is_let_go_of_after_an_hour(rig: Rig, files: FakeFiles) -> None:
    files.content["report.pdf"] = b"one"
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    rig.clock.advance(teams_files.HELD_SECONDS + 1)
    with pytest.raises(DeliveryRefused):
        await rig.teams.fetch(said.address, said.attachments[0], MOST)


@pytest.mark.invariant("I14")
async def test_memory_holds_so_many_addresses(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams_files, "HELD", 3)
    addresses = Addresses(HeldClock())
    plain = rig.accepted or [await sent(rig)]
    source = {"address": "https://x/?sig", "by": "signature"}
    many = tuple(Attachment(str(n), "a/b", 0, source=dict(source)) for n in range(5))
    kept = addresses.keep(Message("m", plain[0].conversation, plain[0].person, "", {}, attachments=many))
    found = []
    for one in kept.attachments:
        try:
            found.append(addresses.find(one.source)[0])
        except DeliveryRefused:
            found.append("")
    assert found == ["", "", *["https://x/?sig"] * 3]


# -- hosts and redirects ------------------------------------------------------------------------------------


def requests(rig: Rig, files: tuple[str, ...] = DEFAULT_FILE_HOSTS) -> FileRequests:
    """As in the public cloud, where this machine is no host of files."""
    return FileRequests(
        lambda: pytest.fail("a request was made"),
        services=ServiceHosts(DEFAULT_SERVICE_HOSTS),
        files=ServiceHosts(files),
        token=None,
    )


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("https://evil.example/report", "signature"),
        ("http://contoso.sharepoint.com/report", "signature"),
        ("https://sharepoint.com.evil.example/report", "signature"),
        ("https://evilsharepoint.com/report", "signature"),
        ("https://169.254.169.254/latest/meta-data", "signature"),
        ("https://smba.trafficmanager.net/x", "signature"),
        ("https://contoso.sharepoint.com/image", "token"),
        ("https://evil.example/image", "token"),
        ("http://smba.trafficmanager.net/image", "token"),
    ],
)
async def test_other_hosts_are_not_asked(rig: Rig, address: str, by: str) -> None:
    with pytest.raises(DeliveryRefused, match="not allowed"):
        await requests(rig).get(address, by, MOST)
    with pytest.raises(DeliveryRefused, match="not allowed"):
        await requests(rig).put("https://evil.example/upload", b"x")


def to(address: str):
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": address})

    return answer


@pytest.mark.invariant("I11")
async def test_the_token_follows_no_redirect(rig: Rig, files: FakeFiles) -> None:
    files.content["elsewhere"] = b"x"
    files.answers["image"] = to(files.view("elsewhere"))
    said = await sent(rig, image_attachment(files.view("image")))
    with pytest.raises(DeliveryRefused):
        await rig.teams.fetch(said.address, said.attachments[0], MOST)
    assert [asked.path for asked in files.asked] == ["image"]


async def test_a_file_may_lie_one_redirect_away_at_an_allowed_host(rig: Rig, files: FakeFiles) -> None:
    files.content["elsewhere"] = b"x"
    files.answers |= {"report.pdf": to("/elsewhere"), "out": to("https://evil.example/x"), "round": to("/round")}
    for name in ("report.pdf", "out", "round"):
        said = await sent(rig, file_attachment(files.url(name)), id=name)
        if name == "report.pdf":
            assert await rig.teams.fetch(said.address, said.attachments[0], MOST) == b"x"
            continue
        with pytest.raises(DeliveryRefused):
            await rig.teams.fetch(said.address, said.attachments[0], MOST)
    assert [asked.path for asked in files.asked].count("round") == teams_files.MOST_REDIRECTS


# -- how much, how long -------------------------------------------------------------------------------------


async def test_a_file_that_is_said_to_be_too_large_is_not_read(rig: Rig, files: FakeFiles) -> None:
    files.content["report.pdf"] = b"x" * 1001
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    with pytest.raises(TooLarge):
        await rig.teams.fetch(said.address, said.attachments[0], 1000)
    assert len(await rig.teams.fetch(said.address, said.attachments[0], 1001)) == 1001


async def test_a_file_that_does_not_end_is_cut_off(rig: Rig, files: FakeFiles) -> None:
    passed: list[int] = []
    files.answers["report.pdf"] = endless(passed)
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    with pytest.raises(TooLarge):
        await rig.teams.fetch(said.address, said.attachments[0], 50_000)
    assert sum(passed) < 9_000_000


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, DeliveryRefused),
        (403, DeliveryRefused),
        (401, DeliveryRefused),
        (503, ServiceUnavailable),
        (429, ServiceUnavailable),
    ],
)
async def test_what_a_host_answers(rig: Rig, files: FakeFiles, status: int, kind: type[Exception]) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="with the words of somebody")

    files.answers["report.pdf"] = answer
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    with pytest.raises(kind, match=f"{status}"):
        await rig.teams.fetch(said.address, said.attachments[0], MOST)


async def test_a_host_that_hangs_is_left(rig: Rig, files: FakeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    monkeypatch.setattr(teams_files, "FETCH_SECONDS", 0.2)
    files.answers["report.pdf"] = endless(passed)
    said = await sent(rig, file_attachment(files.url("report.pdf")))
    with pytest.raises((ServiceUnavailable, TooLarge)) as fault:
        await rig.teams.fetch(said.address, said.attachments[0], 1 << 40)
    assert "tempauth" not in str(fault.value)


# -- what it is ---------------------------------------------------------------------------------------------


async def test_an_image_of_the_playground_comes_whole(rig: Rig) -> None:
    data = b64encode(png()).decode()
    said = await sent(rig, {"contentType": "image/png", "contentUrl": f"data:image/png;base64,{data}"})
    assert said.attachments == (Attachment("image", "image/png", len(png()), data=data),)


async def test_what_cannot_be_fetched_is_said_to_be_not_taken(rig: Rig) -> None:
    """A file in a group is a link that Graph alone opens; Slack's files want a token of Slack's."""
    shared = {"contentType": "reference", "contentUrl": "https://contoso.sharepoint.com/x.docx", "name": "x.docx"}
    said = await sent(rig, shared)
    assert (said.kind, said.files, said.attachments) == (MessageKind.FILES, ("x.docx",), ())
    await rig.post(abs_slack(rig.url, "see", subtype="file_share", files=[{"name": "a.pdf"}]))
    assert rig.accepted[-1].kind is MessageKind.FILES


async def test_beside_what_can_be_fetched_the_rest_is_named(rig: Rig, files: FakeFiles) -> None:
    shared = {"contentType": "reference", "contentUrl": "https://contoso.sharepoint.com/x.docx", "name": "x.docx"}
    said = await sent(rig, shared, file_attachment(files.url("notes.docx"), "../notes.docx"))
    assert [(one.name, bool(one.source)) for one in said.attachments] == [("x.docx", False), ("notes.docx", True)]
    assert said.attachments[1].content_type.endswith("wordprocessingml.document")
    with pytest.raises(DeliveryRefused):
        await rig.teams.fetch(said.address, said.attachments[0], MOST)
