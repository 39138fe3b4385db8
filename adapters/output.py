"""What a tool may give back beside text and data: files and images for the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.types import File

_FORMS = (
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (b"GIF8", "gif", "image/gif"),
)
_WEBP = (b"RIFF", b"WEBP")


@dataclass(frozen=True, slots=True)
class Image:
    """An image for the person, of PNG, JPEG, GIF or WebP. `name` may be left out."""

    data: bytes = field(repr=False)
    name: str = ""

    def file(self) -> File:
        """The image as a file, with the content type that its first bytes tell.

        Raises:
            ValueError: it is none of these.
        """
        for head, suffix, kind in _FORMS:
            if self.data.startswith(head):
                return File(self.name or f"image.{suffix}", kind, self.data)
        if (self.data[:4], self.data[8:12]) == _WEBP:
            return File(self.name or "image.webp", "image/webp", self.data)
        raise ValueError("an image must be PNG, JPEG, GIF or WebP")


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gives back to the agent (`value`: text or data), with files or images for the person."""

    value: object = None
    files: Sequence[File | Image] = ()
