"""Cards in Teams over HTTP: a question before a tool is called, controls below words, and what a press does."""

from __future__ import annotations

from typing import Any

import pytest

from bot.channels.teams_presses import MOST_ID
from bot.errors import DeliveryRefused, ServiceUnavailable
from bot.texts import Texts
from bot.types import Asked, Control, ConversationKind, Decision, JsonObject, MessageKind, Part
from tests.channels.conftest import MakeRig
from tests.teams import abs_slack, group_message, invoke, message
from tests.teams.activities import ANN
from tests.teams.cards import action_of, answer_to, press, words_of
from tests.teams.connector import status
from tests.teams.rig import Rig

CHAT = "a:1personal"
ASKED = Asked("appr-1", "create_ticket", {"title": "Printer on fire"}, "Ann")
DECIDED = Asked(ASKED.approval, ASKED.tool, ASKED.arguments, ASKED.asker, "_Approved by Ann._")
QUESTION = Part("Ann, may I use **create_ticket**? Say **approve** or **decline**.", asks=ASKED)
BOB = {"id": "29:1bob", "name": "Bob", "aadObjectId": "0bob-object-id"}
GROUP = {"conversationType": "groupChat", "isGroup": True, "id": "19:group@thread.v2"}


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    stored = await rig.address(message(rig.url))
    rig.accepted.clear()
    return stored


async def asked(rig: Rig, address: JsonObject, part: Part = QUESTION) -> tuple[str, dict[str, Any]]:
    """The message's id, as the platform gave it, and its card."""
    delivered = await rig.teams.send(address, part)
    [(shown, card)] = rig.connector.chats.cards(address["conversation"]["id"])
    assert shown == delivered
    return delivered, card


# -- the question -----------------------------------------------------------------------------------------------


async def test_a_question_is_a_card_of_its_own(rig: Rig, address: JsonObject) -> None:
    _, card = await asked(rig, address)
    assert words_of(card)[1:] == ["create_ticket", "title: Printer on fire", "Asked by Ann"]
    [sent] = rig.connector.messages
    assert sent["summary"] == "May I use create_ticket for Ann? Approve or decline."
    assert "text" not in sent
    assert "entities" not in sent, "a card of the bot's is no words of the AI"


async def test_the_decided_question_takes_its_place(rig: Rig, address: JsonObject) -> None:
    delivered, _ = await asked(rig, address)
    await rig.teams.update(address, delivered, Part("…", asks=DECIDED))
    [(shown, card)] = rig.connector.chats.cards(CHAT)
    assert shown == delivered
    assert words_of(card)[-1] == "Approved by Ann."
    assert "actions" not in card


async def test_a_question_that_nothing_is_known_of_is_not_decided_anew(rig: Rig, address: JsonObject) -> None:
    with pytest.raises(DeliveryRefused):
        await rig.teams.update(address, "1700000000404", Part("…", asks=DECIDED))
    assert rig.connector.chats.shown(CHAT) == []


async def test_what_a_connector_has_not_built_is_refused_for_good(rig: Rig, address: JsonObject) -> None:
    delivered, _ = await asked(rig, address)
    rig.connector.faults.append(status(501))
    with pytest.raises(DeliveryRefused):
        await rig.teams.update(address, delivered, Part("…", asks=DECIDED))
    assert [one.method for one in rig.connector.deliveries] == ["POST", "PUT"]


async def test_slack_through_azure_is_asked_in_words(rig: Rig) -> None:
    address = await rig.address(abs_slack(rig.url))
    await rig.framework.channels()["slack"].send(address, QUESTION)
    [sent] = rig.connector.messages
    assert sent["text"] == QUESTION.text
    assert {"attachments", "suggestedActions"}.isdisjoint(sent)


async def test_the_emulator_is_asked_in_words_with_words_to_say(make_rig: MakeRig) -> None:
    rig = await make_rig(microsoft_app_id="", microsoft_app_password="", microsoft_app_tenant_id="", host="127.0.0.1")
    body = message(rig.url, channelId="emulator", conversation={"id": "a:1", "conversationType": "personal"})
    status_, _ = await rig.post(body, headers={})
    assert status_ == 202
    emulator = rig.framework.channels()["emulator"]
    await emulator.send(rig.accepted[-1].address, QUESTION)
    await emulator.send(rig.accepted[-1].address, Part("Done.", controls=(Control.UNDO,)))
    question, done = rig.connector.messages
    assert question["text"] == QUESTION.text
    assert [(one["title"], one["value"]) for one in question["suggestedActions"]["actions"]] == [
        ("Approve", "approve"),
        ("Decline", "decline"),
    ]
    assert [one["value"] for one in done["suggestedActions"]["actions"]] == ["undo"]


