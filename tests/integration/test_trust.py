"""Trust earned, used and lost: over real TLS, with hosts that are moved by hand and tables that are real."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from echoes import Answer, earned, right, states, work, wrong
from sqlalchemy import Connection, func, select

from dsage import codec, wire
from dsage_server.store import recount, reopening, standings, units
from dsage_server.store.schema import credit_entry, event, replica, standing, unit
from dsage_server.testing import HandDriver, Host, World, document, running_server, until
from dsage_validator import life
from dsage_validator.reputation import RULES, Evidence, Kind
from dsage_validator.unit import Trust

PROBATION = int(RULES.probation)
pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that checks no unit of a trusted host, until a test says so."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def host(world: World) -> Host:
    """A host of a volunteer of its own, which says what it is."""
    found = await world.host()
    await found.introduce()
    return found


async def proven(world: World, driver: HandDriver, n: int = 2) -> list[Host]:
    """Hosts that have confirmed each other often enough."""
    hosts = [await host(world) for _ in range(n)]
    await driver.make(*range(PROBATION), quorum=n, adaptive=True)
    for each in hosts:
        assert len(await work(each)) == PROBATION
    return hosts


async def trust_of(world: World, held: wire.Assignment) -> int:
    """How far the answer of a copy is trusted."""
    query = select(replica.c.trust).where(replica.c.id == held.replica)
    return int(await world.running.hub.store.read(lambda c: c.execute(query).scalar_one()))


async def settled(world: World) -> None:
    """Nobody is left who was found lying and not looked at."""

    async def none_due() -> bool:
        return not await world.running.hub.store.read(standings.due)

    await until(none_due)


async def test_newcomers_confirm_each_other_and_then_each_is_taken_alone(world: World) -> None:
    driver = await world.run()
    one, two = await proven(world, driver)
    await driver.make(*range(100, 110), quorum=2, adaptive=True)
    alone = await work(one, most=5)
    assert len(alone) == 5
    assert await states(world, alone) == {"valid"}
    assert not set(await work(two)) & set(alone)
    newcomer = await host(world)
    await driver.make(200, quorum=2, adaptive=True)
    (checked,) = await work(newcomer)
    assert await states(world, [checked]) == {"ready"}
    assert await work(one) == [checked]
    assert await states(world, [checked]) == {"valid"}


async def test_an_author_may_demand_a_quorum_whoever_answers(world: World) -> None:
    driver = await world.run()
    one, two = await proven(world, driver)
    await driver.make(300, quorum=2)
    (number,) = await work(one)
    assert await states(world, [number]) == {"ready"}
    assert await work(two) == [number]


async def test_trust_is_for_one_app_version(world: World) -> None:
    driver = await world.run()
    one, _ = await proven(world, driver)
    other = await world.run("Checked")
    await other.make(1, quorum=2, adaptive=True)
    (held,) = await one.fetch(1)
    assert await trust_of(world, held) == Trust.NEW
    await driver.make(2, quorum=2, adaptive=True)
    (held,) = await one.fetch(1)
    assert await trust_of(world, held) == Trust.ALONE


async def test_a_proven_lie_reopens_all_that_rested_on_that_hosts_word(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await world.run()
    one, two, three, liar = await proven(world, driver, 4)
    await driver.make(*range(500, 530), quorum=2, adaptive=True)
    alone = await work(liar, lambda args: wrong(args) if args % 3 else right(args), most=30)
    assert await states(world, alone) == {"valid"}
    heard = await driver.answers()
    known = {a.unit: a for a in heard.answers}
    await driver.commit(folded=sorted(known), replicas=[known[number].replica for number in sorted(known)])

    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.0)
    await driver.make(900, quorum=2, adaptive=True)
    (trap,) = await work(liar, wrong)
    assert await states(world, [trap]) == {"ready"}
    for each in (one, two, three):
        assert await work(each) == [trap], "two who are known contradict each other: a lead of two decides"
    await settled(world)

    assert "valid" not in await states(world, alone)
    assert await earned(world, liar) == PROBATION * 1000, "what others confirmed stays paid"
    assert await earned(world, one) == PROBATION * 1000 + 1000
    told = await driver.answers(wait_s=20.0)
    assert {a.unit for a in told.retracted} == set(alone)
    ground = await world.running.hub.store.read(
        lambda c: c.execute(select(unit.c.state).where(unit.c.id < min(alone))).scalars().all()
    )
    assert set(ground) == {"valid"}, "what others confirmed stands"
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    assert set(await work(one)) == set(alone)
    assert await states(world, alone) == {"valid"}
    await driver.make(*range(950, 955), quorum=2, adaptive=True)
    assert len(await liar.fetch(5)) == 1, "who was found lying gets a copy at a time, and is not heard"
    assert await liar.fetch(5) == []


class Tried:
    """A host whose five answers were taken alone, and which is found lying and cleared by hand."""

    def __init__(self, world: World, driver: HandDriver, host: Host, others: list[Host], alone: list[int]) -> None:
        self.world, self.driver, self.host, self.others, self.alone = world, driver, host, others, alone
        self.number = 0
        self.app = ""
        self.paid = 0

    async def is_(self, *kinds: Kind) -> None:
        """Let something be said of it, and be looked at."""
        hub = self.world.running.hub
        for kind in kinds:
            evidence = [(self.app, Evidence(kind, 0, self.number))]
            await hub.store.write(lambda c, said=evidence: standings.note(c, said, hub.clock()))  # type: ignore[misc]
            await self.looked_at()

    async def looked_at(self) -> None:
        """Wait until what there is to look at was looked at."""
        self.world.running.hub.liars.set()
        await settled(self.world)

    async def answered(self, answer: Answer) -> None:
        """The others answer what fell, until it is accepted."""
        while await states(self.world, self.alone) != {"valid"}:
            for other in self.others:
                await work(other, answer)
        await self.looked_at()

    async def opened(self) -> None:
        """The accepted answers do not hold."""
        hub = self.world.running.hub
        await hub.store.write(lambda c: reopening.reopen(c, self.driver.run, self.alone, hub.clock()), then=hub.learn)

    async def lost(self) -> int:
        """Return how many answers it is not paid for any more."""
        assert await self.world.running.hub.store.read(recount.differences) == []
        return (self.paid - await earned(self.world, self.host)) // 1000


@pytest.fixture
async def tried(world: World) -> Tried:
    driver = await world.run()
    one, *others = await proven(world, driver, 3)
    await driver.make(*range(500, 505), quorum=2, adaptive=True)
    alone = await work(one)
    found = Tried(world, driver, one, others, alone)
    found.paid = await earned(world, one)
    of = select(replica.c.host_id).where(replica.c.unit_id == alone[0])
    found.number = await world.running.hub.store.read(lambda c: c.execute(of).scalar_one())
    found.app = await world.running.hub.store.read(lambda c: c.execute(select(standing.c.app).distinct()).scalar_one())
    return found


async def test_who_is_cleared_gets_back_what_is_accepted_again_once(tried: Tried) -> None:
    await tried.is_(Kind.LIED)
    await tried.answered(right)
    assert await tried.lost() == 5, "it counts as a liar"
    told = select(func.count()).where(event.c.kind == "lied")
    assert await tried.world.running.hub.store.read(lambda c: c.execute(told).scalar_one()) == 1, "found lying once"
    await tried.is_(Kind.LIED, Kind.CLEARED)
    assert await tried.lost() == 5, "one lie still stands"
    for _ in range(2):
        await tried.is_(Kind.CLEARED)
        assert await tried.lost() == 0


async def test_what_is_computed_again_when_its_host_is_cleared_is_given_back_when_it_is_accepted(tried: Tried) -> None:
    await tried.is_(Kind.LIED, Kind.CLEARED)
    assert await tried.lost() == 5, "nobody has said the same"
    await tried.answered(lambda args: wrong(args) if args == 503 else right(args))
    assert await tried.lost() == 1, "others contradict"
    await tried.is_(Kind.CLEARED)
    assert await tried.lost() == 1


async def test_what_was_accepted_on_the_word_of_others_who_lied_is_given_back_when_that_falls(tried: Tried) -> None:
    await tried.is_(Kind.LIED, Kind.CLEARED)
    await tried.answered(wrong)
    assert await tried.lost() == 5
    await tried.opened()
    tried.others = [await host(tried.world) for _ in range(2)]
    await tried.answered(right)
    assert await tried.lost() == 0


async def test_what_was_given_back_is_taken_again_when_it_falls_and_stays_taken(tried: Tried) -> None:
    await tried.is_(Kind.LIED, Kind.CLEARED)
    await tried.answered(right)
    assert await tried.lost() == 0
    await tried.is_(Kind.LIED)
    assert await tried.lost() == 0, "others say the same"
    await tried.opened()
    assert await tried.lost() == 5
    kinds = select(credit_entry.c.kind).where(credit_entry.c.host_id == tried.number)
    rows = await tried.world.running.hub.store.read(lambda c: c.execute(kinds).scalars().all())
    assert Counter(rows) == {"grant": PROBATION + 5, "reversal": 5, "manual": 5, "retaken": 5}
    await tried.is_(Kind.CLEARED)
    tried.others = [await host(tried.world) for _ in range(2)]
    await tried.answered(wrong)
    assert await tried.lost() == 5


async def test_nothing_is_given_back_for_what_nobody_needs_any_more(tried: Tried) -> None:
    await tried.is_(Kind.LIED)
    await tried.driver.commit(finished=True)
    assert await states(tried.world, tried.alone) == {"cancelled"}
    await tried.is_(Kind.CLEARED)
    assert await tried.lost() == 5


async def test_an_answer_that_a_failed_run_keeps_is_paid_as_its_host_stands(tried: Tried) -> None:
    await tried.driver.commit(failed="enough of it")
    for kind, lost in ((Kind.LIED, 5), (Kind.CLEARED, 0), (Kind.LIED, 5), (Kind.CLEARED, 5)):
        await tried.is_(kind)
        assert await tried.lost() == lost, kind


async def test_what_a_liar_holds_is_asked_of_others_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await world.run()
    one, two, three, liar = await proven(world, driver, 4)
    await driver.make(600, quorum=2, adaptive=True)
    (held,) = await liar.fetch(1)
    assert await one.fetch(1) == []
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.0)
    await driver.make(900, quorum=2, adaptive=True)
    assert len(await work(liar, wrong)) == 1
    for each in (one, two, three):
        assert len(await work(each)) == 1
    await settled(world)
    assert await work(one) == [document(held).unit]


async def run_out(world: World, number: int) -> None:
    """The leases of a unit run out."""
    hub = world.running.hub

    def change(connection: Connection) -> list[units.Changed]:
        book = units.Book.of(connection, [number])
        book.now[number] = life.expire(book.now[number], 1e12)
        return book.write(hub.clock())

    await hub.store.write(change, then=hub.learn)


async def late_and_alone(world: World, driver: HandDriver, one: Host) -> tuple[int, Host, wire.Assignment]:
    """A unit of which one host's word was taken alone, and the copy that another host did not answer in time."""
    late = await host(world)

    async def none_open() -> bool:
        query = select(unit.c.state).distinct()
        return await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()) == ["valid"]

    await until(none_open)
    await driver.make(77, quorum=2, adaptive=True)
    (held,) = await late.fetch(1)
    number = document(held).unit
    await run_out(world, number)
    assert await work(one) == [number]
    await until_states(world, number, ["expired", "valid"])
    return number, late, held


