"""The clock and the calculator."""

from __future__ import annotations

import contextlib
import math
import re
import time
import zoneinfo
from datetime import UTC, datetime

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from adapters import Person, ToolContext, ToolFailed
from tools import clock
from tools.calculator import FUNCTIONS, LONGEST, value_of
from tools.clock import current_time, time_in

SUMMER = datetime(2026, 7, 1, 22, 5, tzinfo=UTC)
WINTER = datetime(2026, 1, 9, 8, 0, tzinfo=UTC)
QUICK = 2.0
"""Seconds: far above what any expression needs, far below what one that runs away takes."""


def asker(time_zone: str = "") -> ToolContext:
    return ToolContext(Person("ada", time_zone=time_zone), "t", "test", "7F3K-2Q", "1/1")


# -- the clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("UTC", "22:05 on Wednesday, 1 July 2026 in UTC (UTC+00:00)"),
        ("Europe/Paris", "00:05 on Thursday, 2 July 2026 in Europe/Paris (UTC+02:00)"),
        ("europe/paris", "00:05 on Thursday, 2 July 2026 in Europe/Paris (UTC+02:00)"),
        ("tokyo", "07:05 on Thursday, 2 July 2026 in Asia/Tokyo (UTC+09:00)"),
        ("  New   York ", "18:05 on Wednesday, 1 July 2026 in America/New_York (UTC-04:00)"),
        ("New_York", "18:05 on Wednesday, 1 July 2026 in America/New_York (UTC-04:00)"),
        ("Kathmandu", "03:50 on Thursday, 2 July 2026 in Asia/Kathmandu (UTC+05:45)"),
        ("St Johns", "19:35 on Wednesday, 1 July 2026 in America/St_Johns (UTC-02:30)"),
        ("Marquesas", "12:35 on Wednesday, 1 July 2026 in Pacific/Marquesas (UTC-09:30)"),
        ("Paris, France", "00:05 on Thursday, 2 July 2026 in Europe/Paris (UTC+02:00)"),
        ("Washington, DC", "18:05 on Wednesday, 1 July 2026 in America/New_York (UTC-04:00)"),
        ("MUNICH", "00:05 on Thursday, 2 July 2026 in Europe/Berlin (UTC+02:00)"),
        ("São Paulo", "19:05 on Wednesday, 1 July 2026 in America/Sao_Paulo (UTC-03:00)"),
        ("Japan", "07:05 on Thursday, 2 July 2026 in Japan (UTC+09:00)"),
        ("UTC+2", "00:05 on Thursday, 2 July 2026 (UTC+02:00)"),
        ("gmt-5", "17:05 on Wednesday, 1 July 2026 (UTC-05:00)"),
        ("GMT+0", "22:05 on Wednesday, 1 July 2026 in UTC (UTC+00:00)"),
        ("Etc/GMT+5", "17:05 on Wednesday, 1 July 2026 (UTC-05:00)"),
    ],
)
def test_the_time_in_a_place(place: str, said: str):
    assert time_in(place, SUMMER) == said


def test_summer_time_is_known():
    assert "10:00" not in time_in("London", WINTER)
    assert time_in("London", WINTER) == "08:00 on Friday, 9 January 2026 in Europe/London (UTC+00:00)"
    assert "(UTC+01:00)" in time_in("London", SUMMER)


def test_now_is_now():
    before = datetime.now(UTC)
    assert current_time(asker(), "UTC") in {time_in("UTC", before), time_in("UTC", datetime.now(UTC))}


@pytest.mark.parametrize(
    ("own", "place", "zone"),
    [
        ("Europe/Berlin", "", "Europe/Berlin"),
        ("Europe/Berlin", " ", "Europe/Berlin"),
        ("Europe/Berlin", "Tokyo", "Asia/Tokyo"),
        ("", "", "UTC"),
        ("Pacific Standard Time (Mexico)", "", "UTC"),
        ("\0", "", "UTC"),
    ],
)
def test_without_a_place_it_is_the_person_s_own_time(own: str, place: str, zone: str):
    assert f" in {zone} (" in current_time(asker(own), place)


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Austria", "Europe/Vienna"),
        ("south korea", "Asia/Seoul"),
        ("Kenya", "Africa/Nairobi"),
        ("Germany", "Europe/Berlin"),
        ("England", "Europe/London"),
        ("China", "Asia/Shanghai"),
    ],
)
def test_a_country_of_one_time_is_a_place(place: str, zone: str):
    assert f" in {zone} (" in time_in(place, SUMMER)