# -- a press ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "decision", "words"),
    [
        ("approve", Decision.APPROVED, "You approved this."),
        ("decline", Decision.DECLINED, "You declined this."),
    ],
)
async def test_a_press_decides_and_is_shown_at_once(
    rig: Rig, address: JsonObject, verb: str, decision: Decision, words: str
) -> None:
    delivered, card = await asked(rig, address)
    rig.decision = decision
    code, kind, shown = answer_to(*await rig.post(press(rig.url, card, verb, delivered)))
    assert (code, kind, words_of(shown)) == (200, "adaptive", [words])
    assert "actions" not in shown
    [said] = rig.accepted
    assert (said.text, said.decides, said.kind) == (verb, "appr-1", MessageKind.TEXT)
    assert (said.person.id, said.conversation.id) == ("0ann-object-id", CHAT)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision.NOT_YOURS, "Only the person who asked, or an admin, can decide this."),
        (Decision.OVER, "This was decided before, or its time is over."),
        (Decision.NOTHING, "Nothing waits for this any more."),
    ],
)
async def test_a_press_that_decides_nothing_is_told_so(
    rig: Rig, address: JsonObject, decision: Decision, words: str
) -> None:
    delivered, card = await asked(rig, address)
    rig.decision = decision
    assert answer_to(*await rig.post(press(rig.url, card, "approve", delivered))) == (200, "message", words)


@pytest.mark.invariant("I2")
async def test_a_press_that_is_delivered_again_with_another_id_is_the_same_message(
    rig: Rig, address: JsonObject
) -> None:
    delivered, card = await asked(rig, address)
    rig.decision = Decision.APPROVED
    first = press(rig.url, card, "approve", delivered)
    again = first | {"id": "f:another", "timestamp": "2026-11-21T04:00:31Z"}
    answers = [answer_to(*await rig.post(one)) for one in (first, first, again)]
    assert len({str(one) for one in answers}) == 1
    assert len({said.id for said in rig.accepted}) == 1


async def test_other_people_and_other_buttons_are_other_messages(rig: Rig) -> None:
    address = await rig.address(group_message(rig.url))
    rig.accepted.clear()
    delivered, card = await asked(rig, address)
    for verb, who in (("approve", ANN), ("decline", ANN), ("approve", BOB)):
        await rig.post(press(rig.url, card, verb, delivered, conversation=GROUP, **{"from": who}))
    assert len({said.id for said in rig.accepted}) == 3
    assert [said.person.id for said in rig.accepted] == ["0ann-object-id", "0ann-object-id", "0bob-object-id"]
    assert {said.conversation.kind for said in rig.accepted} == {ConversationKind.GROUP}


async def test_the_address_of_a_press_can_be_answered(rig: Rig) -> None:
    """An invoke's id is no message's: a reply to it is refused, and would be lost."""
    address = await rig.address(group_message(rig.url))
    rig.accepted.clear()
    delivered, card = await asked(rig, address, Part("Done.", controls=(Control.UNDO,)))
    await rig.post(press(rig.url, card, "undo", delivered, conversation=GROUP))
    [said] = rig.accepted
    await rig.teams.send(said.address, Part("Back again."))
    last = rig.connector.deliveries[-1]
    assert (last.conversation, last.activity_id, last.answered) == ("19:group@thread.v2", None, 201)


async def test_what_is_no_button_of_ours_is_not_taken(rig: Rig) -> None:
    values: list[Any] = [
        {"action": {"type": "Action.Execute", "verb": "rm", "data": {}}},
        {"action": {"verb": "approve", "data": {}}},
        {"action": {"verb": "approve", "data": {"approval": "x" * (MOST_ID + 1)}}},
        {"action": {"verb": "approve", "data": "appr-1"}},
        {"action": {"verb": ["approve"], "data": {"approval": "appr-1"}}},
        {"action": {"verb": "forget_now", "data": {}}},
        {"action": {"verb": "delete", "data": {}}},
        {"action": {"verb": "say", "data": {}}},
    ]
    for value in values:
        code, kind, words = answer_to(*await rig.post(invoke(rig.url, "adaptiveCard/action", value)))
        assert (code, kind, words) == (200, "message", Texts().card_not_taken())
    for value in (None, {}, {"action": None}, ["x"]):
        code, kind, _ = answer_to(*await rig.post(invoke(rig.url, "adaptiveCard/action", value)))
        assert (code, kind) == (400, "error")
    assert rig.accepted == []


