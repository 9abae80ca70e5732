"""A volunteer's account at a real server: one more computer, privacy, leaving; and links that anybody may use."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from dsage import codec, wire
from dsage.connection import login
from dsage.errors import Busy, Conflict, InviteRefused, LoggedOut, NotAllowed, NotFound, TooLarge
from dsage.trust.documents import Enrolment
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context
from dsage_server import exchange
from dsage_server.store import events, hosts, open_links, views
from dsage_server.testing import HandDriver, Host, World, document, held, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = wire.Privacy(leaderboard=True, discoveries=True)


async def ask(host: Host, method: str, path: str, body: Any, kind: Any) -> Any:
    """Make a call as a host."""
    return await host.conn.call(method, path, body, kind, token=host.token)


async def account(host: Host) -> wire.AccountView:
    view: wire.AccountView = await ask(host, "GET", "/v1/account", None, wire.AccountView)
    return view


async def enrol(
    host: Host, key: PrivateKey, code: str, *, public: bool = False, discoveries: bool | None = None, name: str = ""
) -> wire.EnrolReply:
    """Enrol a key over the connection of a host."""
    link = host.conn.link
    challenge = await host.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
    said = Enrolment(
        server_id=link.server_id, challenge=challenge.challenge, ca=link.ca, key=key.public, code=code, public=public,
        discoveries=discoveries, pseudonym=name,
    )  # fmt: skip
    return await host.conn.call("POST", "/v1/enrol", seal(said, key), wire.EnrolReply)


async def offered(host: Host, code: str) -> wire.NameOffer:
    """Ask what somebody with a code would be called."""
    return await host.conn.call("POST", "/v1/name", wire.NameWish(code=code), wire.NameOffer)


async def second(world: World, host: Host) -> tuple[Host, wire.LinkCode]:
    """Link one more computer to a host's account."""
    code = await ask(host, "POST", "/v1/account/link", None, wire.LinkCode)
    key = PrivateKey.generate()
    assert (await enrol(host, key, code.code)).volunteer == host.volunteer
    other = Host(world.running, host.conn, key, volunteer=host.volunteer)
    await other.sign_in()
    return other, code


async def test_anybody_may_ask_what_runs_here(world: World) -> None:
    await world.run()
    host = await world.host()
    about = await host.conn.call("GET", "/v1/about", None, wire.About)
    assert (about.server_id, about.name, about.pages_url) == (world.running.hub.server_id, "Test", "")
    assert "lab" in [offer.name for offer in about.projects]
    assert not about.welcome
    assert not about.packages


async def test_an_account_shows_credit_and_computers(world: World) -> None:
    host, run = await world.host(), await world.run("Checked")
    await host.exchange(
        host=wire.HostInfo(client="c", platform="p", cores=3, memory_bytes=1 << 34, sandbox="s", name="attic")
    )
    await run.make(7, 8, quorum=2)
    got = await host.fetch(want=2)
    assert await host.report(got[:1], [7]) == ["ok"]
    view = await account(host)
    assert (view.granted_milli, view.pending_milli, view.team, view.page) == (0, 1000, "", "")
    assert [(each.name, each.here, each.cores, each.platform) for each in view.devices] == [("attic", True, 3, "p")]
    assert view.privacy == OPEN
    assert "lab" in view.projects


async def test_one_more_computer_has_the_account_but_not_the_second_copy(world: World) -> None:
    host, run = await world.host(), await world.run()
    other, code = await second(world, host)
    with pytest.raises(InviteRefused, match="used up"):
        await enrol(host, PrivateKey.generate(), code.code)
    assert [each.here for each in (await account(other)).devices] == [False, True]
    await run.make(7, quorum=2)
    assert len(await host.fetch()) == 1
    assert await other.fetch() == []


async def test_people_see_their_name_before_they_join_and_get_that_one(world: World) -> None:
    host, link = await world.host(), await world.running.invite()
    names = {(await offered(host, link.code)).pseudonym for _ in range(4)}
    assert len(names) > 1
    name = names.pop()
    assert (await enrol(host, PrivateKey.generate(), link.code, name=name)).pseudonym == name


async def test_a_name_that_was_not_offered_or_is_taken_costs_no_use_of_the_code(world: World) -> None:
    host, link = await world.host(), await world.running.invite()
    taken = (await account(host)).pseudonym
    for name in (taken, "the-boss-100", "amber-acorn-1000", "amber-acorn-\u0661\u0660\u0660", "amber", "x" * 5000):
        with pytest.raises(Conflict, match="is not free"):
            await enrol(host, PrivateKey.generate(), link.code, name=name)
    assert (await enrol(host, PrivateKey.generate(), link.code)).pseudonym


