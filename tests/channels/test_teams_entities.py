"""Beside an answer in Teams: its label, its sources, its sensitivity, its thumbs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.teams_entities import AiMessage, claims, cut
from bot.reply import marks_in, shared_out, split
from bot.types import Citation, JsonObject, Part
from tests.channels.conftest import MakeRig
from tests.teams import abs_slack, group_message, message
from tests.teams.labels import sound
from tests.teams.rig import Rig

LABEL_ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
BOOK = Citation("[1]", "The handbook", "https://example.org/handbook", "Leave is 30 days.")


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    return await rig.address(message(rig.url))


# -- which sources ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("a [1], b [2] and [1] again", ["[1]", "[2]"]),
        ("[2][1]", ["[2]", "[1]"]),
        ("`x[1]` and ``y[2] ` z`` but [3]", ["[3]"]),
        ("```\nx[1]\n```\n[2]", ["[2]"]),
        ("[1](https://a.example) \\[2] [x] [12345]", []),
    ],
)
def test_marks_are_what_stands_outside_code(text: str, marks: list[str]) -> None:
    assert marks_in(text) == marks


def test_only_what_the_text_names_is_cited_by_its_number() -> None:
    sources = [BOOK, Citation("[2]", "Not named"), Citation("[7]", "Seven"), Citation("[7]", "Seven again")]
    told = claims("As [7] and [1] say, and [9].", sources)
    assert [(one["position"], one["appearance"]["name"]) for one in told] == [(1, "The handbook"), (7, "Seven")]
    assert told[0]["appearance"] == {
        "@type": "DigitalDocument",
        "name": "The handbook",
        "abstract": "Leave is 30 days.",
        "url": "https://example.org/handbook",
        "keywords": ["example.org"],
    }


def test_twenty_at_most() -> None:
    sources = [Citation(f"[{n}]", f"Source {n}") for n in range(1, 31)]
    told = claims(" ".join(one.mark for one in sources), sources)
    assert [one["position"] for one in told] == list(range(1, 21))


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "file:///etc/passwd", "ftp://a.example", "https://", "//a.example", "http://[", "a b"],
)
def test_an_address_nobody_should_follow_is_left_out(url: str) -> None:
    [told] = claims("[1]", [Citation("[1]", "", url)])
    assert told["appearance"] == {"@type": "DigitalDocument", "name": "[1]", "abstract": "[1]"}


TEXT = st.text(max_size=300)


@given(title=TEXT, quote=TEXT, url=st.one_of(TEXT, TEXT.map("https://a.example/{}".format)), mark=st.integers(1, 99))
def test_whatever_the_agent_gives_teams_takes_it(title: str, quote: str, url: str, mark: int) -> None:
    entity = AiMessage(f"so [{mark}]", [Citation(f"[{mark}]", title, url, quote)], LABEL_ID)
    told = entity.serialize()
    assert told["citation"]
    assert sound({"text": f"so [{mark}]", "entities": [told]})


@given(st.text(max_size=40), st.integers(1, 20))
def test_what_is_cut_fits_and_begins_the_same(words: str, most: int) -> None:
    said = cut(words, most)
    assert len(said.encode("utf-16-le", "surrogatepass")) <= 2 * most
    line = " ".join(words.split())
    assert said == line or line.startswith(said.removesuffix("\u2026"))


@given(st.lists(st.integers(1, 12), max_size=60), st.integers(200, 400))
def test_each_part_has_the_sources_that_it_names(numbers: list[int], limit: int) -> None:
    parts = split(" ".join(f"word [{n}]" for n in numbers) or "none", limit)
    sources = [Citation(f"[{n}]", f"Source {n}") for n in range(1, 13)]
    shares = shared_out(parts, sources)
    for part, share in zip(parts[:-1], shares[:-1], strict=True):
        assert {one.mark for one in share} == set(marks_in(part))
    assert {one.mark for one in shares[-1]} >= set(marks_in(parts[-1]))
    assert {one.mark for share in shares for one in share} == {one.mark for one in sources}, "none is lost"


# -- over the wire ------------------------------------------------------------------------------------------


async def test_the_sources_stand_in_the_one_root_entity(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address, Part("Leave is 30 days [1].", by_agent=True, citations=(BOOK,)))
    await rig.teams.send(address, Part("Nothing is named here.", by_agent=True, citations=(BOOK,)))
    cited, plain = rig.connector.messages
    [root] = cited["entities"]
    assert [one["position"] for one in root["citation"]] == [1]
    assert "usageInfo" not in root
    assert "citation" not in plain["entities"][0]
    assert "citations" in rig.teams.shows


async def test_the_sensitivity_label_is_told_where_there_is_one(make_rig: MakeRig) -> None:
    rig = await make_rig(teams_sensitivity_label=LABEL_ID.upper())
    address = await rig.address(message(rig.url))
    await rig.teams.send(address, Part("said", by_agent=True))
    await rig.teams.send(address, Part("of the bot"))
    said, own = rig.connector.messages
    assert said["entities"][0]["usageInfo"] == {"@type": "CreativeWork", "@id": LABEL_ID}
    assert "entities" not in own


async def test_thumbs_stand_below_what_the_agent_said(rig: Rig) -> None:
    for activity in (message(rig.url), group_message(rig.url)):
        address = await rig.address(activity)
        await rig.teams.send(address, Part("said", by_agent=True))
        await rig.teams.send(address, Part("of the bot"))
        said, own = rig.connector.messages[-2:]
        assert said["channelData"] == {"feedbackLoop": {"type": "default"}}
        assert "channelData" not in own


async def test_slack_gets_none_of_it(rig: Rig) -> None:
    slack = rig.framework.channels()["slack"]
    address = await rig.address(abs_slack(rig.url))
    await slack.send(address, Part("# said [1]", by_agent=True, citations=(BOOK,)))
    [sent] = rig.connector.messages
    assert "entities" not in sent
    assert "channelData" not in sent
    assert (sent["text"], sent["textFormat"]) == ("# said [1]", "markdown")
    assert ("citations" in slack.shows, slack.dialect("# x")) == (False, "# x")


async def test_the_dialect_is_the_one_that_is_set(make_rig: MakeRig) -> None:
    for setting, text, form in (("safe", "**Title**", "markdown"), ("extended", "# Title", "extendedmarkdown")):
        rig = await make_rig(teams_markdown=setting)
        address = await rig.address(message(rig.url))
        await rig.teams.send(address, Part("# Title", by_agent=True))
        [sent] = rig.connector.messages
        assert (sent["text"], sent["textFormat"], rig.teams.dialect("# Title")) == (text, form, text)
