"""Which units the server computes itself: only what is cheap and adaptive, what is disputed first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from dsage.states import UnitState
from dsage_server.scheduling import own
from dsage_server.scheduling.own import OwnChecks, disputed
from dsage_server.store.units import Changed, Head
from dsage_validator import life
from dsage_validator.reputation import Kind, evidence
from dsage_validator.unit import Replica, Trust, Unit


def head(*, credit_milli: int = 1000, inputs: bool = False) -> Head:
    return Head(1, credit_milli, 60.0, 1 << 30, 1 << 20, 4096, 60.0, "lab", "app", inputs)


def answered(camps: Sequence[int], trust: Sequence[Trust] = (), *, number: int = 1, adaptive: bool = True) -> Unit:
    """A unit with one answer after the other, each in a camp."""
    unit = life.created(number, 2, adaptive=adaptive)
    for n, camp in enumerate(camps, 1):
        given = trust[n - 1] if trust else Trust.NEW
        unit = replace(unit, unsent=max(1, unit.unsent))
        unit = life.lease(unit, Replica(id=n, volunteer=n, host=n, deadline=9.0, hard_deadline=9.0, trust=given))
        unit = life.judge(life.report(unit, n), n, camp=camp)
    return unit


def checks(share: float = 1.0) -> OwnChecks:
    made = OwnChecks()
    made.share, made.key = share, b"key"
    return made


def offered(made: OwnChecks, unit: Unit, of: Head | None = None) -> int:
    made.offer(Changed(unit, life.created(unit.id, 2, adaptive=unit.adaptive), of or head()))
    return len(made)


@pytest.mark.parametrize(
    ("unit", "of", "taken"),
    [
        (answered([1, 1]), head(), 1),
        (answered([1, 2]), head(), 1),
        (answered([1]), head(), 0),
        (answered([1, 1], adaptive=False), head(), 0),
        (answered([1, 1]), head(credit_milli=1001), 0),
        (answered([1, 1]), head(inputs=True), 0),
        (answered([1, 2], [Trust.NEW, Trust.LOST]), head(), 0),
    ],
    ids=["accepted", "disputed", "open", "fixed quorum", "dear", "with inputs", "only a liar disagrees"],
)
def test_what_is_taken(unit: Unit, of: Head, taken: int) -> None:
    assert offered(checks(), unit, of) == taken
    assert offered(checks(share=0.0), unit, of) == 0


def test_the_draw_takes_its_share_and_the_same_units_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST", 5000)
    made = checks(share=0.1)
    for number in range(5000):
        offered(made, answered([1, 1], number=number))
    assert 400 < len(made) < 600
    before = len(made)
    offered(made, answered([1, 1], number=next(iter(made._drawn))))
    assert len(made) == before


async def test_who_is_waited_for_goes_first_and_there_is_an_end_to_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST", 2)
    made = checks()
    for number in (1, 2, 3):
        offered(made, answered([1, 1], number=number))
    offered(made, answered([1, 2], number=9))
    assert [await made.get() for _ in range(3)] == [9, 1, 2]
    assert not len(made)


@pytest.mark.parametrize(
    ("camps", "trust", "says", "state"),
    [
        ([1, 2], [Trust.NEW, Trust.NEW], 2, UnitState.VALID),
        ([1, 2], [Trust.KNOWN, Trust.NEW], 1, UnitState.VALID),
        ([1, 2], [Trust.KNOWN, Trust.NEW], 2, UnitState.READY),
        ([1, 2, 2], [Trust.KNOWN, Trust.NEW, Trust.NEW], 2, UnitState.VALID),
    ],
    ids=["newcomers", "with who is established", "against who is established", "a lead of two"],
)
def test_the_server_is_heard_as_one_more_established_host(
    camps: list[int], trust: list[Trust], says: int, state: UnitState
) -> None:
    before = answered(camps, trust)
    assert disputed(before)
    after = life.ruled(before, says)
    assert after.state is state
    if state is UnitState.VALID:
        assert after.canonical == says
        lied = {each.host for each in evidence(before, after) if each.kind is Kind.LIED}
        assert lied == {n for n, camp in enumerate(camps, 1) if camp != says}
