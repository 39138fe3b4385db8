"""What fits into a model's window, and what a stream's pieces come to: laws, without any endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.agents.chat_answer import Pieces, completion_of
from bot.agents.chat_messages import messages_of, question
from bot.agents.chat_window import trimmed, weight, weight_of, whole
from bot.types import Ask, File, JsonObject, Kept, RunMark
from tests.llm.reading import invalid

SYSTEM: JsonObject = {"role": "system", "content": "Be kind."}
words = st.text("ab ", max_size=400)


@st.composite
def rounds(draw: st.DrawFn) -> list[JsonObject]:
    ids = [f"c{draw(st.integers(0, 10**6))}-{n}" for n in range(draw(st.integers(1, 3)))]
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": draw(words)}} for one in ids]
    outputs = [{"role": "tool", "tool_call_id": one, "content": draw(words)} for one in draw(st.permutations(ids))]
    return [{"role": "assistant", "content": draw(words), "tool_calls": calls}, *outputs]


users = st.builds(lambda text: [{"role": "user", "content": text}], words)
said = st.builds(lambda text: [{"role": "assistant", "content": text}], words)
threads = st.lists(st.one_of(users, said, rounds()), max_size=12).map(
    lambda blocks: [message for block in blocks for message in block]
)


@given(threads, st.integers(0, 2_000), st.booleans())
def test_no_call_is_split_from_its_output_and_no_question_is_lost(thread: list[JsonObject], room: int, carries: bool):
    head = [SYSTEM, *([{"role": "user", "content": "What was before."}] if carries else [])]
    messages = [*head, *thread]
    kept = trimmed(messages, room, len(head))
    assert invalid(kept) is None
    assert kept[: len(head)] == head
    places = [next(i for i, one in enumerate(messages) if one is message) for message in kept]
    assert places == sorted(places), "in order, each once"
    newest = [message for message in messages if message["role"] == "user"][-1:]
    assert all(any(message is one for one in kept) for message in newest)
    assert kept[-1] is messages[-1], "what the model is to go on from"
    if weight_of(messages) <= room:
        assert kept == messages
    elif weight_of(kept) > room:  # then nothing is left that could go
        last = len(kept) - next(i for i, one in enumerate(reversed(kept)) if one["role"] != "tool") - 1
        assert all(one in newest for one in kept[len(head) : last])
    elif any(message is one for message in newest for one in thread):
        assert kept[len(head) :][0]["role"] == "user"


@given(threads, st.data())
def test_whatever_was_lost_the_conversation_is_whole(thread: list[JsonObject], data: st.DataObject):
    left = [message for message in thread if data.draw(st.booleans())]
    mended = whole([SYSTEM, *left], "unknown")
    assert invalid(mended) is None
    assert [one for one in mended if one["role"] in ("user", "assistant")] == [
        one for one in left if one["role"] in ("user", "assistant")
    ]
    assert whole([SYSTEM, *thread], "unknown") == [SYSTEM, *thread]


def test_an_image_weighs_what_it_is_and_not_its_bytes():
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert weight({"role": "user", "content": [{"type": "text", "text": "this"}, shown]}) < 2_000


def test_a_filtered_question_goes_with_all_that_followed_it():
    entries = [
        Kept("user", "one"),
        Kept("assistant", "1"),
        Kept("user", "bad"),
        Kept("file", "x.png", {"type": "image_url"}),
        Kept("call", "", {"role": "assistant", "content": "", "tool_calls": []}),
        Kept("filtered", ""),
        Kept("user", "two"),
    ]
    assert [message["content"] for message in messages_of(entries)] == ["one", "1", "two"]


def test_an_image_whose_message_was_not_read_is_left_out():
    assert messages_of([Kept("file", "x.png", {}), Kept("assistant", "hm")]) == [{"role": "assistant", "content": "hm"}]


UNREADABLE = "gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("data", "read"),
    [(b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9f", "grüß"), ("grüß".encode("utf-16"), "grüß"), (b"gr\xfc\0\xdf", UNREADABLE)],
)
def test_a_text_file_is_read_as_it_is_written(data: bytes, read: str):
    (entry,) = question(Ask(RunMark("1", "0", "R"), "Read", files=(File("a.txt", "text/plain", data),)), 100)
    assert entry.text == "Read"
    assert entry.item["content"].endswith(f"a.txt:\n\n{read}")


def test_text_files_share_their_room_and_say_where_they_are_cut():
    files = (File("a.txt", "text/plain", b"a" * 80), File("b.txt", "text/plain", b"b" * 80))
    (entry,) = question(Ask(RunMark("1", "0", "R"), "", files=files), 100)
    content = entry.item["content"]
    assert entry.text == "(a.txt, b.txt)"
    assert (content.count("a" * 80), content.count("b" * 20), content.count("b" * 21)) == (1, 1, 0)
    assert content.count("cut here") == 1


# -- what servers make of calls -------------------------------------------------------------------------------


def piece(*calls: dict[str, Any], **delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta | ({"tool_calls": list(calls)} if calls else {})}]}


def pieces(*chunks: object) -> list[tuple[str, str, str]]:
    whole = Pieces()
    for chunk in chunks:
        whole.add(chunk)
    return [(call.id, call.name, call.arguments) for call in whole.completion().calls]


def test_calls_are_put_together_by_their_index():
    assert pieces(
        piece({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}),
        piece({"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"x'}}),
        piece(
            {"index": 0, "function": {"arguments": "{}"}}, {"index": 1, "id": None, "function": {"arguments": '":1}'}}
        ),
    ) == [("a", "f", "{}"), ("b", "g", '{"x":1}')]


def test_calls_that_share_an_index_are_told_apart_by_their_ids():
    assert pieces(
        piece({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
        piece({"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}}),
    ) == [("a", "f", "{}"), ("b", "f", "{}")]


def test_calls_without_index_or_id_are_told_apart_by_their_names():
    assert pieces(
        piece({"function": {"name": "f", "arguments": '{"x"'}}),
        piece({"function": {"arguments": ":1}"}}),
        piece({"function": {"name": "f", "arguments": {"x": 2}}}),
    ) == [("", "f", '{"x":1}'), ("", "f", '{"x": 2}')]


def test_pieces_that_say_nothing_are_no_failure():
    assert pieces({"choices": []}, {"choices": None, "usage": None}, {"choices": [{"delta": None}]}, {}) == []


def test_a_body_may_be_odd():
    parts = [{"type": "thinking", "thinking": ["hm"]}, {"type": "text", "text": "Yes\0"}]
    answer = completion_of({"choices": [{"message": {"content": parts, "tool_calls": None}, "finish_reason": "stop"}]})
    assert (answer.text, answer.calls, answer.prompt) == ("Yes", (), None)


@pytest.mark.parametrize("body", [None, [], "<html>", {}, {"choices": []}, {"choices": ["x"]}, {"choices": [{}]}])
def test_what_is_no_answer_is_none(body: object):
    with pytest.raises(ValueError, match=r"."):
        completion_of(body)
