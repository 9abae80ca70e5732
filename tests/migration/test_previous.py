"""A recorded database of an earlier release, with a run half done: it opens upgraded, and the run goes on."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from dsage import codec, wire
from dsage.files import write_whole
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.documents import UnitDocument
from dsage.trust.keys import PrivateKey
from dsage_server.retention.backup import back_up
from dsage_server.retention.restore import restore
from dsage_server.store.testing import on_postgresql, rows, shared_cluster
from dsage_server.store.transfer import migrate_store
from dsage_server.testing import HandDriver, Host, World, running_server

RECORDINGS = sorted(Path(__file__).with_name("data").glob("*.tar.gz"))


@dataclass
class Recorded:
    """A recorded home in a folder of its own, and what its people still know."""

    home: Path
    known: dict[str, Any]

    def key(self, name: str) -> PrivateKey:
        return PrivateKey.load(self.home / "people" / f"{name}.key")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows(self.home / "server", query)


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.name.partition(".")[0])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    home = tmp_path / "home"
    with tarfile.open(request.param) as archive:
        for member in archive.getmembers():
            write_whole(home / member.name, archive.extractfile(member).read(), private=True)  # type: ignore[union-attr]
    connection = sqlite3.connect(home / "server" / "dsage.sqlite")
    connection.executescript((home / "dsage.sql").read_text())
    connection.close()
    if on_postgresql():
        migrate_store(home / "server", shared_cluster().database(), lambda _: None)
    return Recorded(home, json.loads((home / "known.json").read_text()))


async def test_it_opens_upgraded_and_its_half_finished_run_goes_on(recorded: Recorded) -> None:
    known, ledger = recorded.known, "SELECT replica_id, volunteer_id, amount_milli FROM credit_entry ORDER BY 1"
    paid = recorded.rows(ledger)
    assert len(paid) == 7
    async with running_server(recorded.home) as running, AsyncExitStack() as stack:
        world = World(running, recorded.home, stack)
        two = await stack.enter_async_context(Host.joined(running, recorded.key("two")))
        researcher = await stack.enter_async_context(await Researcher.open(Home(recorded.home)))
        over = await world.view(HandDriver(researcher, known["done"], fence=0))
        assert (codec.decode(over.result or b""), over.state, over.credit_milli) == (3, "done", 4000)

        out = [wire.Holding(replica=o["replica"], lease=bytes.fromhex(o["lease"])) for o in known["out"]]
        assert (await two.exchange(holding=out)).abort == []
        held = [assignment(recorded, each) for each in out]
        assert await two.report(held, [13, 14]) == ["ok", "ok"]

        drive = await researcher.drive(known["half"])
        assert (drive.step, drive.fence) == (known["step"], known["fence"] + 1)
        driver = HandDriver(researcher, known["half"], drive.fence, drive.step)
        answers = (await driver.answers()).answers
        assert sorted(codec.decode(each.value or b"") for each in answers) == [12, 13, 14]
        await driver.commit(folded=[each.unit for each in answers])
        one = await stack.enter_async_context(Host.joined(running, recorded.key("one")))
        (last,) = await one.fetch(2)
        assert await one.report([last], [15]) == ["ok"]
        await driver.commit(folded=[each.unit for each in (await driver.answers()).answers])
        await driver.commit(finished=True, result=codec.encode("all of it"))
        view = await world.view(driver)
        assert (view.state, view.units, view.credit_milli) == ("done", {"valid": 6}, 7000)
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/leaderboard", f"/run/{known['done']}", f"/run/{known['half']}"):
                async with session.get(running.pages_url + path) as response:
                    assert response.status == 200, path
    assert recorded.rows(ledger)[: len(paid)] == paid
    assert len(recorded.rows(ledger)) == 11


def assignment(recorded: Recorded, held: wire.Holding) -> wire.Assignment:
    """Return what the client had been given, of which it kept the unit."""
    ((document,),) = recorded.rows(
        f"SELECT document FROM signed_unit JOIN replica USING (unit_id) WHERE replica.id = {held.replica}"
    )
    assert msgspec.json.decode(document, type=UnitDocument).unit
    return wire.Assignment(
        replica=held.replica, lease=held.lease, deadline_s=1.0, document=document, index=0, path=[], batch=""
    )


async def test_a_backup_of_it_is_put_back_upgraded(recorded: Recorded, tmp_path: Path) -> None:
    passphrase = "a passphrase for a test"
    made = back_up(Home(recorded.home), tmp_path / "backup", passphrase)
    other = Recorded(tmp_path / "other", recorded.known)
    restore(made.path, passphrase, Home(other.home))
    recorded.home.joinpath("keys").rename(other.home / "keys")
    credit = "SELECT sum(amount_milli) FROM credit_entry"
    assert other.rows(credit) == recorded.rows(credit)
    async with running_server(other.home) as running, AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host.joined(running, recorded.key("one")))
        assert len(await host.fetch(5)) == 1