@pytest.mark.invariant("I1")
async def test_a_press_that_cannot_be_stored_is_not_confirmed(rig: Rig, address: JsonObject) -> None:
    delivered, card = await asked(rig, address)
    rig.fault = ServiceUnavailable("the database is away: secret-dsn")
    code, kind, told = answer_to(*await rig.post(press(rig.url, card, "approve", delivered)))
    assert (code, kind) == (500, "error")
    assert told["message"] == Texts().press_not_taken()


@pytest.mark.invariant("I11")
async def test_an_unverified_press_does_nothing(rig: Rig, address: JsonObject) -> None:
    delivered, card = await asked(rig, address)
    answered, _ = await rig.post(press(rig.url, card, "approve", delivered), headers={})
    assert answered == 401
    assert rig.accepted == []


@pytest.mark.parametrize("conversation", [None, GROUP])
async def test_a_client_without_execute_says_the_same_in_a_message(
    rig: Rig, address: JsonObject, conversation: JsonObject | None
) -> None:
    _, card = await asked(rig, address)
    data = action_of(card, "decline")["fallback"]["data"]
    place = {"conversation": conversation} if conversation else {}
    answered, _ = await rig.post(message(rig.url, None, id="1700000000777", value=data, **place))
    assert answered == 202
    [said] = rig.accepted
    assert (said.text, said.decides, said.kind) == ("decline", "appr-1", MessageKind.TEXT)


async def test_a_card_of_somebody_elses_is_answered_in_words(rig: Rig) -> None:
    await rig.post(message(rig.url, None, value={"choice": 1}))
    assert [said.kind for said in rig.accepted] == [MessageKind.CARD]


# -- controls and words to say ------------------------------------------------------------------------------------


async def test_controls_stand_below_the_words_in_one_message(rig: Rig, address: JsonObject) -> None:
    words = "Done: new conversation. **undo** works for 10 minutes."
    delivered, card = await asked(rig, address, Part(words, controls=(Control.UNDO,)))
    assert words_of(card) == [words]
    code, kind, told = answer_to(*await rig.post(press(rig.url, card, "undo", delivered)))
    assert (code, kind, told) == (200, "message", Texts().pressed())
    [said] = rig.accepted
    assert (said.text, said.decides) == ("undo", "")
    _, _, again = answer_to(*await rig.post(press(rig.url, card, "undo", delivered) | {"id": "f:2"}))
    assert again == Texts().pressed_before("undo")
    assert len({said.id for said in rig.accepted}) == 1


@pytest.mark.parametrize(("control", "word"), [(Control.START_OVER, "start over"), (Control.STOP, "stop")])
async def test_a_control_is_its_word(rig: Rig, address: JsonObject, control: Control, word: str) -> None:
    delivered, card = await asked(rig, address, Part("Well.", controls=(control,)))
    await rig.post(press(rig.url, card, control.value, delivered))
    assert [said.text for said in rig.accepted] == [word]


async def test_an_agents_words_are_no_card(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address, Part("42", by_agent=True, controls=(Control.STOP,)))
    [sent] = rig.connector.messages
    assert (sent["text"], "attachments" in sent) == ("42", False)


async def test_words_too_long_for_a_card_are_said_without_its_buttons(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address, Part("x" * 20_000, controls=(Control.UNDO,)))
    [sent] = rig.connector.messages
    assert len(sent["text"]) == 20_000
    assert "attachments" not in sent


async def test_words_to_say_are_offered_in_a_personal_chat_alone(rig: Rig, address: JsonObject) -> None:
    words = ("help", "tools", "start over")
    await rig.teams.send(address, Part("Hi", buttons=words))
    group = await rig.address(group_message(rig.url))
    await rig.teams.send(group, Part("Hi", buttons=words))
    personal, shared = rig.connector.messages
    assert tuple(one["value"] for one in personal["suggestedActions"]["actions"]) == words
    assert personal["suggestedActions"]["to"] == ["29:1ann"]
    assert "suggestedActions" not in shared
