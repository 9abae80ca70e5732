"""Strangers who may be one person do not confirm each other: over real TLS, with hosts that are moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dsage import codec, wire
from dsage.trust.documents import Enrolment
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage_server.exchange import Exchanges
from dsage_server.store import accounts, hosts, kinship, open_links, views
from dsage_server.store.hosts import Known
from dsage_server.store.schema import unit
from dsage_server.testing import HandDriver, Host, World, document, running_server

DAY_S = 86_400.0
HOME, OTHER = "192.0.2.7", "198.51.100.9"


pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def stranger(world: World, peer: str, day: int = 20_000, team: int | None = None) -> Host:
    """A host whose volunteer joined from an address, on a day, by a link that anybody may use or by a team's."""
    found = await world.host()
    await world.running.hub.store.write(lambda c: kinship.enter(c, found.volunteer, peer, day * DAY_S, team))
    await found.introduce()
    return found


async def vouched(world: World) -> Host:
    """A host whose volunteer the operator invited."""
    found = await world.host()
    await found.introduce()
    return found


async def answered(host: Host) -> list[int]:
    """A host takes what it gets and answers; returns the units."""
    got = await host.fetch(50)
    if got:
        assert set(await host.report(got, [codec.decode(document(each).args) for each in got])) == {"ok"}
    return [document(each).unit for each in got]


async def made(world: World, driver: HandDriver) -> int:
    """One adaptive unit; returns its number."""
    await driver.make(1, quorum=2, adaptive=True)
    return int(await world.running.hub.store.read(lambda c: c.execute(select(func.max(unit.c.id))).scalar_one()))


async def why(world: World, driver: HandDriver) -> str:
    """Why the run waits, as its researcher reads it."""
    hub = world.running.hub
    return (await hub.store.read(lambda c: views.run_view(c, driver.run, hub.clock()))).reason


@pytest.mark.parametrize(
    ("peer", "day", "team", "kin"),
    [
        ("192.0.2.200", 20_001, 2, True), (OTHER, 20_000, 2, True), (OTHER, 20_001, 1, True),
        (OTHER, 20_001, 2, False), (OTHER, 20_001, None, False),
    ],
    ids=["one network", "one day", "one team's links", "nothing in common", "no team's link"],
)  # fmt: skip
async def test_strangers_from_one_network_of_one_day_or_by_one_team_get_no_copies_of_one_unit(
    world: World, peer: str, day: int, team: int | None, kin: bool
) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME, team=1), await stranger(world, peer, day, team)
    number = await made(world, driver)
    assert await answered(one) == [number]
    assert await answered(two) == [number] * (not kin)


async def test_a_unit_that_waits_for_somebody_who_is_no_kin_says_so_and_gets_him(world: World) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME), await stranger(world, HOME)
    number = await made(world, driver)
    (held,) = await one.fetch(1)
    reply = await two.exchange(want=1)
    assert not reply.units
    assert "shares your network, day of joining or team link" in reply.reason
    assert await one.report([held], [1]) == ["ok"]
    assert await answered(two) == []
    said = await why(world, driver)
    assert said == (
        f"needs a volunteer who shares neither network, day of joining nor team link with those who have unit {number}"
    )
    assert await answered(await vouched(world)) == [number]


async def test_a_fixed_quorum_asks_for_other_accounts_only(world: World) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME), await stranger(world, HOME)
    await driver.make(1, quorum=2)
    assert await answered(one) == await answered(two) != []


async def test_a_copy_that_came_back_bars_nobodys_kin_any_more(world: World) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME), await stranger(world, HOME)
    number = await made(world, driver)
    held = await one.fetch(1)
    assert await two.fetch(1) == []
    assert await one.report(held, [b""], status="returned") == ["ok"]
    assert await answered(two) == [number]


async def test_the_tables_have_the_last_word_where_the_queue_did_not_know(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME), await stranger(world, HOME)
    number = await made(world, driver)
    monkeypatch.setattr("dsage_server.hub.wanted_of", lambda c, current, terms: ("", kinship.NOBODY))
    assert await answered(one) == [number]
    monkeypatch.undo()
    assert not (await two.exchange(want=1)).units
    assert await answered(await vouched(world)) == [number]


async def test_whom_the_operator_trusts_is_kin_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await world.run()
    one, two = await stranger(world, HOME), await stranger(world, HOME)
    number = await made(world, driver)
    assert await answered(one) == [number]
    assert await answered(two) == [], "its place in the line is behind the unit now"
    hub = world.running.hub
    known: Known = await hub.store.read(lambda c: hosts.find(c, two.key.public))
    await hub.store.write(lambda c: hosts.trust(c, known.pseudonym, True))
    monkeypatch.setattr("dsage_server.exchange.NOTE_S", 0.0)
    await Exchanges.note(hub.exchanges)
    assert await answered(two) == [number]


async def test_a_public_link_marks_who_joins_by_it_and_an_invite_does_not(world: World) -> None:
    host, hub = await vouched(world), world.running.hub
    _, code = await hub.store.write(
        lambda c: open_links.make(c, per_hour=9, per_prefix=9, valid_s=60.0, now=hub.clock(), verifiable_only=False)
    )
    key = PrivateKey.generate()
    challenge = await host.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
    link = world.running.link(code)
    asks = Enrolment(
        server_id=hub.server_id, challenge=challenge.challenge, ca=link.ca, key=key.public, code=code, public=True
    )
    await host.conn.call("POST", "/v1/enrol", seal(asks, key), wire.EnrolReply)
    joined: Known = await hub.store.read(lambda c: hosts.find(c, key.public))
    found = await hub.store.read(lambda c: kinship.of(c, [joined.volunteer, host.volunteer]))
    assert list(found) == [joined.volunteer]
    assert sorted(word.partition("-")[0] for word in found[joined.volunteer]) == ["day", "net"]
    assert "127.0.0" not in str(found), "no address is kept"
    await hub.store.write(lambda c: accounts.leave(c, joined, erase=True, now=hub.clock()))
    assert not await hub.store.read(lambda c: kinship.of(c, [joined.volunteer]))