async def test_a_code_of_an_account_names_that_account(world: World) -> None:
    host = await world.host()
    code = await ask(host, "POST", "/v1/account/link", None, wire.LinkCode)
    mine = (await account(host)).pseudonym
    assert await offered(host, code.code) == wire.NameOffer(pseudonym=mine, linked=True)
    known = await enrol(host, PrivateKey.generate(), code.code, name="amber-acorn-100")
    assert known.pseudonym == mine
    assert not (await offered(host, code.code)).linked


@pytest.mark.parametrize(
    ("leaderboard", "discoveries", "shown"),
    [
        (True, None, (True, True)),
        (False, None, (False, False)),
        (False, True, (False, True)),
        (True, False, (True, False)),
    ],
)
async def test_each_thing_that_is_shown_is_chosen_when_joining(
    world: World, leaderboard: bool, discoveries: bool | None, shown: tuple[bool, bool]
) -> None:
    host, link, key = await world.host(), await world.running.invite(), PrivateKey.generate()
    known = await enrol(host, key, link.code, public=leaderboard, discoveries=discoveries)
    newcomer = Host(world.running, host.conn, key, volunteer=known.volunteer)
    await newcomer.sign_in()
    view = await account(newcomer)
    assert (view.privacy.leaderboard, view.privacy.discoveries) == shown
    assert (known.pseudonym in await boards(world)) is leaderboard


async def test_a_newer_code_replaces_an_older_one(world: World) -> None:
    host = await world.host()
    old = await ask(host, "POST", "/v1/account/link", None, wire.LinkCode)
    new = await ask(host, "POST", "/v1/account/link", None, wire.LinkCode)
    with pytest.raises(InviteRefused, match="not one of"):
        await enrol(host, PrivateKey.generate(), old.code)
    assert (await enrol(host, PrivateKey.generate(), new.code)).volunteer == host.volunteer
    assert new.valid_s == 600


async def test_a_code_for_one_more_computer_runs_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host, hub = await world.host(), world.running.hub
    code = await ask(host, "POST", "/v1/account/link", None, wire.LinkCode)
    clock = hub.clock
    with monkeypatch.context() as patch:
        patch.setattr(hub, "clock", lambda: clock() + 601)
        with pytest.raises(InviteRefused, match="run out of time"):
            await enrol(host, PrivateKey.generate(), code.code)


async def paid(world: World) -> tuple[Host, HandDriver, str]:
    """A volunteer with one credit, the run that gave it, and the name by which they are known."""
    host, run = await world.host(), await world.run()
    await run.make(7)
    assert await host.report(await host.fetch(), [7]) == ["ok"]

    async def credited() -> bool:
        return (await account(host)).granted_milli == 1000

    await until(credited)
    return host, run, (await account(host)).pseudonym


async def boards(world: World) -> dict[str | None, tuple[int, int]]:
    """Return credit and people by name on the leaderboard."""

    lines = await world.running.hub.store.read(lambda c: views.leaderboard(c, 0.0))
    return {line.pseudonym: (line.credit_milli, line.people) for line in lines}


async def test_what_is_shown_of_a_volunteer_changes_at_once_and_every_sum_with_it(world: World) -> None:
    host, run, name = await paid(world)
    before = await boards(world)
    assert before[name] == (1000, 1)
    others = before.get(None, (0, 0))
    read = world.running.hub.store.read
    await ask(host, "POST", "/v1/account/privacy", wire.Privacy(), wire.Privacy)
    hidden = await boards(world)
    assert name not in hidden
    assert hidden[None] == (others[0] + 1000, others[1] + 1)
    assert (await account(host)).privacy == wire.Privacy()

    assert await read(lambda c: views.credit_of_run(c, run.run)) == {"a volunteer": 1000}
    assert not [each for each in await read(lambda c: events.since(c, 0, limit=10_000)) if name in each.text]
    await ask(host, "POST", "/v1/account/privacy", OPEN, wire.Privacy)
    assert await boards(world) == before
    assert await read(lambda c: views.credit_of_run(c, run.run)) == {name: 1000}


