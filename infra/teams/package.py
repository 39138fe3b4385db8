"""The zip that Teams takes: the manifest and two icons, at its root."""

from __future__ import annotations

import io
import json
import zipfile

from bot.types import JsonObject
from infra.teams.icons import colour_icon, outline_icon
from infra.teams.manifest import COLOUR_FILE, OUTLINE_FILE

_WHEN = (2026, 1, 1, 0, 0, 0)
"""On every file, so that the same settings give the same bytes."""


def package(manifest: JsonObject) -> bytes:
    """The app package."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    files = {"manifest.json": text.encode(), COLOUR_FILE: colour_icon(), OUTLINE_FILE: outline_icon()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