@pytest.mark.parametrize(
    ("place", "zones"), [("USA", "America/New_York, .*America/Chicago"), ("Spain", "Europe/Madrid, Atlantic/Canary")]
)
def test_of_a_country_of_several_times_these_are_named(place: str, zones: str):
    with pytest.raises(ToolFailed, match=f"There are several times in '{place}': {zones}"):
        time_in(place, SUMMER)


@pytest.mark.parametrize(
    ("place", "hint"), [("Tokio", "Asia/Tokyo"), ("Berlni", "Europe/Berlin"), ("Europe/Pari", "Europe/Paris")]
)
def test_an_unknown_place_is_answered_with_what_looks_like_it(place: str, hint: str):
    with pytest.raises(ToolFailed, match=f"Did you mean .*{hint}"):
        time_in(place, SUMMER)


@pytest.mark.parametrize("place", ["", " ", "Qqqqqqqqqq", "../../etc/passwd", "\0", "x" * 1_000_000, "UTC+99"])
def test_a_place_that_is_none_is_refused(place: str):
    with pytest.raises(ToolFailed, match="I know no time zone") as refused:
        time_in(place, SUMMER)
    assert len(str(refused.value)) < 400


@given(st.text())
def test_any_place_is_answered_or_refused(place: str):
    with contextlib.suppress(ToolFailed):
        assert "(UTC" in time_in(place, SUMMER)


def test_every_place_it_knows_has_a_zone():
    for place in clock._zones():
        assert "2026" in time_in(place, SUMMER)


def test_it_needs_no_zones_of_the_system():
    known = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    clock._zones.cache_clear()
    try:
        assert time_in("Tokyo", SUMMER).startswith("07:05")
        assert time_in("nyc", SUMMER).startswith("18:05")
    finally:
        zoneinfo.reset_tzpath(to=known)
        zoneinfo.ZoneInfo.clear_cache()
        clock._zones.cache_clear()


