"""A past for a database: finished turns, with the lanes, threads, people and tool calls that belong to them."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.store.engine import open_engine
from bot.types import Conversation, Message, Person

TURNS_A_LANE = 5
SPAN = 34 * 86_400.0
"""Seconds over which the past is spread: just less than rows are kept."""

CHANNEL, TENANT = "msteams", "3f0c7a52-91d4-4e0b-8a67-0d1f5b2c9e84"
"""As long as the platform's own: the width of a row is part of what it costs."""

LANE = f"'{CHANNEL}/{TENANT}/person/29:'"
STEPS = {
    "run": {"state": "ended", "attempt": "0", "thread": "thread_0123456789", "run": "run_0123456789abcdef"},
    "tokens": {"prompt": 900, "completion": 120},
    "delivered": ["1700000000000"],
}

_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
_LANES = f"""
    INSERT INTO lanes (key, channel, tenant, thread_id, created_at, person, personal) {_NUMBERS}
    SELECT {LANE} || n, '{CHANNEL}', '{TENANT}', n, :begin, '29:' || n, true FROM numbers"""
_THREADS = f"""
    INSERT INTO threads
        (lane, generation, backend, project, remote_id, reason, carried, opened_at, used_at, messages, prompt_tokens)
    {_NUMBERS}
    SELECT {LANE} || n, 0, 'foundry-classic', 'https://bench.example', 'thread_' || n, 'first', 'nothing',
        :begin, :now, 10, 900 FROM numbers"""
_PEOPLE = f"""
    INSERT INTO people (channel, tenant, id, name, folded, seen_at) {_NUMBERS}
    SELECT '{CHANNEL}', '{TENANT}', '29:' || n, 'Person ' || n, 'person ' || n, :now FROM numbers"""
# One turn in a hundred ended in an apology; those of the last day still hold what was said.
_INBOX = f"""
    INSERT INTO inbox
        (key, digest, lane, channel, person, generation, joins, payload, steps, state, attempts, ended,
         accepted_at, started_at, finished_at)
    {_NUMBERS}
    SELECT RANDOM, RANDOM, {LANE} || (1 + n % :lanes), '{CHANNEL}', '29:' || (1 + n % :lanes), 0, true,
        CASE WHEN n % 100 = 0 AND n > :last_day THEN :payload END, :steps, 'done', 1,
        CASE WHEN n % 100 = 0 THEN 'apology' ELSE 'answered' END,
        :begin + n * :apart, :begin + n * :apart, :begin + n * :apart + 3 FROM numbers"""
_TOOL_CALLS = f"""
    INSERT INTO tool_calls
        (turn, call_id, attempt, round, position, name, once, state, started_at, finished_at)
    {_NUMBERS}
    SELECT 2 * n, 'call_' || n, '0', 0, 0, 'get_current_time', false, 'done', :begin, :begin + 1 FROM numbers"""

# Keys are hashes, so a new one falls anywhere in its index, and not at the end.
_RANDOM = {
    "sqlite": "lower(hex(randomblob(32)))",
    "postgresql": "md5(random()::text || n) || md5(random()::text || n)",
}


def said_by(person: int, id: str, sent_at: int) -> Message:
    """What a person of the past says now, in a personal chat."""
    place = Conversation(CHANNEL, TENANT, f"a:{person}")
    address = {"serviceUrl": "https://smba.trafficmanager.net/emea/", "conversation": place.id, "activityId": id}
    return Message(
        id, place, Person(f"29:{person}", f"Person {person}"), "How many days are left?", address, sent_at=sent_at
    )


async def fill(url: str, turns: int) -> int:
    """Write so many finished turns into an empty database whose tables are there; how many lanes they make."""
    engine = open_engine(url)
    lanes = max(1, turns // TURNS_A_LANE)
    now = time.time()
    begin, apart = now - SPAN, SPAN / turns
    try:
        async with engine.begin() as connection:
            if (
                engine.dialect.name == "sqlite"
            ):  # with its 2 MB, SQLite would read each page of an index again and again
                await connection.exec_driver_sql("PRAGMA cache_size = -1000000")
            run = connection.execute
            await run(_typed(_LANES), {"count": lanes, "begin": begin})
            await run(_typed(_THREADS), {"count": lanes, "begin": begin, "now": now})
            await run(_typed(_PEOPLE), {"count": lanes, "now": now})
            await run(
                _typed(_INBOX.replace("RANDOM", _RANDOM[engine.dialect.name])),
                {
                    "count": turns,
                    "lanes": lanes,
                    "last_day": int(turns * (1 - 86_400 / SPAN)),
                    "payload": {"text": "x" * 300},
                    "steps": STEPS,
                    "begin": begin,
                    "apart": apart,
                },
            )
            await run(_typed(_TOOL_CALLS), {"count": turns // 2, "begin": begin})
        await _settle(engine)
    finally:
        await engine.dispose()
    return lanes


def _typed(statement: str) -> sa.TextClause:
    kinds = {
        "count": sa.Integer, "lanes": sa.Integer, "last_day": sa.Integer, "begin": sa.Double, "now": sa.Double,
        "apart": sa.Double, "payload": sa.JSON, "steps": sa.JSON,
    }  # fmt: skip
    named = [sa.bindparam(name, type_=kind) for name, kind in kinds.items() if f":{name}" in statement]
    return sa.text(statement).bindparams(*named)


async def _settle(engine: AsyncEngine) -> None:
    """What a database has done with rows that came over weeks: PostgreSQL's autovacuum, the log written back."""
    upkeep = ["VACUUM (ANALYZE)", "CHECKPOINT"]
    if engine.dialect.name == "sqlite":
        upkeep = ["PRAGMA wal_checkpoint(TRUNCATE)"]  # nobody runs ANALYZE on it: the bot does not
    alone = engine.execution_options(isolation_level="AUTOCOMMIT", begin="")
    async with alone.connect() as connection:
        for statement in upkeep:
            await connection.exec_driver_sql(statement)
