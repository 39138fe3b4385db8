"""The tools that come along: the clock and the calculator."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import ToolFailed
from adapters.discovery import load
from bot.types import ToolCall
from tests.contracts.toolbox import CALLER
from tools.calculator import value_of
from tools.clock import time_in

SUMMER = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)


# -- the calculator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("25 * 47", "1175"),
        ("25 × 47", "1175"),
        ("25 x 47 =", "1175"),
        ("1,234.5 * 2", "2469"),
        ("12,345,678 + 1", "12345679"),
        ("max(1,234)", "234"),
        ("15% of 80", "12"),
        ("20% of 50% of 10", "1"),
        ("50%", "0.5"),
        ("7 % 3", "1"),
        ("2 ^ 10", "1024"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("-(3 - 5)", "2"),
        ("8 ÷ 3 * 3", "8"),
        ("0.1 + 0.2", "0.3"),
        ("-7 // 2", "-4"),
        ("sqrt(16) + abs(-3)", "7"),
        ("floor(2.7) + ceil(2.1)", "5"),
        ("round(2.345, 1)", "2.3"),
        ("ln(e)", "1"),
        ("log(8, 2)", "3"),
        ("5!", "120"),
        ("10 ** 30 + 1", "1" + "0" * 29 + "1"),
    ],
)
def test_sums(expression: str, value: str) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "10 ** 999 * 10 ** 999",
        "100000!",
        "5!!!!",
        "1e400",
        "1e999999999",
        "round(10 ** 999, -10 ** 999)",
        "1.5 ** 100000",
        "2 ** (10 ** 999)",
        "(" * 60 + "1" + ")" * 60,
        "2 ** " * 60 + "1",
        "sqrt " * 150 + "4",
        "1 + " * 400 + "1",
    ],
)
def test_what_would_not_end_is_refused(expression: str) -> None:
    with pytest.raises(ToolFailed):
        value_of(expression)


@pytest.mark.parametrize("expression", ["1 / 0", "1 // 0", "1 % (0)", "0 ** -1", "5 / (2 - 2)"])
def test_dividing_by_zero_is_said_in_words(expression: str) -> None:
    with pytest.raises(ToolFailed, match="zero"):
        value_of(expression)


@pytest.mark.parametrize(
    "expression",
    ["", "()", "1 2", "(1", "1)", "two", "__import__('os')", "a.b", "[1]", "abs(1, 2)", "min()", "sqrt(-1)"],
)
def test_what_is_no_sum_is_refused(expression: str) -> None:
    with pytest.raises(ToolFailed):
        value_of(expression)


whole = st.integers(0, 999).map(str)


def joined(inner: st.SearchStrategy[str], signs: list[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, st.sampled_from(signs), inner).map(" ".join)
    return pairs | pairs.map("({})".format) | inner.map("-({})".format)


@given(st.recursive(whole, lambda inner: joined(inner, ["+", "-", "*", "//", "%"]), max_leaves=12))
def test_whole_numbers_agree_with_python(expression: str) -> None:
    try:
        expected = str(eval(expression))
    except ZeroDivisionError:
        with pytest.raises(ToolFailed):
            value_of(expression)
    else:
        if "% -" not in expression:  # there it is a percentage
            assert value_of(expression) == expected


@given(st.recursive(whole, lambda inner: joined(inner, ["+", "-", "*", "/"]), max_leaves=12))
def test_fractions_agree_with_python(expression: str) -> None:
    try:
        expected = float(eval(expression))
    except ZeroDivisionError:
        with pytest.raises(ToolFailed):
            value_of(expression)
    else:
        assert math.isclose(float(value_of(expression)), expected, rel_tol=1e-9, abs_tol=1e-9)


@given(st.text() | st.text("0123456789.,+-*/%^()!ex ", max_size=60))
def test_any_text_has_a_value_or_is_refused(expression: str) -> None:
    try:
        float(value_of(expression))
    except (ToolFailed, OverflowError):
        pass


# -- the clock -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("Tokyo", "21:30 on Wednesday, 1 July 2026 in Asia/Tokyo (UTC+09:00)"),
        ("tokyo, Japan", "Asia/Tokyo"),
        ("New York", "08:30 on Wednesday, 1 July 2026 in America/New_York (UTC-04:00)"),
        ("new_york", "America/New_York"),
        ("Europe/Paris", "(UTC+02:00)"),
        ("CET", "(UTC+02:00)"),
        ("Beijing", "Asia/Shanghai (UTC+08:00)"),
        ("San Francisco", "America/Los_Angeles"),
        ("Mumbai", "Asia/Kolkata (UTC+05:30)"),
        ("Delhi", "Asia/Kolkata"),
        ("Washington", "America/New_York"),
        ("UTC", "12:30 on Wednesday"),
        ("UTC+2", "14:30 on Wednesday, 1 July 2026 (UTC+02:00)"),
        ("GMT-5", "07:30 on Wednesday, 1 July 2026 (UTC-05:00)"),
    ],
)
def test_the_time_in_a_place(place: str, told: str) -> None:
    assert told in time_in(place, SUMMER)


def test_the_day_is_the_day_there() -> None:
    assert time_in("Auckland", SUMMER).startswith("00:30 on Thursday, 2 July 2026")


def test_summer_time_is_known() -> None:
    assert "(UTC+01:00)" in time_in("Berlin", datetime(2026, 1, 1, tzinfo=UTC))


def test_an_unknown_place_is_told_with_those_like_it() -> None:
    with pytest.raises(ToolFailed, match="Asia/Tokyo"):
        time_in("Tokio", SUMMER)


@given(st.text() | st.sampled_from(["", "../../etc/passwd", "Atlantis", "x" * 10_000]))
def test_any_place_is_answered_or_refused(place: str) -> None:
    try:
        assert "2026" in time_in(place, SUMMER)
    except ToolFailed as failed:
        assert len(str(failed)) < 1_000


# -- both, as the agent calls them ---------------------------------------------------------------------------


@pytest.mark.invariant("I9")
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("calculate", '{"expression": "25 * 47"}', "1175"),
        ("calculate", '{"expression": "1/0"}', "zero"),
        ("current_time", '{"place": "Tokyo"}', "Asia/Tokyo"),
        ("current_time", '{"place": "Atlantis"}', "Atlantis"),
    ],
)
async def test_as_the_agent_calls_them(name: str, arguments: str, told: str) -> None:
    output = await load().toolbox.call(ToolCall("call_1", name, arguments), CALLER)
    assert output.call_id == "call_1"
    assert told in output.output
