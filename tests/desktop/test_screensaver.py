"""The picture under the real xscreensaver, as a person without rights sees it. Leaves its screenshot behind."""

from __future__ import annotations

import os
import shutil

import msgspec
import psutil
import pytest
from desk_stand import idle_status
from PIL import Image
from throwaway import SHOTS, Person, wait

from dsage_client.door.words import Membership, Running
from dsage_client.guest.reasons import Reason
from dsage_client.install.screensaver import Saver
from dsage_client.saver.caption import GREEN

pytestmark = pytest.mark.slow

DISPLAY = ":79"
SETTINGS = """\
timeout:	1:00:00
lock:		False
splash:		False
fade:		False
unfade:		False
dpmsEnabled:	False
mode:		random
programs:	maze --root \\n\\
"""


def picture(person: Person, name: str) -> Image.Image:
    """What the screen shows; kept under a name."""
    shot = person.home / "shot.png"
    person.run("import", "-window", "root", str(shot))
    SHOTS.mkdir(parents=True, exist_ok=True)
    kept = SHOTS / f"screensaver-{name}.png"
    shutil.copyfile(shot, kept)
    with Image.open(kept) as seen:
        return seen.convert("RGB")


def shows(seen: Image.Image, colour: str) -> bool:
    """Whether a picture has some pixels of a colour."""
    wanted = tuple(bytes.fromhex(colour[1:]))
    return wanted in {each for _, each in seen.getcolors(seen.width * seen.height) or []}


def savers() -> list[psutil.Process]:
    """The processes that draw."""
    return [each for each in psutil.process_iter(["cmdline"]) if "saver" in (each.info["cmdline"] or [])]


@pytest.fixture
def screen(ada: Person) -> Person:
    """A person before a screen with xscreensaver, whose client computes."""
    client = ada.home / ".local/share/dsage/client"
    member = Membership(
        server="s", name="Newton's desk", url="", pages="", pseudonym="quiet-heron", reason=Reason.WORKING,
        sentence="", granted=41.5, team="Sievers",
    )  # fmt: skip
    unit = Running(
        server="s", unit=3, project="factor", title="Prime factors of an integer", fraction=0.6, scene="curves",
        shows={"curve": 12, "curves": 40, "b1": 50000},
    )  # fmt: skip
    client.mkdir(parents=True)
    status = idle_status(running=[unit], servers=[member], pid=os.getpid())
    (client / "status.json").write_bytes(msgspec.json.encode(status))
    (ada.home / ".xscreensaver").write_text(SETTINGS)
    assert Saver(ada.home, client).use().chosen
    for path in ada.home.rglob("*"):
        shutil.chown(path, ada.name, ada.name)
    ada.environ["DISPLAY"] = DISPLAY
    ada.start("Xvfb", DISPLAY, "-screen", "0", "1280x800x24", "-noreset", "-nolisten", "tcp", log="screensaver-xvfb")
    wait(lambda: "dimensions" in ada.run("xdpyinfo", check=False), "a screen")
    ada.start("xscreensaver", "--no-splash", log="screensaver-daemon")
    wait(lambda: "non-blanked" in ada.run("xscreensaver-command", "-time", check=False), "xscreensaver")
    return ada


def test_xscreensaver_shows_it_and_takes_it_away_at_a_touch(screen: Person) -> None:
    screen.run("xscreensaver-command", "-activate")
    wait(lambda: shows(picture(screen, "curves"), GREEN), "the picture")
    (drawing,) = savers()
    assert drawing.username() == screen.name
    assert "XSCREENSAVER_WINDOW" in drawing.environ()

    # Right after it was told to begin, xscreensaver takes no notice of the mouse.
    wait(lambda: _gone_after_a_move(screen, drawing), "its end")
    wait(lambda: not shows(picture(screen, "gone"), GREEN), "the screen as it was")


def _gone_after_a_move(person: Person, process: psutil.Process) -> bool:
    person.run("xdotool", "mousemove_relative", "60", "60", "sleep", "0.1", "mousemove_relative", "--", "-60", "-40")
    try:
        process.wait(1)
    except psutil.TimeoutExpired:
        return False
    return True
