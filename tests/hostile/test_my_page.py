"""One's own page against others: whoever has an account of their own, a stolen cookie, a guessed code, another site."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import Connection, select

from dsage.errors import NotAllowed, Replayed
from dsage_server.published import Published
from dsage_server.store import consents, passkeys, recovery, visits
from dsage_server.store.engine import Store
from dsage_server.store.leases import Caller
from dsage_server.store.schema import host, volunteer
from dsage_server.store.testing import fresh
from dsage_server.store.visits import Role
from dsage_server.web.joining import Invitation
from dsage_server.web.pages import make_pages
from dsage_server.web.personal import challenges
from dsage_server.web.personal.ceremonies import place_of, take_proof
from dsage_server.web.personal.entering import GUESSES
from dsage_server.web.testing import World

COOKIE = "__Host-volunteer"
OURS = {"Sec-Fetch-Site": "same-origin"}
READ = ("/me", "/me/credit", "/me/devices", "/me/privacy", "/me/login")
DONE = (
    "/me/consents", "/me/team", "/me/browsers/end", "/me/recovery", "/me/erase", "/me/passkeys/ask", "/me/passkeys",
    "/me/devices/{n}/revoke", "/me/browsers/{n}/end", "/me/passkeys/{n}/remove",
)  # fmt: skip
SECRETS = ("brisk-wren-203", "wren's laptop", "wren's key")


@dataclass
class Place:
    """The pages, with two volunteers who each have a computer, a passkey, a recovery code and a browser."""

    world: World
    client: TestClient[web.Request, web.Application]
    otter: Caller
    wren: Caller
    tokens: dict[int, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, token: str = "", **more: Any) -> ClientResponse:
        headers = {**OURS, **more.pop("headers", {})} | ({"Cookie": f"{COOKIE}={token}"} if token else {})
        return await self.client.request(method, path, headers=headers, allow_redirects=False, **more)

    def link(self, who: Caller) -> str:
        return self.world.store.write_now(
            lambda c: visits.make_link(c, Role.VOLUNTEER, str(who.volunteer), self.world.now)
        )

    async def enter(self, who: Caller, token: str = "") -> str:
        return given(await self.ask("POST", f"/login/{self.link(who)}", token))


def given(answer: ClientResponse) -> str:
    """Return the token that an answer sets."""
    found = re.search(rf'{COOKIE}="?([^";]+)', ";".join(answer.headers.getall("Set-Cookie", [])))
    assert found, answer.status
    return found[1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(fresh(tmp_path))
    yield World(store, 1_800_000_000.0)
    store.close()


@pytest.fixture
async def place(world: World) -> AsyncIterator[Place]:
    otter, wren = (world.join(name, public=False) for name in ("steady-otter-417", "brisk-wren-203"))

    def furnish(connection: Connection) -> None:
        connection.execute(host.update().where(host.c.id == wren.host).values(name="wren's laptop"))
        for who, name in ((otter, "otter's key"), (wren, "wren's key")):
            passkeys.add(connection, who.volunteer, name.encode(), b"public", 0, name, world.now)

    world.store.write_now(furnish)
    app = make_pages(
        world.store, server_id="s", name="n", clock=lambda: world.now,
        joining=Invitation(published=Published(Path()), origin="http://localhost:8000"),
    )  # fmt: skip
    async with TestClient(TestServer(app)) as client:
        found = Place(world, client, otter, wren)
        for who in (otter, wren):
            found.tokens[who.volunteer] = await found.enter(who)
        yield found


def kept(world: World, who: Caller) -> Any:
    """Return all that the acts could change of somebody."""

    def look(connection: Connection) -> Any:
        return (
            connection.execute(select(volunteer).where(volunteer.c.id == who.volunteer)).one(),
            connection.execute(select(host.c.gone, host.c.name).where(host.c.volunteer_id == who.volunteer)).all(),
            passkeys.of(connection, who.volunteer), recovery.made(connection, who.volunteer),
            [each.id for each in visits.of(connection, Role.VOLUNTEER, str(who.volunteer), world.now)],
            consents.held(connection, who.volunteer), consents.history(connection, who.volunteer),
        )  # fmt: skip

    return world.store.read_now(look)


async def test_nothing_of_another_person_is_read_or_changed_whatever_the_number(place: Place, world: World) -> None:
    mine, before = place.tokens[place.otter.volunteer], kept(world, place.wren)
    for path in (*READ, *[f"{path}.json" for path in READ], "/me/copy.zip"):
        said = await (await place.ask("GET", path, mine)).read()
        assert not [word for word in SECRETS if word.encode() in said], path
    own = {"devices": {place.otter.host}, "passkeys": {1}, "browsers": {1}}
    for path in [path for path in DONE if "{n}" in path]:
        kind = path.split("/")[2]
        json_only = {"Accept": "application/json"}
        others = [n for n in range(1, 9) if n not in own[kind]]
        answers = [await place.ask("POST", path.format(n=n), mine, headers=json_only) for n in others]
        assert {answer.status for answer in answers} == {404}
        told = {(said["detail"], said["hint"]) for said in [await answer.json() for answer in answers]}
        assert len(told) == 1, "missing and another's are told apart"
    for path in ("/me/consents", "/me/browsers/end", "/me/recovery"):
        await place.ask("POST", path, mine, data={"volunteer": str(place.wren.volunteer), "leaderboard": "on"})
    await place.ask("POST", "/me/erase", mine, data={"sure": "on", "volunteer": str(place.wren.volunteer)})
    assert kept(world, place.wren) == before


@pytest.mark.parametrize("path", DONE)
async def test_strangers_change_nothing(place: Place, world: World, path: str) -> None:
    before = kept(world, place.otter), kept(world, place.wren)
    for token in ("", "x", "'; DROP TABLE volunteer", place.tokens[1][:-1], "x" * 5000):
        answer = await place.ask("POST", path.format(n=1), token, data={"sure": "on"})
        assert answer.status in (400, 401), (token[:20], answer.status)
    assert (kept(world, place.otter), kept(world, place.wren)) == before


@pytest.mark.parametrize("path", [*DONE, "/me/recover", "/me/passkey", "/me/passkey/ask", "/logout/volunteer"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": ""}, {"Origin": "https://evil.invalid"}, {"Origin": "null"}, {},
    ],
)  # fmt: skip
async def test_other_sites_change_nothing(place: Place, world: World, path: str, headers: dict[str, str]) -> None:
    before = kept(world, place.otter)
    answer = await place.client.post(
        path.format(n=1), headers=headers | {"Cookie": f"{COOKIE}={place.tokens[1]}"}, data={"sure": "on"},
        allow_redirects=False,
    )  # fmt: skip
    assert answer.status == 403
    assert kept(world, place.otter) == before


async def test_browsers_that_say_no_more_than_the_origin_are_understood(place: Place) -> None:
    origin = f"http://{place.client.host}:{place.client.port}"
    headers = {"Origin": origin, "Cookie": f"{COOKIE}={place.tokens[1]}"}
    answer = await place.client.post("/me/consents", headers=headers, allow_redirects=False)
    assert answer.status == 303


async def test_a_session_cannot_be_fixed_from_outside(place: Place) -> None:
    planted = "planted-by-somebody-else"
    token = await place.enter(place.otter, planted)
    assert token != planted
    assert (await place.ask("GET", "/me.json", planted)).status == 401
    again = await place.enter(place.otter, token)
    assert (await place.ask("GET", "/me.json", token)).status == 401, "the login before is over"
    assert (await place.ask("GET", "/me.json", again)).status == 200


async def test_a_stolen_cookie_is_worth_nothing_after_logout_and_after_its_time(place: Place, world: World) -> None:
    stolen, other = place.tokens[1], await place.enter(place.otter)
    answer = await place.ask("POST", "/logout/volunteer", stolen)
    assert answer.headers["Location"] == "/"
    assert (await place.ask("GET", "/me.json", stolen)).status == 401
    assert (await place.ask("GET", "/me.json", other)).status == 200
    world.now += visits.IDLE_S + 1
    assert (await place.ask("GET", "/me.json", other)).status == 401


async def test_a_visited_login_ends_in_any_case(place: Place, world: World) -> None:
    begun = world.now
    while world.now < begun + visits.LONGEST_S:
        assert (await place.ask("GET", "/me.json", place.tokens[1])).status == 200
        world.now += visits.IDLE_S - 60
    assert (await place.ask("GET", "/me.json", place.tokens[1])).status == 401


async def test_one_role_does_not_open_anothers_pages(place: Place, world: World) -> None:
    token = world.store.write_now(lambda c: visits.begin(c, Role.RESEARCHER, "1", "link", world.now))
    assert (await place.ask("GET", "/me.json", token)).status == 401


async def test_a_link_logs_in_once_of_many_at_once_and_only_within_its_minute(place: Place, world: World) -> None:
    code = place.link(place.otter)
    answers = await asyncio.gather(*[place.ask("POST", f"/login/{code}") for _ in range(8)])
    assert sorted(answer.status for answer in answers) == [303, *[404] * 7]
    late = place.link(place.otter)
    world.now += visits.LINK_S + 1
    assert (await place.ask("POST", f"/login/{late}")).status == 404


async def test_looking_at_a_link_does_not_use_it_up(place: Place) -> None:
    code = place.link(place.otter)
    for method in ("GET", "HEAD", "GET"):
        answer = await place.ask(method, f"/login/{code}")
        assert (answer.status, answer.headers.getall("Set-Cookie", [])) == (200, [])
    assert (await place.ask("POST", f"/login/{code}")).status == 303


async def test_a_recovery_code_is_used_once_of_many_at_once(place: Place, world: World) -> None:
    code = world.store.write_now(lambda c: recovery.make(c, place.otter.volunteer, world.now))
    answers = await asyncio.gather(*[place.ask("POST", "/me/recover", data={"code": code}) for _ in range(4)])
    assert sorted(answer.status for answer in answers) == [303, 403, 403, 403]


async def test_guessing_recovery_codes_is_slowed_down_by_network(place: Place, world: World) -> None:
    code = world.store.write_now(lambda c: recovery.make(c, place.otter.volunteer, world.now))

    async def guess(text: str, peer: str) -> int:
        headers = {"X-Forwarded-For": peer}
        return (await place.ask("POST", "/me/recover", data={"code": text}, headers=headers)).status

    guesses = [await guess("AAAAA" * 4, f"2001:db8:1:1::{n:x}") for n in range(GUESSES.burst + 3)]
    assert guesses == [403] * GUESSES.burst + [429] * 3
    assert await guess(code, "2001:db8:1:1::9") == 429
    assert await guess(code, "192.0.2.1") == 303


async def test_a_code_of_the_erased_opens_nothing(place: Place, world: World) -> None:
    code, link = world.store.write_now(lambda c: recovery.make(c, 1, world.now)), place.link(place.otter)
    assert (await place.ask("POST", "/me/erase", place.tokens[1], data={"sure": "on"})).status == 200
    assert (await place.ask("POST", "/me/recover", data={"code": code})).status == 403
    assert (await place.ask("POST", f"/login/{link}")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b'{"id": 1}', b'{"id": "AAAA", "response": {}}', b"[" * 30_000, b"\xff",
        b'{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {"clientDataJSON": "e30"}}',
        json.dumps({"id": "\x00", "response": {"clientDataJSON": "A" * 9000}}).encode(),
        json.dumps({"id": {}, "response": {"clientDataJSON": {}}}).encode(),
        json.dumps({"id": "AAAA", "response": [1]}).encode(),
    ],
)  # fmt: skip
async def test_what_is_no_passkey_is_refused_without_a_traceback(place: Place, body: bytes) -> None:
    for path, token in (("/me/passkey", ""), ("/me/passkeys", place.tokens[1])):
        for sent in (body, b'{"name": "x", "credential": ' + (body or b"{}") + b"}"):
            answer = await place.ask("POST", path, token, data=sent, headers={"Accept": "application/json"})
            assert answer.status in (400, 401, 403), await answer.text()


async def test_a_challenge_is_good_for_one_purpose_one_login_once_and_not_for_long(world: World) -> None:
    write, now = world.store.write_now, world.now
    one, two, three = (write(lambda c: challenges.make(c, "new 1", now)) for _ in range(3))
    write(lambda c: challenges.use(c, one, "new 1", now))
    for challenge, purpose, at in (
        (one, "new 1", now), (two, "new 2", now), (two, "login", now), (three, "new 1", now + challenges.GOOD_S + 1),
        (two[:-1] + b"x", "new 1", now), (b"", "new 1", now), (b"\0" * 56, "new 1", now),
    ):  # fmt: skip
        with pytest.raises(Replayed):
            write(lambda c, ch=challenge, p=purpose, t=at: challenges.use(c, ch, p, t))  # type: ignore[misc]


async def test_an_unknown_passkey_is_nobodys(world: World) -> None:
    data = {"id": "AAAA", "response": {"clientDataJSON": "eyJ0eXBlIjoieCIsImNoYWxsZW5nZSI6IkFBIiwib3JpZ2luIjoieCJ9"}}
    with pytest.raises(NotAllowed, match="not known here"):
        world.store.write_now(lambda c: take_proof(c, place_of("https://lab.example"), data, world.now))


@pytest.mark.parametrize(
    ("origin", "fits"),
    [
        ("https://lab.example:8443", True), ("http://localhost:8000", True), ("http://a.localhost", True),
        ("http://lab.example", False), ("https://192.0.2.1", False), ("http://127.0.0.1:8000", False),
        ("https://[2001:db8::1]", False),
    ],
)  # fmt: skip
def test_passkeys_are_offered_where_browsers_make_them(origin: str, fits: bool) -> None:
    assert place_of(origin).fits is fits
