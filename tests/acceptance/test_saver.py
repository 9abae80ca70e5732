"""The screensaver as a display meets it: a real process that draws in a window of somebody else, and ends when told."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from desk_stand import idle_status

from dsage_client.door.words import Membership, Running
from dsage_client.guest.reasons import Reason
from dsage_client.saver.caption import GREEN
from dsage_client.saver.shapes import BACK

tkinter = pytest.importorskip("tkinter", reason="Debian calls it python3-tk", exc_type=ImportError)
pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="an X server and xdotool are needed"
)

HOLDER = """
import sys, tkinter
root = tkinter.Tk()
root.geometry("800x600+0+0")
root.overrideredirect(True)
root.update()
print(root.winfo_id(), flush=True)
root.mainloop()
"""
BLACK = bytes.fromhex(BACK[1:])
BAR = bytes.fromhex(GREEN[1:])
"""The colour of the bar that shows how far a unit is."""


@pytest.fixture(scope="module")
def display() -> Iterator[dict[str, str]]:
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", "1000x700x24"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        try:
            yield {"DISPLAY": f":{number}", "PATH": os.environ["PATH"], "LANGUAGE": "en"}
        finally:
            server.terminate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "client").mkdir()
    return tmp_path


@contextmanager
def holder(display: dict[str, str]) -> Iterator[str]:
    """A window of another program, as a screensaver's daemon has."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], env=display, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def saver(home: Path, display: dict[str, str], *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    environment = display | {"HOME": str(home), "DSAGE_HOME": str(home)} | more
    command = [sys.executable, "-m", "dsage_client.saver", *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def write(home: Path, **fields: object) -> None:
    member = Membership(
        server="s", name="Lab", url="", pages="", pseudonym="quiet-heron", reason=Reason.WORKING, sentence=""
    )
    unit = Running(server="s", unit=3, project="factor", title="Factors", fraction=0.5, scene="spectrum")
    status = idle_status(running=[unit], servers=[member])
    for name, value in fields.items():
        setattr(status, name, value)
    part = home / "client" / "status.part"
    part.write_bytes(msgspec.json.encode(status))
    part.replace(home / "client" / "status.json")


def colours(display: dict[str, str]) -> set[bytes]:
    """Return the colours that the screen shows, as another client of the display sees them."""
    program = (
        "import sys, struct; from dsage_client.idle.wire import Connection; import os; c = Connection(os.environ);"
        "r = c.ask(struct.pack('<BBHIhhHHI', 73, 2, 5, c.root, 0, 0, 800, 600, 0xFFFFFFFF));"
        "sys.stdout.buffer.write(r[32:])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=display, capture_output=True, check=True)
    return {bytes((red, green, blue)) for blue, green, red, _ in struct.iter_unpack("4B", done.stdout)}


def until(true: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come about"


@pytest.mark.parametrize("how", ["environment", "window-id", "windows"])
def test_it_draws_in_the_window_that_it_is_given_and_ends_at_once(
    home: Path, display: dict[str, str], how: str
) -> None:
    write(home)
    with holder(display) as window:
        given = {
            "environment": ((["--root"]), {"XSCREENSAVER_WINDOW": hex(int(window))}),
            "window-id": (["-window-id", hex(int(window))], {}),
            "windows": (["/p", window], {}),
        }[how]
        with saver(home, display, *given[0], **given[1]) as process:
            until(lambda: len(colours(display)) > 20)
            assert BLACK in colours(display)
            assert psutil.Process(process.pid).nice() == 19
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == -signal.SIGTERM


def test_it_ends_with_the_window(home: Path, display: dict[str, str]) -> None:
    write(home)
    with holder(display) as window, saver(home, display, "-window-id", window) as process:
        until(lambda: len(colours(display)) > 20)
        subprocess.run(["xdotool", "windowkill", window], env=display, check=True)
        process.wait(30)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("wrong", ["missing", "damaged", "taken away", "of another kind"])
def test_whatever_becomes_of_the_status_it_goes_on(home: Path, display: dict[str, str], wrong: str) -> None:
    file = home / "client" / "status.json"
    if wrong != "missing":
        write(home)
    with holder(display) as window, saver(home, display, "-window-id", window) as process:
        until(lambda: len(colours(display)) > 5)
        if wrong != "missing":
            until(lambda: BAR in colours(display))
        if wrong == "damaged":
            file.write_bytes(b'{"at": 1, "running": [')
        elif wrong == "taken away":
            file.unlink()
        elif wrong == "of another kind":
            file.write_text("[]")
        until(lambda: BAR not in colours(display))
        assert BLACK in colours(display)
        write(home)
        until(lambda: BAR in colours(display))
        assert process.poll() is None


@pytest.mark.parametrize("touch", [("click", "1"), ("mousemove_relative", "40", "40")])
def test_the_full_screen_view_ends_when_somebody_comes_back(
    home: Path, display: dict[str, str], touch: tuple[str, ...]
) -> None:
    write(home)
    subprocess.run(["xdotool", "mousemove", "300", "300"], env=display, check=True)
    with saver(home, display, "--full-screen") as process:
        until(lambda: len(colours(display)) > 20)
        until(lambda: _touched(display, touch, process), 20)
        assert process.returncode == 0


@pytest.mark.skipif(not shutil.which("openbox"), reason="a window manager is needed: openbox")
def test_a_key_ends_it_whatever_window_had_the_keys_before(home: Path, display: dict[str, str]) -> None:
    write(home)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(["openbox"], env=display | {"HOME": str(home)}, **quiet) as manager,  # type: ignore[call-overload]
        saver(home, display) as other,
    ):
        try:
            until(lambda: BAR in colours(display))
            with saver(home, display, "--full-screen") as process:
                until(lambda: _touched(display, ("key", "a"), process), 20)
                assert process.returncode == 0
            assert other.poll() is None
        finally:
            manager.terminate()


def _touched(display: dict[str, str], touch: tuple[str, ...], process: subprocess.Popen[str]) -> bool:
    subprocess.run(["xdotool", *touch], env=display, check=True)
    try:
        return process.wait(1) is not None
    except subprocess.TimeoutExpired:
        return False


def test_a_window_that_is_not_there_is_a_sentence(home: Path, display: dict[str, str]) -> None:
    with saver(home, display, "-window-id", "0x7fffff") as process:
        _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "cannot draw" in told
    assert "Traceback" not in told


def test_it_opens_no_socket_but_the_display_s_and_no_file_of_the_client_but_one(
    home: Path, display: dict[str, str]
) -> None:
    write(home)
    (home / "client" / "client.key").write_text("secret")
    (home / "client" / "client.key").chmod(0)
    with holder(display) as window, saver(home, display, "-window-id", window) as process:
        until(lambda: len(colours(display)) > 20)
        known = psutil.Process(process.pid)
        assert list(known.net_connections("inet")) == []
        assert [each.path for each in known.open_files() if str(home) in each.path] == []
