"""What became of every message: the double's deliveries, the rows, the effects and the traces are held together."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from bot.types import reference_of
from tests.campaign.machines import TOKEN, Replica, read_trace, says_it_is_kept
from tests.campaign.people import Said
from tests.teams import Delivery

LABEL = "https://schema.org/Message"
SLACK = 0.002
ENDS = ("Delivered", "TurnEnded", "TurnReleased", "LeaseLost")
Spans = list[tuple[float, float]]
Traces = dict[Path, list[dict[str, Any]]]


@dataclass
class Counts:
    """A row of the table. `allowed` columns may be above zero; every other one after `turns` must be zero."""

    scenario: str
    database: str
    faults: int = 0
    accepted: int = 0
    turns: int = 0
    answered: int = 0
    apologised: int = 0
    silent: int = 0
    disorder: int = 0
    twice: int = 0
    window_saved: int = 0
    window_frozen: int = 0
    effects: int = 0
    repeated: int = 0
    lost: int = 0
    unknown: int = 0
    strange: int = 0
    takeovers: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    MUST_BE_ZERO = ("apologised", "silent", "disorder", "twice", "repeated", "lost", "strange")

    @property
    def wrong(self) -> list[str]:
        """The columns that are not zero and ought to be."""
        return [name for name in self.MUST_BE_ZERO if getattr(self, name)]

    def add(self, other: Counts) -> None:
        """Sum up."""
        for each in fields(self):
            value = getattr(other, each.name)
            if isinstance(value, int):
                setattr(self, each.name, getattr(self, each.name) + value)
            elif isinstance(value, list):
                getattr(self, each.name).extend(value)


@dataclass
class Row:
    """A message on disk."""

    id: int
    key: str
    turn: int
    lane: str
    state: str
    ended: str | None
    error: str | None


async def rows_of(url: str) -> tuple[list[Row], list[tuple[int, str, str | None]]]:
    """The messages, and the tool calls: turn, state, error."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            found = await connection.execute(
                sa.text("SELECT id, key, COALESCE(joined_to, id), lane, state, ended, error FROM inbox ORDER BY id")
            )
            rows = [Row(*row) for row in found]
            calls = [
                tuple(row) for row in await connection.execute(sa.text("SELECT turn, state, error FROM tool_calls"))
            ]
    finally:
        await engine.dispose()
    return rows, calls  # type: ignore[return-value]


