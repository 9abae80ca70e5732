"""The ledger of a real server: what is taken back, corrected, house credit, and what the operator's commands say."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from dsage import wire
from dsage.errors import NotFound, UsageError
from dsage_server import bookkeeping
from dsage_server.admin import admin
from dsage_server.store import daybook, deeds, house, projects, recount
from dsage_server.store.meta import remember
from dsage_server.store.recount import LedgerWrong
from dsage_server.store.schema import credit_unfolded
from dsage_server.testing import HandDriver, Host, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def at_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's commands find the server."""
    monkeypatch.setenv("DSAGE_HOME", str(world.folder))


async def asked(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, admin, list(words))


async def data(*words: str) -> Any:
    found = await asked(*words, "--json")
    assert found.exception is None, found.output
    return json.loads(found.stdout)["data"]


async def account(host: Host) -> wire.AccountView:
    view: wire.AccountView = await host.conn.call("GET", "/v1/account", None, wire.AccountView, token=host.token)
    return view


async def paid(world: World, hosts: list[Host], run: HandDriver) -> int:
    """Let hosts agree on a unit; return the first one's copy."""
    await run.make(7, quorum=len(hosts))
    copies = []
    for host in hosts:
        got = await host.fetch()
        assert await host.report(got, [7]) == ["ok"]
        copies += [each.replica for each in got]
    await folded(world)
    return copies[0]


async def folded(world: World) -> None:
    """Wait until the projector has nothing left to do."""
    hub = world.running.hub

    async def done() -> bool:
        hub.ledger.set()
        left = select(credit_unfolded.c.entry_id).limit(1)
        return await hub.store.read(lambda c: c.execute(left).first()) is None

    await until(done)


async def test_what_is_taken_back_is_shown_to_its_volunteer_with_the_reason(world: World) -> None:
    host, run = await world.host(), await world.run()
    copy = await paid(world, [host], run)
    assert (await account(host)).granted_milli == 1000
    before = (await world.view(run)).credit_milli
    assert await data("credit", "reverse", str(copy), "999999999", "--reason", "its memory is bad") == [copy]
    assert await data("credit", "reverse", str(copy), "--reason", "once more") == []
    (deed, *_) = await world.running.hub.store.read(lambda c: deeds.newest(c, 1))
    assert deed[1:] == ("operator", "took back", "the credit of 1 copy", ""), "others learn neither whose nor why"
    await folded(world)
    view = await account(host)
    assert (view.granted_milli, view.taken_milli, view.pending_milli) == (0, 1000, 0)
    ((kind, amount, reason, project),) = [(e.kind, e.amount_milli, e.reason, e.project) for e in view.corrections]
    assert (kind, amount, reason, project) == ("reversal", -1000, "its memory is bad", "lab")
    assert (await world.view(run)).credit_milli == before - 1000
    assert (await world.view(run)).volunteers == 0
    assert (await data("credit", "check"))["differences"] == []


async def test_an_operator_corrects_with_a_reason(world: World) -> None:
    host = await world.host()
    name = (await account(host)).pseudonym
    assert (await data("credit", "correct", name, "2.5", "--reason", "the disk was full"))["amount_milli"] == 2500
    await data("credit", "correct", name, "1", "--take", "--reason", "too much")
    await folded(world)
    view = await account(host)
    assert (view.granted_milli, view.taken_milli) == (1500, 0)
    assert [(e.kind, e.amount_milli, e.reason) for e in view.corrections] == [
        ("manual", -1000, "too much"), ("manual", 2500, "the disk was full"),
    ]  # fmt: skip
    for words, error in (
        (("nobody", "1", "--reason", "x"), NotFound),
        ((name, "0", "--reason", "x"), UsageError),
        ((name, "1", "--reason", " "), UsageError),
    ):
        assert isinstance((await asked("credit", "correct", *words)).exception, error)
    for amount in ("nan", "inf", "1e300", "-- -1"):
        assert (
            "no number of credits" in (await asked("credit", "correct", name, "--reason", "x", *amount.split())).output
        )
    told = await world.running.hub.store.read(lambda c: deeds.newest(c, 2))
    assert [(each.action, each.about) for each in told] == [
        ("took", "1 credits by hand"),
        ("gave", "2.5 credits by hand"),
    ]


async def test_a_researchers_own_computers_earn_house_credit_until_somebody_approves(world: World) -> None:
    own, other, run = await world.host(), await world.host(), await world.run()
    name = (await account(own)).pseudonym
    assert await data("house", "lab", name) == {"lab": [name]}
    await paid(world, [own, other], run)
    view, seen = await account(own), await world.view(run)
    assert (view.granted_milli, view.house_milli) == (0, 1000)
    assert (await account(other)).granted_milli == 1000
    assert (seen.credit_milli, seen.volunteers) == (1000, 1)
    assert (await data("credit", "check"))["differences"] == []
    key = run.researcher.key.public
    store = world.running.hub.store
    await store.write(lambda c: remember(c, projects.APPROVED + key.hex(), "run 1, by ada"))
    await paid(world, [own, other], run)
    view = await account(own)
    assert (view.granted_milli, view.house_milli) == (1000, 1000)
    await store.write(lambda c: remember(c, projects.APPROVED + key.hex(), ""))
    assert await data("house", "lab", name, "--off") == {"lab": []}
    assert await store.read(functools.partial(house.pairs, runs=[run.run])) == set()
    assert isinstance((await asked("house", "lab", "nobody")).exception, NotFound)
    assert (await data("credit", "check"))["differences"] == []


async def test_a_sum_that_is_wrong_is_told_and_repaired_when_asked(world: World) -> None:
    host, run = await world.host(), await world.run()
    await paid(world, [host], run)
    store = world.running.hub.store
    await store.write(lambda c: c.execute(text("UPDATE credit_host SET amount_milli = amount_milli + 5")))
    found = await asked("credit", "check")
    assert isinstance(found.exception, LedgerWrong)
    assert "credit_host (host_id " in found.stdout
    differences = await store.read(recount.differences)
    await store.write(functools.partial(bookkeeping.tell, found=differences, now=1.0))
    news = select(text("text")).select_from(text("event")).where(text("kind = 'ledger-wrong'"))
    assert "`dsage admin credit check`" in (await store.read(lambda c: c.execute(news).scalar_one()))
    assert (await data("credit", "check", "--repair"))["left"] == 0
    assert (await data("credit", "check"))["differences"] == []


async def test_closed_days_are_published_and_verified(world: World) -> None:
    host, run = await world.host(), await world.run()
    await paid(world, [host], run)
    hub = world.running.hub
    await hub.store.write(lambda c: daybook.close(c, hub.clock() + 2 * 86400))
    await bookkeeping.hash_days(hub.store)
    days = await hub.store.read(lambda c: daybook.days(c, 100))
    assert days[0].entries >= 1
    found = await data("credit", "verify")
    assert (found["changed"], found["newest"]["hash"]) == (None, days[0].hash)
    await hub.store.write(
        lambda c: c.execute(text("UPDATE ledger_day SET entries = 77 WHERE number = :n"), {"n": days[0].number})
    )
    assert "worth" in str((await asked("credit", "verify")).exception)
    fixed = {"n": days[0].number, "e": days[0].entries}
    await hub.store.write(lambda c: c.execute(text("UPDATE ledger_day SET entries = :e WHERE number = :n"), fixed))
