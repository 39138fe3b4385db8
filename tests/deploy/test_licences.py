"""The list of licences is that of what is installed, and nothing in it binds whoever ships the bot."""

from __future__ import annotations

import re
from functools import cache

import pytest

from infra.licences import CHOSEN, OUT, document, licence_of, pins

FREE = {"MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "ISC", "MPL-2.0", "Zlib"}
"""Licences that ask for no more than to be named; MPL-2.0 for changes of its own files too."""


@cache
def written() -> str:
    return document()


@cache
def rows() -> list[tuple[str, str, str]]:
    """Each package with its version and its licence."""
    return re.findall(r"^\| ([\w.-]+) \| (\d[\w.]*) \| (.+) \|$", written(), re.MULTILINE)


def test_the_list_is_that_of_what_is_installed() -> None:
    assert OUT.read_text(encoding="utf-8") == written(), "run: python -m infra.licences"


def test_every_package_has_its_row_and_the_version_that_is_pinned() -> None:
    pinned = {(pin.package, pin.version) for pin in pins((OUT.parents[1] / "requirements.txt").read_text())}
    assert len(rows()) > 50
    assert {(package, version) for package, version, _ in rows()} <= pinned
    assert [package for package, _ in pinned if package not in written()] == []


def test_no_licence_binds_whoever_ships_the_bot() -> None:
    bound: list[tuple[str, str]] = []
    for package, _, licence in rows():
        ways = [set(way.split(" AND ")) for way in licence.split(" OR ")]
        if not any(way <= FREE for way in ways):
            bound.append((package, licence))
    assert bound == []


def test_what_was_read_by_hand_is_still_there() -> None:
    assert set(CHOSEN) <= {package for package, _, _ in rows()}


def test_a_package_that_names_no_licence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CHOSEN, "isodate")
    with pytest.raises(ValueError, match="isodate names no licence"):
        licence_of("isodate")


def test_a_pin_is_read_with_its_hashes_and_its_condition() -> None:
    text = "a[x]==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:ab\n    # via b\nb==2 \\\n    --hash=sha256:cd\n"
    assert [(pin.package, pin.version, pin.condition) for pin in pins(text)] == [
        ("a", "1.0", "sys_platform == 'win32'"),
        ("b", "2", ""),
    ]
