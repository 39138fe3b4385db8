"""The chat page in a headless Chromium, against the local channel with a scripted bot behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, expect

from bot.clock import SystemClock
from tests.web.driver import PHONE, PageDriver, address_of
from tests.web.local_bot import LocalBot, view
from tests.web.pictures import keep

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_a_turn_is_shown_as_it_happens(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("What time is it in Tokyo?")
    message = await bot.said(1)
    await expect(chat.mine).to_have_text("What time is it in Tokyo?")
    await expect(chat.input).to_have_value("")
    async with bot.channel.working(message.address):
        await expect(chat.typing).to_be_visible()
        bot.start(message, thread="thread_1")
        await expect(chat.run).to_contain_text("In progress")
        await expect(chat.run).to_contain_text(bot.reference(message))
        call = bot.call_starts(message, "clock")
        await expect(chat.tools).to_contain_text("running")
        bot.call_ends(message, "clock", call)
        await expect(chat.tools).to_have_text("clockdone · 0.2 s")
        await bot.say(message, "It is **21:04** in Tokyo.")
        await expect(chat.answers).to_have_text("It is 21:04 in Tokyo.")
        await expect(chat.answers.locator("strong")).to_have_text("21:04")
    await expect(chat.typing).to_be_hidden()
    bot.views["personal-alex/alex"] = view((message.text, "It is **21:04** in Tokyo."), thread="thread_1")
    bot.end(message)
    await expect(chat.run).to_contain_text("Answered · 1.2 s")
    await expect(chat.thread).to_contain_text("Thread 3 thread_1 · opened")
    await expect(chat.thread).to_contain_text("days ago · 2 messages · rehearsal")
    await expect(chat.input).to_be_focused()


async def test_a_failed_tool_says_so(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("Find the customer")
    message = await bot.said(1)
    bot.call_ends(message, "crm", bot.call_starts(message, "crm"), "timeout")
    await expect(chat.tools).to_have_text("crmfailed: timeout · 0.2 s")


async def test_the_buttons_say_their_words_and_leave_the_focus_in_the_input(bot: LocalBot, chat: PageDriver) -> None:
    for count, button in enumerate(("Start over", "Undo", "Stop"), 1):
        await chat.click(button)
        assert (await bot.said(count)).text == button.lower()
        await expect(chat.input).to_be_focused()
    message = await bot.said(3)
    await bot.say(message, "Not sure. Again?", by_agent=False, buttons=("retry",))
    await chat.click("retry")
    assert (await bot.said(4)).text == "retry"
    await expect(chat.notices).to_have_text("Not sure. Again?")


async def test_it_is_used_with_the_keyboard_alone(bot: LocalBot, chat: PageDriver) -> None:
    await expect(chat.input).to_be_focused()
    await chat.page.keyboard.type("first line")
    await chat.press("Shift+Enter")
    await chat.page.keyboard.type("second line")
    await chat.press("Enter")
    assert (await bot.said(1)).text == "first line\nsecond line"
    bot.start(await bot.said(1))
    await expect(chat.run).to_contain_text("In progress")
    await chat.press("Escape")
    assert (await bot.said(2)).text == "stop"
    await chat.press("Alt+n")
    assert (await bot.said(3)).text == "start over"
    await chat.press("Alt+z")
    assert (await bot.said(4)).text == "undo"
    await chat.press("Alt+2", "Alt+g")
    await chat.page.keyboard.type("hello team")
    await chat.press("Enter")
    message = await bot.said(5)
    assert (message.person.id, message.conversation.id) == ("sam", "team")
    # The same by Tab and arrow keys: from the input back through the buttons to the switches.
    await chat.press(*["Shift+Tab"] * 4)
    await expect(chat.page.get_by_label("Team", exact=True)).to_be_focused()
    await chat.press("ArrowLeft")
    await expect(chat.page.get_by_label("Personal", exact=True)).to_be_checked()
    await chat.press("Shift+Tab", "ArrowLeft")
    await expect(chat.page.get_by_label("Alex", exact=True)).to_be_checked()
    await expect(chat.mine.first).to_have_text("first line\nsecond line", use_inner_text=True)


async def test_escape_with_nothing_to_stop_says_nothing(bot: LocalBot, chat: PageDriver) -> None:
    await chat.press("Escape")
    await chat.say("hello")
    assert (await bot.said(1)).text == "hello"


@pytest.mark.invariant("I10")
async def test_each_person_has_a_conversation_and_both_see_the_group(
    bot: LocalBot, chat: PageDriver, browser: Browser, server: TestServer
) -> None:
    await chat.say("Alex's secret")
    await bot.answer(await bot.said(1), "kept")
    await expect(chat.answers).to_have_text("kept")
    await chat.choose("sam")
    await expect(chat.mine).to_have_count(0)
    await expect(chat.page.locator("#log")).not_to_contain_text("secret")
    await chat.choose("team")
    await chat.say("hello from Sam")
    async with PageDriver.open(browser, address_of(server)) as other:
        await other.choose("team")
        await expect(other.page.locator(".entry.other .words")).to_have_text("hello from Sam")
        await bot.answer(await bot.said(2), "hello Sam")
        await expect(other.page.locator(".entry.theirs .who").last).to_contain_text("to Sam")
        await other.choose("personal")
        await expect(other.mine).to_have_text("Alex's secret")


async def test_a_draft_stays_with_its_conversation_and_a_reload_with_its_place(chat: PageDriver) -> None:
    await chat.input.fill("for Alex alone")
    await chat.choose("sam")
    await expect(chat.input).to_have_value("")
    await chat.choose("alex")
    await expect(chat.input).to_have_value("for Alex alone")
    await chat.choose("sam")
    await chat.page.reload()
    await expect(chat.page.get_by_label("Sam", exact=True)).to_be_checked()


HOSTILE = """<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>