async def test_who_leaves_hands_back_and_is_known_no_more(world: World) -> None:
    host, helper, run = await world.host(), await world.host(), await world.run()
    await run.make(7, quorum=1)
    assert len(await host.fetch()) == 1
    left = await ask(host, "POST", "/v1/account/leave", wire.Leave(), wire.Left)
    assert (left.returned, left.erased, left.others) == (1, False, 0)
    with pytest.raises(LoggedOut):
        await host.fetch()
    with pytest.raises(NotAllowed, match="not enrolled"):
        await login(host.conn, host.key, "host", world.running.hub.server_id)
    assert len(await helper.fetch()) == 1
    link = await world.running.invite()
    back = await enrol(host, host.key, link.code)
    assert back.volunteer == host.volunteer
    await host.sign_in()
    assert await host.fetch() == []


async def test_who_is_erased_has_no_name_but_their_credit_stays_in_the_sums(world: World) -> None:
    host, _, name = await paid(world)
    before = await boards(world)
    other, _ = await second(world, host)
    first = await ask(host, "POST", "/v1/account/leave", wire.Leave(erase=True), wire.Left)
    assert (first.erased, first.others) == (False, 1)
    assert (await account(other)).pseudonym == name
    code = await ask(other, "POST", "/v1/account/link", None, wire.LinkCode)
    last = await ask(other, "POST", "/v1/account/leave", wire.Leave(erase=True), wire.Left)
    assert (last.erased, last.others) == (True, 0)
    after = await boards(world)
    assert name not in after
    assert sum(credit for credit, _ in after.values()) == sum(credit for credit, _ in before.values())
    assert sum(people for _, people in after.values()) == sum(people for _, people in before.values())
    with pytest.raises(InviteRefused, match="not one of"):
        await enrol(host, PrivateKey.generate(), code.code)
    again = await enrol(host, host.key, (await world.running.invite()).code)
    assert again.volunteer != host.volunteer
    assert again.pseudonym != name


