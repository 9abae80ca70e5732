"""The operator's pages: for the operator alone, each says what it should, and their forms change what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import html5lib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import update

from dsage.home import Home
from dsage.trust.ceremony import first_keys
from dsage.trust.keys import PrivateKey, fingerprint, public_text
from dsage.trust.proving import GOOD_S, prove
from dsage_server.settings import Settings
from dsage_server.store import announcements, deeds, ledger, requests, visits
from dsage_server.store.schema import host, outlying, replica, volunteer
from dsage_server.web.operators.desk import ROOMS
from dsage_server.web.operators.machine import Machine
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

Client = TestClient[web.Request, web.Application]
Enter = Callable[..., Awaitable[Client]]
ADDRESSES = [room.route.replace("{number}", "1") for room in ROOMS]
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def busy(world: World) -> World:
    """Two hosts, one of which stands out and lost credit; a unit agreed on; somebody left; somebody asks."""
    otter, wren = world.join("steady-otter-417"), world.join("brisk-wren-203")
    run = world.submit("Sums", n=1)
    [unit] = world.step(run, args=[1], credit_milli=2500)
    world.compute(unit, 5, otter, wren)
    odd = {"host_id": otter.host, "app": "", "kind": "too fast", "began": 1.0, "seen": 2.0, "sentence": "<b>Fast</b>."}

    def change(connection: Any) -> None:
        connection.execute(outlying.insert().values(**odd, figures="{}"))
        copy = connection.execute(replica.select().where(replica.c.host_id == wren.host)).one().id
        ledger.reverse(connection, [copy], "it was <i>wrong</i>", "validator", world.now)
        gone = {"gone": world.now - 60, "pseudonym": "left-2", "withdrawn": world.now - 60}
        connection.execute(update(volunteer).where(volunteer.c.id == wren.volunteer).values(**gone))
        connection.execute(update(host).where(host.c.id == wren.host).values(platform="linux-x86_64"))
        requests.ask(connection, b"k" * 32, "curie", ["radium"], "<script>", world.now)

    world.store.write_now(change)
    return world


@pytest.fixture
async def enter(world: World, tmp_path: Path) -> Any:
    """Browse as the operator (or nobody) on a machine with keys (or none)."""
    clients: list[Client] = []

    async def start(*, operator: bool = True, keys: bool = True) -> Client:
        machine = None
        if keys:
            home = Home(tmp_path / "home")
            first_keys(home, ["localhost"], "a lab", ["lab"])
            machine = Machine(home, Settings(folder=home.server))
        app = make_pages(
            world.store, server_id=SERVER_ID, name="Lab", clock=lambda: world.now, period_s=0.01, machine=machine
        )
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        if operator:
            role = visits.Role.OPERATOR
            token = world.store.write_now(lambda c: visits.begin(c, role, "", "link", world.now))
            client.session.headers["Cookie"] = f"__Host-operator={token}"
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("address", [each for each in ADDRESSES if each != "/admin/host/1"])
async def test_a_page_is_well_formed_also_where_there_is_nothing(
    request: pytest.FixtureRequest, world: World, enter: Enter, address: str, filled: bool
) -> None:
    if filled:
        request.getfixturevalue("busy")
    client = await enter(keys=filled)
    answer = await client.get(address)
    text = await answer.text()
    assert answer.status == 200, text
    assert answer.headers["Cache-Control"] == "no-store"
    html5lib.HTMLParser(strict=True).parse(text)
    assert "<script>" not in text
    assert f'<a href="{address}" aria-current="page">' in text
    assert f'href="{address}.json"' in text
    twin = await client.get(address + ".json")
    assert (await twin.json())["schema"].startswith("dsage.")


@pytest.mark.parametrize("address", [*ADDRESSES, "/admin/hosts.json"])
async def test_nobody_else_sees_it(busy: World, enter: Enter, address: str) -> None:
    client = await enter(operator=False)
    answer = await client.get(address)
    assert answer.status == 401
    assert "dsage admin web" in await answer.text()
    role = visits.Role.VOLUNTEER
    token = busy.store.write_now(lambda c: visits.begin(c, role, "1", "link", busy.now))
    for name in ("volunteer", "operator"):
        answer = await client.get(address, headers={"Cookie": f"__Host-{name}={token}"})
        assert answer.status == 401


@pytest.mark.parametrize("address", ["/admin/announcements", "/admin/announcements/1/end", "/admin/requests/1/refuse"])
async def test_nobody_else_changes_anything(busy: World, enter: Enter, address: str) -> None:
    client = await enter(operator=False)
    assert (await client.post(address, data={"text": "x"}, headers=OURS)).status == 401
    assert (await (await enter()).post(address, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    assert busy.store.read_now(announcements.newest) == []
    assert busy.store.read_now(requests.listed)[0].state == "waiting"


async def test_the_overview_counts_what_needs_attention(busy: World, enter: Enter) -> None:
    data = (await (await (await enter()).get("/admin.json")).json())["data"]
    found = {each["what"]: each["n"] for each in data["matters"]}
    assert found == {"silent": 1, "requests": 1, "outlying hosts": 1, "taken back": 1}
    assert (data["glance"]["hosts_hour"], data["glance"]["copies_out"]) == (2, 0)


async def test_pages_say_what_they_are_for(busy: World, enter: Enter) -> None:
    client = await enter()
    for address, words in {
        "/admin/hosts": ["steady-otter-417", "stands out", "&lt;b&gt;Fast"],
        "/admin/host/1": ["steady-otter-417", "Sums", "too fast"],
        "/admin/apps": ["Sums"],
        "/admin/checks": ["it was &lt;i&gt;wrong", "-2.50", "left-2"],
        "/admin/deletions": ["statistics files, until"],
        "/admin/limits": [
            "2,000",
            "lab",
            '<data value="107374182400" title="107,374,182,400 bytes">107.4\u00a0GB</data>',
        ],
        "/admin/keys": ["root.json", "lab"],
        "/admin/health": [' bytes">', "are free"],
        "/admin/requests": ["dsage admin approve 1", "&lt;script&gt;", fingerprint(b"k" * 32)],
    }.items():
        text = await (await client.get(address)).text()
        assert [word for word in words if word not in text] == [], address


async def test_a_host_that_there_is_not(world: World, enter: Enter) -> None:
    assert (await (await enter()).get("/admin/host/7")).status == 404


async def test_the_twin_of_a_host_is_where_its_page_says(world: World, enter: Enter) -> None:
    world.join("steady-otter-417")
    client = await enter()
    assert 'href="/admin/host/1.json"' in await (await client.get("/admin/host/1")).text()
    assert (await (await client.get("/admin/host/1.json")).json())["data"]["host"]["host"] == 1


async def test_announcing_and_ending_it_by_the_form(world: World, enter: Enter) -> None:
    client = await enter()
    said = {"text": "Back `soon`.", "kind": "maintenance", "later": "", "hours": "2"}
    answer = await client.post("/admin/announcements", data=said, headers=OURS, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/admin/announcements")
    [notice] = world.store.read_now(announcements.newest)
    assert (notice.text, notice.maintenance, notice.ends) == ("Back `soon`.", True, world.now + 7200)
    assert "Back <code>soon</code>." in await (await client.get("/leaderboard")).text()
    await client.post("/admin/announcements/1/end", headers=OURS)
    assert world.store.read_now(lambda c: announcements.maintenance(c, world.now)) is None
    assert [deed.action for deed in world.store.read_now(lambda c: deeds.newest(c, 5))] == ["ended", "announced"]


@pytest.mark.parametrize("said", [{}, {"text": "x", "hours": "soon"}, {"text": "x", "later": "-1"}])
async def test_a_form_that_makes_no_sense(world: World, enter: Enter, said: dict[str, str]) -> None:
    assert (await (await enter()).post("/admin/announcements", data=said, headers=OURS)).status == 400
    assert world.store.read_now(announcements.newest) == []


async def test_anybody_asks_and_the_operator_refuses(world: World, enter: Enter) -> None:
    client = await enter(operator=False)
    key = PrivateKey.generate()
    assert f"dsage keys prove {SERVER_ID} --name" in await (await client.get("/certify")).text()
    said = {"name": "curie", "projects": "radium, polonium", "words": "Half-lives."}
    answer = await client.post("/certify", data=said | {"proof": prove(key, SERVER_ID, world.now)}, headers=OURS)
    text = await answer.text()
    assert fingerprint(key.public) in text
    html5lib.HTMLParser(strict=True).parse(text)
    [asked] = world.store.read_now(requests.listed)
    assert (asked.name, asked.projects, asked.state) == ("curie", ["radium", "polonium"], "waiting")

    await (await enter()).post("/admin/requests/1/refuse", data={"answer": "Who are you?"}, headers=OURS)
    [asked] = world.store.read_now(requests.listed)
    assert (asked.state, asked.answer) == ("refused", "Who are you?")
    said["proof"] = prove(key, SERVER_ID, world.now)
    assert (await client.post("/certify", data=said, headers=OURS)).status == 409


async def test_who_asks_has_the_key(world: World, enter: Enter) -> None:
    client = await enter(operator=False)
    key, said = PrivateKey.generate(), {"name": "curie", "projects": "radium", "words": "Half-lives."}

    async def status(proof: str, **more: str) -> int:
        return (await client.post("/certify", data=said | {"proof": proof} | more, headers=OURS)).status

    good = prove(key, SERVER_ID, world.now)
    assert await status(public_text(key.public)) == 400
    assert await status(prove(key, "another server", world.now)) == 403
    assert await status(prove(key, SERVER_ID, world.now - GOOD_S - 1)) == 401
    assert world.store.read_now(requests.listed) == []
    assert await status(good, name="no name") == 400
    assert await status(good) == 200
    assert await status(good, name="mallory") == 401
    world.now += GOOD_S + 1
    assert await status(good, name="mallory") == 401
    assert [asked.name for asked in world.store.read_now(requests.listed)] == ["curie"]


@pytest.mark.parametrize("wrong", [{"proof": "no"}, {"name": "a b"}, {"projects": ""}, {"words": " "}])
async def test_what_cannot_be_asked(world: World, enter: Enter, wrong: dict[str, str]) -> None:
    proof = prove(PrivateKey.generate(), SERVER_ID, world.now)
    said = {"proof": proof, "name": "curie", "projects": "radium", "words": "Half-lives."} | wrong
    assert (await (await enter(operator=False)).post("/certify", data=said, headers=OURS)).status == 400
    assert world.store.read_now(requests.listed) == []


async def test_only_so_many_may_wait(world: World, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_WAITING", 1)
    client = await enter(operator=False)
    said = {"name": "curie", "projects": "radium", "words": "Half-lives."}
    one, other = PrivateKey.generate(), PrivateKey.generate()
    statuses = [
        (await client.post("/certify", data=said | {"proof": prove(key, SERVER_ID, world.now)}, headers=OURS)).status
        for key in (one, other, one)
    ]
    assert statuses == [200, 503, 200]
