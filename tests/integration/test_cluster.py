"""`dask()` on a real cluster of two worker processes, and what it does when they are lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsage import DistributedFunction, Unit, codec, dask
from dsage.errors import ServerAway, UsageError
from dsage.grid import Grid
from dsage.states import RunState

distributed = pytest.importorskip("distributed")

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
        yield made


@pytest.fixture(scope="module")
def grid(cluster: Any) -> Iterator[Grid]:
    with dask(cluster.scheduler_address) as opened:
        yield opened


def square(x: int) -> int:
    return x * x


def slow(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


class Sum(DistributedFunction[int, int]):
    n: int

    def units(self) -> Iterator[int]:
        yield from range(1, self.n + 1)

    @staticmethod
    def compute(args: int) -> int:
        return args

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result += value


class Proved(Sum):
    """An app whose answers are checked: half of its units lie."""

    @staticmethod
    def compute(args: int) -> int:
        return args if args % 2 else -1

    @staticmethod
    def verify(args: int, value: int) -> bool:
        return args == value

    def unit_failed(self, unit: Unit[int], reason: str) -> None:
        self.result += 100


def wait_for(ask: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ask():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def test_eval_map_and_a_class(grid: Grid) -> None:
    assert grid.eval("a + 2", {"a": 40}).wait(30) == 42
    assert grid.map(square, range(100)).wait(30) == [x * x for x in range(100)]
    assert grid.run(Sum(n=10), result=0).wait(30) == 55
    assert repr(grid).startswith("<Grid: Dask at tcp://127.0.0.1:")
    assert "workers 2, threads 2" in repr(grid)


def test_what_a_unit_prints_and_raises_comes_back(grid: Grid) -> None:
    job = grid.eval("print('hello'); 1/0")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        job.wait(30)
    assert job.output == "hello\n"


def test_answers_that_are_proved_false_are_refused(grid: Grid) -> None:
    assert grid.run(Proved(n=4), result=0).wait(30) == 1 + 3 + 200


def test_files_go_along(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "table").write_text("six times seven")
    assert (
        grid.eval(
            "from dsage import running; running.input('table').read_text()", inputs={"table": tmp_path / "table"}
        ).wait(30)
        == "six times seven"
    )


def test_kill_stops_a_unit_on_its_worker(grid: Grid, cluster: Any) -> None:
    job = grid.eval("import time\ntime.sleep(100)")
    wait_for(lambda: job.view.units["active"] == 1)
    wait_for(lambda: running(cluster) == 1)
    job.kill()
    wait_for(lambda: running(cluster) == 0)
    assert job.state is RunState.CANCELLED
    assert grid.eval("1 + 1").wait(10) == 2


def running(cluster: Any) -> int:
    """Return how many units the cluster's workers run."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        return sum(
            client.run(lambda: len(__import__("dsage.places.cluster_worker").places.cluster_worker._running)).values()
        )


def test_a_worker_killed_in_the_middle_of_a_unit_does_no_harm() -> None:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as own,
        dask(own.scheduler_address) as grid,
    ):
        job = grid.map(slow, [2.0] * 3, chunk=1)
        wait_for(lambda: running(own) == 2)
        os.kill(next(iter(own.workers.values())).pid, signal.SIGKILL)
        assert job.wait(60) == [2.0] * 3


def test_tls_and_a_client_that_is_there_already() -> None:
    security = distributed.Security.temporary()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, security=security, protocol="tls"
        ) as own,
        distributed.Client(own, set_as_default=False) as client,
        dask(client) as grid,
    ):
        assert own.scheduler_address.startswith("tls://")
        assert grid.eval("6 * 7").wait(30) == 42
        assert client.submit(lambda x: x * x, 3).result(30) == 9


def test_no_scheduler_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage.places.cluster.CONNECT_S", 0.5)
    with pytest.raises(ServerAway, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        dask("tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match="no scheduler is known"):
        dask()
    with pytest.raises(UsageError, match="not the address of a Dask scheduler"):
        dask("nonsense://here")
    with pytest.raises(UsageError, match="not the address of a Dask scheduler"):
        dask(42)


def test_without_dask_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError) as caught:
        dask("tcp://127.0.0.1:1")
    assert caught.value.hint == "Install it: pip install 'dsage[dask]'"


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_nothing_of_a_users_is_unpickled(grid: Grid, tmp_path: Path) -> None:
    import pickle

    left = tmp_path / "left"
    hostile = pickle.dumps(Trap(str(left)))
    assert grid.eval("data", {"data": hostile}).wait(30) == hostile
    assert grid.map(bytes, [hostile]).wait(30) == [hostile]
    (tmp_path / "file").write_bytes(hostile)
    assert (
        grid.eval(
            "from dsage import running; running.input('file').read_bytes()", inputs={"file": tmp_path / "file"}
        ).wait(30)
        == hostile
    )
    assert not left.exists()
    with pytest.raises(Exception, match="Trap"):
        grid.eval("data", {"data": Trap(str(left))})
    assert not left.exists()


def test_only_our_fixed_runner_and_plain_data_are_sent(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Any = grid.place
    sent: list[tuple[Any, ...]] = []
    submit = place._client.submit

    def noted(function: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append((function, *args))
        return submit(function, *args, **kwargs)

    monkeypatch.setattr(place._client, "submit", noted)
    assert grid.run(Sum(n=2), result=0).wait(30) == 3
    assert len(sent) == 2
    for function, number, source, *plain in sent:
        assert (function.__module__, function.__name__) == ("dsage.places.cluster_worker", "run_unit")
        assert type(number) is str
        assert isinstance(source, distributed.Future)
        assert {type(each) for each in plain} <= {str, bytes, tuple, dict, bool}
        assert codec.decode(plain[2]) in (1, 2)
