"""Somebody who has never seen DSage installs it, joins, works, is interrupted, pauses, reads why, and uninstalls.

docs/desktop-walkthrough.md tells the same with the screenshots that this leaves in build/desktop.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from throwaway import DSAGE, SHOTS, Person, differences, invite, wait

pytestmark = pytest.mark.slow

SCREEN = "1280x800x24"
ICON = ("1196", "17")
"""Where the panel shows the first icon beside its clock."""
PANEL = Path(__file__).parent / "xfce4-panel.xml"
BROWSER = """#!/bin/sh
exec chromium --no-first-run --no-default-browser-check --password-store=basic --disable-gpu --test-type \\
  --window-size=1000,680 --window-position=20,60 "$@" >/dev/null 2>&1 &
"""


class Desk:
    """A screen with windows and a panel, and the person before it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._shots = 0

    def open(self) -> None:
        """Start the screen, the window manager and the panel, as a display manager does."""
        person = self.person
        person.environ |= {"DISPLAY": ":77", "BROWSER": "/usr/local/bin/browser", "XDG_CURRENT_DESKTOP": "XFCE"}
        person.start("Xvfb", ":77", "-screen", "0", SCREEN, "-noreset", "-nolisten", "tcp")
        wait(lambda: "dimensions" in person.run("xdpyinfo", check=False), "a screen")
        settings = person.home / ".config/xfce4/xfconf/xfce-perchannel-xml"
        person.run("mkdir", "-p", str(settings))
        person.run("cp", str(PANEL), str(settings / "xfce4-panel.xml"))
        person.start("openbox")
        person.start("xfce4-panel", "--disable-wm-check")
        person.run("xsetroot", "-solid", "#31465c", check=False)
        wait(lambda: "xfce4-panel" in person.run("xwininfo", "-root", "-tree").lower(), "a panel")

    def next_day(self) -> None:
        """Log out and in again. Systemd starts the agent by itself; here the desktop starts the entry of autostart."""
        self.person.log_out()
        self.person.log_in()
        self.open()
        self.person.start("gio", "launch", "/etc/xdg/autostart/dsage-tray.desktop", log="tray")

    def shot(self, name: str) -> None:
        """Keep what the screen shows."""
        self._shots += 1
        time.sleep(1.0)  # a browser paints when it likes, and nothing on the screen says when it is through
        self.person.run("import", "-window", "root", f"{self.person.home}/shot.png")
        SHOTS.mkdir(parents=True, exist_ok=True)
        (SHOTS / f"{self._shots}-{name}.png").write_bytes((self.person.home / "shot.png").read_bytes())
        (self.person.home / "shot.png").unlink()

    def status(self) -> dict[str, Any]:
        """Return what `dsage status` says."""
        said = self.person.run("dsage", "status", "--json", check=False)
        try:
            found: dict[str, Any] = json.loads(said)["data"]
        except (ValueError, KeyError):
            return {"reason": "", "sentence": said, "running": []}
        return found

    def touch(self) -> None:
        """Press a key, as somebody who comes back."""
        self.person.run("xdotool", "key", "Shift_L")

    def terminal(self, *command: str) -> subprocess.Popen[bytes]:
        """Open a terminal in which something runs."""
        look = (
            "-fa",
            "DejaVu Sans Mono",
            "-fs",
            "11",
            "-bg",
            "#1b2430",
            "-fg",
            "#e6edf3",
            "-geometry",
            "118x22+40+110",
        )
        said = f"{self.person.home}/terminal.log"
        shown = ["script", "-q", "-f", "-c", shlex.join(command), said]
        return self.person.start("xterm", *look, "-title", "Terminal", "-e", *shown, log="terminal")


@pytest.fixture
def desk(ada: Person) -> Desk:
    browser = Path("/usr/local/bin/browser")
    browser.write_text(BROWSER)
    browser.chmod(0o755)
    desk = Desk(ada)
    desk.open()
    return desk


