"""Backups of a running server, put back elsewhere: what was acknowledged is there, what came later is not mixed up."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from dsage import wire
from dsage.errors import Conflict, NotFound, RolledBack
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust import ceremony
from dsage.trust.chain import Chain
from dsage.trust.keys import key_hash
from dsage.trust.sealed import Damaged, WrongPassphrase
from dsage_server.retention.backup import LEFT_OUT, back_up
from dsage_server.retention.restore import ERA, FENCES, ROOT_VERSIONS, RUNS, restore, verify
from dsage_server.store.testing import on_postgresql, rows
from dsage_server.testing import Host, World, running_server

PASSPHRASE = "five words are quite enough"
DSAGE = Path(sys.executable).with_name("dsage")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


async def saved(folder: Path, tmp_path: Path) -> Path:
    """Make a server with one answered unit and one that is out, and return its backup."""
    async with running_server(folder) as running, AsyncExitStack() as stack:
        world = World(running, folder, stack)
        driver, host = await world.run(), await world.host()
        await driver.make(1, 2)
        one, _ = await host.fetch(2, 5.0)
        assert await host.report([one], [1]) == ["ok"]
        return back_up(Home(folder), tmp_path / "one.backup", PASSPHRASE).path


def dsage(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [str(DSAGE), *map(str, arguments)]
    return subprocess.run(
        words, env={**os.environ, "DSAGE_HOME": str(home)}, capture_output=True, text=True, check=False
    )


def query(home: Path, text: str) -> list[tuple[Any, ...]]:
    return rows(home / "server", text)


async def test_what_was_acknowledged_before_is_there_and_what_was_out_can_come_in(
    folder: Path, other: Path, tmp_path: Path
) -> None:
    async with running_server(folder) as running, AsyncExitStack() as stack:
        world = World(running, folder, stack)
        driver, host = await world.run(), await world.host()
        await driver.make(1, 2)
        one, two = await host.fetch(2, 5.0)
        assert await host.report([one], [1]) == ["ok"]
        made = back_up(Home(folder), tmp_path, PASSPHRASE)
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
        assert await host.report([two], [2]) == ["ok"]
    shutil.copytree(folder / "keys", other / "keys")
    restore(made.path, PASSPHRASE, Home(other))
    async with running_server(other) as running, AsyncExitStack() as stack:
        assert running.away_s > 0
        again = await stack.enter_async_context(Host.joined(running, host.key))
        assert again.volunteer == host.volunteer
        assert await again.report([one], [1]) == ["ok"]
        assert await again.report([two], [2]) == ["ok"]
        researcher = await stack.enter_async_context(await Researcher.open(Home(other)))
        fence = (await researcher.drive(driver.run)).fence
        answers = await researcher.answers(driver.run, fence=fence, wait_s=0, hungry=False)
        assert len(answers.answers) == 2
    assert query(other, "SELECT count(*) FROM credit_entry") == [(2,)]


async def test_files_and_rows_are_all_there_and_nothing_else(folder: Path, other: Path, tmp_path: Path) -> None:
    path = await saved(folder, tmp_path)
    restore(path, PASSPHRASE, Home(other))

    if not on_postgresql():
        triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        assert query(other, triggers) == query(folder, triggers) != []

    def is_left_out(path: Path) -> bool:
        return path.name in LEFT_OUT or path.name.startswith(".")

    def files(home: Path) -> dict[str, bytes]:
        found = [p for p in (home / "server").rglob("*") if p.is_file() and not is_left_out(p)]
        return {str(p.relative_to(home)): p.read_bytes() for p in found}

    assert files(other) == files(folder)
    assert {p.name for p in (other / "server").iterdir()} >= {"dsage.sqlite", "unit.key", "root.json", "tls"}
    assert stat.S_IMODE((other / "server" / "unit.key").stat().st_mode) == 0o600
    assert [p.name for p in other.iterdir()] == ["server"]
    for table in ("unit", "replica", "host", "proof", "document", "batch", "answer"):
        text = f"SELECT * FROM {table} ORDER BY 1"
        assert query(other, text) == query(folder, text), table
    paid = "SELECT replica_id, volunteer_id, amount_milli FROM credit_entry ORDER BY 1"
    assert query(other, paid) == query(folder, paid) != []


async def test_nothing_issued_after_the_backup_gets_another_meaning(folder: Path, other: Path, tmp_path: Path) -> None:
    async with running_server(folder) as running, AsyncExitStack() as stack:
        world = World(running, folder, stack)
        driver, host = await world.run(), await world.host()
        await driver.make(1)
        await host.fetch(1, 5.0)
        path = back_up(Home(folder), tmp_path, PASSPHRASE).path
        await driver.make(2, 3)
        lost = await host.fetch(2, 5.0)
        lost_run = await world.run()
        newcomer = await world.host()
    shutil.copytree(folder / "keys", other / "keys")
    restore(path, PASSPHRASE, Home(other))
    async with running_server(other) as running, AsyncExitStack() as stack:
        world = World(running, other, stack)
        back = await stack.enter_async_context(Host.joined(running, host.key))
        assert await back.report(lost, [2, 3]) == ["unknown", "unknown"]
        renewed = await back.exchange(holding=[wire.Holding(replica=each.replica, lease=each.lease) for each in lost])
        assert sorted(renewed.abort) == sorted(each.replica for each in lost)
        with pytest.raises(NotFound, match="run"):
            await driver_of(other, stack, lost_run.run)
        researcher = await stack.enter_async_context(await Researcher.open(Home(other)))
        step = wire.Step(fence=driver.fence, step=driver.step + 1, state=b"")
        with pytest.raises(Conflict, match="another driver"):
            await researcher.step(driver.run, step)
        fence = (await researcher.drive(driver.run)).fence
        assert fence == driver.fence + FENCES + 1
        fresh = await world.run()
        assert fresh.run > RUNS
        await fresh.make(7)
        (unit,) = await (await world.host()).fetch(1, 5.0)
        assert unit.replica > ERA
        assert query(other, f"SELECT min(id) FROM unit WHERE run_id = {fresh.run}")[0][0] > ERA
        assert newcomer.key.public not in {row[0] for row in query(other, "SELECT key FROM host")}


async def driver_of(home: Path, stack: AsyncExitStack, run: int) -> wire.Drive:
    researcher = await stack.enter_async_context(await Researcher.open(Home(home)))
    return await researcher.drive(run)


async def test_people_who_saw_a_later_root_json_believe_the_one_signed_above_it(
    folder: Path, other: Path, tmp_path: Path
) -> None:
    path = await saved(folder, tmp_path)
    shutil.copytree(folder / "keys", other / "keys")
    for _ in range(3):
        ceremony.sign_root(Home(folder))
    seen = ceremony.load_root(Home(folder).root_file)
    chain = chain_of(folder)
    apart = tmp_path / "apart"
    restore(path, PASSPHRASE, Home(apart))
    with pytest.raises(RolledBack):
        chain.advance(ceremony.load_root(Home(apart).root_file), 0.0)
    restore(path, PASSPHRASE, Home(other))
    envelope = ceremony.load_root(Home(other).root_file)
    assert ceremony.read(envelope).version == ceremony.read(seen).version - 3 + ROOT_VERSIONS + 1
    assert chain.advance(envelope, ceremony.read(envelope).issued).root.version > ceremony.read(seen).version
    done = dsage(apart, "keys", "renew", "--above", "5", "--root-key", folder / "keys" / "root.key", "--json")
    assert json.loads(done.stdout)["data"]["root_version"] == 6, done.stderr


def chain_of(home: Path) -> Chain:
    envelope = ceremony.load_root(Home(home).root_file)
    return Chain.first(envelope, server_id=None, root_key_hash=key_hash(ceremony.read(envelope).root_key), now=None)


async def test_a_backup_that_is_not_whole_puts_nothing_in_place(folder: Path, other: Path, tmp_path: Path) -> None:
    path = await saved(folder, tmp_path)
    data = path.read_bytes()
    assert verify(path, PASSPHRASE).files > 4
    with pytest.raises(WrongPassphrase):
        restore(path, PASSPHRASE + "!", Home(other))
    bad = tmp_path / "bad"
    for changed in (data[:-1], data[: len(data) // 2], data[:-40] + bytes([data[-40] ^ 1]) + data[-39:], b"", data * 2):
        bad.write_bytes(changed)
        with pytest.raises(Damaged):
            verify(bad, PASSPHRASE)
        with pytest.raises(Damaged):
            restore(bad, PASSPHRASE, Home(other))
        assert list(other.iterdir()) == []
    with pytest.raises(Conflict, match="never replaces"):
        restore(path, PASSPHRASE, Home(folder))
    with pytest.raises(NotFound):
        verify(tmp_path / "none", PASSPHRASE)


async def test_a_full_disk_leaves_no_half_backup(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await saved(folder, tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space"):
        back_up(Home(folder), tmp_path, PASSPHRASE)
    assert sorted(tmp_path.iterdir()) == before


async def test_the_commands_as_an_operator_types_them(folder: Path, other: Path, tmp_path: Path) -> None:
    async with running_server(folder) as running, AsyncExitStack() as stack:
        world = World(running, folder, stack)
        await (await world.run()).make(1)
        secret = tmp_path / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        known = ("--passphrase-file", secret)
        done = dsage(folder, "admin", "backup", tmp_path / "kept", *known, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["data"]["path"] == str(tmp_path / "kept")
        assert dsage(folder, "admin", "backup", tmp_path / "kept", *known).returncode == 7
    assert dsage(folder, "admin", "restore", tmp_path / "kept", "--verify", *known).returncode == 0
    assert dsage(folder, "admin", "restore", tmp_path / "kept", *known).returncode == 7
    done = dsage(folder, "admin", "restore", tmp_path / "kept", "--home", other, *known)
    assert done.returncode == 0, done.stderr
    assert "dsage keys renew" in done.stderr
    secret.write_text("not the passphrase\n")
    assert dsage(folder, "admin", "restore", tmp_path / "kept", "--verify", *known).returncode == 4
    kept = bytearray((tmp_path / "kept").read_bytes())
    kept[-1] ^= 1
    (tmp_path / "kept").write_bytes(kept)
    secret.write_text(PASSPHRASE)
    broken = dsage(folder, "admin", "restore", tmp_path / "kept", "--verify", *known)
    assert broken.returncode == 5
    assert "record" in broken.stderr
    assert dsage(tmp_path / "nowhere", "admin", "backup", tmp_path / "x", *known).returncode == 3
