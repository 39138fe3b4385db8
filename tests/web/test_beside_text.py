"""The chat page beyond words: text as it grows, sources, files of the agent and files of a person."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, FilePayload, Locator, expect

from bot.types import Citation, File, Message, Part
from tests.web.driver import DESKTOP, PHONE, PageDriver, address_of
from tests.web.local_bot import LocalBot, view
from tests.web.pictures import PNG, SVG, png

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PLAN = FilePayload(name="plan.png", mimeType="image/png", buffer=PNG)
TABLE = FilePayload(name="table.csv", mimeType="text/csv", buffer=b"a;b\n1;2\n")
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


async def asked(bot: LocalBot, chat: PageDriver, text: str = "go") -> Message:
    count = len(bot.accepted) + 1
    await chat.say(text)
    return await bot.said(count)


# -- text as it grows --------------------------------------------------------------------------------------------

# How many bubbles of the agent there are after each change of the page: a flicker is 0, a duplicate 2.
WATCH = """() => {
  window.counted = [];
  const count = () => window.counted.push(document.querySelectorAll(".entry.theirs .words").length);
  new MutationObserver(count).observe(document.getElementById("scroller"), { childList: true, subtree: true });
}"""


async def test_an_answer_grows_and_becomes_the_message(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    async with bot.channel.working(message.address) as show:
        assert show is not None
        await expect(chat.typing).to_be_visible()
        show("It is **21:04**")
        await expect(chat.growing).to_have_text("It is 21:04")
        await expect(chat.growing.locator("strong")).to_have_text("21:04")
        await expect(chat.typing).to_be_hidden()
        await chat.page.evaluate(WATCH)
        show("It is **21:04** in Tokyo.\n\n- and")
        await expect(chat.growing.locator("li")).to_have_text("and")
        await expect(chat.answers).to_have_count(0)
        await bot.say(message, "It is **21:04** in Tokyo.\n\n- and that is all")
        await expect(chat.answers).to_contain_text("and that is all")
        await expect(chat.growing).to_have_count(0)
    await expect(chat.typing).to_be_hidden()
    await expect(chat.answers).to_have_count(1)
    assert set(await chat.page.evaluate("window.counted")) == {1}


async def test_a_stopped_answer_goes_away(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    async with bot.channel.working(message.address) as show:
        assert show is not None
        show("It is")
        await expect(chat.growing).to_have_text("It is")
    await expect(chat.growing).to_have_count(0)
    await bot.say(message, "Stopped.", by_agent=False)
    await expect(chat.notices).to_have_text("Stopped.")
    await expect(chat.answers).to_have_count(0)


async def test_what_grows_is_words_and_stays_in_its_conversation(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    async with bot.channel.working(message.address) as show:
        assert show is not None
        show(HOSTILE)
        await expect(chat.growing).to_have_text(HOSTILE)
        assert await chat.growing.locator("img").count() == 0
        await chat.choose("sam")
        await expect(chat.growing).to_have_count(0)
        await chat.choose("alex")
        await expect(chat.growing).to_have_text(HOSTILE)


async def test_a_lost_connection_comes_back_to_the_newest_text(
    browser: Browser, bot: LocalBot, unused_tcp_port: int
) -> None:
    first = TestServer(bot.app(), port=unused_tcp_port)
    await first.start_server()
    async with PageDriver.open(browser, address_of(first)) as chat:
        message = await asked(bot, chat)
        async with bot.channel.working(message.address) as show:
            assert show is not None
            show("It is")
            await expect(chat.growing).to_have_text("It is")
            await first.close()
            await expect(chat.connection).to_contain_text("Trying again")
            show("It is four")
            bot.channel._closed = False  # the same process, on a network that came back
            async with TestServer(bot.app(), port=unused_tcp_port):
                await expect(chat.growing).to_have_text("It is four")
                await bot.say(message, "It is four.")
                await expect(chat.answers).to_have_text("It is four.")
                await expect(chat.growing).to_have_count(0)


async def test_in_the_group_it_says_for_whom_it_grows(bot: LocalBot, chat: PageDriver) -> None:
    await chat.choose("team")
    message = await asked(bot, chat)
    async with bot.channel.working(message.address) as show:
        assert show is not None
        show("Hello")
        await expect(chat.page.locator("#growing .who")).to_have_text("Threadkeeper (AI) to Alex · writing…")


# -- sources -----------------------------------------------------------------------------------------------------


async def test_sources_stand_below_the_words(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    sources = (
        Citation("[1]", "The handbook", "https://intranet.example/handbook#desk", "Ask at the desk."),
        Citation("[2]", "notes.pdf"),
        Citation("[3]", "", "http://other.example/x"),
    )
    await bot.channel.send(message.address, Part("Read [1] and [2].", by_agent=True, citations=sources))
    await expect(chat.sources).to_have_count(3)
    await expect(chat.sources.nth(0)).to_contain_text("[1]The handbook intranet.example")
    await expect(chat.sources.nth(0).locator("q")).to_have_text("Ask at the desk.")
    await expect(chat.sources.nth(1)).to_have_text("[2]notes.pdf")
    links = await chat.sources.locator("a").evaluate_all("found => found.map((a) => [a.href, a.rel, a.target])")
    assert links == [
        ["https://intranet.example/handbook#desk", "noopener noreferrer nofollow", "_blank"],
        ["http://other.example/x", "noopener noreferrer nofollow", "_blank"],
    ]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:document.title='owned'",
        " JaVaScRiPt:document.title='owned'",
        "data:text/html,<script>1</script>",
        "/local/state",
        "//evil.example",
        "file:///etc/passwd",
        "https://",
        HOSTILE,
    ],
)
async def test_an_address_that_is_not_of_the_web_is_no_link(bot: LocalBot, chat: PageDriver, url: str) -> None:
    message = await asked(bot, chat)
    source = Citation(HOSTILE, HOSTILE, url, HOSTILE)
    await bot.channel.send(message.address, Part("Read this.", by_agent=True, citations=(source,)))
    await expect(chat.sources).to_have_text(HOSTILE * 3)
    assert await chat.page.locator("#log :is(a, img, script)").count() == 0
    assert await chat.page.title() == "Threadkeeper"


# -- files of the agent ------------------------------------------------------------------------------------------


async def width_of(image: Locator) -> int:
    return await image.evaluate("image => image.decode().then(() => image.naturalWidth)")


async def test_an_image_is_shown_and_fits(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    await bot.give(message, File("chart.png", "image/png", png(2400, 900)))
    image = chat.page.get_by_role("img", name="chart.png")
    await expect(image).to_be_visible()
    assert await width_of(image) == 2400
    box = await image.bounding_box()
    assert box is not None
    assert box["width"] < 700
    await expect(chat.page.locator("figcaption")).to_contain_text("chart.png")
    await expect(chat.answers).to_have_count(0)


@pytest.mark.parametrize(("name", "kind"), [("drawing.svg", "image/svg+xml"), ("page.html", "text/html")])
async def test_what_can_carry_scripts_is_a_download(bot: LocalBot, chat: PageDriver, name: str, kind: str) -> None:
    message = await asked(bot, chat)
    await bot.give(message, File(name, kind, SVG))
    assert await chat.page.locator("#log img").count() == 0
    async with chat.page.expect_download() as download:
        await chat.page.get_by_role("link", name=name).click()
    saved = await download.value
    assert saved.suggested_filename == name
    assert (await saved.path()).read_bytes() == SVG
    assert await chat.page.title() == "Threadkeeper"


async def test_what_only_calls_itself_an_image_is_a_download(bot: LocalBot, chat: PageDriver) -> None:
    await bot.give(await asked(bot, chat), File("broken.png", "image/png", b"<script>"))
    await expect(chat.page.get_by_role("link", name="broken.png")).to_have_class("file")


async def test_a_file_that_was_let_go_of_is_said_in_its_place(bot: LocalBot, chat: PageDriver) -> None:
    message = await asked(bot, chat)
    await bot.give(message, File("chart.png", "image/png", PNG))
    await bot.give(message, File("table.csv", "text/csv", b"a;b"))
    await expect(chat.page.get_by_role("img", name="chart.png")).to_be_visible()
    bot.channel._shelf._files.clear()
    await chat.page.get_by_role("link", name="table.csv").click()
    await expect(chat.page.locator(".gone")).to_contain_text("table.csv isn't here any more.")
    await chat.page.reload()
    await expect(chat.page.locator(".gone")).to_contain_text("chart.png isn't here any more.")
    assert await chat.page.locator("#log img").count() == 0


async def test_after_a_restart_it_says_which_files_are_gone(
    browser: Browser, bot: LocalBot, unused_tcp_port: int
) -> None:
    first = TestServer(bot.app(), port=unused_tcp_port)
    await first.start_server()
    async with PageDriver.open(browser, address_of(first)) as chat:
        message = await asked(bot, chat, "draw")
        await bot.say(message, "Here it is.")
        await bot.give(message, File("chart.png", "image/png", PNG))
        await expect(chat.page.get_by_role("img", name="chart.png")).to_be_visible()
        await first.close()
        again = LocalBot()
        again.views["personal-alex/alex"] = view(("draw", "Here it is."), thread="t")
        async with TestServer(again.app(), port=unused_tcp_port):
            await expect(chat.page.locator(".divider")).to_have_text("Files that are no longer here: chart.png")
            await expect(chat.answers).to_have_text("Here it is.")


# -- files of a person -------------------------------------------------------------------------------------------


async def test_files_are_attached_and_sent(bot: LocalBot, chat: PageDriver) -> None:
    await chat.attach(PLAN, TABLE)
    await expect(chat.chips).to_have_count(2)
    await expect(chat.chips.nth(0)).to_contain_text("plan.png")
    await expect(chat.input).to_be_focused()
    message = await asked(bot, chat, "what is this?")
    assert [(one.name, one.content_type, b64decode(one.data)) for one in message.attachments] == [
        ("plan.png", "image/png", PNG),
        ("table.csv", "text/csv", b"a;b\n1;2\n"),
    ]
    await expect(chat.chips).to_have_count(0)
    await expect(chat.mine).to_have_text("what is this?")
    await expect(chat.page.locator(".entry.mine .sent .name")).to_have_text(["plan.png", "table.csv"])
    preview = chat.page.locator(".entry.mine canvas")
    await expect(preview).to_have_js_property("width", 48)
    await chat.choose("sam")
    await expect(chat.page.locator(".sent")).to_have_count(0)
    await chat.choose("alex")
    await expect(preview).to_have_js_property("width", 48)
    await chat.page.reload()
    await expect(chat.page.locator(".entry.mine .sent .name")).to_have_text(["plan.png", "table.csv"])
    await expect(chat.mine).to_have_count(1)


async def test_files_are_dropped_pasted_removed_and_sent_without_words(bot: LocalBot, chat: PageDriver) -> None:
    await chat.give("drop", TABLE)
    await chat.give("paste", PLAN)
    await chat.give("paste", PLAN, text="words that bring a picture of themselves")
    await expect(chat.chips.locator(".name")).to_have_text(["table.csv", "plan.png"])
    await chat.page.get_by_role("button", name="Remove table.csv").press("Enter")
    await expect(chat.page.get_by_role("button", name="Remove plan.png")).to_be_focused()
    await chat.input.press("Enter")
    message = await bot.said(1)
    assert (message.text, [one.name for one in message.attachments]) == ("", ["plan.png"])
    await expect(chat.page.locator(".entry.mine")).not_to_contain_text("(nothing)")
    await expect(chat.input).to_be_focused()


async def test_the_attach_button_is_reached_by_the_keyboard(chat: PageDriver) -> None:
    await chat.press("Tab")
    await expect(chat.page.get_by_role("button", name="Attach files")).to_be_focused()
    opened = "event => { event.preventDefault(); document.title = 'a dialog'; }"
    await chat.page.get_by_label("Files", exact=True).evaluate(f"files => {{ files.onclick = {opened}; }}")
    await chat.press("Enter")
    await expect(chat.page).to_have_title("a dialog")


async def test_files_stay_with_their_conversation(bot: LocalBot, chat: PageDriver) -> None:
    await chat.attach(PLAN)
    await chat.choose("sam")
    await expect(chat.chips).to_have_count(0)
    await chat.say("hello")
    assert (await bot.said(1)).attachments == ()
    await chat.choose("alex")
    await expect(chat.chips).to_have_count(1)


async def test_too_much_is_said_beside_the_field_and_the_words_stay(bot: LocalBot, chat: PageDriver) -> None:
    await chat.input.fill("what is this?")
    await chat.attach(PLAN, FilePayload(name="film.mp4", mimeType="video/mp4", buffer=b"x" * (5 << 20) + b"x"))
    await expect(chat.refusal).to_have_text("film.mp4 isn't attached: it is larger than 5 MB.")
    await expect(chat.input).to_have_value("what is this?")
    await expect(chat.chips).to_have_count(1)
    await chat.attach(FilePayload(name="film.mp4", mimeType="video/mp4", buffer=b"x" * (5 << 20)))
    await expect(chat.refusal).to_contain_text("with the others it would be more than 5 MB")
    await chat.attach(*[TABLE] * 4)
    await expect(chat.refusal).to_have_text("table.csv isn't attached: a message can have 4 files.")
    await expect(chat.chips).to_have_count(4)
    await chat.attach(FilePayload(name="empty", mimeType="", buffer=b""))
    await expect(chat.refusal).to_contain_text("empty isn't attached: it is empty")
    await chat.input.press("Enter")
    assert len((await bot.said(1)).attachments) == 4
    await expect(chat.refusal).to_be_hidden()


async def test_what_the_server_refuses_comes_back_with_its_files(bot: LocalBot, chat: PageDriver) -> None:
    await chat.attach(PLAN)
    await chat.input.evaluate("input => { input.value = 'x'.repeat(100001); }")
    await chat.input.press("Enter")
    await expect(chat.refusal).to_have_text("Not taken: text may have 100000 characters; this one has 100001.")
    await expect(chat.input).to_have_value("x" * 100_001)
    await expect(chat.chips).to_have_count(1)
    await expect(chat.page.locator(".entry.mine")).to_have_count(0)
    await chat.say("shorter")
    message = await bot.said(1)
    assert (message.text, len(message.attachments)) == ("shorter", 1)


@pytest.mark.invariant("I1")
async def test_files_that_were_not_sent_yet_arrive_once_the_bot_is_back(
    browser: Browser, bot: LocalBot, unused_tcp_port: int
) -> None:
    first = TestServer(bot.app(), port=unused_tcp_port)
    await first.start_server()
    async with PageDriver.open(browser, address_of(first)) as chat:
        await first.close()
        await expect(chat.connection).to_contain_text("Trying again")
        await chat.attach(PLAN)
        await chat.say("what is this?")
        await expect(chat.page.locator(".entry .state")).to_contain_text("Not sent yet")
        again = LocalBot()
        async with TestServer(again.app(), port=unused_tcp_port):
            message = await again.said(1)
            assert b64decode(message.attachments[0].data) == PNG
            await expect(chat.page.locator(".entry .state")).to_have_count(0)
            await expect(chat.page.locator(".entry.mine .sent")).to_have_count(1)


async def test_unsent_files_that_a_reload_lost_are_said(browser: Browser, bot: LocalBot, unused_tcp_port: int) -> None:
    server = TestServer(bot.app(), port=unused_tcp_port)
    await server.start_server()
    async with PageDriver.open(browser, address_of(server)) as chat:
        bot.refusals += [OSError("not now")] * 1000
        await chat.attach(PLAN)
        await chat.say("what is this?")
        await expect(chat.page.locator(".entry .state")).to_contain_text("Not sent yet; trying again")
        await chat.page.reload()
        await expect(chat.page.locator(".entry .state")).to_contain_text("Attach them once more.")
        bot.refusals.clear()
        await chat.say("hello")
        assert (await bot.said(1)).text == "hello"
    await server.close()


# -- the looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark", "phone", "phone-dark"])
async def test_it_can_be_looked_at(
    browser: Browser, bot: LocalBot, server: TestServer, tmp_path: Path, look: str
) -> None:
    scheme = "dark" if "dark" in look else "light"
    size = PHONE if "phone" in look else DESKTOP
    async with PageDriver.open(browser, address_of(server), scheme=scheme, size=size) as chat:
        picture = tmp_path / f"{look}.png"
        await beyond_words(bot, chat, picture)
        assert picture.stat().st_size > 10_000
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not await chat.page.evaluate(wide), "the page scrolls sideways"


async def beyond_words(bot: LocalBot, chat: PageDriver, picture: Path) -> None:
    """A turn with all that can stand beside words, another that grows, and a third that is being written."""
    await chat.attach(FilePayload(name="site-plan.png", mimeType="image/png", buffer=png(640, 420)), TABLE)
    message = await asked(bot, chat, "Does the table agree with the plan?")
    sources = (
        Citation("[1]", "Staff handbook, chapter 4", "https://intranet.example/4", "A plan is redrawn yearly."),
        Citation("[2]", "measurements-2025.pdf", quote="The second wing was measured in May. " * 8),
    )
    words = "They agree but for **one row** [1]: the second wing is two metres longer [2]. Here is the difference:"
    await bot.channel.send(message.address, Part(words, by_agent=True, citations=sources))
    await bot.give(message, File("difference.png", "image/png", png(900, 300)))
    await bot.give(message, File("difference of all the wings, by floor.xlsx", "", b"x" * 48_213))
    bot.end(message)
    await chat.attach(FilePayload(name="a photograph of the second wing.png", mimeType="image/png", buffer=png(64, 64)))
    await chat.attach(TABLE, FilePayload(name="film.mp4", mimeType="video/mp4", buffer=b"x" * (6 << 20)))
    await expect(chat.refusal).to_be_visible()
    await expect(chat.page.locator("#log canvas")).not_to_have_js_property("width", 1)
    await expect(chat.page.locator("#chips canvas")).not_to_have_js_property("width", 1)
    await width_of(chat.page.get_by_role("img", name="difference.png"))
    async with bot.channel.working(message.address) as show:
        assert show is not None
        bot.start(message)
        show("The second wing was measured twice:\n\n1. in March, with a tape\n2. in **May**, with")
        await expect(chat.growing).to_be_in_viewport(ratio=0.9)
        await chat.screenshot(picture)
    await chat.page.locator("#scroller").evaluate("scroller => scroller.scrollTo(0, 0)")
    await chat.screenshot(picture.with_stem(f"{picture.stem}-top"))
