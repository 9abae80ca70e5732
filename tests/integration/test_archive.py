"""Runs that are over leave the database for a file: nothing that people see changes, and no kill loses a row."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import select

from dsage import codec, wire
from dsage.errors import Conflict, NotFound, StorageFull
from dsage.home import Home
from dsage.trust.documents import ResultBatch
from dsage.trust.envelope import Envelope, hash_of, open_as, seal
from dsage_server.retention import archive, files, gather
from dsage_server.retention.archive import archive_run
from dsage_server.server import serving
from dsage_server.store.schema import credit_unfolded
from dsage_server.store.testing import rows as rows_of
from dsage_server.testing import HandDriver, World, document, local_settings, running_server, until

HOUR_S = 3600.0
LATER_S = 40 * 86400.0


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[World]:
    async with running_server(folder) as running, AsyncExitStack() as stack:
        yield World(running, folder, stack)


async def finished(world: World, *, units: int = 5) -> HandDriver:
    """Return a run that is done: two volunteers answered each unit, a third one lied once."""
    driver = await world.run()
    one, two, liar = [await world.host() for _ in range(3)]
    await driver.make(*range(units), quorum=2)
    assert await liar.report(await liar.fetch(1, 5.0), [99]) == ["ok"]
    for host in (one, two):
        left = units
        while left:
            got = await host.fetch(left, 5.0)
            left -= len(got)
            values = [codec.decode(args_of(each)) for each in got]
            batch, reports = host.signed(got, [codec.encode(value) for value in values])
            for report in reports:
                report.output = b"printed for %d" % report.replica if host is one else b""
            reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
            assert {ack.code for ack in reply.acks} == {"ok"}
    answers = (await driver.answers()).answers
    assert len(answers) == units
    await driver.commit(folded=[each.unit for each in answers], finished=True, result=codec.encode("the end"))
    await until(folded(world))
    return driver


def folded(world: World) -> Callable[[], Awaitable[bool]]:
    """Return whether all credit is added up."""

    async def check() -> bool:
        return not await world.running.hub.store.read(lambda c: c.execute(select(credit_unfolded.c.entry_id)).first())

    return check


def args_of(assignment: wire.Assignment) -> bytes:
    return document(assignment).args


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    return rows_of(folder / "server", query)


def contents(path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for table, row in files.read(path, gather.TABLES):
        found.setdefault(table, []).append(row)
    return found


def seen(view: wire.RunView) -> dict[str, Any]:
    return {n: v for n, v in msgspec.structs.asdict(view).items() if n not in ("driver_seen", "reason")}


@pytest.mark.parametrize("kind", [".parquet", ".jsonl.gz"])
async def test_everything_is_in_the_file_and_what_people_see_stays(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(files, "suffix", lambda: kind)
    async with place(tmp_path) as world:
        driver, other = await finished(world), await finished(world)
        before = await world.view(driver)
        ledger = rows(tmp_path, "SELECT * FROM credit_entry ORDER BY id")
        kept = {
            table: rows(tmp_path, f"SELECT * FROM {table}")
            for table in ("unit", "replica", "answer", "printed", "credit_sum")
        }
        done = await archive_run(world.running.hub.blobs, tmp_path / "archive", driver.run, world.running.hub.clock)
        assert ("".join(done.file.suffixes), done.units, done.replicas) == (kind, 5, 11)
        assert seen(await world.view(driver)) == seen(before)
        assert rows(tmp_path, "SELECT * FROM credit_entry ORDER BY id") == ledger
        assert rows(tmp_path, "SELECT * FROM credit_sum") == kept["credit_sum"]
        for table in ("unit", "replica", "answer", "printed"):
            assert len(rows(tmp_path, f"SELECT * FROM {table}")) == len(kept[table]) / 2, table
        assert len((await other.answers()).answers) == 0
        assert (await driver.answers()).answers == []
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{world.running.pages_url}/run/{driver.run}") as page,
        ):
            text = await page.text()
            assert page.status == 200
            assert "archived on" in text
            assert done.file.name in text
    found = contents(done.file)
    assert {table: len(found[table]) for table in ("run", "unit", "replica", "credit_entry")} == {
        "run": 1, "unit": 5, "replica": 11, "credit_entry": 10,
    }  # fmt: skip
    assert sorted(codec.decode(row["value"]) for row in found["answer"]) == [0, 1, 2, 3, 4, 99]
    assert {row["replica_id"]: row["output"] for row in found["printed"]} == {
        row["replica_id"]: b"printed for %d" % row["replica_id"] for row in found["printed"]
    }
    assert len(found["printed"]) == 5
    assert Counter(row["state"] for row in found["replica"]) == {"valid": 10, "invalid": 1}


async def test_results_in_the_file_can_still_be_checked(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        driver = await finished(world)
        hosts = dict(rows(tmp_path, "SELECT id, key FROM host"))
        hub = world.running.hub
        done = await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        chain = hub.chain
    found = contents(done.file)
    proofs = {row["id"]: msgspec.msgpack.decode(row["envelope"], type=Envelope) for row in found["proof"]}
    for copy in found["replica"]:
        signed = open_as(proofs[copy["proof_id"]], ResultBatch, [hosts[copy["host_id"]]])
        assert copy["value_hash"] in {each.value for each in signed.results if each.replica == copy["id"]}
    batches = {row["id"]: msgspec.msgpack.decode(row["envelope"], type=Envelope) for row in found["batch"]}
    documents = {
        hash_of(e): e for e in (msgspec.msgpack.decode(r["envelope"], type=Envelope) for r in found["document"])
    }
    (run,) = found["run"]
    now = run["created"]
    manifest = chain.manifest(documents[run["app"]], now)
    authorisation = chain.authorisation(documents[run["authorisation"]], manifest, run["app"], now)
    assert found["signed_unit"]
    for unit in found["signed_unit"]:
        path = msgspec.msgpack.decode(unit["path"], type=list[bytes])
        checked = chain.unit(unit["document"], unit["leaf_index"], path, batches[unit["batch_id"]], now)
        chain.check_unit_against(checked, authorisation, run["authorisation"])
    assert rows(tmp_path, "SELECT count(*) FROM proof WHERE length(envelope) > 0") == [(0,)]


async def test_a_proof_that_another_run_needs_stays(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        host, first, second = await world.host(), await world.run(), await world.run()
        await first.make(1)
        await second.make(2)
        got = await host.fetch(2, 5.0)
        assert await host.report(got, [codec.decode(args_of(each)) for each in got]) == ["ok", "ok"]
        await until(folded(world))
        await first.commit(finished=True, result=codec.encode(None))
        hub = world.running.hub
        done = await archive_run(hub.blobs, tmp_path / "archive", first.run, hub.clock)
        assert rows(tmp_path, "SELECT count(*) FROM proof WHERE length(envelope) > 0") == [(1,)]
        assert len(contents(done.file)["proof"]) == 1
        await second.commit(finished=True, result=codec.encode(None))
        await archive_run(hub.blobs, tmp_path / "archive", second.run, hub.clock)
        assert rows(tmp_path, "SELECT count(*) FROM proof WHERE length(envelope) > 0") == [(0,)]


async def test_what_may_still_change_is_not_archived(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        hub, driver, host = world.running.hub, await world.run(), await world.host()
        await driver.make(1, 2)
        await host.fetch(1, 5.0)

        async def attempt(run: int) -> None:
            await archive_run(hub.blobs, tmp_path / "archive", run, hub.clock)

        with pytest.raises(Conflict, match="not over"):
            await attempt(driver.run)
        with pytest.raises(NotFound):
            await attempt(77)
        await driver.commit(finished=True, result=codec.encode(None))
        with pytest.raises(Conflict, match="still welcome"):
            await attempt(driver.run)
        assert list((tmp_path / "archive").glob("run-*")) == []
        ended = await hub.store.read(lambda c: archive.due(c, hub.clock() + 1))
        assert ended == [driver.run]
        assert await hub.store.read(lambda c: archive.due(c, hub.clock() - HOUR_S)) == []


async def test_it_goes_on_after_a_stop_at_any_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CLEARED", 2)
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)
        write, left = hub.store.write, 0

        class Stopped(Exception):
            """The program ends here."""

        async def stopping(change: Any, then: Any = None) -> Any:
            nonlocal left
            if not left:
                raise Stopped
            left -= 1
            return await write(change, then)

        before, ledger = seen(await world.view(driver)), rows(tmp_path, "SELECT * FROM credit_entry")
        monkeypatch.setattr(hub.store, "write", stopping)
        for allowed in (0, 1, 1, 0, 1, 1):
            left = allowed
            with pytest.raises(Stopped):
                await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
            assert seen(await world.view(driver)) == before
        left = 99
        done = await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        monkeypatch.undo()
        again = await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        assert again == done
        assert rows(tmp_path, "SELECT * FROM credit_entry") == ledger
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(0,)]
        assert len(contents(done.file)["unit"]) == 5
        told = await hub.store.read(
            lambda c: [e for e in gather.rows(hub.store.read_now, driver.run, bytes.fromhex) if e[0] == "event"]
        )
        assert [row["kind"] for _, row in told if row["kind"] == "archived"] == ["archived"]


async def test_a_file_that_is_gone_or_changed_keeps_the_rows_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_clear", lambda *_: False)
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)
        done = await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        monkeypatch.undo()
        good = done.file.read_bytes()
        done.file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        for _ in range(2):
            with pytest.raises(Conflict, match=done.file.name):
                await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
            done.file.unlink(missing_ok=True)
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(5,)]
        done.file.write_bytes(good)
        assert await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock) == done
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(0,)]


async def test_a_run_that_changed_meanwhile_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)
        counts = iter([{"unit.valid": 4}, {"unit.valid": 5}])
        monkeypatch.setattr(archive, "tallies", SimpleNamespace(of=lambda *_: next(counts)))
        with pytest.raises(Conflict, match="changed while"):
            await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(5,)]


async def test_numbers_of_archived_copies_are_not_given_again(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)
        highest = rows(tmp_path, "SELECT max(id) FROM replica")[0][0]
        await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
    async with place(tmp_path) as world:
        again = await finished(world)
        assert rows(tmp_path, "SELECT min(id) FROM replica")[0][0] > highest
        assert (await world.view(again)).credit_milli == 10_000


async def test_two_who_archive_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CLEARED", 1)
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)
        both = [archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock) for _ in range(2)]
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(first, archive.Archived)
        assert isinstance(second, Conflict)
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(0,)]


SLOWLY = """
import sys
from dsage.cli.main import main
from dsage_server.retention import archive
archive.CLEARED = 3
sys.exit(main(sys.argv[1:]))
"""


def spawn(home: Path, *words: str, slowly: bool = False) -> subprocess.Popen[str]:
    program = ["-c", SLOWLY] if slowly else ["-m", "dsage"]
    command = [sys.executable, *program, "admin", "archive", *words]
    environment = {**os.environ, "DSAGE_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        driver = await finished(world, units=200)
        before = seen(await world.view(driver))
        ledger = rows(tmp_path, "SELECT * FROM credit_entry ORDER BY id")
        units, copies = (rows(tmp_path, f"SELECT * FROM {table} ORDER BY id") for table in ("unit", "replica"))
        place_of = tmp_path / "server" / "archive" / f"run-{driver.run:08}{files.suffix()}"

        async def entered() -> bool:
            return bool(rows(tmp_path, "SELECT * FROM archive"))

        async def written() -> bool:
            return place_of.exists() or await entered()

        async def fewer() -> bool:
            return len(rows(tmp_path, "SELECT id FROM unit")) < 150

        for moment in (written, written, entered, fewer):
            process = spawn(tmp_path, str(driver.run), slowly=True)
            await until(moment)
            process.kill()
            process.communicate()
            left = rows(tmp_path, "SELECT * FROM unit ORDER BY id")
            assert set(left) <= set(units)
            assert len(left) == 200 or len(contents(place_of)["unit"]) == 200
            assert seen(await world.view(driver)) == before
        assert 0 < len(left) < 150
        last = spawn(tmp_path, str(driver.run), "--json")
        out, said = await asyncio.to_thread(last.communicate)
        assert last.returncode == 0, said
        (done,) = json.loads(out)["data"]
        assert (done["file"], done["units"], done["replicas"]) == (str(place_of), 200, len(copies))
        deeds = rows(tmp_path, "SELECT actor, action, about FROM deed ORDER BY id DESC LIMIT 1")
        assert deeds == [("operator", "archived", f"run {driver.run}")]
        assert rows(tmp_path, "SELECT * FROM credit_entry ORDER BY id") == ledger
        assert rows(tmp_path, "SELECT count(*) FROM unit") == rows(tmp_path, "SELECT count(*) FROM answer") == [(0,)]
        assert sorted(row["id"] for row in contents(place_of)["replica"]) == [row[0] for row in copies]


async def test_the_command_by_age_and_its_refusals(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        driver = await finished(world)
        for words, status in ((["--older-than", "1"], 0), ([], 2), (["77"], 3), (["1", "--older-than", "1"], 2)):
            process = spawn(tmp_path, *words)
            await asyncio.to_thread(process.communicate)
            assert process.returncode == status, words
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(5,)]
        process = spawn(tmp_path, "--older-than", "0")
        out, _ = await asyncio.to_thread(process.communicate)
        assert Path(out.strip()).is_file()
        assert "archived on" in (await world.view(driver)).reason


async def test_a_disk_that_does_not_give_back_what_was_written_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path) as world:
        hub, driver = world.running.hub, await finished(world)

        def damaged(*_: Any) -> files.Contents:
            raise ValueError("not a Parquet file")

        def other(*_: Any) -> files.Contents:
            return files.Contents(rows={}, digest="")

        for check in (damaged, other):
            monkeypatch.setattr(files, "check", check)
            with pytest.raises(StorageFull, match="back"):
                await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
        assert rows(tmp_path, "SELECT count(*) FROM unit") == [(5,)]
        assert rows(tmp_path, "SELECT * FROM archive") == []


async def test_a_server_archives_by_itself_what_is_old_enough(tmp_path: Path) -> None:
    async with place(tmp_path) as world:
        driver = await finished(world)
    home = Home(tmp_path)
    settings = dataclasses.replace(local_settings(home), archive_after_days=1e-9)
    async with serving(home, settings) as running:

        async def cleared() -> bool:
            return rows(tmp_path, "SELECT run_id FROM archive WHERE cleared IS NOT NULL") == [(driver.run,)]

        await until(cleared)
        assert running.hub.store.commits > 0
    assert rows(tmp_path, "SELECT count(*) FROM unit") == [(0,)]