[click](javascript:document.title='owned') ![pixel](https://evil.example/pixel.png) [site](https://site.example/a)

`<b>code</b>` and <https://site.example/b>."""


async def test_words_are_shown_as_text_and_nothing_is_loaded_for_them(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say(HOSTILE)
    message = await bot.said(1)
    await bot.say(message, HOSTILE)
    await bot.say(message, HOSTILE, by_agent=False)
    bot.call_starts(message, "<img src=x>")
    await expect(chat.tools).to_contain_text("<img src=x>")
    await expect(chat.answers).to_contain_text("<script>document.title='owned'</script>")
    await expect(chat.answers).to_contain_text("[click](javascript:document.title='owned')")
    assert await chat.page.locator("#log :is(img, script, b:not(.tool b), iframe)").count() == 0
    assert await chat.page.title() == "Threadkeeper"
    links = await chat.answers.locator("a").evaluate_all("found => found.map((a) => [a.href, a.rel])")
    assert [href for href, _ in links] == [
        "https://evil.example/pixel.png",
        "https://site.example/a",
        "https://site.example/b",
    ]
    assert {rel for _, rel in links} == {"noopener noreferrer nofollow"}
    await expect(chat.answers).to_contain_text("site (https://site.example/a)")


MARKDOWN = """# Plan
Some *soft* and **strong** and `code_with_underscores` in snake_case_words.

1. one
2. two
   - deep
- other

> quoted

| a | b |
|---|---|

```python
print("**not bold**")
```
last"""


async def test_markdown_is_drawn(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("draw")
    await bot.say(await bot.said(1), MARKDOWN)
    await expect(chat.answers.locator("h3")).to_have_text("Plan")
    await expect(chat.answers.locator("em")).to_have_text("soft")
    await expect(chat.answers.locator("p code")).to_have_text("code_with_underscores")
    await expect(chat.answers.locator("ol > li")).to_have_count(3)
    await expect(chat.answers.locator("ol ul li")).to_have_text("deep")
    await expect(chat.answers.locator("blockquote")).to_have_text("quoted")
    await expect(chat.answers.locator("pre")).to_have_text(["| a | b |\n|---|---|", 'print("**not bold**")'])
    await expect(chat.answers.locator("p").last).to_have_text("last")


async def test_markdown_of_any_kind_ends(bot: LocalBot, chat: PageDriver) -> None:
    await chat.say("go")
    message = await bot.said(1)
    for text in (
        "  deep\n- a\n\n- b\n\n\n",
        "```",
        "- ",
        "> ",
        "#",
        "***",
        "[" * 9000,
        "*a " * 6000,
        "`" * 30_000,
        "\n",
    ):
        await bot.say(message, text)
    await bot.say(message, "the end")
    await expect(chat.answers.last).to_have_text("the end")


@pytest.mark.invariant("I1")
async def test_after_a_restart_the_page_goes_on_and_an_unsent_message_arrives_once(
    browser: Browser, bot: LocalBot, unused_tcp_port: int
) -> None:
    first = TestServer(bot.app(), port=unused_tcp_port)
    await first.start_server()
    async with PageDriver.open(browser, address_of(first)) as chat:
        await chat.say("before")
        await bot.answer(await bot.said(1), "answered before")
        await expect(chat.answers).to_have_text("answered before")
        await first.close()
        await expect(chat.connection).to_contain_text("Trying again")
        await chat.say("while it was away")
        await expect(chat.page.locator(".entry .state")).to_contain_text("Not sent yet")

        again = LocalBot()
        again.views["personal-alex/alex"] = view(("before", "answered before"), thread="t")
        async with TestServer(again.app(), port=unused_tcp_port):
            message = await again.said(1)
            assert message.text == "while it was away"
            await again.answer(message, "answered after")
            await expect(chat.answers).to_have_text(["answered before", "answered after"])
            await expect(chat.mine).to_have_text(["before", "while it was away"])
            await expect(chat.connection).to_be_hidden()
            await expect(chat.page.locator(".entry .state")).to_have_count(0)
            assert len(again.accepted) == 1


async def test_a_message_that_is_refused_says_why_and_keeps_its_words(chat: PageDriver) -> None:
    await chat.page.locator("#input").evaluate("input => { input.value = 'x'.repeat(100001); }")
    await chat.input.press("Enter")
    await expect(chat.refusal).to_contain_text("Not taken: text may have 100000 characters")
    await expect(chat.input).to_have_value("x" * 100_001)
    await expect(chat.mine).to_have_count(0)
    await chat.say("x")
    await expect(chat.refusal).to_be_hidden()
    await expect(chat.mine).to_have_text("x")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
async def test_it_can_be_looked_at(
    browser: Browser, bot: LocalBot, server: TestServer, tmp_path: Path, look: str
) -> None:
    scheme = "dark" if look == "dark" else "light"
    size = PHONE if look == "phone" else None
    more = {"size": size} if size else {}
    async with PageDriver.open(browser, address_of(server), scheme=scheme, **more) as chat:
        await conversation(bot, chat, tmp_path / f"{look}.png")
        assert (tmp_path / f"{look}.png").stat().st_size > 10_000
        keep(tmp_path / f"{look}.png", f"local-{look}")
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not await chat.page.evaluate(wide), "the page scrolls sideways"


async def conversation(bot: LocalBot, chat: PageDriver, picture: Path) -> None:
    """Something of everything, and a picture while the last turn runs."""
    opened = SystemClock().now() - 3 * 3600
    bot.views["personal-alex/alex"] = view(("a", "b"), thread="thread_9Xk2mQ7LwTz41", opened_at=opened)
    await chat.say("What time is it in Tokyo, and what is 25 * 47?")
    message = await bot.said(1)
    bot.start(message, thread="thread_9Xk2mQ7LwTz41")
    for tool in ("clock", "calculator"):
        bot.call_ends(message, tool, bot.call_starts(message, tool))
    await bot.say(
        message,
        "It is **21:04** in Tokyo, and 25 × 47 is **1175**.\n\nYou could also ask me:\n\n"
        "- to *remember* a code\n- to open a ticket, see [the guide](https://intranet.example/tickets)\n\n"
        '```python\nprint(25 * 47)  # "1175"\n```',
    )
    bot.end(message)
    await chat.say("Open a ticket: the printer on floor 3 is on fire")
    message = await bot.said(2)
    bot.start(message)
    bot.call_ends(message, "tickets_create", bot.call_starts(message, "tickets_create"), "timeout")
    await bot.say(
        message, "Sorry, I couldn't answer. Say **retry**. Reference 7F3K-2Q.", by_agent=False, buttons=("retry",)
    )
    bot.end(message, "apology")
    await chat.say("retry")
    message = await bot.said(3)
    bot.start(message)
    bot.call_starts(message, "tickets_create")
    async with bot.channel.working(message.address):
        await expect(chat.typing).to_be_in_viewport(ratio=0.95)
        await expect(chat.page.locator(".tool.started")).to_be_in_viewport()
        await chat.screenshot(picture)