@pytest.mark.parametrize("kind", ["Plain", "Checked"])
async def test_who_contradicts_late_is_refused_only_after_another_was_asked(world: World, kind: str) -> None:
    driver = await world.run(kind)
    one, two = await proven(world, driver)
    number, late, held = await late_and_alone(world, driver, one)
    assert await late.report([held], [wrong(77)]) == ["ok"]
    await until_states(world, number, ["reported", "valid"])
    assert await states(world, [number]) == {"valid"}, "it stays accepted"
    assert await late.fetch(1) == []
    await work_on(two, number, right)
    await until_states(world, number, ["invalid", "valid", "valid"])
    assert await standings_of(world, "lies") == [1]


async def test_a_late_answer_that_others_give_too_takes_the_place_of_the_one_taken_alone(world: World) -> None:
    driver = await world.run()
    one, two, three = await proven(world, driver, 3)
    number, late, held = await late_and_alone(world, driver, one)
    told = await driver.answers()
    ours = {a.unit: a.replica for a in told.answers}
    await driver.commit(folded=sorted(ours), replicas=[ours[n] for n in sorted(ours)], finished=True)
    paid = await earned(world, one)
    assert await late.report([held], [wrong(77)]) == ["ok"]
    for each in (two, three):
        await work_on(each, number, wrong)
    await until_states(world, number, ["valid", "invalid", "valid", "valid"])
    await settled(world)
    assert await earned(world, one) == paid - 1000
    assert await earned(world, late) == 1000
    back = await driver.answers(wait_s=20.0)
    assert [(a.unit, codec.decode(a.value or b"")) for a in back.retracted] == [(number, 77)]
    await driver.commit(retracted=[number])
    again = await driver.answers()
    assert [(a.unit, codec.decode(a.value or b"")) for a in again.answers] == [(number, wrong(77))]


