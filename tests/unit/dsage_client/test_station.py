"""A whole client with a server in memory: what its owner wishes, and what the computer says, is done at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dsage.errors import Conflict, NoAgent, NotFound, TooOld, UsageError
from dsage.trust.keys import PrivateKey
from dsage.wire import HostInfo
from dsage_client import membership, parts
from dsage_client.door import serving
from dsage_client.door.desk import Desk
from dsage_client.events import Event
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Work
from dsage_client.guest.seen import Presence, Seen
from dsage_client.membership import Membership
from dsage_client.readings import Clock
from dsage_client.settings import Settings
from dsage_client.station import Station
from dsage_client.testing import SERVER_ID, GatedRunner, MemoryServer

AWAY = Presence(idle_s=10_000.0, quality="event", sensor="test")
HERE = Presence(idle_s=0.0, quality="event", sensor="test")


@dataclass
class Computer:
    """What is read of a computer, as a test sets it."""

    battery: bool = False
    ahead_s: float = 0.0
    disk_full: bool = False

    def clock(self) -> Clock:
        return Clock(time.time() + self.ahead_s, time.monotonic() + self.ahead_s, "boot")

    def read(self, preferences: Preferences, presence: tuple[Presence, ...]) -> Seen:
        clock = self.clock()
        return Seen(
            now=clock.now,
            up=clock.up,
            boot=clock.boot,
            cores=2,
            presence=presence,
            on_battery=self.battery,
            disk_full=self.disk_full,
        )


@dataclass
class Client:
    """A client's folder, and what is around it."""

    settings: Settings
    servers: dict[str, MemoryServer]
    computer: Computer = field(default_factory=Computer)
    runner: GatedRunner = field(default_factory=GatedRunner)
    events: list[Event] = field(default_factory=list)
    here: Presence = AWAY
    infos: list[HostInfo] = field(default_factory=list)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[tuple[Station, Desk]]:
        """Run the client; yield it, and somebody at its door."""

        def info(own: Settings, preferences: Preferences) -> HostInfo:
            refuses = [name.partition("/")[2] for name in preferences.refused]
            return HostInfo(client="test", platform="", cores=2, memory_bytes=1, sandbox="none", refuses=refuses)

        station = Station(
            self.settings, self.runner, self.computer, self.events.append, info,  # type: ignore[arg-type]
            sandbox="none", sensor=lambda: self.here,
        )  # fmt: skip
        found = [(own, member) for own, member in parts.choose(self.settings, None) if isinstance(member, Membership)]
        async with serving.opened(self.settings.folder, station):
            task = asyncio.create_task(station.run(found))
            try:
                async with await Desk.open(self.settings.folder) as desk:
                    yield station, desk
            finally:
                station.end()
                await task

    @property
    def server(self) -> MemoryServer:
        return self.servers[SERVER_ID]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20.0):
            while not condition():
                await asyncio.sleep(0.002)


def enrolled(settings: Settings, server: MemoryServer, server_id: str = SERVER_ID) -> None:
    """Make the part of a client that has joined a server."""
    own = settings.of(server_id)
    own.folder.mkdir(parents=True)
    PrivateKey.generate().save(own.key_file)
    Membership(link=str(server.link), ca_pem="", pseudonym="tester").save(own.membership_file)
    membership.save_root(own, server.root)


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    servers = {SERVER_ID: MemoryServer()}

    class Connecting:
        @staticmethod
        async def open(link: Any, **_: Any) -> MemoryServer:
            return servers[link.server_id]

    monkeypatch.setattr(parts, "Connection", Connecting)
    settings = Settings(
        folder=tmp_path, slots=2, wait_s=0.05, backoff_low_s=0.002, backoff_high_s=0.01, checkpoint_every_s=0.0
    )
    enrolled(settings, servers[SERVER_ID])
    return Client(settings, servers)


async def busy(client: Client, *args: int) -> None:
    """Let the client begin units that do not end."""
    client.runner.gate.clear()
    await client.server.give(*args)
    await client.until(lambda: len(client.runner.running) == min(2, len(args)))


