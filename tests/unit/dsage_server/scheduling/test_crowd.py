"""The hosts of one process: who waits in turn, what live ones can hold, whose row is to be written."""

from __future__ import annotations

from dsage_server.scheduling.crowd import LIVE_S, Crowd, Guest
from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.terms import HostOffer


def met(crowd: Crowd, host: int, capacity: int = 1, ticks: float = 0.0) -> Guest:
    """A host was met and called."""
    guest = crowd.meet(host, HostView(host=host, volunteer=host, offer=HostOffer(), record=HostRecord()))
    guest.capacity = capacity
    crowd.seen(host, guest, ticks)
    return guest


def test_idle_hosts_are_called_in_turn() -> None:
    crowd = Crowd()
    for host in range(5):
        crowd.idles(host)
    assert crowd.call_idle(2) == [0, 1]
    assert crowd.call_idle(2) == [2, 3]
    crowd.busy(4)
    assert crowd.call_idle(10) == [0, 1, 2, 3]
    assert crowd.call_idle(0) == []


def test_a_host_that_was_called_and_waits_again_goes_on_in_its_turn() -> None:
    crowd = Crowd()
    for host in range(3):
        crowd.idles(host)
    assert crowd.call_idle(1) == [0]
    crowd.busy(0)
    crowd.idles(0)
    assert crowd.call_idle(3) == [1, 2, 0]


def test_only_hosts_that_called_lately_count() -> None:
    crowd = Crowd()
    met(crowd, 1, capacity=4, ticks=0.0)
    met(crowd, 2, capacity=3, ticks=LIVE_S)
    assert crowd.capacity(LIVE_S) == 3
    assert (crowd.live, len(crowd)) == (1, 2)


def test_the_count_is_taken_once_a_second() -> None:
    crowd = Crowd()
    met(crowd, 1, capacity=4, ticks=10.0)
    assert crowd.capacity(10.0) == 4
    met(crowd, 2, capacity=4, ticks=10.5)
    assert crowd.capacity(10.5) == 4
    assert crowd.capacity(11.0) == 8


def test_rows_are_written_for_hosts_that_called_since() -> None:
    crowd = Crowd()
    quiet, busy = met(crowd, 1, ticks=1.0), met(crowd, 2, ticks=30.0)
    quiet.noted = 2.0
    assert [host for host, _ in crowd.to_note(40.0, 20.0)] == [2]
    busy.noted = 40.0
    crowd.seen(2, busy, 41.0)
    assert [host for host, _ in crowd.to_note(50.0, 20.0)] == []
    assert [host for host, _ in crowd.to_note(60.0, 20.0)] == [2]


def test_a_host_is_met_once() -> None:
    crowd = Crowd()
    first = met(crowd, 1)
    assert met(crowd, 1) is first
    assert crowd.get(2) is None
