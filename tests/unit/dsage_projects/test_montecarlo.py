"""Monte Carlo: known volumes, the same bits on every machine and in every order, an end by itself."""

from __future__ import annotations

import asyncio
import hashlib
import random
from math import pi, sqrt
from typing import Any

import pytest

from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.running import Hooks
from dsage.testing import MemoryServer
from dsage_projects.montecarlo import BATCH, FIRST, MonteCarlo

PINNED = [23630, 23498, 23580]


def result(function: MonteCarlo, **server: int) -> dict[str, Any]:
    ended: dict[str, Any] = asyncio.run(Driver(function, MemoryServer(function, **server), 1).drive()).result
    return ended


@pytest.mark.parametrize(
    ("d", "volume"), [(1, 2.0), (2, pi), (3, 4 * pi / 3), (4, pi * pi / 2), (5, 8 * pi * pi / 15), (6, pi**3 / 6)]
)
def test_known_volumes(d: int, volume: float) -> None:
    found = result(MonteCarlo(d, error=0.05, points=20_000))
    assert found["error"] <= 0.05
    assert abs(found["volume"] - volume) <= 4 * found["error"]


def test_the_error_told_is_the_error_made() -> None:
    """Over many seeds, estimates lie about as far off as they say: the mean of squares of `off / error` is near 1."""
    runs = [result(MonteCarlo(2, error=0.02, points=BATCH, seed=seed)) for seed in range(60)]
    spread = sum(((run["volume"] - pi) / run["error"]) ** 2 for run in runs) / len(runs)
    assert 0.5 < spread < 1.6


def test_the_bits_are_these_on_every_machine() -> None:
    """Pinned: a stream may never change, for then volunteers with other versions would disagree."""
    assert [MonteCarlo.compute([1, stream, 2, 30_000]) for stream in (1, 2, 3)] == PINNED
    slow = 0
    for done in range(0, 30_000, BATCH):
        data = hashlib.shake_128(f"1/2/{done}".encode()).digest(8 * BATCH)
        numbers = [sum(byte << 8 * i for i, byte in enumerate(data[at : at + 4])) for at in range(0, len(data), 4)]
        slow += sum(x * x + y * y < 2**64 for x, y in zip(numbers[::2], numbers[1::2], strict=True))
    assert slow == PINNED[1]


def test_the_order_of_answers_and_the_number_of_volunteers_change_nothing() -> None:
    found = [result(MonteCarlo(3, error=0.02, points=20_000), hungry=h, pace=p) for h, p in ((1, 1), (3, 2), (50, 7))]
    assert found[0] == found[1] == found[2]
    function = MonteCarlo(3, error=0.01, points=20_000)
    units = [function.next_job() for _ in range(FIRST)]
    assert function.next_job() is None, "no more is wanted before the first streams are in"
    random.Random(5).shuffle(units)
    for unit in units:
        assert unit is not None
        function.process_result(unit, MonteCarlo.compute(unit.args))
    assert function.next_job() is not None, "results make more units"


def test_it_stops_at_the_error_asked_for_and_not_far_below() -> None:
    for error in (0.03, 0.01, 0.005):
        found = result(MonteCarlo(2, error=str(error), points=10_000))
        least = pi * (4 - pi) / error**2
        assert found["error"] <= error
        assert found["points"] <= max(1.1 * least + 20_000, FIRST * 10_000)
        assert found["error"] == pytest.approx(sqrt(pi * (4 - pi) / found["points"]), rel=0.02)


def test_a_ball_that_no_point_hits_does_not_look_free_of_error() -> None:
    function = MonteCarlo(40, error=1e-3, points=10_000)
    for _ in range(FIRST):
        unit = function.next_job()
        assert unit is not None
        function.process_result(unit, 0)
    assert not function.done


def test_a_stopped_unit_goes_on_at_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[int]] = []
    monkeypatch.setattr(Hooks, "checkpoint", kept.append)
    whole = MonteCarlo.compute([1, 1, 2, 30_000])
    assert [done for done, _ in kept] == [10_000, 20_000, 30_000]
    monkeypatch.setattr(Hooks, "restored", kept[1])
    assert MonteCarlo.compute([1, 1, 2, 30_000]) == whole
    assert [done for done, _ in kept[3:]] == [30_000]


def test_impossible_counts_and_parameters_are_refused() -> None:
    assert MonteCarlo.verify([1, 1, 2, 100], 78) is None
    assert all(MonteCarlo.verify([1, 1, 2, 100], lie) is False for lie in (-1, 101, 78.0, True, None, [78]))
    for wrong in ({"d": 0}, {"d": 101}, {"error": 0}, {"error": "nan"}, {"points": 9}):
        with pytest.raises(UsageError):
            MonteCarlo(**wrong)
