"""Terminals: when somebody last typed into any of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dsage_client.idle import terminals, tty
from dsage_client.idle.terminals import NEVER_S, terminals_idle_s
from dsage_client.idle.tty import Tty


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pts").mkdir()
    monkeypatch.setattr(terminals.psutil, "users", lambda: [])
    return tmp_path


def typed(path: Path, ago_s: float) -> None:
    path.touch()
    os.utime(path, (time.time() - ago_s, time.time()))


@pytest.mark.parametrize(
    ("used", "idle_s"),
    [
        ({}, NEVER_S),
        ({"tty1": 500, "pts/3": 40}, 40),
        ({"tty1": 30, "pts/3": 400}, 30),
        (
            {"pts/ptmx": 1, "ttyUSB0": 1, "ttyS0": 1, "null": 1},
            NEVER_S,
        ),  # no terminals of people
        ({"tty1": -100}, 0),  # a clock that was set back
    ],
)
def test_the_last_key_in_any_terminal_counts(devices: Path, used: dict[str, float], idle_s: float) -> None:
    for name, ago_s in used.items():
        typed(devices / name, ago_s)
    assert terminals_idle_s(devices) == pytest.approx(idle_s, abs=5)


def test_a_serial_line_counts_if_somebody_is_logged_in_on_it(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(devices / "ttyS0", 20)
    users = [SimpleNamespace(terminal="ttyS0"), SimpleNamespace(terminal=None), SimpleNamespace(terminal="pts/77")]
    monkeypatch.setattr(terminals.psutil, "users", lambda: users)
    assert terminals_idle_s(devices) == pytest.approx(20, abs=5)


def test_typing_over_ssh_is_noticed(devices: Path, monkeypatch: pytest.MonkeyPatch, listener) -> None:
    typed(devices / "pts" / "0", 500)
    monkeypatch.setattr(tty, "graphical", lambda: False)
    monkeypatch.setattr(tty, "terminals_idle_s", lambda: terminals_idle_s(devices))
    monkeypatch.setattr(Tty, "away_every_s", 0.01)
    sensor = Tty()
    listener.listen(sensor, 60)
    listener.until_heard("idle")
    assert sensor.presence().quality == "poll"
    typed(devices / "pts" / "0", 0)
    listener.until_heard("idle", "return")
    sensor.close()


def test_beside_a_desktop_terminals_do_not_tell(monkeypatch: pytest.MonkeyPatch, listener) -> None:
    monkeypatch.setattr(tty, "graphical", lambda: True)
    sensor = Tty()
    with pytest.raises(OSError, match="desktop"):
        listener.listen(sensor)
    assert sensor.presence().idle_s is None
