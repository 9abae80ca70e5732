"""The icon in a real panel: seen, clicked with the mouse, and driven by the keyboard. Leaves its screenshots behind."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from desk_stand import Stand
from PIL import Image
from throwaway import ROOT, SHOTS, Person, wait

from dsage_client.guest.reasons import Reason
from dsage_client.tray import icons

pytestmark = pytest.mark.slow

DISPLAY = ":78"
SIZE = (1024, 640)
PANEL_HEIGHT = 40
LAYOUT = Path(__file__).parent / "xfce4-panel.xml"


class Screen:
    """A screen with a panel, and the person before it."""

    def __init__(self, person: Person) -> None:
        self.person = person

    def open(self) -> None:
        """Start the screen, the window manager and the panel."""
        person = self.person
        person.environ |= {"DISPLAY": DISPLAY, "BROWSER": "/bin/true %s", "XDG_CURRENT_DESKTOP": "XFCE"}
        size = "x".join(map(str, SIZE))
        person.start("Xvfb", DISPLAY, "-screen", "0", f"{size}x24", "-noreset", "-nolisten", "tcp", log="panel-xvfb")
        wait(lambda: "dimensions" in person.run("xdpyinfo", check=False), "a screen")
        settings = person.home / ".config/xfce4/xfconf/xfce-perchannel-xml"
        person.run("mkdir", "-p", str(settings))
        person.run("cp", str(LAYOUT), str(settings / "xfce4-panel.xml"))
        person.start("openbox", log="panel-openbox")
        person.start("xfce4-panel", "--disable-wm-check", log="panel-panel")
        wait(lambda: "xfce4-panel" in person.run("xwininfo", "-root", "-tree").lower(), "a panel")

    def picture(self, name: str) -> Image.Image:
        """What the screen shows; kept under a name."""
        shot = self.person.home / "shot.png"
        self.person.run("import", "-window", "root", str(shot))
        SHOTS.mkdir(parents=True, exist_ok=True)
        kept = SHOTS / f"panel-{name}.png"
        shutil.copyfile(shot, kept)
        with Image.open(kept) as picture:
            return picture.convert("RGB")

    def icon(self, colour: icons.Colour, name: str) -> tuple[int, int]:
        """Wait until the panel shows an icon of this colour; return where."""
        found: list[tuple[int, int]] = []

        def seen() -> bool:
            picture = self.picture(name)
            found[:] = [
                (x, y)
                for x in range(SIZE[0])
                for y in (*range(PANEL_HEIGHT), *range(SIZE[1] - PANEL_HEIGHT, SIZE[1]))
                if all(abs(a - b) < 24 for a, b in zip(_pixel(picture, x, y), colour, strict=True))
            ]
            return len(found) > 10

        wait(seen, f"an icon with {colour}")
        return sum(x for x, _y in found) // len(found), sum(y for _x, y in found) // len(found)

    def click(self, at: tuple[int, int], button: int) -> None:
        """Press a button of the mouse somewhere."""
        self.person.run("xdotool", "mousemove", *map(str, at), "click", str(button))

    def press(self, *keys: str) -> None:
        """Press keys, as slowly as people do."""
        self.person.run("xdotool", "key", "--delay", "200", *keys)


def _pixel(picture: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


@pytest.fixture
async def screen(ada: Person) -> Screen:
    made = Screen(ada)
    await asyncio.to_thread(made.open)
    return made


async def test_a_person_sees_the_icon_pauses_with_the_keyboard_and_opens_the_manager_with_a_click(
    screen: Screen,
) -> None:
    person = screen.person
    client = person.home / ".local/share/dsage/client"
    stand = Stand(client, sentence="Computing: factors of 2^1277-1, for Newton's desk")
    async with stand:
        for path in (person.home / ".local", *(person.home / ".local").rglob("*")):
            shutil.chown(path, person.name, person.name)
        python = str(ROOT / ".venv/bin/python")
        code = "from dsage_client.tray.command import tray; tray(prog_name='dsage tray')"
        person.start(python, "-c", code, log="panel-tray")
        await stand.followed()

        at = await asyncio.to_thread(screen.icon, icons.GREEN, "working")
        await asyncio.to_thread(screen.click, at, 1)
        await stand.heard("manager")
        assert (presence := (await stand.heard("present", more_than=1)).presence) is not None
        assert presence.quality == "event"

        await asyncio.to_thread(screen.click, at, 3)
        await asyncio.to_thread(screen.press, "Down", "Down", "Right")
        await asyncio.to_thread(screen.picture, "menu")
        await asyncio.to_thread(screen.press, "Return")
        assert (await stand.heard("pause")).what == "30m"
        await asyncio.to_thread(screen.icon, icons.AMBER, "paused")

        await asyncio.to_thread(screen.click, at, 3)
        await asyncio.to_thread(screen.press, "Down", "Down")
        await asyncio.to_thread(screen.picture, "menu-paused")
        await asyncio.to_thread(screen.press, "Return")
        await stand.heard("resume")
        await asyncio.to_thread(screen.icon, icons.GREEN, "resumed")

        for reason, colour in ((Reason.BATTERY, icons.BLUE), (Reason.TROUBLE, icons.RED)):
            stand.change(reason=reason, sentence=f"Because: {reason}")
            await asyncio.to_thread(screen.icon, colour, str(reason))
