"""The session helper as a person meets it: a real process on a bus of its own, read and clicked as a panel does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from desk_stand import PAGE, Stand
from panel_stand import Panel, private_bus

from dsage.home import Home
from dsage.sandbox.processes import started
from dsage_client.guest.reasons import Reason, Work
from dsage_client.tray import icons
from dsage_client.tray.model import Look

TRAY = (sys.executable, "-c", "from dsage_client.tray.command import tray; tray(prog_name='dsage tray')")


class Program:
    """`dsage tray` in a session; `said` is what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def tray(folder: Path, address: str, *arguments: str) -> AsyncIterator[Program]:
    """Run it until the block ends."""
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened.part; mv {folder}/opened.part {folder}/opened\n')
    browser.chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DSAGE_HOME": str(folder),
        "DBUS_SESSION_BUS_ADDRESS": address,
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent",
        "BROWSER": f"{browser} %s",
        "LANGUAGE": "en",
    }
    log = folder / f"log-{len(list(folder.glob('log-*')))}"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*TRAY, *arguments, env=environment, stdout=out, stderr=out)
    try:
        yield Program(process, log)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


async def _appears(path: Path) -> str:
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.01)
    return path.read_text().strip()


async def test_the_owner_reads_why_pauses_and_resumes_by_the_menu(tmp_path: Path) -> None:
    async with (
        private_bus(tmp_path) as address,
        Panel(address) as panel,
        Stand(Home(tmp_path).client, reason=Reason.IN_USE, sentence="Waiting until nobody is here") as stand,
        tray(tmp_path, address),
    ):
        await panel.registered()
        assert (await panel.shows("Waiting until nobody is here"))["enabled"] is False
        waiting = await panel.property("IconPixmap")
        assert bytes(waiting[0][2]) == icons.argb(Look.WAITING, 22)
        await panel.click("1 hour")
        assert (await stand.heard("pause")).what == "1h"
        await panel.shows("Resume")
        assert "Pause" not in await panel.labels()
        assert (await panel.property("ToolTip"))[3] == "Paused by you"
        await panel.click("Resume")
        await stand.heard("resume")
        await panel.shows("Pause")
        await panel.click("Finish current task and stop")
        await stand.heard("finish")
        await panel.shows("Go on after the current task")


async def test_a_left_click_and_the_menu_open_the_manager_in_the_browser(tmp_path: Path) -> None:
    async with (
        private_bus(tmp_path) as address,
        Panel(address) as panel,
        Stand(Home(tmp_path).client) as stand,
        tray(tmp_path, address),
    ):
        await panel.registered()
        await panel.shows(stand.status.sentence)
        await panel.activate()
        assert await _appears(tmp_path / "opened") == PAGE
        (tmp_path / "opened").unlink()
        await panel.click("Open Manager")
        assert await _appears(tmp_path / "opened") == PAGE
        assert len([ask for ask in stand.asks if ask.do == "manager"]) == 2


@pytest.mark.parametrize(("label", "agent_ends"), [("Quit tray only", False), ("Quit and stop computing", True)])
async def test_quitting(tmp_path: Path, label: str, agent_ends: bool) -> None:
    async with (
        private_bus(tmp_path) as address,
        Panel(address) as panel,
        Stand(Home(tmp_path).client) as stand,
        tray(tmp_path, address) as program,
    ):
        await panel.registered()
        await panel.shows(label)
        await panel.click(label)
        assert await program.ended() == 0
        assert stand.stopped.is_set() is agent_ends


async def test_the_agent_and_the_panel_come_and_go(tmp_path: Path) -> None:
    stand = Stand(Home(tmp_path).client, sentence="Computing")
    async with private_bus(tmp_path) as address, tray(tmp_path, address) as program:
        async with Panel(address) as panel:
            await panel.registered()
            await panel.shows("DSage does not run on this computer")
            async with stand:
                await panel.shows("Computing")
                assert (await stand.heard("present")).presence is not None
            await panel.shows("DSage does not run on this computer")
        async with Panel(address) as panel, stand:
            await panel.registered()
            await panel.shows("Computing")
        assert program.said.count("shows no icons of programs") <= 2


async def test_without_a_bus_it_goes_on_without_an_icon(tmp_path: Path) -> None:
    async with Stand(Home(tmp_path).client) as stand, tray(tmp_path, "unix:path=/nonexistent/bus") as program:
        assert (await stand.heard("present")).presence is not None
        assert "There is no icon" in program.said
        assert program.process.returncode is None


async def test_the_second_helper_of_a_session_says_so_and_ends(tmp_path: Path) -> None:
    async with (
        private_bus(tmp_path) as address,
        Panel(address) as panel,
        tray(tmp_path, address),
    ):
        await panel.registered()
        async with tray(tmp_path, address) as second:
            assert await second.ended() != 0
            assert "runs in this session already" in second.said
            assert len(panel.items) == 1


async def test_it_ends_with_the_session(tmp_path: Path) -> None:
    async with Stand(Home(tmp_path).client) as stand:
        async with private_bus(tmp_path) as address:
            helper = tray(tmp_path, address)
            program = await helper.__aenter__()
            await stand.followed()
        assert await program.ended() == 0
        assert "The session has ended." in program.said
        await helper.__aexit__(None, None, None)


async def test_it_sleeps_when_nothing_happens(tmp_path: Path) -> None:
    async with (
        private_bus(tmp_path) as address,
        Panel(address) as panel,
        Stand(Home(tmp_path).client, work=Work.HOLD) as stand,
        tray(tmp_path, address, "--icon", "bus") as program,
    ):
        await panel.registered()
        await panel.shows(stand.status.sentence)
        assert started(program.process.pid) is not None
        assert psutil.Process(program.process.pid).memory_info().rss < 45e6
        first = len(panel.signals)
        for cores in range(1, 50):
            stand.change(cores=cores)
        stand.change(sentence="something else")
        await panel.shows("something else")
        await panel.until(lambda: len(panel.signals) >= first + 2)
        assert len(panel.signals) == first + 2
