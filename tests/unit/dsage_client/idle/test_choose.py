"""Which sensor fits where, and several as one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle import choose as choosing
from dsage_client.idle.choose import Combined, additions, choose, combined, session_address


class Played:
    """A sensor whose knowledge a test sets."""

    quality: Quality = "event"

    def __init__(self, name: str = "played", works: bool = True, **seen: object) -> None:
        self.name, self.works, self.opened = name, works, 0
        self.seen = Presence(**{"idle_s": None, "quality": "event", "sensor": name, **seen})
        self.after_s = 0.0
        self.idle: Callable[[], None] = lambda: None
        self.back: Callable[[], None] = lambda: None

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        if not self.works:
            raise OSError(f"{self.name} is not here")
        self.opened += 1
        self.after_s, self.idle, self.back = idle_after_s, on_idle, on_return

    def presence(self) -> Presence:
        return self.seen

    def threshold(self, idle_after_s: float) -> None:
        self.after_s = idle_after_s

    def close(self) -> None:
        self.opened -= 1


@pytest.mark.parametrize(
    ("environment", "platform", "names"),
    [
        ({"DISPLAY": ":0"}, "linux", ["x11", "mutter", "freedesktop"]),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", ["wayland", "mutter", "freedesktop"]),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}, "linux", ["wayland", "mutter", "freedesktop"]),
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/bus"}, "linux", ["tty"]),
        ({}, "linux", ["tty"]),
        ({}, "win32", ["windows"]),
        ({}, "darwin", ["macos"]),
    ],
)
def test_the_sensors_of_a_session(environment: dict[str, str], platform: str, names: list[str]) -> None:
    assert [sensor.name for sensor in choose(environment, platform)] == names


@pytest.mark.parametrize(("platform", "names"), [("linux", ["logind", "inhibitors"]), ("win32", []), ("darwin", [])])
def test_what_adds_to_them(platform: str, names: list[str]) -> None:
    assert [sensor.name for sensor in additions({}, platform)] == names


def test_where_the_bus_of_a_session_is(tmp_path: Path) -> None:
    assert session_address({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/a"}) == "unix:path=/a"
    assert session_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == ""
    (tmp_path / "bus").touch()
    assert session_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path}/bus"


def test_the_first_that_works_is_used(listener) -> None:
    first, second, third = Played("first", works=False), Played("second", idle_s=7.0), Played("third")
    sensor = Combined([first, second, third])
    listener.listen(sensor, 60)
    assert (sensor.name, sensor.quality) == ("second", "event")
    assert (second.opened, third.opened) == (1, 0)
    assert sensor.why == {"first": "first is not here"}
    assert sensor.presence() == Presence(idle_s=7.0, quality="event", sensor="second")
    sensor.threshold(30)
    assert second.after_s == 30
    sensor.close()
    assert second.opened == 0


def test_without_any_the_user_is_unknown_and_it_says_why(listener) -> None:
    sensor = Combined([Played("first", works=False)], [Played(film="player")])
    with pytest.raises(OSError, match="first: first is not here"):
        listener.listen(sensor)
    assert (sensor.presence().idle_s, sensor.presence().quality, sensor.quality) == (None, "none", "none")
    assert sensor.presence().film == "player"
    sensor.close()


def test_the_least_idle_counts() -> None:
    first, more = Played(idle_s=500.0, full_screen=True), Played("more", idle_s=3.0, locked=True)
    sensor = Combined([first], [more, Played("film", film="player"), Played("bad", works=False)])
    sensor.open(60, lambda: None, lambda: None)
    assert sensor.presence() == Presence(
        idle_s=3.0, quality="event", sensor="played", film="player", full_screen=True, locked=True
    )
    sensor.close()


def test_idle_is_told_when_all_agree(listener) -> None:
    first, film = Played(idle_s=500.0), Played(film="player")
    sensor = Combined([first], [film])
    listener.listen(sensor, 60)
    first.idle()
    assert listener.heard == []
    film.seen = Presence(idle_s=None)
    film.idle()
    assert listener.heard == ["idle"]
    film.back()
    assert listener.heard == ["idle", "return"]
    sensor.close()
    first.idle()
    first.back()
    assert listener.heard == ["idle", "return"]


def test_a_sensor_that_has_gone_is_looked_for_again(listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "AGAIN_S", 0.0)
    first, second = Played("first", idle_s=1.0), Played("second", idle_s=2.0)
    sensor = Combined([first, second])
    listener.listen(sensor)
    assert sensor.name == "first"
    first.works, first.seen = False, Presence(idle_s=None)
    assert sensor.presence().idle_s is None
    listener.until(lambda: sensor.presence().idle_s is not None)
    assert sensor.name == "second"
    assert sensor.presence().idle_s == 2.0
    sensor.close()
    assert (first.opened, second.opened) == (0, 0)


def test_a_sensor_that_hangs_for_a_moment_is_kept(listener, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(choosing.time, "monotonic", lambda: now[0])
    first, second = Played("first", idle_s=1.0), Played("second", idle_s=2.0)
    sensor = Combined([first, second])
    listener.listen(sensor)
    known, first.works = first.seen, False
    for _ in range(3):
        now[0] += choosing.AGAIN_S - 1
        first.seen = Presence(idle_s=None)
        assert sensor.presence().idle_s is None
        now[0] += choosing.AGAIN_S - 1
        assert sensor.presence().idle_s is None
        first.seen = known
        assert sensor.presence().idle_s == 1.0
    assert (sensor.name, first.opened, second.opened) == ("first", 1, 0)
    sensor.close()


def test_every_module_imports_without_display_bus_or_libraries() -> None:
    folder = Path(choosing.__file__).parent
    names = [
        ".".join(("dsage_client", "idle", *path.relative_to(folder).with_suffix("").parts))
        for path in folder.rglob("*.py")
    ]
    code = (
        "import importlib, sys\n"
        "for name in ('dbus_fast', 'gi', 'pystray', 'Xlib', 'pywayland'): sys.modules[name] = None\n"
        f"for name in {[name.removesuffix('.__init__') for name in names]!r}: importlib.import_module(name)\n"
        "from dsage_client.idle.choose import combined\n"
        "try: combined({}).open(60, print, print)\n"
        "except OSError as error: assert 'desktop' in str(error)\n"
    )
    keep = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH")}
    ran = subprocess.run([sys.executable, "-c", code], env=keep, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_session_with_nothing_is_unknown(listener) -> None:
    sensor = combined({"DISPLAY": ":7777", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"}, "linux")
    with pytest.raises(OSError, match=r"x11: .*mutter: .*bus"):
        listener.listen(sensor)
    assert sensor.presence() == Presence(idle_s=None)
    sensor.close()
