"""What a server process takes on: Little's law decides who is let in, and drawn times when the others return."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from dsage.errors import Busy
from dsage_server.scheduling import pressure
from dsage_server.scheduling.pressure import Pressure


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def busy(server: Pressure, clock: Clock, calls: int) -> ExitStack:
    """Let calls in that do not end until the stack is closed."""
    stack = ExitStack()
    for _ in range(calls):
        stack.enter_context(server.call(has_reports=True))
    return stack


def learned(clock: Clock, each_s: float, *, group: int = 10) -> Pressure:
    """Return a server that has served calls in groups, each call taking so long."""
    server = Pressure(ticks=clock, draw=lambda: 0.5)
    for _ in range(20):
        with busy(server, clock, group):
            clock.now += each_s * group
    return server


def refusals(server: Pressure) -> tuple[bool, bool]:
    """Return whether a fetch and a report would be sent away."""
    found = []
    for fetch_only in (True, False):
        try:
            server.enter(fetch_only)
            found.append(False)
        except Busy:
            found.append(True)
    return found[0], found[1]


@pytest.mark.parametrize(
    ("pending", "refused"), [(0, (False, False)), (190, (False, False)), (210, (True, False)), (1010, (True, True))]
)
def test_fetches_are_shed_before_reports(pending: int, refused: tuple[bool, bool]) -> None:
    clock = Clock()
    server = learned(clock, 0.01)
    server.pending = pending
    assert refusals(server) == refused


def test_a_server_that_nobody_waits_for_takes_everybody_however_slow_it_was() -> None:
    clock = Clock()
    server = learned(clock, 30.0, group=1)
    assert refusals(server) == (False, False)
    with busy(server, clock, 1):
        assert refusals(server) == (True, True)
    assert refusals(server) == (False, False)


def test_a_database_that_stands_still_is_noticed_before_anything_ends() -> None:
    clock = Clock()
    server = Pressure(ticks=clock)
    with busy(server, clock, 1):
        assert refusals(server) == (False, False)
        clock.now += pressure.FETCH_WAIT_S + 0.1
        assert refusals(server) == (True, False)
        clock.now += pressure.REPORT_WAIT_S
        assert refusals(server) == (True, True)
    assert refusals(server) == (False, False)
    assert server.shed == 3


def test_calls_that_fail_are_no_measure_of_speed() -> None:
    clock = Clock()
    server = learned(clock, 0.001)
    before = server.wait_s()
    for _ in range(1000):
        with suppress(RuntimeError), server.call(has_reports=True):
            clock.now += 5.0
            raise RuntimeError
    assert server.pending == 0
    with busy(server, clock, 10):
        assert before == 0.0
        assert server.wait_s() == pytest.approx(0.01)


def test_speed_is_what_it_was_of_late() -> None:
    clock = Clock()
    server = learned(clock, 0.5, group=1)
    for _ in range(400):
        with busy(server, clock, 10):
            clock.now += 0.1
    with busy(server, clock, 100):
        assert server.wait_s() == pytest.approx(1.0, rel=0.1)


def test_too_many_calls_are_sent_away_whatever_the_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "MOST_PENDING", 3)
    clock = Clock()
    server = Pressure(ticks=clock)
    with busy(server, clock, 3), pytest.raises(Busy, match="3 calls wait"):
        server.enter(fetch_only=False)


def test_those_who_left_together_do_not_return_together() -> None:
    clock = Clock()
    server = Pressure(ticks=clock)
    told = set()
    with busy(server, clock, 1):
        clock.now += 20.0
        for _ in range(100):
            with pytest.raises(Busy) as refused:
                server.enter(fetch_only=True)
            told.add(refused.value.retry_s)
    assert len(told) == 100
    assert min(told) >= 20.0
    assert max(told) <= 60.0


def test_held_calls_are_counted_and_capped() -> None:
    server = Pressure(most_held=2)
    with server.hold() as first, server.hold() as second:
        assert (first, second) == (True, True)
        with server.hold() as third:
            assert not third
        assert server.held == 2
    assert server.held == 0


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("hosts", [1, 10_000, 100_000])
def test_however_many_hosts_poll_they_stay_below_the_rate(hosts: int, draw: float) -> None:
    server = Pressure(draw=lambda: draw, hosts=hosts)
    idle, beaten = server.retry_s(True), server.retry_s(False)
    assert idle >= beaten > 0
    mean = Pressure(draw=lambda: 0.5, hosts=hosts).retry_s(False)
    assert hosts / mean <= pressure.POLLS_PER_S
    assert mean / 2 <= beaten <= mean * 3 / 2


def test_ten_thousand_clients_return_over_a_minute() -> None:
    assert Pressure(hosts=10_000).spread_s() == pytest.approx(60.0, rel=0.05)
    assert Pressure().spread_s(0) == 0.0
    assert Pressure().spread_s(10**9) == pressure.LONGEST_RETRY_S