@pytest.fixture
def link(server: dict[str, str]) -> Iterator[str]:
    """An invite to a server whose researcher has plenty to compute."""
    made = invite(server)
    run = [*DSAGE, "submit", "montecarlo", "-p", "d=6", "-p", "error=0.0005", "-p", "points=20000000"]
    with (SHOTS / "researcher.log").open("wb") as log:
        process = subprocess.Popen(run, env=server, stdout=log, stderr=log)
    yield made
    process.terminate()
    process.wait(20)


def test_a_first_day(deb: Path, desk: Desk, link: str) -> None:
    ada, before = desk.person, differences()

    subprocess.run(["dpkg", "-i", str(deb)], check=True, capture_output=True)
    assert "dsage.desktop" in ada.run("gio", "mime", "x-scheme-handler/dsage")
    ada.run("xfce4-popup-applicationsmenu")
    ada.run(
        "xdotool",
        "sleep",
        "1",
        "mousemove",
        "40",
        "154",
        "mousemove_relative",
        "2",
        "2",
        "sleep",
        "0.5",
        "key",
        "Right",
    )
    desk.shot("installed")
    ada.run("xdotool", "key", "Escape", "Escape", "mousemove", "700", "500")

    # Joining by the link, in a terminal.
    terminal = desk.terminal("dsage", "join", link)
    said = ada.home / "terminal.log"
    wait(lambda: said.exists() and "Join?" in said.read_text(), "a question whether she wants to")
    ada.run("xdotool", "key", "y", "e", "s", "Return")
    wait(lambda: desk.status()["running"], f"work; see {SHOTS}/terminal.log")
    desk.shot("joined")
    ada.run("xdotool", "key", "ctrl+c")
    wait(lambda: terminal.poll() is not None, "the end of what ran in the terminal")

    # From the next login on it starts by itself.
    desk.next_day()
    wait(lambda: desk.status()["reason"] in ("working", "in-use"), "the client that started with the session")
    ada.run("dsage", "prefs", "idle_after_s=8", "others_percent=100")
    wait(lambda: desk.status()["reason"] == "working", "work while nobody is there")
    desk.shot("working")

    # Somebody comes back, and reads why nothing is computed.
    desk.touch()
    wait(lambda: desk.status()["reason"] == "in-use", "the computer back in its owner's hands", 5)
    terminal = desk.terminal("sh", "-c", "dsage status; exec cat")
    desk.shot("interrupted")
    ada.run("xdotool", "key", "ctrl+d")
    wait(lambda: terminal.poll() is not None, "the end of the terminal")

    # Pausing by the icon beside the clock: its menu, "Pause" in it, the first way to pause.
    ada.run("xdotool", "mousemove", *ICON, "click", "3")
    wait(lambda: ada.run("xdotool", "search", "--onlyvisible", "--class", "wrapper-2.0", check=False), "a menu")
    ada.run("xdotool", "key", "Down", "Down", "Down", "Right")
    desk.shot("menu")
    ada.run("xdotool", "key", "Return")
    wait(lambda: desk.status()["reason"] == "paused", "a pause")

    # A click on the icon opens the manager.
    ada.run("xdotool", "mousemove", *ICON, "click", "1")
    wait(lambda: "DSage" in ada.run("xdotool", "getactivewindow", "getwindowname", check=False), "the manager's page")
    desk.shot("paused")
    ada.run("xdotool", "key", "ctrl+w")

    # Leaving: nothing is left of the person's part, then nothing of the computer's.
    terminal = desk.terminal("sh", "-c", "dsage leave --erase; exec cat")
    wait(lambda: "Go on?" in (ada.home / "terminal.log").read_text(), "a question whether she is sure")
    ada.run("xdotool", "key", "y", "Return")
    wait(lambda: not (ada.home / ".local/share/dsage").exists(), "an end of her part")
    desk.shot("left")
    ada.run("xdotool", "key", "ctrl+d")
    wait(lambda: terminal.poll() is not None, "the end of the terminal")
    subprocess.run(["dpkg", "-P", "dsage"], check=True, capture_output=True)
    assert not [name for name in differences() - before if "dsage" in name.lower()]