# -- the calculator -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("25 * 47", "1175"),
        ("(3.5 + 2) / 4", "1.375"),
        ("1 + 2 * 3 - 4", "3"),
        ("10 / 4", "2.5"),
        ("10 / 5", "2"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("7 % 3", "1"),
        ("-7 % 3", "2"),
        ("7 % (-3)", "-2"),
        ("2 ** 10", "1024"),
        ("2^3^2", "512"),
        ("-2^2", "-4"),
        ("(-2)^2", "4"),
        ("2^-2", "0.25"),
        ("0^0", "1"),
        ("--5", "5"),
        ("-+-+-5", "-5"),
        ("-" * 500 + "5", "5"),
        ("1" + " " * 500 + "+1", "2"),
        ("0.1 + 0.2", "0.3"),
        ("12345678901.23 + 1", "12345678902.23"),
        ("123456789012345.0 + 1", "123456789012346"),
        ("9007199254740993 + 0", "9007199254740993"),
        ("2^200", str(2**200)),
        ("10^999", "1" + "0" * 999),
        ("400!", str(math.factorial(400))),
        ("5!", "120"),
        ("3!!", "720"),
        ("-3!", "-6"),
        ("2^3!", "64"),
        (".5 + 5.", "5.5"),
        ("1_000 * 2", "2000"),
        ("2e3", "2000"),
        ("2E-3", "0.002"),
        (".5e1", "5"),
        ("e", "2.71828182845905"),
        ("2 * e", "5.43656365691809"),
        ("e^0", "1"),
        ("PI", "3.14159265358979"),
        ("1e20 * 1.5", "1.5e+20"),
        ("-0.0", "0"),
        ("2 + 2 =", "4"),
        ("2 + 2 = ?", "4"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("3 x 4", "12"),
        ("3x4", "12"),
        ("(1 + 2) X (3)", "9"),
        ("max(2 x 3, 5)", "6"),
        ("5² + 2³", "33"),
        ("√16", "4"),
        ("√√16", "2"),
        ("sqrt 9 + 1", "4"),
        ("sqrt(2)", "1.4142135623731"),
        (f"sqrt({10**40})", str(10**20)),
        ("log10(1000)", "3"),
        ("LOG10 100", "2"),
        ("ln(e)", "1"),
        ("log(8, 2)", "3"),
        ("log2(8)", "3"),
        ("exp(0)", "1"),
        ("sin(pi)", "0"),
        ("cos(pi / 2)", "0"),
        ("degrees(atan(1))", "45"),
        ("asin(1) - acos(0)", "0"),
        ("radians(180) - pi", "0"),
        # a half goes away from zero, and a decimal is what it was written as
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.675, 2)", "2.68"),
        ("round(25, -1)", "30"),
        ("round(1.005 * 1000)", "1005"),
        ("ceil(0.1 * 3 * 10)", "3"),
        ("floor(-0.5)", "-1"),
        ("0.3 // 0.1", "3"),
        ("1 % 0.1", "0"),
        ("5.5 % 2", "1.5"),
        ("-5.5 % 2", "0.5"),
        ("1e16 % 3", "1"),
        ("1e300 % 7", str(float(10**300 % 7)).removesuffix(".0")),
        ("abs(-3)", "3"),
        ("floor(-1.5) + ceil(-1.5)", "-3"),
        ("round(3.14159, 2)", "3.14"),
        ("round(1234, -2)", "1200"),
        ("round(2.6)", "3"),
        ("sin(0) + cos(0) + tan(0)", "1"),
        ("min(3, 1, 2)", "1"),
        # percentages
        ("15% of 80", "12"),
        ("15 % OF 80", "12"),
        ("50% of 20% of 10", "1"),
        ("(10 + 5)% of 80", "12"),
        ("100 - 15% of 80", "88"),
        ("15% of 80 + 5", "17"),
        ("50%", "0.5"),
        ("80 * 15%", "12"),
        ("15% * 80", "12"),
        ("6 / 50%", "12"),
        ("6 // 50%", "12"),
        ("2^50%", "1.4142135623731"),
        ("200 + 10%", "200.1"),
        ("5% - 3%", "0.02"),
        ("max(5%, 3%)", "0.05"),
        ("1 % 50%", "0"),
        # a comma within a number, and one between arguments
        ("1,200 + 1", "1201"),
        ("1,234,567.5 * 2", "2469135"),
        ("(1,200) / 2", "600"),
        ("sqrt(1,600)", "40"),
        ("max(1,200)", "200"),
        ("max(1,200,30)", "200"),
        ("min((1,200), 300)", "300"),
        ("max(sqrt(1,600), 7) + 1,000", "1040"),
        ("log((1,000), 10)", "3"),
    ],
)
def test_a_value(expression: str, value: str):
    assert value_of(expression) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "ends too early"),
        ("   ", "ends too early"),
        ("=", "ends too early"),
        ("1 +", "ends too early"),
        ("(1", "bracket"),
        ("1)", r"can't read '\)'"),
        ("()", "don't know"),
        ("sqrt", "ends too early"),
        ("sqrt()", "don't know"),
        ("1 2", "can't read '2'"),
        ("1,20", "can't read ','"),
        ("12,34,567", "can't read ','"),
        ("2e", "can't read 'e'"),
        ("2pi", "can't read 'pi'"),
        ("1.2.3", "can't read '.3'"),
        ("0x10", "hexadecimal"),
        ("import os", "don't know 'import'"),
        ("__import__('os')", "can't read .__import__"),
        ("open", "don't know"),
        ("x" * 900, "don't know 'x{20}'"),
        ("1 / 0", "divides by zero"),
        ("1 // 0", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("0 ^ -1", "divides by zero"),
        ("1 / 0%", "divides by zero"),
        ("sqrt(-1)", "no real square root"),
        ("(-8) ^ 0.5", "no real value"),
        ("ln(0)", "no value"),
        ("ln(-1)", "no value"),
        ("log(100)", "log can't be had of these arguments"),
        ("min(5)", "min can't be had of these arguments"),
        ("sqrt(1, 2)", "sqrt can't be had of these arguments"),
        ("round(1.5, 0.5)", "round can't be had"),
        ("1e999", "too large"),
        ("1 / 1e999", "too large"),
        ("1e308 * 10", "too large"),
        ("exp(1000)", "too large"),
        ("10^400 / 3", "too large"),
        ("2 ^ -5000", "too small"),
        ("1.5 ^ (10^900)", "too large"),
        ("2 ^ (10^900)", "no value|more than"),
        ("9**9**9", "more than 1000 digits"),
        ("9^9^9^9^9", "more than 1000 digits"),
        ("9^999 * 9^999", "more than 1000 digits"),
        ("*".join(["10^300"] * 100), "more than 1000 digits"),
        ("*".join(["9" * 90] * 10) + "*" + "*".join(["9" * 9] * 9), None),
        ("400!!", "factorials"),
        ("401!", "factorials"),
        ("(-1)!", "factorials"),
        ("1.5!", "factorials"),
        ("round(5, -999999999)", "places"),
        ("round(5, 10^900)", "places"),
        ("(" * 1_000_000 + ")" * 1_000_000, "longer than"),
        ("(" * 400 + "1" + ")" * 400, "nested too deeply"),
        ("√" * 900 + "4", "nested too deeply"),
        ("ln " * 300 + "4", "nested too deeply"),
        ("2^-" * 300 + "2", "nested too deeply"),
        ("1%of " * 150 + "1", "nested too deeply"),
        ("max(" * 200 + "1", "nested too deeply"),
        ("9" * (LONGEST + 1), "longer than"),
    ],
    ids=lambda value: value[:40] if value else None,
)
def test_a_refusal_is_quick_and_says_why(expression: str, reason: str | None):
    started = time.perf_counter()
    if reason is None:
        value_of(expression)
    else:
        with pytest.raises(ToolFailed, match=reason):
            value_of(expression)
    assert time.perf_counter() - started < QUICK


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_it_knows_can_be_called(name: str):
    arguments = {"min": "1, 2", "max": "1, 2", "log": "8, 2"}.get(name, "0.5")
    assert re.fullmatch(r"-?[\d.]+", value_of(f"{name}({arguments})"))


