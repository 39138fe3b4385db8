"""Words as they are searched: without case and accents, and cut where a language does not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MOST_WORDS = 24
LONGEST_WORD = 64
LEAST_PREFIX = 3
"""A word of so many letters also finds longer ones that it begins."""

# Accents, Hebrew points and Arabic vowels, which people leave out. The marks of Indic scripts are vowels, and stay.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u064b-\u065f\u0670\u00ad\u200b-\u200d]"
)
# Chinese, Japanese, Thai, Lao, Burmese and Khmer put no spaces between words.
_UNSPACED = re.compile(
    "[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\U00020000-\U0003134f]+"
)
# Signs that part words; others, as in "wi-fi" and "GUEST-2", hold parts of one together.
_BORDERS = re.compile(r"[\s:;,!?()\[\]{}<>*^=|~#\"“”„«»、。，：；！？（）]+")
_MARKS = frozenset({"Mn", "Mc"})
_DENSE = 0x2E80
"""From here on signs are syllables or words, of which two or one mean something."""
_QUOTED = re.compile(r"[\"“”„«»]([^\"“”„«»]{1,200})[\"“”„«»]")


def folded(text: str) -> str:
    """The text as it is compared: accents and case away, ß as ss, runs without spaces as overlapping pairs."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return _UNSPACED.sub(_pairs, unicodedata.normalize("NFC", plain)).replace("\0", " ")


def _pairs(run: re.Match[str]) -> str:
    signs = run[0]
    return f" {' '.join(signs[at : at + 2] for at in range(max(1, len(signs) - 1)))} "


@dataclass(frozen=True, slots=True)
class Term:
    """A word, or several that must stand together. `near`: words that hold it, where none begins so."""

    text: str
    near: tuple[str, ...] = ()

    @property
    def match(self) -> str:
        """It as an expression of FTS5. All of a person's text stands within quotes, where nothing is an operator."""
        whole = _quoted(self.text)
        if self.near:
            return f"({' OR '.join(_quoted(word) for word in self.near)})"
        if " " in self.text or (len(self.text) < LEAST_PREFIX and ord(self.text[0]) < _DENSE):
            return whole
        return f"({whole} OR {whole} *)"  # the word itself counts twice, and stands before what it begins


def terms(text: str) -> list[Term]:
    """What to look for, each once: what stands in quotes together, and the words."""
    found: dict[str, None] = {}
    for phrase in _QUOTED.findall(text):
        found |= dict.fromkeys([" ".join(_words(phrase))])
    for run in _BORDERS.split(_QUOTED.sub(" ", text)):
        words = _words(run)
        found |= dict.fromkeys([" ".join(words)] if len(words) <= MOST_WORDS else words)
    return [Term(one) for one in found if one][:MOST_WORDS]


def _words(text: str) -> list[str]:
    """What SQLite takes for words: letters and digits, and the marks on them, which Python's expressions leave out."""
    signs = (sign if sign.isalnum() or unicodedata.category(sign) in _MARKS else " " for sign in folded(text))
    return [word[:LONGEST_WORD] for word in "".join(signs).split()]


def all_of(wanted: Sequence[Term]) -> str:
    """Passages in which each stands."""
    return " AND ".join(one.match for one in wanted)


def any_of(wanted: Sequence[Term]) -> str:
    """Passages in which one stands."""
    return " OR ".join(one.match for one in wanted)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', " ") + '"'
