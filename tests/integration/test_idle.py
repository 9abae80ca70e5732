"""Idle sensors on a real X server, with real key presses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from idle_lab import Keyboard

from dsage_client.guest.seen import Presence
from dsage_client.idle.choose import combined
from dsage_client.idle.wire import COOKIE
from dsage_client.idle.x11 import X11

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("Xvfb", "xdotool", "xprop"))), reason="Xvfb, xdotool and xprop are needed"
)
IDLE_AFTER_S = 0.3


@dataclass
class Display:
    """An X server."""

    process: subprocess.Popen[str]
    environment: dict[str, str]

    @classmethod
    def start(cls, *arguments: str, **environment: str) -> Display:
        process = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", "320x200x24", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        name = f":{process.stdout.readline().strip()}"
        return cls(process, {"DISPLAY": name, "PATH": os.environ["PATH"], **environment})

    def press(self) -> None:
        subprocess.run(["xdotool", "key", "a"], env=self.environment, check=True, timeout=20)

    def prop(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["xprop", "-root", *arguments], env=self.environment, check=True, timeout=20, capture_output=True, text=True
        )
        return ran.stdout

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        number = self.environment["DISPLAY"][1:]
        for left in (f"/tmp/.X11-unix/X{number}", f"/tmp/.X{number}-lock"):
            Path(left).unlink(missing_ok=True)


@dataclass
class Heard:
    """What a sensor told."""

    turns: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    news: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, turn: str) -> None:
        with self.news:
            self.turns.append(turn)
            self.threads.add(threading.current_thread().name)
            self.news.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20.0
        with self.news:
            while not condition():
                assert time.monotonic() < end, self.turns
                self.news.wait(0.02)


@pytest.fixture
def display() -> Iterator[Display]:
    display = Display.start()
    yield display
    display.end()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def sensor(display: Display, heard: Heard) -> Iterator[X11]:
    sensor = X11(display.environment)
    sensor.open(IDLE_AFTER_S, lambda: heard.tell("idle"), lambda: heard.tell("return"))
    yield sensor
    sensor.close()


def test_a_key_press_is_told_at_once(display: Display, sensor: X11, heard: Heard) -> None:
    for presses in range(1, 4):
        heard.until(lambda presses=presses: heard.turns == ["idle", "return"] * (presses - 1) + ["idle"])  # type: ignore[misc]
        assert (sensor.presence().idle_s or 0.0) >= IDLE_AFTER_S
        display.press()
        heard.until(lambda presses=presses: heard.turns[: 2 * presses] == ["idle", "return"] * presses)  # type: ignore[misc]
    assert heard.threads == {"idle-x11"}
    assert sensor.presence().quality == "event"


def test_a_key_in_the_moment_of_going_is_not_missed(display: Display, heard: Heard) -> None:
    keyboard = Keyboard(display.environment)
    sensor = X11(display.environment)

    def leave() -> None:
        keyboard.press()
        heard.tell("idle")

    sensor.open(0.02, leave, lambda: heard.tell("return"))
    heard.until(lambda: heard.turns.count("return") >= 30)
    sensor.close()
    keyboard.close()


def test_in_the_handler_the_user_is_back(display: Display, heard: Heard) -> None:
    seen: list[Presence] = []
    sensor = X11(display.environment)
    sensor.open(IDLE_AFTER_S, lambda: heard.tell("idle"), lambda: seen.append(sensor.presence()))
    heard.until(lambda: heard.turns == ["idle"])
    display.press()
    heard.until(lambda: bool(seen))
    assert (seen[0].idle_s or 0.0) < IDLE_AFTER_S
    sensor.close()


def test_another_threshold(sensor: X11, heard: Heard) -> None:
    heard.until(lambda: heard.turns == ["idle"])
    sensor.threshold(3600.0)
    heard.until(lambda: heard.turns == ["idle", "return"])
    sensor.threshold(0.01)
    heard.until(lambda: heard.turns == ["idle", "return", "idle"])


def test_who_was_away_before_is_idle_at_once(display: Display, heard: Heard) -> None:
    first = X11(display.environment)
    first.open(IDLE_AFTER_S, lambda: heard.tell("idle"), lambda: None)
    heard.until(lambda: heard.turns == ["idle"])
    second = X11(display.environment)
    second.open(IDLE_AFTER_S, lambda: heard.tell("idle"), lambda: None)
    heard.until(lambda: heard.turns == ["idle", "idle"])
    first.close()
    second.close()


def test_a_dead_display_ends_nothing_and_leaves_its_user_unknown(display: Display, sensor: X11, heard: Heard) -> None:
    heard.until(lambda: heard.turns == ["idle"])
    display.process.kill()
    display.process.wait()
    heard.until(lambda: heard.turns == ["idle", "return"])
    assert sensor.presence() == Presence(idle_s=None, sensor="x11")
    sensor.threshold(1.0)
    assert sensor.presence().idle_s is None


def test_a_display_that_hangs_is_unknown_until_it_goes_on(display: Display, sensor: X11, heard: Heard) -> None:
    heard.until(lambda: heard.turns == ["idle"])
    display.process.send_signal(signal.SIGSTOP)
    assert sensor.presence().idle_s is None
    display.process.send_signal(signal.SIGCONT)
    heard.until(lambda: sensor.presence().idle_s is not None)
    display.press()
    heard.until(lambda: heard.turns[:2] == ["idle", "return"])


def test_a_full_screen_window_is_seen(display: Display, sensor: X11) -> None:
    assert not sensor.presence().full_screen
    root = display.prop("-f", "WM_NAME", "8s", "-set", "WM_NAME", "root")
    assert root == ""
    window = subprocess.run(
        ["xdotool", "search", "--maxdepth", "0", "--name", "^root$"],
        env=display.environment, check=True, capture_output=True, text=True, timeout=20,
    ).stdout.split()[0]  # fmt: skip
    display.prop("-f", "_NET_ACTIVE_WINDOW", "32x", "-set", "_NET_ACTIVE_WINDOW", window)
    assert not sensor.presence().full_screen
    display.prop("-f", "_NET_WM_STATE", "32a", "-set", "_NET_WM_STATE", "_NET_WM_STATE_ABOVE")
    assert not sensor.presence().full_screen
    display.prop("-f", "_NET_WM_STATE", "32a", "-set", "_NET_WM_STATE", "_NET_WM_STATE_FULLSCREEN")
    assert sensor.presence().full_screen
    display.prop("-f", "_NET_ACTIVE_WINDOW", "32x", "-set", "_NET_ACTIVE_WINDOW", "0x7777777")
    assert not sensor.presence().full_screen


def test_a_display_that_wants_a_cookie(tmp_path: Path) -> None:
    def entry(number: bytes, cookie: bytes) -> bytes:
        fields = (b"elsewhere", number, COOKIE, cookie)
        return struct.pack(">H", 256) + b"".join(struct.pack(">H", len(each)) + each for each in fields)

    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_bytes(entry(b"", bytes(16)) + entry(b"77", b"x" * 16) + entry(b"", b"s" * 16) + b"\0")
    wrong.write_bytes(entry(b"", bytes(16)))
    (tmp_path / "server").write_bytes(entry(b"", b"s" * 16))
    display = Display.start("-auth", str(tmp_path / "server"))
    try:
        for authority in (wrong, tmp_path / "none"):
            with pytest.raises(OSError, match="refused"):
                X11({**display.environment, "XAUTHORITY": str(authority)}).open(1.0, lambda: None, lambda: None)
        sensor = X11({**display.environment, "XAUTHORITY": str(right)})
        sensor.open(1.0, lambda: None, lambda: None)
        assert sensor.presence().idle_s is not None
        sensor.close()
    finally:
        display.end()


def test_all_that_a_plain_x_session_has(display: Display, heard: Heard) -> None:
    sensor = combined({**display.environment, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"})
    sensor.open(IDLE_AFTER_S, lambda: heard.tell("idle"), lambda: heard.tell("return"))
    heard.until(lambda: heard.turns == ["idle"])
    assert (sensor.name, sensor.presence().quality, set(sensor.why)) == ("x11", "event", {"logind", "inhibitors"})
    display.press()
    heard.until(lambda: heard.turns[:2] == ["idle", "return"])
    display.process.kill()
    display.process.wait()
    heard.until(lambda: sensor.presence().idle_s is None)
    sensor.close()


def woken(threads: Iterable[threading.Thread]) -> int:
    """Return how often threads of this process have gone to sleep so far."""
    status = "".join(Path(f"/proc/self/task/{thread.native_id}/status").read_text() for thread in threads)
    return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)))


def test_waiting_costs_nothing(display: Display) -> None:
    """Nothing is asked while nobody comes: the sensor's thread sleeps through."""
    others = set(threading.enumerate())
    sensor = X11(display.environment)
    idle = threading.Event()
    sensor.open(0.05, idle.set, lambda: None)
    assert idle.wait(20.0)
    before = woken(own := set(threading.enumerate()) - others)
    assert not threading.Event().wait(1.0)
    assert woken(own) - before < 5
    sensor.close()