def _joined(parts: list[tuple[str, str]]) -> str:
    return " ".join(f"{sign} {operand}" for sign, operand in parts).removeprefix("+ ")


WHOLE = st.integers(0, 30).map(str)
POWER = st.tuples(WHOLE, st.integers(0, 3)).map(lambda pair: f"{pair[0]} ** {pair[1]}")
SIGNED = st.one_of(WHOLE, POWER).map(lambda operand: f"(-{operand})")
# The first sign is a plus. After % stands no sign, which would make it a percentage.
INTEGERS = st.recursive(
    st.one_of(WHOLE, POWER, SIGNED),
    lambda inner: st.lists(st.tuples(st.sampled_from(["+", "-", "*", "//", "%"]), inner), min_size=1, max_size=4).map(
        lambda parts: f"({_joined([('+', parts[0][1]), *parts[1:]])})"
    ),
    max_leaves=8,
)
DECIMAL = st.one_of(WHOLE, st.decimals(0, 20, places=2).map(str), WHOLE.map(lambda base: f"{base} ** 2"))
DECIMALS = st.lists(st.tuples(st.sampled_from(["+", "-", "*", "/"]), DECIMAL), min_size=1, max_size=5).map(
    lambda parts: _joined([("+", parts[0][1]), *parts[1:]])
)


@given(INTEGERS)
@example("(5 % (-3))")
@example("(- 2 ** 2)")
def test_whole_numbers_are_calculated_as_python_does(expression: str):
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(ToolFailed, match="zero"):
            value_of(expression)
    else:
        assert value_of(expression) == str(expected)


@given(DECIMALS)
def test_other_numbers_are_calculated_as_python_does(expression: str):
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(ToolFailed, match="zero"):
            value_of(expression)
    else:
        assume(expected == 0 or abs(expected) > 1e-300)
        assert float(value_of(expression)) == pytest.approx(expected, rel=1e-14, abs=0)


PIECES = [*FUNCTIONS, *"0123456789+-*/%^(),!. e√²³×", "pi", "of", "//", "**", "1e308", "99999", "10^99", "400!", ",000"]


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@example("round(9,-99999)")
@example("9" * LONGEST)
def test_any_text_has_a_value_or_is_refused_quickly(text: str):
    started = time.perf_counter()
    try:
        value = value_of(text)
    except ToolFailed:
        value = "0"
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", value)
    assert time.perf_counter() - started < QUICK
