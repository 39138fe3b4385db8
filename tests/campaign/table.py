"""The table: on the screen and in docs/reliability.md."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median

from tests.campaign.replica import LEASE
from tests.campaign.verdict import Counts
from tests.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- campaign -->", "<!-- /campaign -->"
COLUMNS = (
    ("faults", "faults"),
    ("accepted", "accepted"),
    ("turns", "turns"),
    ("answered", "answered"),
    ("apologised", "apologised"),
    ("silent", "silent"),
    ("disorder", "out of order"),
    ("twice", "answered twice"),
    ("strange", "wrong words"),
    ("effects", "tool effects"),
    ("repeated", "repeated"),
    ("lost", "lost"),
    ("unknown", "said to be unknown"),
    ("window_saved", "window: sent, id not saved"),
    ("window_frozen", "window: frozen in a send"),
)


def printed(table: list[Counts]) -> str:
    """As Markdown: a row a scenario, and their sum."""
    total = Counts("all", "")
    for counts in table:
        total.add(counts)
    head = ["database", "scenario", *(title for _, title in COLUMNS), "take-over: median / longest"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for counts in [*table, total]:
        cells = [counts.database, counts.scenario, *(str(getattr(counts, name)) for name, _ in COLUMNS)]
        lines.append("| " + " | ".join([*cells, _takeover(counts)]) + " |")
    return "\n".join(lines)


def _takeover(counts: Counts) -> str:
    if not counts.takeovers:
        return ""
    return f"{median(counts.takeovers):.1f} / {max(counts.takeovers):.1f} s"


def write(table: list[Counts], seed: int) -> None:
    """Put the table between the marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    day = datetime.now(UTC).date().isoformat()
    words = f"Measured on {day} with a lease of {LEASE:.0f} s (seed {seed}).\n\n{printed(table)}"
    PAGE.write_text(f"{before}{BEGIN}\n{words}\n{END}{after}", encoding="utf-8")