async def test_the_link_of_a_computer_opens_the_volunteers_page_and_a_lost_one_is_shut_out_there(world: World) -> None:
    host, helper, run = await world.host(), await world.host(), await world.run()
    other, _ = await second(world, host)
    await run.make(7, quorum=1)
    assert len(await other.fetch()) == 1
    link = await ask(host, "POST", "/v1/account/page-link", None, wire.PageLink)
    assert link.url.startswith(f"{world.running.pages_url}/login/")
    assert link.valid_s == 60.0
    ours = {"Sec-Fetch-Site": "same-origin"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers=ours) as browser:
        async with browser.post(link.url, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"].split(";")[0]
        mine = {"Cookie": cookie}
        async with browser.get(f"{world.running.pages_url}/me/devices.json", headers=mine) as answer:
            numbers = {each["number"] for each in (await answer.json())["data"]["computers"]}
        assert len(numbers) == 2
        stale = await ask(other, "POST", "/v1/account/link", None, wire.LinkCode)
        at = f"{world.running.pages_url}/me/devices/{max(numbers)}/revoke"
        async with browser.post(at, headers=mine, allow_redirects=False) as answer:
            assert answer.status == 303
    with pytest.raises(LoggedOut):
        await ask(other, "POST", "/v1/account/page-link", None, wire.PageLink)
    assert len(await helper.fetch()) == 1, "what it held is given to others at once"
    with pytest.raises(InviteRefused):
        await enrol(host, other.key, stale.code)
    anew = await enrol(host, other.key, (await world.running.invite()).code)
    assert anew.volunteer != host.volunteer


async def test_what_is_held_for_a_host_that_leaves_is_answered(world: World) -> None:

    host = await world.host()
    held = asyncio.create_task(host.exchange(want=1, wait_s=30.0))
    crowd = world.running.hub.exchanges.crowd

    async def waits() -> bool:
        return bool(crowd.idle)

    await until(waits)
    await ask(host, "POST", "/v1/account/leave", wire.Leave(), wire.Left)
    async with asyncio.timeout(20.0):
        assert (await held).units == []


async def open_link(world: World, **limits: Any) -> tuple[int, str]:
    said = {"per_hour": 100, "per_prefix": 100, "valid_s": 60.0, **limits}
    hub = world.running.hub
    return await hub.store.write(lambda c: open_links.make(c, now=hub.clock(), **said))


async def test_a_link_for_anybody_takes_in_so_many_of_one_network_an_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, hub = await world.host(), world.running.hub
    number, code = await open_link(world, per_prefix=2, valid_s=9000.0)
    known = PrivateKey.generate()
    account = await enrol(host, known, code)
    await enrol(host, PrivateKey.generate(), code)
    with pytest.raises(Busy, match="2 computers joined from your network") as refused:
        await enrol(host, PrivateKey.generate(), code)
    assert 3500 < refused.value.retry_s <= 3600
    assert await enrol(host, known, code) == account
    links = await hub.store.read(lambda c: open_links.links(c, hub.clock()))
    assert [(link.number, link.used, link.lately) for link in links if link.number == number] == [(number, 2, 2)]
    clock = hub.clock
    with monkeypatch.context() as patch:
        patch.setattr(hub, "clock", lambda: clock() + 3601)
        await enrol(host, PrivateKey.generate(), code)


async def test_a_link_for_anybody_has_a_limit_in_all_and_an_end(world: World) -> None:
    host, hub = await world.host(), world.running.hub
    number, code = await open_link(world, per_hour=1)
    await enrol(host, PrivateKey.generate(), code)
    with pytest.raises(Busy, match="by this link"):
        await enrol(host, PrivateKey.generate(), code)
    await hub.store.write(lambda c: open_links.revoke(c, number, hub.clock()))
    with pytest.raises(InviteRefused, match="withdrawn"):
        await enrol(host, PrivateKey.generate(), code)
    _, late = await open_link(world, valid_s=-1.0)
    with pytest.raises(InviteRefused, match="run out of time"):
        await enrol(host, PrivateKey.generate(), late)
    with pytest.raises(InviteRefused, match="not one of"):
        await enrol(host, PrivateKey.generate(), "open-guessed")


@pytest.mark.parametrize("public", [True, False])
async def test_who_joins_for_verifiable_work_gets_no_other_until_the_operator_trusts_them(
    world: World, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    old, hub, key = await world.host(), world.running.hub, PrivateKey.generate()
    if public:
        _, code = await open_link(world)
    else:
        code = await hub.store.write(lambda c: hosts.make_invite(c, 1, 60.0, hub.clock(), verifiable_only=True))
    known = await enrol(old, key, code)
    stranger = Host(world.running, old.conn, key, volunteer=known.volunteer)
    await stranger.sign_in()
    plain, checked = await world.run("Plain"), await world.run("Checked")
    await plain.make(1)
    await checked.make(2)
    (got,) = await stranger.fetch(want=5)
    assert codec.decode(document(got).args) == 2
    await stranger.introduce(got)
    linked, _ = await second(world, stranger)
    words = "volunteer whom the operator trusts, for no answer proves itself"
    for each in (stranger, linked):
        reply = await each.exchange(want=5, holding=[held(got)] if each is stranger else [])
        assert (reply.units, reply.reasons) == ([], {"lab": f"needs a {words}"})
    with pytest.raises(NotFound, match="no volunteer 'nobody'"):
        await hub.store.write(lambda c: hosts.trust(c, "nobody", True))
    await hub.store.write(lambda c: hosts.trust(c, known.pseudonym, True))
    monkeypatch.setattr(exchange, "NOTE_S", 0.0)
    await linked.exchange()
    await hub.exchanges.note()
    (got,) = await linked.fetch(want=5)
    assert codec.decode(document(got).args) == 1


async def test_operators_may_withdraw_their_trust(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host, hub = await world.host(), world.running.hub
    name = (await account(host)).pseudonym
    await hub.store.write(lambda c: hosts.trust(c, name, False))
    monkeypatch.setattr(exchange, "NOTE_S", 0.0)
    await host.exchange()
    await hub.exchanges.note()
    run = await world.run()
    await run.make(1)
    assert await host.fetch() == []


async def test_an_account_needs_a_host_and_small_bodies(world: World) -> None:
    host = await world.host()
    for method, path in (("GET", ""), ("POST", "/link"), ("POST", "/privacy"), ("POST", "/leave")):
        with pytest.raises(LoggedOut):
            await host.conn.call(method, f"/v1/account{path}", wire.Leave(), bytes)
    with pytest.raises(TooLarge):
        await host.conn.call("POST", "/v1/account/leave", b"x" * 2000, bytes, token=host.token)


async def test_a_browser_that_follows_an_invite_is_sent_to_the_pages(world: World) -> None:
    context = pinned_context((await world.host()).conn.ca_pem, world.running.link().ca)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(f"{world.running.url}/join", allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (303, f"{world.running.pages_url}/join")
