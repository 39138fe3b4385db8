"""Packages as an installer leaves them: modules, and the description of the package beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]


def installer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts packages down below the folder, where Python finds them until the test ends."""

    def install(package: str, points: dict[str, str], group: str = "threadkeeper.tools", **modules: str) -> None:
        site = folder / f"site-{package}"
        site.mkdir()
        for name, text in modules.items():
            (site / f"{name}.py").write_text(dedent(text))
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(site)  # before those that were installed earlier

    return install
