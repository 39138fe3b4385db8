"""The app's icons: a spool of thread, drawn here and written as PNG with the standard library.

Sizes and colours are those that Microsoft asks for: a symbol within 96 of 192 pixels on a full square of one colour,
and white lines on nothing at 32.
https://learn.microsoft.com/microsoftteams/platform/concepts/build-and-test/apps-package#app-icons
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

ACCENT = (0x2F, 0x6F, 0x5E)
WHITE = (0xFF, 0xFF, 0xFF)
COLOUR_SIZE, OUTLINE_SIZE = 192, 32

Point = tuple[float, float]

RIMS: tuple[tuple[Point, ...], ...] = (((9, 8), (23, 8)), ((9, 24), (23, 24)))
SIDES: tuple[tuple[Point, ...], ...] = (((11, 13.2), (11, 18.6)), ((21, 13.2), (21, 18.6)))
BENDS: tuple[tuple[Point, Point, Point, Point], ...] = (
    ((11, 13.2), (14.6, 11.2), (17.4, 11.2), (21, 13.2)),
    ((11, 18.6), (14.6, 20.6), (17.4, 20.6), (21, 18.6)),
)
"""Of the local page's icon: lines, and cubic curves by their four points, in a square of 32."""
STEPS = 24


def colour_icon() -> bytes:
    """The PNG of 192 by 192: the spool in white on the accent colour."""
    covered = _coverage(COLOUR_SIZE, scale=5.2, pen=2.4)
    return png([[(*_mixed(ACCENT, WHITE, part), 0xFF) for part in row] for row in covered])


def outline_icon() -> bytes:
    """The PNG of 32 by 32: the spool in white, nothing around it."""
    covered = _coverage(OUTLINE_SIZE, scale=1.5, pen=1.4)
    return png([[(*WHITE, round(part * 0xFF)) for part in row] for row in covered])


def png(rows: Sequence[Sequence[tuple[int, int, int, int]]]) -> bytes:
    """An image of red, green, blue and opacity. https://www.w3.org/TR/png-3/"""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 6, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _mixed(ground: tuple[int, int, int], ink: tuple[int, int, int], part: float) -> tuple[int, int, int]:
    red, green, blue = (round(low + (high - low) * part) for low, high in zip(ground, ink, strict=True))
    return red, green, blue


def _coverage(size: int, *, scale: float, pen: float) -> list[list[float]]:
    """How much of each pixel the pen covers: the spool's middle is the image's, a unit of it has `scale` pixels."""
    covered = [[0.0] * size for _ in range(size)]
    radius = pen * scale / 2
    for start, end in _segments():
        a, b = _placed(start, size, scale), _placed(end, size, scale)
        for row in _span(a[1], b[1], radius, size):
            for column in _span(a[0], b[0], radius, size):
                away = _distance((column + 0.5, row + 0.5), a, b)
                covered[row][column] = max(covered[row][column], min(1.0, max(0.0, radius + 0.5 - away)))
    return covered


def _placed(point: Point, size: int, scale: float) -> Point:
    return size / 2 + (point[0] - 16) * scale, size / 2 + (point[1] - 16) * scale


def _span(one: float, other: float, radius: float, size: int) -> range:
    low, high = min(one, other) - radius - 1, max(one, other) + radius + 1
    return range(max(0, math.floor(low)), min(size, math.ceil(high)))


def _segments() -> Iterator[tuple[Point, Point]]:
    for line in (*RIMS, *SIDES):
        yield line[0], line[1]
    for bend in BENDS:
        points = [_on(bend, step / STEPS) for step in range(STEPS + 1)]
        yield from pairwise(points)


def _on(bend: tuple[Point, Point, Point, Point], at: float) -> Point:
    """A point of a cubic Bézier curve, `at` from 0 to 1."""
    weights = ((1 - at) ** 3, 3 * at * (1 - at) ** 2, 3 * at**2 * (1 - at), at**3)
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, bend, strict=True)) for axis in (0, 1))
    return x, y


def _distance(point: Point, a: Point, b: Point) -> float:
    """From a point to the nearest one of a segment."""
    along = (b[0] - a[0], b[1] - a[1])
    length = along[0] ** 2 + along[1] ** 2
    share = ((point[0] - a[0]) * along[0] + (point[1] - a[1]) * along[1]) / length if length else 0.0
    share = min(1.0, max(0.0, share))
    return math.hypot(point[0] - a[0] - share * along[0], point[1] - a[1] - share * along[1])
