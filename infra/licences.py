"""python -m infra.licences: docs/licences.md, the licences of all that the bot runs on, from what is installed.

The packages are those of requirements.txt. Their licences are what each says of itself, by SPDX's short names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "licences.md"

HEAD = """# Licences of what the bot runs on

Threadkeeper itself is under the [MIT licence](../LICENSE). This lists every package of `requirements.txt`, with the
licence that its author names in it. `python -m infra.licences` writes it anew.

| package | version | licence |
|---|---|---|
"""

SPDX = {
    "MIT": "MIT",
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "ISC License": "ISC",
}
"""What authors write, where it is no name of SPDX."""
CHOSEN = {
    "isodate": "BSD-3-Clause",
    "jsonpickle": "BSD-3-Clause",
    "requests-oauthlib": "ISC",  # its classifier says BSD
}
"""What stands in the licence file of packages that name none, or only a family."""
ELSEWHERE = re.compile(r"== '(win32|emscripten)'")
"""The condition of a package that this is not written on."""
_NAME = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


@dataclass(frozen=True, slots=True)
class Pin:
    """A line of requirements.txt."""

    package: str
    version: str
    condition: str


def pins(requirements: str) -> list[Pin]:
    """Each pin of requirements.txt."""
    form = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)(?:\s*;\s*([^\\#]+))?")
    found = (form.match(line) for line in requirements.splitlines())
    return [Pin(pin[1], pin[2], (pin[3] or "").strip()) for pin in found if pin is not None]


def licence_of(package: str) -> str:
    """The licence of an installed package.

    Raises:
        PackageNotFoundError: it is not installed.
        ValueError: it names none that is known here.
    """
    if package in CHOSEN:
        return CHOSEN[package]
    about = metadata.metadata(package)
    said = {name: about[name] for name in ("License-Expression", "License") if name in about}
    kinds = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    for words in (*said.values(), *kinds):
        named = SPDX.get(words.strip(), words.strip())
        if _NAME.fullmatch(named) and named.upper() != "BSD":
            return named
    raise ValueError(f"{package} names no licence that is known: read its own, and write it into CHOSEN")


def document() -> str:
    """What docs/licences.md should hold."""
    listed = pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    here = [pin for pin in listed if not ELSEWHERE.search(pin.condition)]
    rows = "\n".join(f"| {pin.package} | {pin.version} | {licence_of(pin.package)} |" for pin in here)
    others = ", ".join(pin.package for pin in listed if pin not in here)
    return f"{HEAD}{rows}\n\nOn Windows and in browsers alone, and not read here: {others}.\n"


if __name__ == "__main__":
    OUT.write_text(document(), encoding="utf-8")
