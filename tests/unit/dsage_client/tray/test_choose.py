"""Which tray a session gets; and the one of pystray, with its backend for tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from desk_stand import idle_status
from PIL import Image

from dsage_client.guest.reasons import Reason
from dsage_client.tray import choose, icons, pystray_tray
from dsage_client.tray.model import Do, Look, Wish, face
from dsage_client.tray.pystray_tray import SIZE, PystrayTray


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pystray itself, with an icon that no desktop shows."""
    monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
    pystray = import_module("pystray")

    class Unseen(pystray.Icon):  # type: ignore[misc,name-defined]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.ended = threading.Event()

        def _run(self) -> None:
            self._mark_ready()
            self.ended.wait()

        def _stop(self) -> None:
            self.ended.set()

        def _show(self) -> None:
            self._menu_handle = ()

        _hide = _update_icon = _update_title = _update_menu = _show

    return SimpleNamespace(Icon=Unseen, Menu=pystray.Menu, MenuItem=pystray.MenuItem)


def test_linux_with_a_bus_gets_its_own_tray() -> None:
    said: list[str] = []
    assert type(choose.choose("auto", {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, said.append)).__name__ == "BusTray"
    assert said == []


def test_nobody_has_to_have_an_icon() -> None:
    assert choose.choose("none", {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, pytest.fail) is None


def test_no_bus_is_said() -> None:
    said: list[str] = []
    assert choose.choose("bus", {}, said.append) is None
    assert "has no bus" in said[0]


def test_a_library_that_fails_in_its_own_way_means_no_icon(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ValueError("Namespace AppIndicator3 not available")

    monkeypatch.setattr(pystray_tray, "import_module", broken)
    said: list[str] = []
    assert choose.choose("pystray", {}, said.append) is None
    assert said == ["There is no icon: Namespace AppIndicator3 not available"]


@pytest.mark.parametrize("environment", [{}, {"DISPLAY": ":4711"}])
def test_where_there_is_nothing_at_all_every_module_imports_and_the_choice_is_none(environment: dict[str, str]) -> None:
    code = (
        "import dsage_client.tray.sni, dsage_client.tray.command, dsage_client.helper\n"
        "from dsage_client.tray.choose import choose\n"
        "import sys; sys.exit(choose('auto', {}, lambda text: None) is not None)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_the_same_menu_over_pystray(library: Any) -> None:
    tray = PystrayTray(library, Image)
    wishes: list[Wish] = []
    seen: dict[str, Any] = {"thread": threading.current_thread()}

    async def main() -> None:
        seen["loop"] = threading.current_thread()
        wished = asyncio.Event()

        def take(wish: Wish) -> None:
            wishes.append(wish)
            wished.set()

        await tray.open(take, pytest.fail)
        tray.show(face(idle_status(sentence="Computing " * 30, in_use_stops=False)))
        icon = tray._icon
        menu = list(icon.menu.items)
        seen["labels"] = [item.text for item in menu]
        seen["ticks"] = [item.checked for item in menu]
        seen["title"], seen["icon"] = icon.title, icon.icon.tobytes()
        icon()  # what a click on the icon does
        await wished.wait()
        wished.clear()
        pause = next(item for item in menu if item.text == "Pause")
        list(pause.submenu.items)[2](icon)
        await wished.wait()
        tray.show(face(idle_status(reason=Reason.PAUSED, paused=True)))
        seen["flipped"] = [item.text for item in icon.menu.items][3]
        seen["paused"] = icon.icon.tobytes()

    tray.run(main)
    assert wishes == [Wish(Do.MANAGER), Wish(Do.PAUSE, "3h")]
    assert seen["labels"][1:4] == ["Open Manager", "- - - -", "Pause"]
    assert seen["ticks"][4] is True
    assert len(seen["title"]) <= 127
    assert seen["flipped"] == "Resume"
    assert (seen["icon"], seen["paused"]) == (icons.rgba(Look.WORKING, SIZE), icons.rgba(Look.PAUSED, SIZE))
    assert seen["loop"] is not seen["thread"]


def test_what_goes_wrong_in_the_helper_is_raised_in_the_main_thread(library: Any) -> None:
    async def main() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        PystrayTray(library, Image).run(main)