async def until_states(world: World, number: int, wanted: list[str]) -> None:
    """Wait until the copies of a unit stand so."""
    query = select(replica.c.state).where(replica.c.unit_id == number).order_by(replica.c.id)

    async def stand() -> bool:
        return list(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all())) == wanted

    await until(stand)


async def work_on(host: Host, number: int, answer: Answer) -> None:
    """A host answers a unit as soon as it gets a copy."""

    async def worked() -> bool:
        return await work(host, answer) == [number]

    await until(worked)


async def standings_of(world: World, what: str) -> list[int]:
    """What stands in a column of the standings, where it is not 0."""
    query = select(standing.c[what]).where(standing.c[what] > 0)
    return list(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()))


async def test_a_contest_goes_on_after_a_restart(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standings, "drawn", lambda key, number: 0.99)
        async with running_server(tmp_path) as running, AsyncExitStack() as stack:
            world = World(running, tmp_path, stack)
            driver = await world.run()
            one, _ = await proven(world, driver)
            number, late, held = await late_and_alone(world, driver, one)
            assert await late.report([held], [wrong(77)]) == ["ok"]
            await until_states(world, number, ["reported", "valid"])
        async with running_server(tmp_path) as running, AsyncExitStack() as stack:
            world = World(running, tmp_path, stack)
            await work_on(await host(world), number, right)
            await until_states(world, number, ["invalid", "valid", "valid"])


