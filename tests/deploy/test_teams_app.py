"""The Teams app: what its package holds, the limits it keeps, and what is said when something is missing."""

from __future__ import annotations

import io
import json
import re
import shlex
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bot.commands import WORDS, parse
from bot.errors import SettingsError
from bot.settings import Settings
from infra.teams.__main__ import app, own_version
from infra.teams.icons import ACCENT, colour_icon, outline_icon
from infra.teams.manifest import Publisher, commands, manifest
from infra.teams.package import package
from infra.teams.words import COMMANDS, NOT_IN_THE_MENU
from tests.deploy.contoso import APP_ID, CONTOSO, made, settings

OPTIONS = [
    "--developer",
    "Contoso",
    "--website",
    CONTOSO.website,
    "--privacy",
    CONTOSO.privacy,
    "--terms",
    CONTOSO.terms,
]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the machine sets, and a .env where the tests run, are no part of the test."""
    for name in (*Settings.model_fields, "teams_developer", "teams_website", "teams_privacy", "teams_terms"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def pixels(image: bytes) -> list[list[tuple[int, ...]]]:
    """The rows of a PNG of ours, its checksums compared."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", (0, 0)
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        assert struct.unpack(">I", image[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
            assert body[8:] == bytes([8, 6, 0, 0, 0])  # eight bits of red, green, blue and opacity
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    lines, (width, height) = zlib.decompress(data), size
    rows = [lines[row * (4 * width + 1) :][: 4 * width + 1] for row in range(height)]
    assert {row[0] for row in rows} == {0}
    return [[tuple(row[1 + 4 * x : 5 + 4 * x]) for x in range(width)] for row in rows]


# -- the package ------------------------------------------------------------------------------------------------


def test_the_package_holds_the_manifest_and_the_icons_that_it_names() -> None:
    manifest = made()
    with zipfile.ZipFile(io.BytesIO(package(manifest))) as archive:
        assert archive.namelist() == ["manifest.json", manifest["icons"]["color"], manifest["icons"]["outline"]]
        assert json.loads(archive.read("manifest.json")) == manifest
        assert archive.read("color.png") == colour_icon()
        assert archive.read("outline.png") == outline_icon()
    assert package(manifest) == package(made())


def test_the_colour_icon_is_a_full_square_with_its_symbol_in_the_middle() -> None:
    rows = pixels(colour_icon())
    assert (len(rows), len(rows[0])) == (192, 192)
    assert {pixel[3] for row in rows for pixel in row} == {255}
    inked = [(x, y) for y, row in enumerate(rows) for x, pixel in enumerate(row) if pixel[:3] != ACCENT]
    for axis in (0, 1):
        assert min(at[axis] for at in inked) >= 48
        assert max(at[axis] for at in inked) < 192 - 48
    assert (255, 255, 255, 255) in {pixel for row in rows for pixel in row}


def test_the_outline_icon_is_white_on_nothing() -> None:
    rows = pixels(outline_icon())
    assert (len(rows), len(rows[0])) == (32, 32)
    assert {pixel[:3] for row in rows for pixel in row} == {(255, 255, 255)}
    opacities = {pixel[3] for row in rows for pixel in row}
    assert {0, 255} <= opacities
    assert rows[0][0][3] == 0


# -- the manifest -----------------------------------------------------------------------------------------------


def test_the_bot_is_the_one_of_the_settings_everywhere_with_files() -> None:
    manifest = made()
    (bot,) = manifest["bots"]
    assert manifest["id"] == bot["botId"] == APP_ID
    assert bot["scopes"] == ["personal", "team", "groupChat"]
    assert bot["supportsFiles"] is True
    assert bot["isNotificationOnly"] is False
    assert manifest["manifestVersion"] in manifest["$schema"]


def test_the_menu_has_every_command_once_in_words_that_the_bot_knows() -> None:
    titles = [command["title"] for command in commands()]
    assert [parse(title) for title in titles] == list(COMMANDS)
    assert set(WORDS.values()) == set(COMMANDS) | set(NOT_IN_THE_MENU), "say of a new command whether the menu has it"
    assert not set(COMMANDS) & set(NOT_IN_THE_MENU)


def test_the_menus_keep_the_limits() -> None:
    lists = made()["bots"][0]["commandLists"]
    assert len(lists) <= 3
    assert sorted(scope for one in lists for scope in one["scopes"]) == ["groupChat", "personal", "team"]
    for one in lists:
        titles = [command["title"] for command in one["commands"]]
        assert len(titles) <= 12
        assert len(titles) == len(set(titles))
        assert not [title for title in titles if title.startswith("/") or len(title) > 32]
        assert not [one for command in one["commands"] if not 0 < len(command["description"]) <= 128]


@given(
    name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30).filter(
        lambda name: not re.search("teams|microsoft", name, re.IGNORECASE)
    ),
    days=st.integers(0, 10_000),
    every=st.booleans(),
    contact=st.text(max_size=200),
)
def test_what_is_shown_keeps_the_limits(name: str, days: int, every: bool, contact: str) -> None:
    chosen = settings(
        bot_name=name, retention_days=days, thread_idle_days=1, support_contact=contact, teams_receive_all=every
    )
    shown = manifest(chosen, CONTOSO, "1.0.0")
    assert len(shown["name"]["short"]) <= 30
    assert len(shown["name"]["full"]) <= 100
    assert len(shown["description"]["short"]) <= 80
    assert len(shown["description"]["full"]) <= 4000


def test_people_read_that_it_is_ai_what_is_kept_and_how_to_report_an_answer() -> None:
    full = made(bot_name="Ada", retention_days=60, support_contact="help@contoso.example")["description"]["full"]
    for words in ("AI", "can be wrong", "60 days", "forget me", "dislike", "help@contoso.example"):
        assert words in full
    assert "until you say" in made(retention_days=0)["description"]["full"]


def test_all_messages_are_asked_for_where_the_bot_is_to_receive_them_and_nowhere_else() -> None:
    plain, every = made(), made(teams_receive_all=True)
    assert "authorization" not in plain
    assert "webApplicationInfo" not in plain
    granted = every["authorization"]["permissions"]["resourceSpecific"]
    assert [one["name"] for one in granted] == ["ChatMessage.Read.Chat", "ChannelMessage.Read.Group"]
    assert {one["type"] for one in granted} == {"Application"}
    assert every["webApplicationInfo"]["id"] == APP_ID
    assert "all messages" in every["description"]["full"]


# -- what is missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"microsoft_app_id": "threadkeeper"}, "MICROSOFT_APP_ID"),
        ({"bot_name": "x" * 31}, "BOT_NAME"),
        ({"bot_name": "Teams Helper"}, "BOT_NAME"),
    ],
)
def test_a_setting_that_teams_does_not_take_is_named(values: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        manifest(settings(**values), CONTOSO, "1.0.0")
    (problem,) = caught.value.problems
    assert named in problem


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        manifest(settings(microsoft_app_id=""), Publisher(website="http://contoso.example"), "1.0", ("https://c/",))
    told = "\n".join(caught.value.problems)
    for option in ("--app-id", "--developer", "--website", "--privacy", "--terms", "--version", "--domain"):
        assert option in told
    assert len(caught.value.problems) == 7


def test_build_writes_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("BOT_NAME=Ada\nAGENT_BACKEND=foundry\nHOST=0.0.0.0\n", encoding="utf-8")
    monkeypatch.setenv("MICROSOFT_APP_ID", APP_ID.upper())
    done = CliRunner().invoke(app, ["build", *OPTIONS, "--domain", "contoso.example", "--out", "out/app.zip"])
    assert done.exit_code == 0, done.output
    assert "out/app.zip" in done.output
    with zipfile.ZipFile(tmp_path / "out" / "app.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["name"]["short"] == "Ada"
    assert manifest["version"] == own_version()
    assert manifest["id"] == manifest["bots"][0]["botId"] == APP_ID
    assert manifest["validDomains"] == ["contoso.example"]


def test_build_names_what_is_missing_and_writes_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["build"])
    assert done.exit_code == 2
    assert "MICROSOFT_APP_ID" in done.output
    assert "--privacy" in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_steps_build_a_package(tmp_path: Path) -> None:
    steps = (Path(__file__).parents[2] / "infra" / "README.md").read_text(encoding="utf-8")
    ((command),) = re.findall(r"python -m infra\.teams (build(?: .*\\\n)? .*)", steps)
    words = shlex.split(command.replace("\\\n", " "))
    done = CliRunner().invoke(app, [*words, "--app-id", APP_ID])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "build" / "threadkeeper-teams.zip").is_file()