async def test_who_comes_back_stops_the_work_and_it_goes_on_when_they_have_gone(client: Client) -> None:
    async with client.at_work() as (_, desk):
        await desk.present(AWAY)
        await busy(client, 1, 2)
        await desk.present(HERE)
        assert client.runner.paused
        status = await desk.status()
        assert (status.work, status.reason) == (Work.HOLD, Reason.IN_USE)
        assert all(unit.held for unit in status.running)
        await client.until(lambda: any(h.suspended for h in client.server.exchanges[-1].holding))
        client.computer.ahead_s = 200.0
        await desk.present(AWAY)
        assert not client.runner.paused
        assert (await desk.status()).reason == Reason.WORKING


async def test_a_session_that_goes_takes_what_it_knew_with_it(client: Client) -> None:
    client.here = Presence(idle_s=None)
    async with client.at_work() as (_, desk):
        async with await Desk.open(client.settings.folder) as helper:
            await helper.present(AWAY)
            assert (await desk.status()).work == Work.RUN
        async with asyncio.timeout(20):
            while (await desk.status()).reason != Reason.UNKNOWN_USE:
                await asyncio.sleep(0)


async def test_on_battery_units_are_put_away_and_taken_up_from_their_checkpoints(client: Client) -> None:
    async with client.at_work() as (station, desk):
        await busy(client, 1)
        client.runner.running[1].on_checkpoint(b"\x07")
        client.computer.battery = True
        assert (await desk.status()).reason == Reason.BATTERY
        await client.until(lambda: client.runner.cancelled == [1])
        assert len(station._parts[SERVER_ID].agent.slots) == 1
        client.computer.battery = False
        await desk.status()
        await client.until(lambda: 1 in client.runner.running)
        assert client.runner.running[1].restored == b"\x07"
        client.runner.gate.set()
        await client.until(lambda: client.server.statuses() == {1: "done"})


async def test_a_pause_survives_a_restart_and_ends_by_itself(client: Client) -> None:
    async with client.at_work() as (_, desk):
        status = await desk.pause("30m")
        assert (status.reason, status.paused) == (Reason.PAUSED, True)
    async with client.at_work() as (_, desk):
        assert (await desk.status()).reason == Reason.PAUSED
        client.computer.ahead_s = 1801.0
        status = await desk.status()
        assert status.work == Work.RUN
    client.computer.ahead_s = 0.0
    async with client.at_work() as (_, desk):
        assert not (await desk.resume()).paused


async def test_finishing_begins_nothing_new_and_stops_afterwards(client: Client) -> None:
    async with client.at_work() as (_, desk):
        await busy(client, 1)
        assert (await desk.finish()).reason == Reason.FINISHING
        await client.server.give(2)
        client.runner.gate.set()
        await client.until(lambda: client.server.statuses().get(1) == "done")
        async with asyncio.timeout(20):
            while (await desk.status()).reason != Reason.FINISHED:
                await asyncio.sleep(0)
        assert 2 not in client.runner.running
        await desk.resume()
        await client.until(lambda: client.server.statuses().get(2) == "done")


async def test_preferences_hold_at_once_are_kept_and_are_told_the_server(client: Client) -> None:
    async with client.at_work() as (_, desk):
        fresh = await desk.prefer({"when": "never", "refused": [f"{SERVER_ID}/lab"]})
        assert fresh.when == "never"
        assert (await desk.status()).reason == Reason.NEVER
        with pytest.raises(UsageError, match="no preference nonsense"):
            await desk.prefer({"nonsense": 1})
        with pytest.raises(UsageError, match="cannot be"):
            await desk.prefer({"idle_after_s": -1})
        await desk.prefer({"when": "always"})
        await client.until(lambda: any(e.host and e.host.refuses == ["lab"] for e in client.server.exchanges))
    async with client.at_work() as (_, desk):
        assert (await desk.preferences()).when == "always"


async def test_damaged_preferences_are_said_and_the_careful_ones_hold(client: Client) -> None:
    client.settings.preferences_file.write_text('{"when": "sometimes"}')
    async with client.at_work() as (_, desk):
        assert (await desk.preferences()).when == "idle"
        assert "preferences" in [event.kind for event in client.events]


