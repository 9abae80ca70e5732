"""ext-idle-notify-v1, spoken with a compositor that exists only here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage_client.idle.testing import FakeCompositor
from dsage_client.idle.wayland import Line, Wayland


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("w")


@pytest.fixture(params=[1, 2])
def compositor(request: pytest.FixtureRequest, folder: Path) -> Iterator[FakeCompositor]:
    with FakeCompositor(folder, version=request.param) as compositor:
        yield compositor


@pytest.fixture
def newest(folder: Path) -> Iterator[FakeCompositor]:
    with FakeCompositor(folder) as compositor:
        yield compositor


def opened(compositor: FakeCompositor, listener, idle_after_s: float = 60.0) -> Wayland:
    sensor = Wayland(compositor.environment)
    listener.listen(sensor, idle_after_s)
    compositor.wait_for(2 if ("ext_idle_notifier_v1", 2) in compositor._globals else 1)
    return sensor


def test_the_user_goes_and_comes_back(compositor: FakeCompositor, listener) -> None:
    sensor = opened(compositor, listener)
    assert (sensor.presence().idle_s, sensor.presence().quality) == (0.0, "event")
    compositor.untouched(59)
    compositor.untouched(1)
    listener.until_heard("idle")
    assert 60 <= (sensor.presence().idle_s or 0) < 65
    compositor.touch()
    listener.until_heard("idle", "return")
    assert sensor.presence().idle_s == 0.0
    sensor.close()


def test_a_film_is_told_from_a_touch(newest: FakeCompositor, listener) -> None:
    sensor = opened(newest, listener)
    newest.untouched(60)
    listener.until_heard("idle")
    newest.inhibit()
    listener.until_heard("idle", "return")
    assert sensor.presence().film == "a program"
    assert (sensor.presence().idle_s or 0) >= 60
    newest.inhibit(False)
    listener.until_heard("idle", "return", "idle")
    assert sensor.presence().film == ""
    sensor.close()


def test_a_film_is_in_use_where_it_cannot_be_told(folder: Path, listener) -> None:
    with FakeCompositor(folder, version=1) as compositor:
        sensor = opened(compositor, listener)
        compositor.untouched(60)
        listener.until_heard("idle")
        compositor.inhibit()
        listener.until_heard("idle", "return")
        assert sensor.presence().idle_s == 0.0
        sensor.close()


def test_another_threshold_counts_anew(newest: FakeCompositor, listener) -> None:
    sensor = opened(newest, listener)
    sensor.threshold(5)
    listener.until(lambda: newest.watched == [(5.0, True), (5.0, False)])
    newest.untouched(5)
    listener.until_heard("idle")
    sensor.threshold(7)
    listener.until_heard("idle", "return")
    assert sensor.presence().idle_s == 0.0
    sensor.close()


def test_all_seats_have_to_be_idle(folder: Path, listener) -> None:
    with FakeCompositor(folder, version=1, seats=2) as compositor:
        sensor = Wayland(compositor.environment)
        listener.listen(sensor, 60.0)
        compositor.wait_for(2)
        first, second = sensor._watched
        sensor._hear(first, 0)
        assert listener.heard == []
        sensor._hear(second, 0)
        assert listener.heard == ["idle"]
        sensor.close()


def test_a_compositor_that_crashes_leaves_its_user_unknown(newest: FakeCompositor, listener) -> None:
    sensor = opened(newest, listener)
    newest.untouched(60)
    listener.until_heard("idle")
    newest.crash()
    listener.until_heard("idle", "return")
    assert (sensor.presence().idle_s, sensor.presence().quality) == (None, "none")
    sensor.threshold(5)
    sensor.close()


def test_nothing_is_told_after_the_end(newest: FakeCompositor, listener) -> None:
    sensor = opened(newest, listener)
    sensor.close()
    newest.wait_for(0)
    newest.untouched(60)
    assert listener.heard == []


@pytest.mark.parametrize("environment", [{}, {"WAYLAND_DISPLAY": "wayland-0"}, {"WAYLAND_DISPLAY": "/nowhere"}])
def test_no_compositor_is_an_oserror(environment: dict[str, str], listener) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        listener.listen(Wayland(environment))


def test_a_compositor_without_idle_times_is_an_oserror(folder: Path, listener) -> None:
    with FakeCompositor(folder, version=0) as compositor, pytest.raises(OSError, match="lacks ext-idle-notify-v1"):
        listener.listen(Wayland(compositor.environment))


def test_a_compositor_without_a_seat_is_an_oserror(folder: Path, listener) -> None:
    with FakeCompositor(folder, seats=0) as compositor, pytest.raises(OSError, match="no seat"):
        listener.listen(Wayland(compositor.environment))


def test_messages_come_whole_however_they_are_cut() -> None:
    here, there = socket.socketpair()
    line = Line(there)
    whole = b"\x03\0\0\0\x01\0\x0c\0abcd" + b"\x04\0\0\0\0\0\x08\0"

    def cut() -> None:
        for at in range(len(whole)):
            here.sendall(whole[at : at + 1])
        here.close()

    thread = threading.Thread(target=cut)
    thread.start()
    messages = line.messages()
    assert (next(messages), next(messages)) == ((3, 1, b"abcd"), (4, 0, b""))
    with pytest.raises(OSError, match="gone"):
        next(messages)
    thread.join()
    line.close()
