"""What a classic bot says at its start, and from when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.retirement import days_left, notice


def at(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "days"),
    [
        (at(2026, 12, 31), None),
        (at(2027, 1, 1), 89),
        (at(2027, 3, 30), 1),
        (at(2027, 3, 31), 0),
        (at(2027, 4, 1), -1),
    ],
)
def test_days_left_of_classic_agents(now: float, days: int | None):
    assert days_left("foundry-classic", now) == days
    assert days_left("foundry", now) is None


def test_the_notice_names_the_day_and_the_way_out():
    said = notice("foundry-classic", at(2027, 3, 1)) or ""
    assert "ends in 30 days, on 2027-03-31" in said
    assert "python -m bot migrate" in said
    assert "ended on 2027-03-31" in (notice("foundry-classic", at(2027, 4, 1)) or "")
    assert notice("foundry", at(2027, 4, 1)) is None
