"""Within a line of an answer for Teams: links, images, mentions, HTML and code, in a form that can do no harm. Pure.

What is known to be harmless is written anew; all else that a renderer could take for a link, an image, a mention or
HTML is taken apart, so that nothing depends on reading Markdown exactly as Teams does, which is not published.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import unquote

SPAN = re.compile(r"(?<![`\\])(`++)(?!`)(?:.+?)(?<!`)\1(?!`)")
"""Code within a line."""

_LINK_TEXT = r"((?:[^\[\]\\\n]|\\.|\[[^\[\]\n]*\])*+)"
_TARGET = r"[ \t]*(<[^<>\n]*>|[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)"
_TITLE = r"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*"""
_LINK = re.compile(rf"(?<!\\)\[{_LINK_TEXT}\]\({_TARGET}{_TITLE}\)")
_IMAGE = re.compile(rf"!\[{_LINK_TEXT}\]\({_TARGET}{_TITLE}\)")
_LINKED_IMAGE = re.compile(rf"\[!\[{_LINK_TEXT}\]\({_TARGET}{_TITLE}\)\]\({_TARGET}{_TITLE}\)")
_REFERENCE = re.compile(rf"(!?)(?<!\\)\[{_LINK_TEXT}\]\[([^\[\]\n]*)\]")
_SHORT_REFERENCE = re.compile(r"(!?)(?<![\\\]])\[([^\[\]\n]+)\](?![\[(:])")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]+|[^\s<>@:/]+@[^\s<>@:/]+)>", re.IGNORECASE)
BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_AT_TAG = re.compile(r"</?at\b[^<>]*>", re.IGNORECASE)
_AT_OPENS = re.compile(r"<(?=/?at\b)", re.IGNORECASE)
_EVERYONE = re.compile(r"(?<![\w@.])@(?=(?:everyone|channel|here|all|team)\b)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069\ue000\ue001]")
"""Characters that turn the order of what follows around, and the two that stand for what is set aside below."""
_ASIDE = re.compile("\ue000(\\d+)\ue001")
_WEB = re.compile(r"(https?)://([^/?#]+)(.*)", re.IGNORECASE)
_MAIL = re.compile(r"mailto:[^\s<>@/?]+@[^\s<>@/?]+(?:\?.*)?", re.IGNORECASE)
_LIKE_A_PLACE = re.compile(r"(?:https?://|www\.)\S+|(?:[\w-]+\.)+[a-z]{2,}(?:[:/?#]\S*)?|\S+@\S+\.\S+", re.IGNORECASE)
_NO_PLACES = (".pdf", ".txt", ".csv", ".json", ".yaml", ".yml", ".html", ".xml", ".docx", ".xlsx", ".pptx", ".png")
"""Ends of names of files that are no names of hosts."""
_NARROW = "\u200b"
_TO_CODE = {char: f"%{ord(char):02X}" for char in ' "<>()[]`|^{}'}
MOST_WORDS = 300
"""Of a link: what is longer is not looked through, and stands beside its target."""


def inline(line: str, references: Mapping[str, str]) -> str:
    """The line with its links checked, its images as links, its mentions and its HTML as plain words."""
    aside: list[str] = []

    def put(words: str) -> str:
        aside.append(words)
        return f"\ue000{len(aside) - 1}\ue001"

    line = SPAN.sub(lambda code: put(_AT_OPENS.sub(f"<{_NARROW}", code[0])), _TURNS.sub("", line))
    line = BREAK.sub("; " if "|" in line else "\n", line)
    line = _AT_TAG.sub("", _AUTOLINK.sub(r"\1", line))
    line = _LINKED_IMAGE.sub(lambda both: f"[{both[1] or 'image'}]({both[3]})", _referred(line, references))
    line = _IMAGE.sub(lambda image: f"[{image[1] or 'image'}]({image[2]})", line)
    line = _LINK.sub(lambda link: put(_link(_words(link[1]), link[2])), line)
    line = _words(line.replace("![", "! [").replace("](", "] ("))
    while _ASIDE.search(line):  # code stands within links
        line = _ASIDE.sub(lambda mark: aside[int(mark[1])], line)
    return line


def label_of(words: str) -> str:
    """A reference's name, as names are compared."""
    return " ".join(words.split()).casefold()


def _words(text: str) -> str:
    """Plain words: no tag, and nobody called."""
    return _EVERYONE.sub(f"@{_NARROW}", re.sub(r"\\?<", "&lt;", text))


def _referred(line: str, references: Mapping[str, str]) -> str:
    """Links and images that name their target elsewhere, with the target. A number alone is a source's mark."""
    if not references:
        return line

    def full(found: re.Match[str]) -> str:
        target = references.get(label_of(found[3] or found[2]))
        return found[0] if target is None else f"{found[1]}[{found[2]}]({target})"

    def short(found: re.Match[str]) -> str:
        target = None if found[2].isdigit() else references.get(label_of(found[2]))
        return found[0] if target is None else f"{found[1]}[{found[2]}]({target})"

    return _SHORT_REFERENCE.sub(short, _REFERENCE.sub(full, line))


def _link(words: str, target: str) -> str:
    """A link that says where it leads, or its words alone where it leads nowhere that a person should go."""
    address = web_address(target)
    words = words.strip()
    if not address:
        return words
    if not words:
        return f"[{address}]({address})"
    if _lies(words, address):
        return f"{words} ([{address}]({address}))"
    return f"[{words}]({address})"


def web_address(target: str) -> str:
    """The target as it may be followed: http, https or mailto, without a name before the host; else empty."""
    address = _ESCAPED.sub(r"\1", target.strip().removeprefix("<").removesuffix(">").strip())
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in html.unescape(address)):
        return ""
    address = "".join(_TO_CODE.get(char, char) for char in address.replace("\\", "/"))
    web = _WEB.fullmatch(address)
    if web is not None and _WEB.fullmatch(html.unescape(address)):
        host = web[2].rpartition("@")[2]
        return f"{web[1]}://{host}{web[3]}" if host.strip(".:") else ""
    return address if _MAIL.fullmatch(address) else ""


def _lies(words: str, address: str) -> bool:
    """Whether the words look like the address of another place than this."""
    if len(words) > MOST_WORDS:
        return True
    seen = unicodedata.normalize("NFKC", html.unescape(_ASIDE.sub("", words)))
    seen = "".join(char for char in seen if char not in "*_~`" and unicodedata.category(char) != "Cf").strip()
    for found in _LIKE_A_PLACE.findall(seen):
        bare = found.rstrip(".,;:!?…)")
        plain = "/" not in bare and "@" not in bare
        if plain and (bare.lower().endswith(_NO_PLACES) or _ends_in(address, bare)):
            continue
        if not _leads(bare, address):
            return True
    return False


def _ends_in(address: str, name: str) -> bool:
    """Whether the last part of the address's path is this name: a file, called by it."""
    way = address.partition("://")[2].partition("/")[2]
    return unquote(way.partition("?")[0].partition("#")[0]).rpartition("/")[2].lower() == name.lower()


def _leads(shown: str, address: str) -> bool:
    """Whether the address is the one that is shown, or lies below it."""
    wanted, real = _comparable(shown), _comparable(address)
    if not real.startswith(wanted):
        return False
    return real[len(wanted) : len(wanted) + 1] in ("", "/", "?", "#") or "/" in wanted


def _comparable(address: str) -> str:
    """Host and path, as two addresses are compared."""
    decoded = unquote(html.unescape(address)).lower()
    return re.sub(r"^(?:https?://|mailto:)?(?:www\.)?", "", decoded).rstrip("/")
