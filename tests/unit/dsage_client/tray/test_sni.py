"""The tray on a real bus, seen by a panel without pixels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk_stand import idle_status
from panel_stand import Panel, private_bus

from dsage_client.guest.reasons import Reason
from dsage_client.tray import icons
from dsage_client.tray.model import Do, Look, Wish, face
from dsage_client.tray.sni import BusTray


class Desktop:
    """A tray with what it said and what was wished of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.said: list[str] = []
        self.wishes: asyncio.Queue[Wish] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.tray = BusTray(address, self.said.append)

    async def open(self) -> None:
        await self.tray.open(self.wishes.put_nowait, self.ended.put_nowait)


@pytest.fixture
async def desktop(tmp_path: Path) -> AsyncIterator[Desktop]:
    async with private_bus(tmp_path) as address:
        made = Desktop(address)
        yield made
        await made.tray.close()


async def test_a_panel_reads_the_icon_and_the_menu(desktop: Desktop) -> None:
    async with Panel(desktop.address) as panel:
        await desktop.open()
        desktop.tray.show(face(idle_status(sentence="Computing: a_b")))
        await panel.registered()
        assert await panel.property("Id") == "dsage"
        assert not await panel.property("ItemIsMenu")
        assert await panel.property("ToolTip") == ("", [], "DSage", "Computing: a_b")
        pixmaps = await panel.property("IconPixmap")
        assert [(width, height, len(data)) for width, height, data in pixmaps] == [(22, 22, 1936), (44, 44, 7744)]
        assert bytes(pixmaps[0][2]) == icons.argb(Look.WORKING, 22)
        assert await panel.labels() == [
            "Computing: a__b",
            "Open Manager",
            "",
            "Pause",
            "Compute beside me today",
            "Finish current task and stop",
            "",
            "Quit",
        ]
        lines = await panel.menu()
        assert lines[0]["enabled"] is False
        assert lines[2]["type"] == "separator"
        assert [line["label"] for line in lines[3]["items"]] == [
            "30 minutes",
            "1 hour",
            "3 hours",
            "Until tomorrow",
            "Until I resume",
        ]


async def test_clicks_are_wishes(desktop: Desktop) -> None:
    async with Panel(desktop.address) as panel:
        await desktop.open()
        desktop.tray.show(face(idle_status()))
        await panel.registered()
        for label, wish in [
            ("Open Manager", Wish(Do.MANAGER)),
            ("3 hours", Wish(Do.PAUSE, "3h")),
            ("Quit and stop computing", Wish(Do.STOP)),
        ]:
            await panel.click(label)
            assert await desktop.wishes.get() == wish
        await panel.activate()
        assert await desktop.wishes.get() == Wish(Do.MANAGER)
        await panel.click(idle_status().sentence)
        unknown = await panel.raw_menu("EventGroup", "a(isvu)", [[]])
        assert unknown == [[]]
        assert desktop.wishes.empty()


async def test_only_what_changed_is_told(desktop: Desktop) -> None:
    async with Panel(desktop.address) as panel:
        await desktop.open()
        desktop.tray.show(face(idle_status(sentence="one")))
        await panel.registered()
        await panel.shows("one")
        panel.signals.clear()
        desktop.tray.show(face(idle_status(sentence="two")))
        await panel.shows("two")
        await panel.until(lambda: len(panel.signals) >= 2)
        assert sorted(panel.signals) == ["ItemsPropertiesUpdated", "NewToolTip"]
        panel.signals.clear()
        desktop.tray.show(face(idle_status(sentence="two", reason=Reason.PAUSED, paused=True)))
        await panel.shows("Resume")
        await panel.until(lambda: len(panel.signals) >= 2)
        assert sorted(panel.signals) == ["LayoutUpdated", "NewIcon"]


async def test_a_panel_that_comes_late_gets_the_icon_and_so_does_one_that_comes_back(desktop: Desktop) -> None:
    await desktop.open()
    desktop.tray.show(face(idle_status()))
    assert len(desktop.said) == 1
    assert "shows no icons" in desktop.said[0]
    for number in (1, 2):
        async with Panel(desktop.address) as panel:
            await panel.registered()
            assert await panel.property("Status") == "Active"
            assert len(await panel.labels()) == 8
        assert len(desktop.said) >= 2 * number


async def test_nothing_is_read_as_markup_by_the_panel(desktop: Desktop) -> None:
    async with Panel(desktop.address) as panel:
        await desktop.open()
        desktop.tray.show(face(idle_status(sentence="<img src='x'> & more")))
        await panel.registered()
        assert (await panel.property("ToolTip"))[3] == "‹img src='x'› & more"
        await desktop.tray.notify("DSage", "<b>")
        assert panel.notes == ["‹b›"]


async def test_it_notifies_and_says_it_in_the_log_where_nothing_shows_it(desktop: Desktop) -> None:
    async with Panel(desktop.address) as panel:
        await desktop.open()
        await desktop.tray.notify("DSage", "Your first result was accepted.")
        assert panel.notes == ["Your first result was accepted."]
    await desktop.tray.notify("DSage", "Nobody shows this.")
    assert desktop.said[-1] == "DSage: Nobody shows this."


async def test_the_end_of_the_bus_is_told(tmp_path: Path) -> None:
    async with private_bus(tmp_path) as address:
        desktop = Desktop(address)
        await desktop.open()
    async with asyncio.timeout(10):
        assert await desktop.ended.get()
    await desktop.tray.close()


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense", "strange:x=y"])
async def test_a_bus_that_is_not_there_is_an_error_that_a_helper_expects(address: str) -> None:
    desktop = Desktop(address)
    with pytest.raises(OSError):  # noqa: PT011 - any of them
        await desktop.open()
    await desktop.tray.close()
