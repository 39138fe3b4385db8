"""The tables. Times are seconds since the epoch; states are written as SQL literals so that partial indexes hold."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
SECONDS: sa.types.TypeEngine[float] = sa.Double()

lanes = sa.Table(
    "lanes",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    sa.Column("thread_id", sa.Integer),
    # what "undo" brings back, and until when
    sa.Column("undo_thread_id", sa.Integer),
    sa.Column("undo_until", SECONDS),
    sa.Column("created_at", SECONDS, nullable=False),
    # whose it is; no one's where a group shares it
    sa.Column("person", sa.Text),
    sa.Column("personal", sa.Boolean, nullable=False, server_default=sa.false()),
    # when an admin started it over, until the person has been told
    sa.Column("notice_at", SECONDS),
    # when a running answer was stopped, until the agent has been told that the question does not count any more
    sa.Column("withdrawn_at", SECONDS),
    sa.Index("lanes_person", "person"),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # the name without case, to be found by
    sa.Column("folded", sa.Text, nullable=False),
    # to the hour: not every message is a write
    sa.Column("seen_at", SECONDS, nullable=False),
    # where they are spoken to when they have not asked: that of their last personal message
    sa.Column("address", sa.JSON(none_as_null=True)),
    # what the platform's directory has of them, without case; and when it was asked
    sa.Column("mail", sa.Text),
    sa.Column("login", sa.Text),
    sa.Column("asked_at", SECONDS),
    sa.Index(
        "people_strangers",
        "seen_at",
        sqlite_where=sa.text("asked_at IS NULL AND address IS NOT NULL"),
        postgresql_where=sa.text("asked_at IS NULL AND address IS NOT NULL"),
    ),
)

file_offers = sa.Table(
    "file_offers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    # where the file lies; its content is asked for when it is wanted
    sa.Column("file", sa.JSON, nullable=False),
    sa.Column("expires_at", SECONDS, nullable=False),
    # while it is being brought
    sa.Column("taken_until", SECONDS),
    sa.Index("file_offers_person", "person"),
    sa.Index("file_offers_expires", "expires_at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", SECONDS, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    # the turn that asked for it: taken up again, it acts once
    sa.Column("turn", sa.Integer, unique=True),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("audit_actor", "actor", "id"),
    sqlite_autoincrement=True,
)

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("backend", sa.Text, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("remote_id", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("carried", sa.Text, nullable=False),
    sa.Column("previous_id", sa.Integer),
    sa.Column("opened_at", SECONDS, nullable=False),
    sa.Column("used_at", SECONDS, nullable=False),
    sa.Column("messages", sa.Integer, nullable=False, server_default="0"),
    sa.Column("prompt_tokens", sa.Integer, nullable=False, server_default="0"),
    # prepared near a limit, erased by the rollover that carries it
    sa.Column("summary", sa.Text),
    # why it can be used no more: 'lost at the service', 'a run would not end'
    sa.Column("unusable", sa.Text),
    # to be deleted at the service, and then here
    sa.Column("forget_at", SECONDS),
    sa.Index("threads_lane", "lane", "id"),
    sa.Index(
        "threads_forget",
        "forget_at",
        sqlite_where=sa.text("forget_at IS NOT NULL"),
        postgresql_where=sa.text("forget_at IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    # conversation, sender, timestamp and words: a redelivery under another id
    sa.Column("digest", sa.Text, unique=True),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("control", sa.Text),
    # may become one turn with the messages around it
    sa.Column("joins", sa.Boolean, nullable=False),
    sa.Column("payload", sa.JSON(none_as_null=True)),
    sa.Column("effect", sa.JSON(none_as_null=True)),
    sa.Column("steps", sa.JSON(none_as_null=True)),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("joined_to", sa.Integer),
    sa.Column("owner", sa.Text),
    sa.Column("lease_until", SECONDS),
    sa.Column("not_before", SECONDS),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("interrupt", sa.Text),
    sa.Column("ended", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("accepted_at", SECONDS, nullable=False),
    sa.Column("started_at", SECONDS),
    sa.Column("finished_at", SECONDS),
    # runs of it that an operator's retry left behind: the next is not to be taken for one of them
    sa.Column("runs_before", sa.Integer, nullable=False, server_default="0"),
    sa.Index(
        "inbox_queued",
        "lane",
        "id",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    ),
    # the database itself keeps one running turn a lane
    sa.Index(
        "inbox_running",
        "lane",
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    ),
    sa.Index(
        "inbox_joined",
        "joined_to",
        sqlite_where=sa.text("state = 'joined'"),
        postgresql_where=sa.text("state = 'joined'"),
    ),
    sa.Index(
        "inbox_kept",
        "finished_at",
        sqlite_where=sa.text("state = 'done' AND payload IS NOT NULL"),
        postgresql_where=sa.text("state = 'done' AND payload IS NOT NULL"),
    ),
    sa.Index("inbox_finished", "finished_at"),
    # what a lane was told lately: feedback looks for a delivery
    sa.Index(
        "inbox_done",
        "lane",
        "id",
        sqlite_where=sa.text("state = 'done'"),
        postgresql_where=sa.text("state = 'done'"),
    ),
    sqlite_autoincrement=True,
)

tool_calls = sa.Table(
    "tool_calls",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("once", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("output", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("started_at", SECONDS, nullable=False),
    sa.Column("finished_at", SECONDS),
    sa.UniqueConstraint("turn", "call_id", name="tool_calls_turn"),
)

approvals = sa.Table(
    "approvals",
    metadata,
    # told to channels: it cannot be guessed
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    # who asked the agent
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    # as the agent sent them, forgotten with the turn; and what tells them from others
    sa.Column("arguments", sa.Text),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("asked_at", SECONDS, nullable=False),
    sa.Column("expires_at", SECONDS, nullable=False),
    # the question's id in the channel
    sa.Column("delivered", sa.Text),
    # somebody wrote while it waits
    sa.Column("nudged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("decider", sa.Text),
    sa.Column("decider_name", sa.Text),
    sa.Column("decided_at", SECONDS),
    sa.UniqueConstraint("turn", "call_id", name="approvals_turn"),
    sa.Index(
        "approvals_asked",
        "lane",
        sqlite_where=sa.text("state = 'asked'"),
        postgresql_where=sa.text("state = 'asked'"),
    ),
)

tool_audit = sa.Table(
    "tool_audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", SECONDS, nullable=False),
    # none where it was called at the command line
    sa.Column("turn", sa.Integer),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("sizes", sa.JSON, nullable=False),
    # the values, less what is secret: kept only where AUDIT_ARGUMENTS says so, and forgotten with the person
    sa.Column("arguments", sa.JSON(none_as_null=True)),
    # none while it runs, and of a call that was cut off; without the time in which a person was asked
    sa.Column("seconds", SECONDS),
    sa.Column("output_size", sa.Integer),
    sa.Column("error", sa.Text),
    # who agreed or declined, where a person was asked
    sa.Column("decider", sa.Text),
    sa.Index("tool_audit_at", "at"),
    sa.Index("tool_audit_turn", "turn"),
    # what holds a person's words
    sa.Index(
        "tool_audit_words",
        "lane",
        sqlite_where=sa.text("arguments IS NOT NULL"),
        postgresql_where=sa.text("arguments IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

tool_records = sa.Table(
    "tool_records",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    # whose they are; both empty: the organisation's
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("collection", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("at", SECONDS, nullable=False),
    sa.Index("tool_records_at", "tenant", "channel", "person", "collection", "at"),
)

tool_files = sa.Table(
    "tool_files",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", SECONDS, nullable=False),
    sa.Index("tool_files_turn", "turn"),
    sa.Index("tool_files_expires", "expires_at"),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # the delivery, and whose feedback this is: said again, it is replaced
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("delivered", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    # what it is about; without a turn, none of ours was found
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("turn", sa.Integer),
    sa.Column("thread", sa.Text),
    sa.Column("run", sa.Text),
    sa.Column("reaction", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    # the channel's time, by which a late redelivery is known; and ours
    sa.Column("said_at", SECONDS, nullable=False),
    sa.Column("at", SECONDS, nullable=False),
    sa.UniqueConstraint("channel", "tenant", "conversation", "delivered", "person", name="feedback_whose"),
    sa.Index("feedback_at", "at"),
    sa.Index("feedback_lane", "lane"),
    sqlite_autoincrement=True,
)

agent_threads = sa.Table(
    "agent_threads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", SECONDS, nullable=False),
)

agent_entries = sa.Table(
    "agent_entries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("thread_id", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    # the entry as a model is given it, where it is more than its text
    sa.Column("item", sa.JSON),
    sa.Index("agent_entries_thread", "thread_id", "id"),
)

agent_runs = sa.Table(
    "agent_runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("thread_id", sa.Text, nullable=False),
    sa.Column("turn", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("created_at", SECONDS, nullable=False),
    sa.Index(
        "agent_runs_active",
        "thread_id",
        unique=True,
        sqlite_where=sa.text("ended = 0"),
        postgresql_where=sa.text("ended = false"),
    ),
    sa.Index("agent_runs_mark", "thread_id", "turn", "attempt"),
)
