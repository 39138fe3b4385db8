"""Small files that a browser can tell from broken ones."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path


def png(width: int, height: int) -> bytes:
    """A picture: bars of two colours on white, like a chart."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def pixel(x: int, y: int) -> bytes:
        bar = x * 8 // width
        if x * 8 % width < width // 6 or y < height - height * (bar + 2) // 10:
            return b"\xff\xff\xff"
        return b"\x2f\x6f\x5e" if bar % 2 else b"\x7d\xc4\xad"

    rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def keep(picture: Path, name: str) -> None:
    """Put a screenshot where SCREENSHOTS says, for the documents that show it."""
    if folder := os.environ.get("SCREENSHOTS"):
        shutil.copyfile(picture, Path(folder) / f"{name}.png")


PNG = png(48, 32)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>parent.document.title='owned'</script></svg>"