async def unanswered(url: str) -> int:
    """How many messages are not done."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return (await connection.execute(sa.text("SELECT count(*) FROM inbox WHERE state <> 'done'"))).scalar_one()
    finally:
        await engine.dispose()


async def judge(
    counts: Counts,
    url: str,
    said: list[Said],
    deliveries: list[Delivery],
    replicas: list[Replica],
    outages: Spans,
    effects: Path,
) -> Counts:
    """Fill in the counts."""
    rows, calls = await rows_of(url)
    by_key = {row.key: row for row in rows}
    members: dict[int, list[Said]] = defaultdict(list)
    for each in said:
        row = by_key.get(each.key)
        if row is None:
            counts.silent += 1
            counts.findings.append(f"{each.token} was acknowledged and is not on disk")
        else:
            members[row.turn].append(each)
    counts.accepted, counts.turns = len(said), len(members)
    traces = {path: read_trace(path) for replica in replicas for path in replica.traces}
    shown = _shown(deliveries, by_key, said, traces)
    unknown = {turn for turn, state, error in calls if state == "unknown" or error == "unknown"}
    counts.unknown = sum(1 for _, state, error in calls if state == "unknown" or error == "unknown")
    _answers(counts, members, shown, rows, unknown, traces, replicas, outages)
    _order(counts, said, by_key, shown)
    _effects(counts, effects, said, by_key, unknown)
    _takeovers(counts, traces, replicas)
    for replica in replicas:
        counts.strange += len(replica.odd)
        counts.findings += replica.odd
    return counts


def _by_agent(delivery: Delivery) -> bool:
    return any(entity.get("type") == LABEL for entity in delivery.activity.get("entities", ()))


def _shown(
    deliveries: list[Delivery], by_key: dict[str, Row], said: list[Said], traces: Traces
) -> dict[int, list[Delivery]]:
    """What people saw, by turn: not the typing, nor what grew, nor that a message is kept."""
    turn_of = {each.activity["id"]: by_key[each.key].turn for each in said if each.key in by_key}
    shown: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in _visible(deliveries):
        about = delivery.activity.get("replyToId") or _answered_by(delivery, said, traces)
        delivery.activity["replyToId"] = about
        shown[turn_of.get(about, -1)].append(delivery)
    return shown


def _visible(deliveries: list[Delivery]) -> list[Delivery]:
    """The messages that stood in a chat, each once: one that was taken away again stood in none for anybody."""
    removed = {one.activity_id for one in deliveries if one.method == "DELETE"}
    ends = set[str]()
    visible: list[Delivery] = []
    for delivery in deliveries:
        activity, stream = delivery.activity, delivery.activity_id or _stream(delivery.activity)
        if activity.get("type") != "message" or says_it_is_kept(activity) or delivery.answered >= 300:
            continue
        if stream and (stream in removed or stream in ends):
            continue
        ends |= {stream} if stream else set()
        visible.append(delivery)
    return visible


def _stream(activity: dict[str, Any]) -> str:
    return next((one.get("streamId", "") for one in activity.get("entities", ()) if one["type"] == "streaminfo"), "")


def _answered_by(delivery: Delivery, said: list[Said], traces: Traces) -> str:
    """The id of the message that it answers, of one that replies to none: the end of an answer that grew.

    The process that sent it says which: with the id that came back, or, where it died before, as what it began to send
    there last. Its words do not: where it is unknown what a tool did, they name no message.
    """
    lines = [line for trace in traces.values() for line in trace]
    its_id = delivery.activity_id or _stream(delivery.activity)
    for line in lines:
        if line["what"] == "sent" and line["delivered"] == its_id:
            return str(line["message"])
    theirs = {one.activity["id"] for one in said if f"a:{one.person}" == delivery.conversation}
    begun = [
        (line["at"], str(line["message"]))
        for line in lines
        if line["what"] == "send" and line["message"] in theirs and line["at"] <= delivery.at + SLACK
    ]
    return max(begun, default=(0.0, ""))[1]


def _answers(
    counts: Counts,
    members: dict[int, list[Said]],
    shown: dict[int, list[Delivery]],
    rows: list[Row],
    unknown: set[int],
    traces: Traces,
    replicas: list[Replica],
    outages: Spans,
) -> None:
    by_id = {row.id: row for row in rows}
    for stray in shown.get(-1, []):
        counts.strange += 1
        counts.findings.append(f"a delivery for no message: {stray.activity.get('text', '')[:200]}")
    for turn, messages in members.items():
        seen, row = shown.get(turn, []), by_id[turn]
        about = f"turn {turn} {reference_of(turn)} ({row.state} {row.ended} {row.error or ''})"
        if not seen:
            counts.silent += len(messages)
            counts.findings.append(f"{about}: {[m.token for m in messages]} got no answer")
            continue
        if not _by_agent(seen[0]):
            counts.apologised += len(messages)
            counts.findings.append(f"{about}: {seen[0].activity.get('text')}")
        else:
            counts.answered += len(messages)
        for delivery in seen:
            words = set(TOKEN.findall(delivery.activity.get("text") or ""))
            own = {m.token for m in messages}
            if words - own or (words != own and turn not in unknown and _by_agent(delivery)):
                counts.strange += 1
                counts.findings.append(f"{about}: asked {sorted(own)}, answered {sorted(words)}")
        for earlier, later in itertools.pairwise(seen):
            why = _why_again(turn, earlier, later, traces, replicas, outages)
            setattr(counts, why, getattr(counts, why) + 1)
            if why == "twice":
                counts.findings.append(f"{about}: answered again after {later.at - earlier.at:.2f} s")


@dataclass
class Attempt:
    """A send: the process, when it asked for permission, when the turn was done with it, whether the id was saved."""

    trace: Path
    asked: float
    ended: float
    saved: bool


def _why_again(
    turn: int,
    earlier: Delivery,
    later: Delivery,
    traces: Traces,
    replicas: list[Replica],
    outages: Spans,
) -> str:
    """Which of the windows a second delivery fell into; 'twice' if into none."""
    frozen = {path: spans for replica in replicas for path, spans in replica.frozen.items()}
    killed = {path for replica in replicas for path in replica.killed}
    one, other = (_attempt(turn, delivery, traces) for delivery in (earlier, later))
    for attempt in (one, other):
        if attempt is not None and _meets(frozen.get(attempt.trace, []), attempt.asked, attempt.ended):
            return "window_frozen"
    if one is None or one.saved:
        return "twice"
    died = one.trace in killed and one.ended == float("inf")
    return "window_saved" if died or _meets(outages, one.asked, later.at) else "twice"


def _meets(spans: Spans, begin: float, end: float) -> bool:
    return any(begin - SLACK <= until and since <= end for since, until in spans)


def _attempt(turn: int, delivery: Delivery, traces: Traces) -> Attempt | None:
    """The last send of the turn that was begun before the delivery came."""
    message, reference = delivery.activity.get("replyToId"), reference_of(turn)
    best: Attempt | None = None
    latest = 0.0
    for path, lines in traces.items():
        asked = 0.0
        for place, line in enumerate(lines):
            if line["what"] == "asks" and line["turn"] == turn:
                asked = line["at"]
            if line["what"] != "send" or line["message"] != message or not latest < line["at"] <= delivery.at + SLACK:
                continue
            latest = line["at"]
            over = (x for x in lines[place + 1 :] if x["what"] in ENDS and x["reference"] == reference)
            end = next(over, {"at": float("inf"), "what": ""})
            best = Attempt(path, asked or latest, end["at"], end["what"] == "Delivered")
    return best


def _order(counts: Counts, said: list[Said], by_key: dict[str, Row], shown: dict[int, list[Delivery]]) -> None:
    """In each lane: ids rise with the acknowledgements, and first answers with the ids."""
    lanes: dict[int, list[Said]] = defaultdict(list)
    for each in said:
        if each.key in by_key:
            lanes[each.person].append(each)
    for person, messages in lanes.items():
        rows = [by_key[each.key] for each in sorted(messages, key=lambda m: m.accepted_at)]
        turns = list(dict.fromkeys(row.turn for row in rows))
        firsts = [min(d.at for d in shown[turn]) for turn in turns if shown.get(turn)]
        for what, line in (("ids", [row.id for row in rows]), ("turns", turns), ("answers", firsts)):
            wrong = sum(1 for a, b in itertools.pairwise(line) if a > b)
            if wrong:
                counts.disorder += wrong
                counts.findings.append(f"person {person}: {what} out of order")


def _effects(counts: Counts, effects: Path, said: list[Said], by_key: dict[str, Row], unknown: set[int]) -> None:
    written = Counter(effects.read_text().split()) if effects.exists() else Counter[str]()
    counts.effects = len(written)
    for token, times in written.items():
        if times > 1:
            counts.repeated += times - 1
            counts.findings.append(f"the effect of {token} happened {times} times")
    for each in said:
        row = by_key.get(each.key)
        if each.uses_tool and row is not None and row.turn not in unknown and not written[each.token]:
            counts.lost += 1
            counts.findings.append(f"the effect of {each.token} never happened (turn {row.turn} {row.ended})")


def _takeovers(counts: Counts, traces: Traces, replicas: list[Replica]) -> None:
    """From a kill or a freeze to the next start of each turn that ran there."""
    starts: dict[str, list[float]] = defaultdict(list)
    for lines in traces.values():
        for line in lines:
            if line["what"] == "TurnStarted":
                starts[line["reference"]].append(line["at"])
    for replica in replicas:
        gone = list(replica.killed.items())
        gone += [(path, begin) for path, spans in replica.frozen.items() for begin, _ in spans]
        for path, at in gone:
            for reference in _running(traces.get(path, []), at):
                after = [start for start in starts[reference] if start > at]
                if after:
                    counts.takeovers.append(min(after) - at)


def _running(lines: list[dict[str, Any]], at: float) -> set[str]:
    running: set[str] = set()
    for line in lines:
        if line["at"] > at:
            break
        if line["what"] == "TurnStarted":
            running.add(line["reference"])
        elif line["what"] in ("TurnEnded", "TurnReleased", "LeaseLost"):
            running.discard(line["reference"])
    return running
