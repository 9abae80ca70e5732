"""The reference core: answers that are the same everywhere, a mean that is right, a file that may be damaged."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dsage import calibration
from dsage.calibration import Calibration, Set
from dsage.cli.estimate import _estimated
from dsage.errors import UnitFailed
from dsage.home import Home
from dsage.wire import NewUnit


@pytest.mark.parametrize("each", calibration.SETS, ids=lambda each: each.name)
def test_every_set_gives_its_published_answer(each: Set) -> None:
    assert each.work() == each.answer
    assert 0.05 < each.reference_s < 0.5


def test_a_core_is_compared_by_the_geometric_mean_of_the_shortest_times() -> None:
    ticks = itertools.accumulate([0.0] + [1.0, 0.0] * 4 + [0.5, 0.0] + [8.0, 0.0] * 5)
    sets = (Set("twice", lambda: 1, 1, 1.0), Set("eighth", lambda: 2, 2, 1.0))
    found = calibration.measure(sets, lambda: next(ticks))
    assert found.seconds == {"twice": 0.5, "eighth": 8.0}
    assert found.speed == pytest.approx(0.5)


def test_a_computer_that_calculates_wrong_is_not_measured() -> None:
    with pytest.raises(UnitFailed, match="calculates wrong: sums gave 3, not 4"):
        calibration.measure((Set("sums", lambda: 3, 4, 1.0),))


@pytest.mark.parametrize("text", ["", "{", '{"speed": 0, "seconds": {}, "measured": 1}', '{"speed": 1e999}'])
def test_a_calibration_is_kept_and_a_damaged_one_is_none(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path / "home")
    assert calibration.known(home) is None
    found = Calibration(speed=1.25, seconds={"numbers": 0.1}, measured=5.0)
    calibration.keep(home, found)
    assert calibration.known(home) == found
    (home.folder / calibration.FILE).write_text(text)
    assert calibration.known(home) is None


@pytest.mark.parametrize(("speed", "note"), [(None, ""), (1.0, ""), (4.0, "credit=0.067 would be nearer")])
def test_an_estimate_reckons_with_the_calibration(speed: float | None, note: str) -> None:
    from dsage_projects.sum import Sum

    unit = NewUnit(key="1", args=b"", credit_milli=17, quorum=1)
    found = _estimated(Sum, [unit], True, [(1.0, 10, True)], None, speed)
    assert [each for each in found.notes if "nearer" in each] == [] if not note else note in found.notes[0]