async def test_followers_hear_of_every_change(client: Client) -> None:
    async with client.at_work() as (_, desk), await Desk.open(client.settings.folder) as follower:
        told = follower.follow()
        assert (await anext(told)).reason != Reason.PAUSED
        await desk.pause()
        async with asyncio.timeout(20):
            while (await anext(told)).reason != Reason.PAUSED:
                pass
        kept = json.loads(client.settings.status_file.read_text())
        assert kept["reason"] == "paused"


async def test_the_log_and_the_history_say_what_happened(client: Client) -> None:
    async with client.at_work() as (_, desk):
        await client.server.give(1, 2)
        await client.until(lambda: len(client.server.ended) == 2)
        done = await desk.done()
        assert [(unit.project, unit.status) for unit in done] == [("lab", "done")] * 2
        assert any("is finished" in line for line in await desk.log())
        assert len(await desk.log(1)) == 1
    async with client.at_work() as (_, desk):
        assert len(await desk.done()) == 2


async def test_one_server_that_ends_leaves_the_others_at_work_and_the_last_one_ends_all(client: Client) -> None:
    other = MemoryServer()
    other.link = replace(other.link, server_id="another")
    await client.server.strike(TooOld("this client is too old"))
    with pytest.raises(Exception, match="too old"):
        async with client.at_work() as (station, _):
            await asyncio.wait_for(station._ending.wait(), 20)


async def test_a_server_is_left_and_nothing_of_it_stays(client: Client) -> None:
    async with client.at_work() as (_, desk):
        await busy(client, 1)
        with pytest.raises(NotFound):
            await desk.leave("nobody")
        await desk.leave(SERVER_ID)
        status = await desk.status()
        assert status.servers == []
        assert status.reason == Reason.NOT_JOINED
        assert client.server.statuses() == {1: "returned"}
        assert not client.settings.of(SERVER_ID).folder.exists()


async def test_a_link_of_a_server_that_is_known_is_refused(client: Client) -> None:
    async with client.at_work() as (_, desk):
        with pytest.raises(Conflict, match="already"):
            await desk.join(str(client.server.link))
        with pytest.raises(UsageError):
            await desk.join("nonsense")


async def test_a_client_of_before_is_moved_into_its_part(tmp_path: Path) -> None:
    settings, server = Settings(folder=tmp_path), MemoryServer()
    enrolled(settings, server)
    own = settings.of(SERVER_ID).folder
    key = (own / "client.key").read_bytes()
    for path in own.iterdir():
        path.rename(tmp_path / path.name)
    own.rmdir()
    (moved,) = parts.known(settings)
    assert moved.key_file.read_bytes() == key
    assert not (tmp_path / "membership.json").exists()
    assert [own for own, _ in parts.choose(settings, None)] == [moved]


async def test_what_nobody_understands_is_refused_at_the_door_and_the_door_stays_open(client: Client) -> None:
    async with client.at_work() as (_, desk):
        reader, writer = await asyncio.open_unix_connection(str(client.settings.folder / "door"))
        for line in (b"\xff\xfe\n", b"{}\n", b'{"do": "nothing"}\n', b'{"do": "pause", "what": "for ever"}\n'):
            writer.write(line)
            assert json.loads(await reader.readline())["code"] == "usage"
        writer.write(b"x" * (2 << 20) + b"\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert (await desk.status()).pid > 0
    assert (client.settings.folder / "door").exists() is False
    with pytest.raises(NoAgent):
        await Desk.open(client.settings.folder)


def test_the_door_is_private(tmp_path: Path) -> None:
    async def look() -> int:
        async with serving.opened(tmp_path, None):  # type: ignore[arg-type]
            return (tmp_path / "door").stat().st_mode & 0o777

    assert asyncio.run(look()) == 0o600


async def test_the_full_screen_view_is_a_helpers_to_show(client: Client) -> None:
    async with client.at_work() as (_, desk):
        with pytest.raises(UsageError, match="session helper does not run") as caught:
            await desk.view()
        assert "dsage saver --full-screen" in caught.value.hint
        async with await Desk.open(client.settings.folder) as helper:
            await helper.present(Presence(idle_s=1.0, sensor="test"))
            before = await desk.status()
            assert before.helped
            await desk.view()
            assert (await desk.status()).viewed > before.viewed
