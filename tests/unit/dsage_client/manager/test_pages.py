"""What the pages show of a client, what their buttons ask of it, and how they follow it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time

import msgspec
import pytest
from aiohttp import ClientResponse
from manager_visit import Answer, Visit, fields_of
from owner_stand import CODE, HOSTILE, LINK, NOW

from dsage import assets
from dsage.errors import Conflict, NotAllowed, ServerAway, UsageError
from dsage.wire import Privacy
from dsage_client.addresses import web_address
from dsage_client.door.words import Newcomer, Screensaver, Status
from dsage_client.guest.preferences import Preferences, Window
from dsage_client.guest.reasons import Reason
from dsage_client.manager.pages import times_said
from dsage_client.manager.show import STATIC, lasting, look, percent
from dsage_client.words import speak

INVITE = f"{LINK}&code={CODE}"


async def test_the_first_page_says_what_runs_for_whom_and_how_far_it_is(visit: Visit) -> None:
    text = (await visit.page("")).text
    for part in (
        "<h1>Computing: nobody has used this computer for 12 minutes</h1>", "Factors of 2^1277-1", "43.2 %",
        "for factor at Number Lab", "1 h 2 min of processor time", "held in memory", "1,234", "12.25",
        "steady-otter-417", "unit 4700", "handed back",
    ):  # fmt: skip
        assert part in text


async def test_the_first_page_says_why_nothing_runs_and_when_it_goes_on(visit: Visit) -> None:
    until = NOW + 3600
    await visit.owner.change(
        running=[], reason=Reason.BATTERY, sentence="Waiting: this computer runs on battery", until=until,
        notice="DSage 0.2 is there: `apt upgrade`",
    )  # fmt: skip
    text = (await visit.page("")).text
    assert "<h1>Waiting: this computer runs on battery</h1>" in text
    assert f">{time.strftime('%H:%M', time.localtime(until))}</time>" in text
    assert "Nothing runs now" in text
    assert "<code>apt upgrade</code>" in text


async def test_a_client_without_a_server_is_shown_where_to_join(visit: Visit) -> None:
    await visit.owner.change(servers=[], running=[])
    assert 'href="join"' in (await visit.page("")).text
    assert "works for nobody yet" in (await visit.page("servers")).text
    visit.owner.ended, visit.owner.lines = [], []
    assert "No unit has ended here yet" in (await visit.page("history")).text
    assert "The log is empty" in (await visit.page("log")).text


@pytest.mark.parametrize(
    "page", ["", "history", "servers", "preferences", "log", "leave?server=dark", "erase?server=dark"]
)
async def test_what_servers_say_is_text(visit: Visit, page: str) -> None:
    text = (await visit.page(page)).text
    assert HOSTILE not in text
    assert "<img src=&#34;" not in text
    assert "javascript:" not in text


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil", "http://", "https://[", ""])
def test_only_web_addresses_are_linked(address: str) -> None:
    assert web_address(address) == ""


async def test_ones_own_page_is_opened_by_a_link_that_is_made_for_it(visit: Visit) -> None:
    text = (await visit.page("servers")).text
    server = next(iter((await visit.owner.status()).servers)).server
    assert f'href="me?server={server}" rel="noreferrer noopener"' in text
    answer = await visit.page(f"me?server={server}")
    assert (answer.status, answer.headers["location"]) == (303, "http://localhost:8000/login/once")
    assert visit.owner.asked == [("page", server)]


async def test_the_public_page_is_linked_if_there_is_one(visit: Visit) -> None:
    text = (await visit.page("servers")).text
    assert 'href="https://lab.example/u/steady-otter-417" rel="noreferrer noopener"' in text
    assert text.count("You have no public page") == 1
    assert "desk" in text
    assert "(this one)" in text


@pytest.mark.parametrize(
    ("act", "fields", "asked"),
    [
        ("pause", [("duration", "30m")], ("pause", "30m")),
        ("pause", [("duration", "")], ("pause", "")),
        ("resume", [], ("resume",)),
        ("finish", [], ("finish",)),
        ("always", [], ("always",)),
    ],
)
async def test_a_button_asks_the_client_and_leads_back(
    visit: Visit, act: str, fields: list[tuple[str, str]], asked: tuple[str, ...]
) -> None:
    answer = await visit.post(act, fields)
    assert (answer.status, answer.headers["location"]) == (303, ".")
    assert visit.owner.asked == [asked]


async def test_buttons_follow_the_state(visit: Visit) -> None:
    text = (await visit.page("")).text
    assert 'action="resume"' not in text
    await visit.post("pause", [("duration", "1h")])
    text = (await visit.page("")).text
    assert 'action="resume"' in text
    assert 'action="pause"' not in text
    await visit.post("resume")
    await visit.post("finish")
    text = (await visit.page("")).text
    assert 'action="resume"' in text
    assert 'action="finish"' not in text


async def test_what_the_client_refuses_is_a_page_that_says_what_to_do(visit: Visit) -> None:
    answer = await visit.post("pause", [("duration", "<soon>")])
    assert answer.status == 400
    assert "is no duration." in answer.text
    assert "<soon>" not in answer.text
    visit.owner.refuses["finish"] = Conflict("another one was first", hint="Look again with `dsage status`.")
    answer = await visit.post("finish")
    assert answer.status == 409
    assert "Another one was first." in answer.text
    assert "<code>dsage status</code>" in answer.text


async def test_joining_asks_first_and_joins_when_agreed(visit: Visit) -> None:
    answer = await visit.post("join", [("link", f"  {INVITE}\n")])
    assert answer.status == 200
    for part in ("Join Number Lab?", "run by the Institute", "Which numbers fall apart.", "by Dr. Sieve",
                 "lab.example:8443", "Only while nobody uses this computer", "Mon–Fri 18:00–08:00"):  # fmt: skip
        assert part in answer.text
    assert "checked" not in answer.text
    assert "misty-lark-204" in answer.text
    assert visit.owner.asked == []
    agreed = await visit.post("agree", [("offer", offer_of(answer))])
    assert (agreed.status, agreed.headers["location"]) == (303, "servers?did=joined")
    assert visit.owner.asked == [("join", INVITE, Newcomer(name="misty-lark-204"))]
    assert (await visit.post("agree", [("offer", offer_of(answer))])).status == 400
    assert len(visit.owner.asked) == 1


def offer_of(answer: Answer) -> str:
    """Return what a page of consent calls its offer."""
    return answer.text.partition('name="offer" value="')[2].partition('"')[0]


async def test_another_name_is_drawn_as_often_as_one_likes_and_switches_stay(visit: Visit) -> None:
    answer = await visit.post("join", [("link", INVITE)])
    offer = offer_of(answer)
    for name in ("kind-comet-731", "sunny-fern-118"):
        answer = await visit.post("agree", [("offer", offer), ("do", "another"), ("discoveries", "on")])
        assert (answer.status, offer_of(answer)) == (200, offer)
        assert name in answer.text
        assert "misty-lark" not in answer.text
        assert [each for each, _ in fields_of(answer.text)].count("discoveries") == 1
        assert "leaderboard" not in dict(fields_of(answer.text))
    assert visit.owner.asked == []
    await visit.post("agree", fields_of(answer.text))
    wish = Newcomer(name="sunny-fern-118", shown=Privacy(discoveries=True))
    assert visit.owner.asked == [("join", INVITE, wish)]


async def test_a_name_that_was_taken_meanwhile_is_said_and_another_can_be_drawn(visit: Visit) -> None:
    offer = offer_of(await visit.post("join", [("link", INVITE)]))
    visit.owner.refuses["join"] = Conflict("the name 'misty-lark-204' is not free", hint="Go on with another one.")
    answer = await visit.post("agree", [("offer", offer)])
    assert answer.status == 409
    assert "is not free" in answer.text
    visit.owner.refuses.clear()
    assert "kind-comet-731" in (await visit.post("agree", [("offer", offer), ("do", "another")])).text
    assert (await visit.post("agree", [("offer", offer)])).status == 303


async def test_a_link_of_an_account_shows_that_accounts_name_and_asks_nothing_of_it(visit: Visit) -> None:
    answer = await visit.post("join", [("link", INVITE.replace("lab.example", "linked.example"))])
    assert "misty-lark-204" in answer.text
    assert "belongs to an account" in answer.text
    assert "Another name" not in answer.text
    assert 'role="switch"' not in answer.text
    await visit.post("agree", [("offer", offer_of(answer))])
    assert visit.owner.asked[0][2] == Newcomer()


async def test_a_server_that_offers_no_name_draws_one_itself(visit: Visit) -> None:
    answer = await visit.post("join", [("link", INVITE.replace("lab.example", "older.example"))])
    assert "The server gives you a pseudonym" in answer.text
    assert "Another name" not in answer.text


async def test_what_others_see_is_changed_later_each_on_its_own(visit: Visit) -> None:
    text = (await visit.page("servers")).text
    assert dict(fields_of(text)).get("leaderboard") == "on"
    assert "discoveries" not in dict(fields_of(text))
    assert "The server has not told yet." in text
    answer = await visit.post("privacy", [("server", "lab"), ("discoveries", "on"), ("export", "on")])
    assert answer.headers["location"] == "servers?did=shown"
    assert visit.owner.asked == [("privacy", "lab", Privacy(discoveries=True, export=True))]
    fields = dict(fields_of((await visit.page("servers")).text))
    assert "discoveries" in fields
    assert "leaderboard" not in fields
    await visit.owner.privacy("dark", Privacy(discoveries=True))
    assert "nobody sees what you give" not in (await visit.page("servers")).text
    await visit.owner.privacy("dark", Privacy())
    assert "nobody sees what you give" in (await visit.page("servers")).text
    assert (await visit.post("privacy", [("server", "nobody")])).status == 404
    visit.owner.refuses["privacy"] = ServerAway("the server does not answer")
    assert (await visit.post("privacy", [("server", "lab")])).status >= 500


async def test_erasing_says_what_goes_and_what_stays_and_wants_a_tick(visit: Visit) -> None:
    assert 'href="erase?server=lab"' in (await visit.page("leave?server=lab")).text
    page = (await visit.page("erase?server=lab")).text
    for part in ("One more computer of yours", "Erased there", "Erased here", "Not erased"):
        assert part in page
    assert "steady-otter-417, from the leaderboard" not in page
    assert "brisk-wren-203, from the leaderboard" in (await visit.page("erase?server=dark")).text
    answer = await visit.post("erase", [("server", "lab")])
    assert (answer.status, visit.owner.asked) == (400, [])
    assert "tick this" in answer.text.partition('id="sure-wrong"')[2].partition("</small>")[0]
    answer = await visit.post("erase", [("server", "lab"), ("sure", "on")])
    assert answer.headers["location"] == "servers?did=kept"
    answer = await visit.post("erase", [("server", "dark"), ("sure", "on")])
    assert answer.headers["location"] == "servers?did=erased"
    assert visit.owner.asked == [("leave", "lab", True), ("leave", "dark", True)]
    assert "has forgotten your account" in (await visit.page("servers?did=erased")).text


async def test_a_server_that_could_not_be_told_is_said(visit: Visit) -> None:
    visit.owner.refuses["leave"] = ServerAway("lab could not be told to erase the account", hint="Try again.")
    answer = await visit.post("erase", [("server", "lab"), ("sure", "on")])
    assert "Lab could not be told" in answer.text
    visit.owner.refuses.clear()
    visit.owner.told = False
    assert (await visit.post("leave", [("server", "lab")])).headers["location"] == "servers?did=untold"


async def test_the_full_screen_view_is_offered_where_somebody_can_show_it(visit: Visit) -> None:
    assert 'action="view"' not in (await visit.page("")).text
    await visit.owner.change(helped=True)
    assert 'action="view"' in (await visit.page("")).text
    answer = await visit.post("view")
    assert answer.headers["location"] == "./?did=viewed"
    assert visit.owner.asked == [("view",)]
    assert "opens on your screen" in (await visit.page("?did=viewed")).text


async def test_the_screensaver_is_chosen_or_it_says_why_not(visit: Visit) -> None:
    assert "Use as my screensaver" in (await visit.page("preferences")).text
    assert (await visit.post("screensaver")).headers["location"] == "preferences?did=chosen"
    text = (await visit.page("preferences")).text
    assert "Use as my screensaver" not in text
    assert "DSage is your screensaver wherever xscreensaver runs." in text
    visit.owner.saver = Screensaver(why_not="No screensaver is installed.")
    text = (await visit.page("preferences")).text
    assert "No screensaver is installed." in text
    assert 'action="screensaver"' not in text


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("", "not an invite link"),
        ("http://lab.example/join#v=1", "not an invite link"),
        (f"javascript:{LINK}", "not an invite link"),
        (LINK, "no invite code"),
        (INVITE.replace("lab.example", "away.example"), "does not answer"),
        ("x" * 100_000, "too long"),
        (f"{HOSTILE}/join#v=1", "not an invite link"),
    ],
)
async def test_a_bad_link_is_said_beside_the_field(visit: Visit, link: str, said: str) -> None:
    answer = await visit.post("join", [("link", link)])
    assert answer.status == 400
    assert said in answer.text.partition('id="link-wrong"')[2].partition("</small>")[0]
    assert HOSTILE not in answer.text
    assert visit.owner.asked == []


async def test_leaving_asks_first(visit: Visit) -> None:
    assert "Leave Number Lab?" in (await visit.page("leave?server=lab")).text
    assert visit.owner.asked == []
    assert (await visit.post("leave", [("server", "lab")])).status == 303
    assert visit.owner.asked == [("leave", "lab", False)]
    assert (await visit.page("leave?server=lab")).status == 404
    assert (await visit.post("leave", [("server", "lab")])).status == 404


async def test_a_link_for_another_computer_is_shown_once(visit: Visit) -> None:
    answer = await visit.post("link", [("server", "lab")])
    assert f"code={CODE}" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    visit.owner.refuses["link"] = NotAllowed("this server links no computers")
    assert (await visit.post("link", [("server", "lab")])).status == 403


async def test_a_failure_of_the_agent_tells_nothing_of_its_inside(visit: Visit) -> None:
    visit.owner.refuses["resume"] = UsageError("no", hint="")
    assert (await visit.post("resume")).status == 400


def test_what_was_agreed_to_says_when() -> None:
    assert times_said(Preferences()) == (
        "Only while nobody uses this computer: after 3 min without a touch. Not on battery."
    )
    beside = Preferences(when="always", on_battery=True, hours=(Window(end="06:00"),))
    assert times_said(beside) == (
        "Also while you use this computer, with the limits you set. At these hours: every day 00:00–06:00."
    )
    assert "never" in times_said(Preferences(when="never"))


def test_every_reason_has_a_look_and_waiting_is_not_told_by_colour_alone() -> None:
    shapes: dict[str, str] = {}
    for reason in Reason:
        seen = look(reason)
        assert seen.word
        assert shapes.setdefault(seen.tone, seen.shape) == seen.shape
    assert len(set(shapes.values())) == len(shapes)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3725, "1 h 2 min"),
        (90000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations_in_two_units(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_a_hundred_percent_is_said_only_when_all_is_done() -> None:
    assert [percent(share) for share in (0, 0.5, 0.99999, 1, 7, -1)] == [
        "0.0 %", "50.0 %", "99.9 %", "100 %", "100 %", "0.0 %",
    ]  # fmt: skip


def test_the_style_sheet_of_others_is_the_one_that_was_checked() -> None:
    line = next(line for line in (STATIC / "README.md").read_text().splitlines() if "sha256" in line)
    _, digest, name = line.split()
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest


async def test_static_files_are_kept_by_their_version(visit: Visit) -> None:
    asset = assets.load(STATIC)["manager.css"]
    answer = await visit.ask(asset.url)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert (await visit.ask("/static/manager.css?v=0")).headers["cache-control"] == "no-cache"


async def told(stream: ClientResponse) -> dict[str, str]:
    """Return the next message of a stream."""
    async with asyncio.timeout(10):
        while True:
            line = (await stream.content.readline()).decode()
            if line.startswith("data: "):
                found: dict[str, str] = json.loads(line[6:])
                return found
            assert line, "the stream has ended"


async def test_an_open_page_is_told_what_changes_and_only_that(visit: Visit) -> None:
    address = f"{visit.origin}{visit.room}live?page=now"
    async with visit.session.get(address, headers={"Cookie": visit.cookie}) as stream:
        assert stream.content_type == "text/event-stream"
        page = (await visit.page("")).text
        for name, html in (await told(stream)).items():
            assert f'id="{name}"' in page
            assert html in page
        running = msgspec.structs.replace(visit.owner.now.running[0], fraction=0.75)
        await visit.owner.change(running=[running])
        news = await told(stream)
        assert set(news) == {"live_running"}
        assert "75.0 %" in news["live_running"]
        await visit.owner.pause("1h")
        assert set(await told(stream)) == {"live_standing", "live_state"}
    async with asyncio.timeout(10):
        while visit.live.open or visit.owner.followers:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("page", ["servers", "preferences", "nonsense", ""])
async def test_on_other_pages_only_the_state_in_the_head_changes(visit: Visit, page: str) -> None:
    address = f"{visit.origin}{visit.room}live?page={page}"
    async with visit.session.get(address, headers={"Cookie": visit.cookie}) as stream:
        assert set(await told(stream)) == {"live_state"}


async def test_a_stream_ends_with_its_session_and_with_the_agent(visit: Visit) -> None:
    address = f"{visit.origin}{visit.room}live?page=now"
    stream = await visit.session.get(address, headers={"Cookie": visit.cookie})
    await told(stream)
    visit.clock[0] += 1e6
    async with asyncio.timeout(10):
        await stream.read()
    await visit.enter()
    stream = await visit.session.get(address, headers={"Cookie": visit.cookie})
    await told(stream)
    async with asyncio.timeout(10):
        await visit.site.close()
        await stream.read()


async def test_what_was_begun_is_ended_though_the_browser_left(visit: Visit) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    leave = visit.owner.leave

    async def slowly(server: str) -> Status:
        begun.set()
        await go.wait()
        return await leave(server)

    visit.owner.leave = slowly  # type: ignore[method-assign]
    asking = asyncio.ensure_future(visit.post("leave", [("server", "lab")]))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await visit.page("")).status == 200
    go.set()
    async with asyncio.timeout(10):
        while not visit.owner.asked:
            await asyncio.sleep(0.01)
    assert visit.owner.asked == [("leave", "lab", False)]


async def test_the_pages_speak_the_language_in_force(visit: Visit) -> None:
    speak("de")
    try:
        text = (await visit.page("preferences")).text
        assert '<html lang="de">' in text
        assert "Gilt als unbenutzt nach" in text
        assert 'lang="de"' in (await visit.page("nothing")).text
    finally:
        speak("en")
    assert '<html lang="en">' in (await visit.page("preferences")).text
