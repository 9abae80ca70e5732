# ruff: noqa: F401, F811
"""A client's bad days, through the whole of it: a sentence for its owner and a safe state each."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dsage_client.test_station import client

from dsage import files
from dsage.errors import BadSignature, Conflict, NoAgent, ServerAway, StorageFull
from dsage.sandbox import Level
from dsage_client import joining, membership, runner
from dsage_client.door import serving
from dsage_client.door.desk import DOOR
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Work
from dsage_client.settings import Settings
from dsage_client.testing import SERVER_ID


def test_two_clients_on_one_home(tmp_path: Path) -> None:
    first, second = membership.locked(tmp_path / "lock"), membership.locked(tmp_path / "lock")
    with first, pytest.raises(Conflict, match="another client is running"), second:
        pass
    with membership.locked(tmp_path / "lock"):
        pass


async def test_a_home_that_lies_deeper_than_a_socket_reaches_has_a_door(client: Any, tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.parent.mkdir()
    shutil.copytree(client.settings.folder, deep, ignore=shutil.ignore_patterns("a" * 100))
    client.settings = replace(client.settings, folder=deep)
    async with client.at_work() as (_, desk):
        assert (await desk.pause()).paused
        assert (deep / DOOR).stat().st_mode & 0o777 == 0o600
    assert not (deep / DOOR).exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(membership.os, "open", refuse)
    with pytest.raises(StorageFull, match="cannot be used") as caught, membership.locked(tmp_path / "lock"):
        pass
    assert str(tmp_path) in str(caught.value)


def test_a_computer_with_little_memory_offers_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "memory_of_host", lambda: 2 << 30)
    own = Settings(folder=tmp_path).of(SERVER_ID)
    own.folder.mkdir(parents=True)
    offered = joining.host_info(own, Level.BUBBLEWRAP, Preferences(memory_percent=25, disk_bytes=1000))
    assert (offered.memory_bytes, offered.disk_bytes) == (1 << 29, 1000)
    Settings(folder=tmp_path).of("another").folder.mkdir()
    assert joining.host_info(own, Level.BUBBLEWRAP, Preferences(disk_bytes=1000)).disk_bytes == 500


async def test_all_units_of_a_computer_with_little_memory_take_what_its_owner_allows(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "memory_of_host", lambda: 2 << 30)
    async with client.at_work() as (_, desk):
        await desk.prefer({"memory_percent": 20})
        client.runner.gate.clear()
        await client.server.give(1, 2, memory_bytes=256 << 20)
        await client.until(lambda: client.runner.running and any(each.kind == "memory" for each in client.events))
        (said,) = (each.text for each in client.events if each.kind == "memory")
        assert said.endswith("waits until units that run leave it memory: it may use 256 MiB, and 409 MiB are for all")
        await client.until(lambda: len(client.server.exchanges[-1].holding) <= 1)
        assert len(client.runner.running) == 1
        assert (await desk.status()).reason == Reason.WORKING
        await desk.prefer({"memory_percent": 30})
        await client.server.give(3, memory_bytes=256 << 20)
        await client.until(lambda: len(client.runner.running) == 2)
        assert sum(work.limits.memory_bytes for work in client.runner.running.values()) == 512 << 20
        client.runner.gate.set()
        await client.until(lambda: len([s for s in client.server.statuses().values() if s == "done"]) >= 2)


async def test_what_the_preferences_say_of_memory_disk_and_line_holds_at_once(client: Any) -> None:
    async with client.at_work() as (station, desk):
        await desk.prefer({"memory_percent": 10, "disk_bytes": 12345, "network_bytes_s": 777})
        await client.server.give(1)
        client.runner.gate.clear()
        await client.until(lambda: client.runner.running)
        assert station._gate.room == runner.Room.of_host(10)
        assert station._parts[SERVER_ID].agent._inputs.most == 12345
        assert station._gate.line.bytes_s == 777
        client.runner.gate.set()


async def test_a_network_that_reads_along_is_said_wherever_the_owner_looks(client: Any) -> None:
    await client.server.strike(BadSignature("the proxy http://p:1 opens the encryption, so nothing is sent through it"))
    async with client.at_work() as (_, desk):
        await client.until(lambda: any(event.kind == "away" for event in client.events))
        status = await desk.status()
        assert status.reason == Reason.TROUBLE
        assert "opens the encryption" in status.sentence


async def test_a_server_that_is_gone_for_a_week_is_waited_for(client: Any) -> None:
    async with client.at_work() as (_, desk):
        client.runner.gate.clear()
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        await client.server.strike(ServerAway("no server answers at https://localhost:1: no route to host"))
        client.runner.gate.set()
        await client.until(lambda: any(event.kind == "away" for event in client.events))
        client.computer.ahead_s = 7 * 86400.0
        said = r"has not answered since .*\d\d:\d\d; next try"
        async with asyncio.timeout(20):
            while not re.search(
                said, (status := await desk.status()).sentence
            ):  # between two tries there is none ahead
                assert (status.work, status.reason) == (Work.RUN, Reason.SERVER_AWAY)
        await client.server.strike(None)
        await client.until(lambda: client.server.statuses() == {1: "done"})


@pytest.mark.parametrize("ahead_s", [-400 * 86400.0, -3600.0, 3600.0, 400 * 86400.0])
async def test_a_clock_that_jumps_ends_nothing(client: Any, ahead_s: float) -> None:
    async with client.at_work() as (_, desk):
        client.runner.gate.clear()
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        client.computer.ahead_s = ahead_s
        assert (await desk.status()).sentence
        client.computer.ahead_s = 0.0
        client.runner.gate.set()
        await client.until(lambda: client.server.statuses() == {1: "done"})


async def test_a_door_for_which_there_is_no_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(StorageFull, match=f"{tmp_path / DOOR} cannot be written: "):
        async with serving.opened(tmp_path, None):  # type: ignore[arg-type]
            pytest.fail("nobody can reach it")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ECONNREFUSED])
async def test_a_wish_that_finds_no_room_is_answered(client: Any, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, "no", "/some/where")

    async with client.at_work() as (station, desk):
        monkeypatch.setattr(station, "link", refuse)
        with pytest.raises(StorageFull if number == errno.ENOSPC else NoAgent):
            await desk.link()


async def test_a_full_disk_is_said_before_what_servers_have(client: Any) -> None:
    client.computer.disk_full = True
    async with client.at_work() as (_, desk):
        await client.until(lambda: client.server.exchanges)
        status = await desk.status()
        assert (status.work, status.reason) == (Work.RUN, Reason.DISK)
        assert {status.sentence, status.servers[0].sentence} == {"Waiting for new work: the disk is full"}
        client.computer.disk_full = False
        await client.server.give(1)
        await desk.resume()
        await client.until(lambda: client.server.statuses() == {1: "done"})


async def test_a_lease_and_a_result_that_cannot_be_removed_hinder_nothing(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async with client.at_work():
        await client.server.give(1)
        client.runner.gate.clear()
        await client.until(lambda: client.runner.running)
        monkeypatch.setattr(Path, "unlink", refuse)
        client.runner.gate.set()
        await client.until(lambda: client.server.statuses() == {1: "done"})
        await client.server.give(2)
        await client.until(lambda: client.server.statuses() == {1: "done", 2: "done"})
        monkeypatch.undo()


async def test_a_box_that_finds_no_room_hands_its_unit_back(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: Any) -> None:
        client.computer.disk_full = True
        raise OSError(errno.ENOSPC, "No space left on device")

    async with client.at_work():
        monkeypatch.setattr(client.runner, "run", full)
        await client.server.give(1)
        await client.until(lambda: client.server.statuses() == {1: "returned"})
    assert any("is handed back: No space left on device" in event.text for event in client.events)


async def test_a_part_that_ends_as_nobody_thought_of_ends_the_client(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> None:
        raise ZeroDivisionError("as nobody thought of")

    async def work() -> None:
        async with client.at_work() as (station, _):
            await client.server.give(1)
            await asyncio.wait_for(station._ending.wait(), 20)

    monkeypatch.setattr(client.runner, "run", broken)
    with pytest.raises(ZeroDivisionError, match="as nobody"):
        await work()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
async def test_a_disk_that_takes_nothing_loses_no_result(
    client: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, "no room")

    async with client.at_work() as (_, desk):
        client.runner.gate.clear()
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        monkeypatch.setattr(files.secrets, "token_hex", refuse)
        client.runner.gate.set()
        await client.until(lambda: client.server.statuses() == {1: "done"})
        with pytest.raises(StorageFull, match="the old ones hold"):
            await desk.prefer({"when": "never"})
        assert (await desk.preferences()).when == "idle"
        assert (await desk.pause()).paused
        monkeypatch.undo()
    assert any("storage" in event.kind for event in client.events)
