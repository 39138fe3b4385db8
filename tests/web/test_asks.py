"""Questions before a tool is called, and controls, on the chat page: by mouse, by keyboard, and for a screen reader."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Locator, expect

from bot.texts import Texts
from bot.types import Asked, Control, Decision, Message, Part
from tests.web.driver import PHONE, PageDriver, address_of
from tests.web.local_bot import LocalBot

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ASKED = Asked("appr-1", "create_ticket", {"title": "Printer on fire"}, "Alex")
WORDS = "Alex, may I use **create_ticket**?\n\n- title: Printer on fire\n\nSay **approve** or **decline**."


async def asked(bot: LocalBot, chat: PageDriver) -> tuple[Message, str]:
    """A message, and the id of the question that came of it."""
    await chat.say("open a ticket")
    message = await bot.said(1)
    delivered = await bot.channel.send(message.address, Part(WORDS, asks=ASKED))
    await expect(group(chat)).to_be_visible()
    return message, delivered


def group(chat: PageDriver) -> Locator:
    return chat.page.get_by_role("group", name="May I use create_ticket for Alex?")


def told(chat: PageDriver) -> Locator:
    return chat.page.locator(".asks").get_by_role("status")


async def decide(bot: LocalBot, message: Message, delivered: str, outcome: str) -> None:
    part = Part(f"May I use **create_ticket**?\n\n{outcome}", asks=replace(ASKED, outcome=outcome))
    await bot.channel.update(message.address, delivered, part)


async def test_a_question_is_approved_with_the_mouse(bot: LocalBot, chat: PageDriver) -> None:
    message, delivered = await asked(bot, chat)
    bot.decisions["alex"] = Decision.APPROVED
    await group(chat).get_by_role("button", name="Approve").click()
    pressed = await bot.said(2)
    assert (pressed.text, pressed.decides) == ("approve", "appr-1")
    await expect(told(chat)).to_have_text("You approved this.")
    await decide(bot, message, delivered, "_Approved by Alex._")
    await expect(chat.notices).to_contain_text("Approved by Alex.")
    await expect(group(chat)).to_have_count(0)
    await expect(chat.mine).to_have_text(["open a ticket"])  # a press is no words


async def test_a_question_is_declined_with_the_keyboard(bot: LocalBot, chat: PageDriver) -> None:
    message, delivered = await asked(bot, chat)
    bot.decisions["alex"] = Decision.DECLINED
    await chat.input.focus()
    await chat.press("Shift+Tab")
    decline = group(chat).get_by_role("button", name="Decline")
    while not await decline.evaluate("button => button === document.activeElement"):
        await chat.press("Shift+Tab")
    await chat.press("Enter")
    assert (await bot.said(2)).text == "decline"
    await expect(told(chat)).to_have_text("You declined this.")
    await decide(bot, message, delivered, "_Declined by Alex._")
    await expect(group(chat)).to_have_count(0)
    await expect(chat.input).to_be_focused()  # the button that had it is gone


async def test_twice_pressed_is_one_message(bot: LocalBot, chat: PageDriver) -> None:
    await asked(bot, chat)
    bot.decisions["alex"] = Decision.APPROVED
    await group(chat).get_by_role("button", name="Approve").dblclick()
    await expect(told(chat)).to_have_text("You approved this.")
    await group(chat).get_by_role("button", name="Approve").click()
    await expect(told(chat)).to_have_text("You approved this.")
    assert len(bot.accepted) == 2


async def test_somebody_else_is_told_that_it_is_not_theirs(bot: LocalBot, chat: PageDriver) -> None:
    await chat.choose("team")
    message, _ = await asked(bot, chat)
    await chat.choose("sam")
    bot.decisions["sam"] = Decision.NOT_YOURS
    await group(chat).get_by_role("button", name="Approve").click()
    assert (await bot.said(2)).person.id == "sam"
    await expect(told(chat)).to_have_text(Texts().press_came_to("not_yours"))
    await expect(group(chat).get_by_role("button")).to_have_count(2)
    assert message.person.id == "alex"


async def test_a_press_that_fails_can_be_made_again(bot: LocalBot, chat: PageDriver) -> None:
    await asked(bot, chat)
    bot.decisions["alex"] = Decision.APPROVED
    bot.refusals.append(ZeroDivisionError("no words of this"))
    await group(chat).get_by_role("button", name="Approve").click()
    await expect(told(chat)).to_have_text(Texts().press_not_taken())
    await group(chat).get_by_role("button", name="Approve").click()
    await expect(told(chat)).to_have_text("You approved this.")


async def test_a_question_stands_after_the_page_is_loaded_again(bot: LocalBot, chat: PageDriver) -> None:
    message, delivered = await asked(bot, chat)
    await chat.page.reload()
    await expect(group(chat).get_by_role("button")).to_have_count(2)
    await decide(bot, message, delivered, "_Not done: nobody answered in time._")
    await chat.page.reload()
    await expect(chat.notices.last).to_contain_text("Not done: nobody answered in time.")
    await expect(group(chat)).to_have_count(0)


async def test_names_from_outside_are_words(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("go")
    message = await bot.said(1)
    hostile = "<img src=x onerror=\"document.title='owned'\">"
    await bot.channel.send(message.address, Part("May I?", asks=Asked("appr-2", hostile, {hostile: hostile}, hostile)))
    await expect(chat.page.get_by_role("group", name=hostile)).to_be_visible()
    assert await chat.page.title() == "Threadkeeper"


async def test_controls_are_buttons_of_their_words(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("start over")
    message = await bot.said(1)
    await bot.say(message, "Done: new conversation.", by_agent=False, controls=(Control.UNDO, Control.START_OVER))
    row = chat.page.locator(".entry .controls")
    await expect(row.get_by_role("button")).to_have_text(["Undo", "Start over"])
    await row.get_by_role("button", name="Undo").click()
    assert (await bot.said(2)).text == "undo"
    await expect(chat.input).to_be_focused()


async def test_on_a_telephone_the_buttons_are_whole(browser: Browser, bot: LocalBot, server: TestServer) -> None:
    async with PageDriver.open(browser, address_of(server), size=PHONE, scheme="dark") as chat:
        await asked(bot, chat)
        for name in ("Approve", "Decline"):
            box = await group(chat).get_by_role("button", name=name).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