async def test_nobody_is_asked_about_a_contested_answer_of_a_run_that_failed(world: World) -> None:
    driver = await world.run()
    one, two = await proven(world, driver)
    number, late, held = await late_and_alone(world, driver, one)
    await driver.commit(failed="enough of it")
    assert await late.report([held], [wrong(77)]) == ["ok"]
    await until_states(world, number, ["redundant", "valid"])
    assert await two.fetch(1) == []


async def test_a_look_back_that_was_cut_off_is_made_at_the_next_start(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        driver = await world.run()
        one, _ = await proven(world, driver)
        await driver.make(700, quorum=2, adaptive=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(standings, "drawn", lambda key, number: 0.99)
            alone = await work(one)
        assert await states(world, alone) == {"valid"}
        of_it = select(replica.c.host_id).where(replica.c.unit_id == alone[0])
        number = await running.hub.store.read(lambda c: c.execute(of_it).scalar_one())
        lied = standing.update().where(standing.c.host_id == number).values(lies=1, passed=0.0, due=1.0)
        await running.hub.store.write(lambda c: c.execute(lied))
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        await settled(world)
        assert await states(world, alone) == {"ready"}


async def test_a_few_volunteers_are_asked_for_a_quorum(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standings, "ENOUGH", 3)
    driver = await world.run()
    await host(world)
    await driver.make(1, quorum=2, adaptive=True)
    for _ in range(2):
        await host(world)
    await driver.make(2, quorum=2, adaptive=True)
    query = select(unit.c.adaptive).order_by(unit.c.id)
    assert await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()) == [False, True]


async def convicted(world: World, n: int) -> None:
    """The hosts that joined last are found lying, and what they did is looked at."""
    hub = world.running.hub
    rows = select(standing.c.host_id, standing.c.app).order_by(standing.c.host_id.desc()).limit(n)
    lied = [
        (row.app, Evidence(Kind.LIED, 0, row.host_id)) for row in await hub.store.read(lambda c: c.execute(rows).all())
    ]
    await hub.store.write(lambda c: standings.note(c, lied, hub.clock()))
    hub.liars.set()
    await settled(world)


async def accepted_answer(driver: HandDriver, args: int) -> object:
    """Return what was accepted of the unit with these arguments, None if nothing was."""
    found = {codec.decode(each.args): codec.decode(each.value or b"") for each in (await driver.answers()).answers}
    return found.get(args)


@pytest.mark.parametrize(("enough", "accepted"), [(0, right), (99, wrong)])
async def test_hosts_found_lying_make_no_quorum_unless_a_few_volunteers_are_all_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch, enough: int, accepted: Answer
) -> None:
    driver = await world.run()
    one, other, *liars = await proven(world, driver, 5)
    await driver.make(299, quorum=2)
    (held,) = await liars[0].fetch(1)
    monkeypatch.setattr(standings, "ENOUGH", enough)
    await convicted(world, 3)
    assert await liars[0].report([held], [wrong(299)]) == ["ok"]
    while any([await work(each, wrong) for each in liars]):
        pass
    while any([await work(each) for each in (one, other)]):
        pass
    assert await accepted_answer(driver, 299) == accepted(299)


async def test_nor_by_answers_that_come_after_their_lease_had_run_out(world: World) -> None:
    driver = await world.run()
    one, other, *liars = await proven(world, driver, 4)
    await driver.make(299, quorum=2)
    held = [(await each.fetch(1))[0] for each in liars]
    await run_out(world, document(held[0]).unit)
    await convicted(world, 2)
    for each, copy in zip(liars, held, strict=True):
        assert await each.report([copy], [wrong(299)]) == ["ok"]
    assert await accepted_answer(driver, 299) is None
    assert await work(one) == await work(other) == [document(held[0]).unit]
    assert await accepted_answer(driver, 299) == right(299)


def test_a_unit_says_nothing_of_trust_to_volunteers() -> None:
    assert "trust" not in wire.Assignment.__struct_fields__
    assert "adaptive" not in wire.Assignment.__struct_fields__
