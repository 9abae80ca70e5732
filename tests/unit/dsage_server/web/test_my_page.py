"""One's own pages: what they show, what their buttons do, and the ways in."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import html5lib
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from sqlalchemy import select, update

from dsage import wire
from dsage_server.store import accounts, consents, ledger, recovery, teams, visits
from dsage_server.store import credit as credit_store
from dsage_server.store.leases import Caller
from dsage_server.store.schema import consent, credit_sum, event, host, volunteer
from dsage_server.store.visits import Role
from dsage_server.web.personal.mine import FRESH_S
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
ROOMS = ("/me", "/me/credit", "/me/devices", "/me/team", "/me/privacy", "/me/login")
HOSTILE = "<img src=x onerror=alert(1)>"
COOKIE = "__Host-volunteer"


class Mine:
    """A browser that is logged in, or not yet: what it holds is sent by hand, as plain http sends no secure cookie."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.token = ""

    async def get(self, address: str, status: int = 200) -> str:
        response = await self._ask("GET", address)
        assert response.status == status, await response.text()
        return await response.text()

    async def data(self, address: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(await self.get(address))
        return said["data"]  # type: ignore[no-any-return]

    async def post(self, address: str, status: int = 303, **fields: str) -> ClientResponse:
        response = await self._ask("POST", address, data=fields)
        assert response.status == status, await response.text()
        return response

    async def follow_link(self, world: World, who: Caller) -> None:
        code = world.store.write_now(lambda c: visits.make_link(c, Role.VOLUNTEER, str(who.volunteer), world.now))
        answer = await self.post(f"/login/{code}")
        assert answer.headers["Location"] == "/me"

    async def _ask(self, method: str, address: str, **more: Any) -> ClientResponse:
        headers = {"Sec-Fetch-Site": "same-origin"} | ({"Cookie": f"{COOKIE}={self.token}"} if self.token else {})
        response = await self.client.request(method, address, headers=headers, allow_redirects=False, **more)
        for line in response.headers.getall("Set-Cookie", []):
            found = re.match(rf'{COOKIE}="?([^";]*)"?;', line)
            assert found is not None
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(line.split("; "))
            self.token = found[1]
        return response


@pytest.fixture
def otter(world: World) -> Caller:
    """A volunteer with a paid answer, one that waits, one that was taken back, and one that failed."""
    otter, wren = world.join("steady-otter-417", public=False), world.join("brisk-wren-203")
    run = world.submit(HOSTILE)
    paid, waits, lost, failing = world.step(run, args=[1, 2, 3, 4], credit_milli=2500)
    world.compute(paid, "same", otter, wren)
    world.compute(lost, "same", otter, wren)
    world.lease(otter, waits)
    world.report(otter, waits, "first")
    world.lease(otter, failing)
    world.report(otter, failing, status="failed", detail="Traceback")
    copies = world.store.read_now(
        lambda c: list(
            c.exec_driver_sql(f"SELECT id FROM replica WHERE unit_id={lost} AND host_id={otter.host}").scalars()
        )
    )
    world.store.write_now(lambda c: ledger.reverse(c, copies, f"it did not hold {HOSTILE}", "operator", world.now))
    world.store.write_now(credit_store.fold)
    return otter


@pytest.fixture
async def mine(world: World, browse: Open, otter: Caller) -> Mine:
    """The otter's browser."""
    browser = Mine(await browse())
    await browser.follow_link(world, otter)
    return browser


async def test_every_room_is_strict_html_and_has_a_twin_and_is_kept_by_nobody(mine: Mine, world: World) -> None:
    parser = html5lib.HTMLParser(strict=True)
    for room in ROOMS:
        text = await mine.get(room)
        parser.parse(text)
        assert HOSTILE not in text
        assert "style=" not in text
        response = await mine._ask("GET", f"{room}.json")
        assert response.headers["Cache-Control"] == "no-store"
        assert (await response.json())["schema"].startswith("dsage.me")
    world.now += FRESH_S + 1
    for room in ROOMS:
        parser.parse(await mine.get(room))


async def test_the_account_is_told_in_full(mine: Mine) -> None:
    me = await mine.data("/me.json")
    assert me["pseudonym"] == "steady-otter-417"
    assert (me["credit"], me["pending"], me["taken"], me["valid"]) == (2.5, 2.5, 2.5, 1)
    assert (me["listed"], me["rank"], me["ranked"]) == (False, 2, 1)
    assert [(each["level"], each["wanted"]) for each in me["next"]] == [(2, 10)]
    text = await mine.get("/me")
    assert "You would be number 2" in text
    assert "Nobody sees that" in text


async def test_who_is_not_listed_sees_what_their_computers_made_and_nobody_else_does(
    mine: Mine, otter: Caller, world: World
) -> None:
    made = (await mine.data("/me.json"))["made"]
    assert [(run["run"], [each["unit"] for each in run["units"]]) for run in made] == [(1, [3, 1])]
    text = await mine.get("/me")
    assert '<a href="/unit/1">1</a>' in text
    assert "Only you know here that they are yours." in text
    assert "?of=" not in text, "pages of runs outline tiles of people who are listed"
    await Mine(mine.client).get("/u/steady-otter-417", 404)
    wren = Mine(mine.client)
    await wren.follow_link(world, world.join("late-finch-001"))
    assert (await wren.data("/me.json"))["made"] == []
    assert "Nothing yet" in await wren.get("/me")


async def test_credit_says_what_waits_and_why_and_what_was_taken_back(mine: Mine) -> None:
    credit = await mine.data("/me/credit.json")
    assert [(each["credit"], each["why"]) for each in credit["pending"]] == [(2.5, "second")]
    assert [(each["kind"], each["credit"]) for each in credit["corrections"]] == [("reversal", -2.5)]
    assert [each["credit"] for each in credit["paid"]] == [2.5, 2.5]
    assert sum(each["credit"] for each in credit["days"]) == credit["credit"] == 2.5
    text = await mine.get("/me/credit")
    assert "waits for a second opinion" in text
    assert "it did not hold &lt;img" in text
    await mine.get("/me/credit?page=2", 404)


async def test_what_is_given_back_is_told_from_what_the_operator_corrects(
    mine: Mine, otter: Caller, world: World
) -> None:
    taken = world.store.read_now(lambda c: ledger.taken_from(c, otter.host, f"it did not hold {HOSTILE}"))
    world.store.write_now(lambda c: ledger.give_back(c, taken, "it did hold", "validator", world.now))
    text = await mine.get("/me/credit")
    assert "given back" in text
    assert "corrected by the operator" not in text
    world.store.write_now(lambda c: ledger.correct(c, "steady-otter-417", 500, "a present", "operator", world.now))
    text = await mine.get("/me/credit")
    assert "corrected by the operator" in text


async def test_a_computer_tells_what_went_wrong_in_plain_words(mine: Mine, otter: Caller) -> None:
    (computer,) = (await mine.data("/me/devices.json"))["computers"]
    assert computer["number"] == otter.host
    assert [each["reason"] for each in computer["troubles"]] == ["the program ended with an error"]
    assert "the program ended with an error" in await mine.get("/me/devices")


async def test_consents_are_separate_and_each_change_is_remembered(mine: Mine, otter: Caller, world: World) -> None:
    answer = await mine.post("/me/consents", leaderboard="on", devices="on", country="NZ")
    assert answer.headers["Location"] == "/me/privacy?did=saved"
    assert "Saved." in await mine.get("/me/privacy?did=saved")
    held = world.store.read_now(lambda c: consents.held(c, otter.volunteer))
    assert held == consents.Held(leaderboard=True, devices=True, country="NZ")
    await mine.post("/me/consents", leaderboard="on", devices="on", country="NZ")
    world.now += 5
    await mine.post("/me/consents", export="on")
    history = (await mine.data("/me/privacy.json"))["history"]
    assert [(each["what"], each["given"], each["version"], each["country"]) for each in history] == [
        ("country", False, 1, ""), ("export", True, 1, ""), ("devices", False, 1, ""), ("leaderboard", False, 1, ""),
        ("country", True, 1, "NZ"), ("devices", True, 1, ""), ("leaderboard", True, 1, ""),
    ]  # fmt: skip
    await mine.post("/me/consents", 400, country=HOSTILE)


async def test_a_text_that_has_changed_is_shown_again(
    mine: Mine, otter: Caller, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mine.post("/me/consents", leaderboard="on", discoveries="on")
    monkeypatch.setitem(consents.CONSENTS, "discoveries", 2)
    outdated = [each["what"] for each in (await mine.data("/me/privacy.json"))["consents"] if each["outdated"]]
    assert outdated == ["discoveries"]
    assert (await mine.get("/me/privacy")).count("This text has changed") == 1
    await mine.post("/me/consents", leaderboard="on", discoveries="on")
    history = (await mine.data("/me/privacy.json"))["history"]
    assert (history[0]["what"], history[0]["version"]) == ("discoveries", 2)
    assert len(history) == 3
    assert "This text has changed" not in await mine.get("/me/privacy")


async def test_whoever_hides_disappears_from_the_news(mine: Mine, otter: Caller, world: World) -> None:
    await mine.post("/me/consents", leaderboard="on")
    world.store.write_now(
        lambda c: c.execute(update(event).where(event.c.kind == "joined").values(text="steady-otter-417 joined"))
    )
    await mine.post("/me/consents")
    assert (
        world.store.read_now(lambda c: set(c.execute(select(event.c.text)).scalars())) & {"steady-otter-417 joined"}
        == set()
    )


async def test_what_was_said_at_joining_is_remembered_too(world: World) -> None:
    caller = world.join("late-lark-100")
    rows = world.store.read_now(
        lambda c: c.execute(select(consent.c.what).where(consent.c.volunteer_id == caller.volunteer)).scalars().all()
    )
    assert sorted(rows) == ["discoveries", "leaderboard"]


async def test_what_a_client_switches_is_remembered_alike_and_leaves_the_rest(
    mine: Mine, otter: Caller, world: World
) -> None:
    await mine.post("/me/consents", devices="on", country="NZ")
    shown = wire.Privacy(leaderboard=True, export=True)
    world.store.write_now(lambda c: accounts.set_privacy(c, otter.volunteer, shown, world.now))
    held = world.store.read_now(lambda c: consents.held(c, otter.volunteer))
    assert held == consents.Held(leaderboard=True, export=True, devices=True, country="NZ")
    history = (await mine.data("/me/privacy.json"))["history"]
    assert [each["what"] for each in history] == ["export", "leaderboard", "country", "devices"]


async def test_a_team_is_founded_and_left_and_joined_by_a_link(mine: Mine, otter: Caller, world: World) -> None:
    await mine.post("/me/team", do="create", name="Night Owls")
    assert "Night Owls" in await mine.get("/me/team?did=founded")
    assert "Night Owls" in await mine.get("/me")
    wren = world.join("late-lark-100")
    view = world.store.read_now(lambda c: teams.look(c, otter.volunteer, world.now))
    assert view.leads
    await mine.post("/me/team", do="leave")
    world.store.write_now(lambda c: teams._create(c, wren.volunteer, None, "Larks", world.now))
    code = world.store.write_now(lambda c: teams._invite(c, wren.volunteer, teams._hold(c, wren.volunteer), world.now))
    await mine.post("/me/team", do="join", link=code)
    assert world.store.read_now(lambda c: teams.name_of(c, otter.volunteer)) == "Larks"
    await mine.post("/me/team", 400, do="close")
    await mine.post("/me/team", 400, do="join", link="https://evil.invalid/")


async def test_a_team_remembers_who_came_and_went(mine: Mine, otter: Caller, world: World) -> None:
    await mine.post("/me/team", do="create", name="Night Owls")
    others = [world.join("late-lark-100"), world.join("shy-heron-106", public=False), world.join("gone-finch-7")]
    for each in others:
        world.now += 60.0
        code = world.store.write_now(lambda c: teams._invite(c, otter.volunteer, 1, world.now))
        wish = wire.TeamWish(do="join", code=code)
        world.store.write_now(lambda c, who=each, wish=wish: teams.act(c, who.volunteer, wish, world.now))
    world.now += 60.0
    world.store.write_now(lambda c: teams.depart(c, others[0].volunteer, world.now))
    world.now += 60.0
    world.store.write_now(lambda c: accounts.erase_account(c, others[2].volunteer, world.now))
    moves = (await mine.data("/me/team.json"))["moves"]
    assert [(each["what"], each["who"], each["name"]) for each in moves] == [
        ("left", "gone", ""), ("left", "listed", "late-lark-100"), ("joined", "gone", ""), ("joined", "member", ""),
        ("joined", "listed", "late-lark-100"), ("founded", "me", ""),
    ]  # fmt: skip
    text = await mine.get("/me/team")
    assert "A former member" in text
    assert "heron" not in text
    await mine.post("/me/team", do="leave")
    left = await mine.data("/me/team.json")
    assert (left["moves"], [(each["there"], each["founded"]) for each in left["times"]]) == ([], [(True, True)])
    assert "you founded it" in await mine.get("/me/team")


async def test_a_revoked_computer_is_out_and_what_it_holds_goes_to_others(
    world: World, otter: Caller, browse: Open
) -> None:
    from aiohttp.test_utils import TestServer

    from dsage_server.web.pages import make_pages

    dismissed: list[Caller] = []

    async def dismiss(caller: Caller) -> None:
        dismissed.append(caller)

    app = make_pages(world.store, server_id="s", name="n", clock=lambda: world.now, dismiss=dismiss)
    async with TestClient(TestServer(app)) as client:
        mine = Mine(client)
        await mine.follow_link(world, otter)
        await mine.post(f"/me/devices/{otter.host}/revoke")
        assert [(each.host, each.key) for each in dismissed] == [(otter.host, otter.key)]
        assert (await mine.data("/me/devices.json"))["computers"] == []
        await mine.post(f"/me/devices/{otter.host}/revoke", 404)


async def test_all_that_is_kept_comes_along(mine: Mine, otter: Caller, world: World) -> None:
    world.store.write_now(lambda c: c.execute(update(host).where(host.c.id == otter.host).values(name="=cmd()")))
    await mine.post("/me/recovery", 200)
    await mine.post("/me/team", do="create", name="Owls")
    response = await mine._ask("GET", "/me/copy.zip")
    assert response.headers["Content-Disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(await response.read())) as archive:
        files = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
    tables = {name.removesuffix(".json"): json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert tables["account"][0]["pseudonym"] == "steady-otter-417"
    assert sorted(each["kind"] for each in tables["credit"]) == ["grant", "grant", "reversal"]
    assert sorted(each["state"] for each in tables["copies"]) == ["error", "reported", "valid", "valid"]
    assert len(tables["recovery"]) == len(tables["logins"]) == 1
    assert ",'=cmd()," in files["computers.csv"]
    assert [(each["name"], each["until"], each["founded"]) for each in tables["teams"]] == [("Owls", None, True)]
    assert "record" not in tables["computers"][0]
    assert "brisk-wren" not in "".join(files.values())
    assert set(tables) <= set(re.findall(r"^(\w+) {2,}", files["README.txt"], re.M))


async def test_erasing_leaves_sums_and_nothing_that_leads_to_anybody(mine: Mine, otter: Caller, world: World) -> None:
    await mine.post("/me/consents", leaderboard="on", export="on", devices="on", country="NZ")
    await mine.post("/me/recovery", 200)
    other = Mine(mine.client)
    await other.follow_link(world, otter)
    assert (await mine.post("/me/erase")).headers["Location"] == "/me/privacy?did=unsure"
    before = world.store.read_now(lambda c: c.execute(select(credit_sum)).all())
    token = mine.token
    await mine.post("/me/erase", 200, sure="on")
    row = world.store.read_now(lambda c: c.execute(select(volunteer).where(volunteer.c.id == otter.volunteer)).one())
    assert (row.pseudonym, row.country, row.devices, row.exported, row.public) == (
        f"left-{otter.volunteer}", "", False, False, False,
    )  # fmt: skip
    assert row.gone == row.withdrawn == world.now
    after = world.store.read_now(lambda c: c.execute(select(credit_sum)).all())
    assert [each[:4] for each in after] == [each[:4] for each in before]
    assert "steady-otter-417" not in await mine.get("/leaderboard")
    assert mine.token == ""
    for held in (token, other.token):
        mine.token = held
        await mine.get("/me.json", 401)
    assert world.store.read_now(lambda c: recovery.made(c, otter.volunteer)) is None


@pytest.mark.parametrize("act", ["/me/erase", "/me/recovery", "/me/passkeys/ask", "/me/passkeys"])
async def test_what_cannot_be_undone_wants_a_fresh_login(mine: Mine, world: World, act: str) -> None:
    world.now += FRESH_S + 1
    answer = await mine._ask("POST", act, json={}) if "passkeys" in act else await mine.post(act, 403, sure="on")
    assert answer.status in (400, 403)
    assert "five minutes" in await answer.text() or "no passkeys" in await answer.text()


async def test_a_recovery_code_logs_in_once_in_any_spelling(mine: Mine, otter: Caller, world: World) -> None:
    shown = await (await mine.post("/me/recovery", 200)).text()
    code = re.findall(r"<code>([A-Z2-9-]+)</code>", shown)[0]
    assert len(code.replace("-", "")) == 20
    assert code not in await mine.get("/me/login")
    other = Mine(mine.client)
    answer = await other.post("/me/recover", code=f" {code.replace('-', ' ').lower()} ")
    assert answer.headers["Location"] == "/me/login?did=recovered"
    assert (await other.data("/me.json"))["pseudonym"] == "steady-otter-417"
    assert [each["how"] for each in (await other.data("/me/login.json"))["browsers"]] == ["recovery code", "link"]
    assert "was used" in await (await Mine(mine.client).post("/me/recover", 403, code=code)).text()


async def test_browsers_are_listed_and_logged_out(mine: Mine, otter: Caller, world: World) -> None:
    other = Mine(mine.client)
    await other.follow_link(world, otter)
    browsers = (await mine.data("/me/login.json"))["browsers"]
    assert [each["here"] for each in browsers] == [False, True]
    await mine.post(f"/me/browsers/{browsers[0]['number']}/end")
    await other.get("/me.json", 401)
    await other.follow_link(world, otter)
    await other.post("/me/browsers/end")
    await mine.get("/me.json", 401)
    assert "Open your page" in await mine.get("/me")
    await other.get("/me.json")


async def test_who_is_logged_out_is_told_the_ways_in(browse: Open) -> None:
    text = await Mine(await browse()).get("/me/credit")
    html5lib.HTMLParser(strict=True).parse(text)
    for way in ("dsage me", 'action="/me/recover"', "passkey"):
        assert way in text


async def test_the_way_in_is_told_to_everybody_in_each_role(mine: Mine, browse: Open) -> None:
    stranger = Mine(await browse())
    text = await stranger.get("/login")
    html5lib.HTMLParser(strict=True).parse(text)
    told = re.sub(r"<[^>]+>", "", text)
    for way in ("dsage me", "By a passkey", "By your recovery code", "dsage web", "dsage admin web"):
        assert way in told
    assert "You are logged in" not in told
    assert 'rel="canonical" href="/login"' in text
    assert 'action="/me/recover"' in text, "the code is taken without JavaScript"
    said = await stranger.data("/login.json")
    assert [(way["role"], way["home"], way["here"]) for way in said["ways"]] == [
        ("volunteer", "/me", False), ("researcher", "/runs", False), ("operator", "/admin", False),
    ]  # fmt: skip
    assert (said["kept"], said["passkeys"]) == (True, False)

    assert "You are logged in here as a volunteer." in await mine.get("/login")
    assert [way["here"] for way in (await mine.data("/login.json"))["ways"]] == [True, False, False]


async def test_what_was_done_is_one_of_our_sentences(mine: Mine) -> None:
    assert 'class="did"' not in await mine.get(f"/me?did={HOSTILE}")
    assert "You have left the team." in await mine.get("/me?did=left")
