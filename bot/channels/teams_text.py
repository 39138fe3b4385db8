"""A model's Markdown as Teams shows it, and without what a model must not do to its reader. Pure.

`safe` writes what every Teams client shows (bold, italic, code, quotes, links); `extended` leaves headers, tables and
task lists to the client, which has to be a new one. Both check each link, image, mention and tag (teams_inline.py).
https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bot.channels.teams_inline import BREAK, SPAN, inline, label_of
from bot.reply import MOST_MARKS, fence_after, marks_of

PASSES = 8
"""Taking one thing apart can make another whole: it is read again until nothing changes."""

_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_HEADER = re.compile(r"([ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_TASK = re.compile(r"([ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+)\[([ xX])\](?=[ \t])")
_BORDER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_DEFINITION = re.compile(
    r""" {0,3}\[([^\[\]]+)\]:[ \t]*(<[^<>]*>|\S+)(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?[ \t]*$"""
)
_BEGUN_DEFINITION = re.compile(r"^([ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*\[[^\]]*\]|[^\[\]]*\]):[ \t]*")
_LANGUAGE = re.compile(r"[\w+#.-]{0,20}")
_INDENT = re.compile(r"(?: {4}| {0,3}\t)")


def dialect(text: str, *, extended: bool = False) -> str:
    """The text for Teams: `markdown`, or `extendedmarkdown`. Said of its own result, it changes nothing."""
    for _ in range(PASSES):
        before, text = text, _once(text, extended)
        if text == before:
            break
    return text


def _once(text: str, extended: bool) -> str:
    lines = list(_fenced(_levelled(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))))
    blocks = list(_blocks(lines))
    references = _references(line for code, block in blocks if not code for line in block)
    said: list[str] = []
    for code, block in blocks:
        if code:
            said += _code(block)
        else:
            plain = [line for line in (_defined(line) for line in block) if line is not None]
            said += [inline(line, references) for line in (plain if extended else _simple(plain))]
    return "\n".join(said)


# -- code ---------------------------------------------------------------------------------------------------


def _levelled(lines: Sequence[str]) -> Iterator[str]:
    """Fences deep in a list moved to the margin: elsewhere nobody but the list's own reader takes them for fences."""
    fence, depth, listed, blank = "", 0, False, True
    for line in lines:
        bare = line.lstrip(" \t")
        spaces = len(line) - len(bare)
        if fence:
            line = line[min(depth, spaces) :]
            fence = fence_after(line, fence)
        else:
            listed = bool(_ITEM.match(line)) or (listed and (not bare or spaces > 0 or not blank))
            deep = listed and spaces > 3 and fence_after(bare, "") != ""
            line, depth = (bare, spaces) if deep else (line, 0)
            fence = fence_after(line, "")
        blank = not bare
        yield line


def _fenced(lines: Iterator[str]) -> Iterator[str]:
    """Code that is code by its indentation, between fences."""
    fence, listed, blank = "", False, True
    block: list[str] = []
    for line in lines:
        indented = not fence and not listed and bool(_INDENT.match(line)) and line.strip() != ""
        if (indented and (block or blank)) or (block and not line.strip()):
            block.append(line)
            continue
        yield from _between_fences(block)
        block = []
        listed = not fence and (bool(_ITEM.match(line)) or (listed and (not blank or line[:1] in ("", " ", "\t"))))
        fence = fence_after(line, fence)
        blank = not line.strip() and not fence
        yield line
    yield from _between_fences(block)


def _between_fences(block: list[str]) -> Iterator[str]:
    code = list(block)
    while code and not code[-1].strip():
        code.pop()
    marks = "`" * max(3, _longest_run(code) + 1)
    if code and len(marks) <= MOST_MARKS:
        yield from (marks, *(_INDENT.sub("", line, count=1) for line in code), marks)
    else:
        yield from code
    yield from block[len(code) :]


def _blocks(lines: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines: those of a fenced block, the fences included, and those between."""
    fence = ""
    block: list[str] = []
    for line in lines:
        before, fence = fence, fence_after(line, fence)
        if fence and not before and block:
            yield False, block
            block = []
        block.append(line)
        if before and not fence:
            yield True, block
            block = []
    if block:
        yield fence != "", block


def _code(block: list[str]) -> list[str]:
    """A fenced block: its lines as they are, between fences of backticks, the second of which is there."""
    opening = block[0].lstrip(" ")
    margin, marks = block[0][: len(block[0]) - len(opening)], marks_of(opening)
    closed = len(block) > 1 and fence_after(block[-1], opening) == ""
    code = block[1:-1] if closed else block[1:]
    while code and not closed and not code[-1]:
        code.pop()
    language = _LANGUAGE.match(opening.removeprefix(marks).strip())
    ticks = "`" * max(3, _longest_run(code) + 1)
    if marks[0] == "~" and len(ticks) <= MOST_MARKS:
        marks = ticks
    return [f"{margin}{marks}{language[0] if language else ''}", *code, f"{margin}{marks}"]


def _longest_run(code: Sequence[str]) -> int:
    return max((len(run) for line in code for run in re.findall(r"^ {0,3}(`+)", line)), default=0)


# -- references ---------------------------------------------------------------------------------------------


def _references(lines: Iterator[str]) -> dict[str, str]:
    found = [match for match in map(_DEFINITION.match, lines) if match]
    return {label_of(match[1]): match[2] for match in reversed(found)}


def _defined(line: str) -> str | None:
    """A line that defines a reference: gone, as the links have their targets; a source's stays, as words."""
    found = _DEFINITION.match(line)
    if found is not None:
        kept = found[1].isdigit() or found[1].startswith("^")
        return f"[{found[1]}] {found[2]}" if kept else None
    return _BEGUN_DEFINITION.sub(r"\1 ", line)


# -- what only some clients show ----------------------------------------------------------------------------


def _simple(lines: Sequence[str]) -> list[str]:
    """The lines less headers, rules, tables and boxes to tick, in the words that are left for them."""
    said: list[str] = []
    place, apart = 0, False
    while place < len(lines):
        table = _table(lines[place:])
        new, used, stands_apart = (table[0], table[1], True) if table else _line(lines[place], said)
        place += used
        if (stands_apart or apart) and said and said[-1] and new and new[0]:
            said.append("")
        for line in new:
            if line.strip() or not said or said[-1]:  # one blank line is enough
                said.append(line if line.strip() else "")
        if new:
            apart = stands_apart
    return said


def _line(line: str, said: list[str]) -> tuple[list[str], int, bool]:
    """What becomes of one line, how many were read, and whether it stands apart from those around it."""
    follows = bool(said) and bool(said[-1].strip())
    if _UNDERLINE.match(line) and follows and not _ITEM.match(line.strip() + "x"):
        if "=" in line and (len(said) == 1 or not said[-2].strip()) and not _ITEM.match(said[-1]):
            said[-1] = _bold(said[-1].strip())
        return [""], 1, False
    if _RULE.match(line):
        return [""], 1, False
    header = _HEADER.match(line)
    if header:
        words = _bold((header[2] or "").strip())
        return [header[1] + words] if words or header[1].strip() else [""], 1, not header[1].strip()
    return [_TASK.sub(lambda box: box[1] + ("☐" if box[2] == " " else "☑"), line)], 1, False


def _bold(words: str) -> str:
    """In bold, once."""
    plain = _outside_code(words).strip()
    return f"**{plain}**" if plain else ""


def _outside_code(words: str) -> str:
    """Without the marks of bold, but in code."""
    done, place = "", 0
    for code in SPAN.finditer(words):
        done += words[place : code.start()].replace("**", "") + code[0]
        place = code.end()
    return done + words[place:].replace("**", "")


def _table(lines: Sequence[str]) -> tuple[list[str], int] | None:
    """A table at the beginning of these lines as a list, a row an item, and of how many lines it was."""
    if len(lines) < 2 or "|" not in lines[0] or not _BORDER.match(lines[1]) or "-" not in lines[1]:
        return None
    names = _cells(lines[0])
    if len(names) != len(_cells(lines[1])):
        return None
    used = 2
    while used < len(lines) and "|" in lines[used] and lines[used].strip():
        used += 1
    rows = [_row(names, _cells(line)) for line in lines[2:used]]
    heading = [_bold(" · ".join(filter(None, names)))] if used == 2 else []
    return [*filter(None, [*heading, *rows])], used


def _cells(line: str) -> list[str]:
    inner = BREAK.sub("; ", line).strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def _row(names: Sequence[str], cells: Sequence[str]) -> str:
    """`- **first** · name: second · name: third`."""
    named: Mapping[int, str] = dict(enumerate(names))
    said = [_bold(cells[0])] if cells[0] else []
    for number, cell in enumerate(cells[1 : len(names)], 1):
        if cell:
            name = _outside_code(named[number])
            said.append(f"{name}: {cell}" if name else cell)
    return f"- {' · '.join(said)}" if said else ""
