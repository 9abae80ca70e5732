"""The benchmark of the researcher's side refuses to time what was not done, and asks for the units that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sdk_bench
from sdk import efficiency, million, small, work
from sdk.many import Many


@contextmanager
def here() -> Iterator[Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]]:
    """One worker: this process."""
    yield lambda function, items: [function(item) for item in items]


def test_busy_uses_the_time_of_a_processor_that_it_says() -> None:
    assert 0.02 <= work.busy(0.02) < 1.0


def test_efficiency_of_one_worker_is_at_most_half(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(efficiency, "SYSTEMS", {"local()": here, "Dask alone": here})
    efficiency.efficiency({0.1: 2}, {0.1: 1})
    own, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert own["figure"] == "efficiency: local(), 2 units of 0.1 s"
    assert (own["bar"], own["better"], own["peer"]["name"]) == (90.0, "higher", "Dask alone")
    assert other["bar"] is None
    assert 0 < own["value"] <= 50.5


@pytest.mark.parametrize("given", [[0.1], [0.1, 0.05]])
def test_units_that_were_not_done_are_not_timed(given: list[float]) -> None:
    with pytest.raises(RuntimeError, match="of 2 units were done"):
        efficiency._measured("liar", lambda function, items: given, 0.1, 2)


def test_a_map_that_loses_an_item_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="did not return what it should"):
        small._rate(lambda function, items: list(items)[1:], 10, 1)


def test_how_many_units_each_length_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def units(*words: str) -> tuple[dict[float, int], dict[float, int]]:
        monkeypatch.setattr(sys, "argv", ["sdk_bench.py", *words])
        return sdk_bench._units(sdk_bench.arguments())

    assert units()[0] == {0.1: 200, 1.0: 200, 10.0: 20}
    assert units("--long") == ({10.0: 200}, {10.0: 200})
    assert units("--seconds", "1", "--units", "4") == ({1.0: 4}, {1.0: 4})


def test_the_answer_of_the_long_run_says_whether_each_unit_was_folded_once() -> None:
    run = Many(count=4)
    for unit in run.units():
        run.process_result(unit, run.compute(unit.args))
    assert run.result == [4, 6]
    assert run.progress() == {"folded": 4}


def test_a_driver_that_ended_badly_is_not_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True)
    process.wait()
    with pytest.raises(RuntimeError, match="ended with status 3"):
        million.Watch(process, 10).look(0)
