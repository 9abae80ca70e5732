"""Somebody who listens to a sensor, and a bus with a desktop on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dsage_client.idle import Sensor
from dsage_client.idle.testing import FakeDesktop, PrivateBus


class Listener:
    """Hears a sensor's turns, and waits for them."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._news = threading.Condition()

    def listen(self, sensor: Sensor, idle_after_s: float = 60.0) -> None:
        sensor.open(idle_after_s, lambda: self._hear("idle"), lambda: self._hear("return"))

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when it holds, at the latest after 10 s."""
        end = time.monotonic() + 10.0
        with self._news:
            while not condition():
                assert time.monotonic() < end, self.heard
                self._news.wait(0.01)

    def until_heard(self, *heard: str) -> None:
        self.until(lambda: self.heard == list(heard))

    def _hear(self, turn: str) -> None:
        with self._news:
            self.heard.append(turn)
            self._news.notify_all()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def bus() -> Iterator[PrivateBus]:
    if PrivateBus.lacks():
        pytest.skip("dbus-daemon is not installed")
    pytest.importorskip("dbus_fast")
    with PrivateBus() as bus:
        yield bus


@pytest.fixture
def desktop(bus: PrivateBus) -> Iterator[FakeDesktop]:
    with FakeDesktop(bus.address) as desktop:
        yield desktop
