"""What kind of picture some bytes are, by their own first words: what is declared of them may be another or none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's type and size in pixels. `moves`: it has more than one frame."""

    content_type: str
    width: int
    height: int
    moves: bool = False


def picture_in(data: bytes) -> Picture | None:
    """The picture that these bytes are; None for what is no PNG, JPEG, GIF or WebP, or is cut too short to tell."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        # an animation is told of before the first frame: https://www.w3.org/TR/png-3/#acTL-chunk
        return Picture("image/png", width, height, b"acTL" in data[: data.find(b"IDAT")])
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 13:
        width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
        return Picture("image/gif", width, height, _gif_moves(data))
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Picture("image/webp", 0, 0, b"ANIM" in data[:64])
    return None


def _gif_moves(data: bytes) -> bool:
    """Whether a second frame follows the first. https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""
    at, frames = 13 + _colours(data[10]), 0
    while at + 1 < len(data):
        if data[at] == 0x21:
            at = _behind_blocks(data, at + 2)
        elif data[at] == 0x2C and at + 9 < len(data):
            frames += 1
            at = _behind_blocks(data, at + 11 + _colours(data[at + 9]))
        else:
            break
    return frames > 1


def _colours(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    """Where a chain of data blocks ends."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _jpeg(data: bytes) -> Picture | None:
    """The size stands in a frame header, behind segments that say how long they are. ITU-T T.81, annex B."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD9:  # filling, or a segment without a length
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return Picture("image/jpeg", width, height)
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None
