from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dsage.codec import digest
from dsage.errors import StorageFull
from dsage.trust.envelope import Envelope
from dsage_client.held import Checkpoint, Held, Lease
from dsage_client.spool import MAX_CALL_BYTES, Finished, Spool


def finished(replica: int, value: bytes | None = b"\x01", status: str = "done") -> Finished:
    return Finished(replica=replica, lease=b"t", unit=replica, app="a" * 64, status=status, value=value)


class Home:
    """A folder with a spool and held leases, opened again as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage: list[str] = []

    def spool(self) -> Spool:
        return Spool(self.folder / "spool", self.folder / "damaged", self.damage.append)

    def held(self) -> Held:
        return Held(self.folder / "held", self.folder / "damaged", self.damage.append)

    def files(self, name: str) -> list[Path]:
        return sorted((self.folder / name).glob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def no_room(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_was_printed_and_how_long_it_took_survive_a_restart(home: Home) -> None:
    entry = Finished(
        replica=1, lease=b"t", unit=1, app="a" * 64, status="failed", cpu_s=1.5, wall_s=2.5, output=b"last words\n"
    )
    home.spool().put(entry)
    report = home.spool().batch()[0].report()
    assert (report.cpu_s, report.wall_s, report.output) == (1.5, 2.5, b"last words\n")


def test_results_survive_a_restart_in_their_order(home: Home) -> None:
    spool = home.spool()
    for replica in (30, 4, 17):
        spool.put(finished(replica, bytes([replica])))
    assert [entry.replica for entry in home.spool().batch()] == [30, 4, 17]
    again = home.spool()
    again.put(finished(2))
    again.forget(4)
    assert [entry.replica for entry in home.spool().batch()] == [30, 17, 2]
    assert home.spool().batch()[0] == finished(30, bytes([30]))


def test_an_acknowledged_result_leaves_nothing_behind(home: Home) -> None:
    spool = home.spool()
    spool.put(finished(1))
    assert spool.forget(1) == finished(1)
    assert spool.forget(1) is None
    assert len(spool) == 0
    assert home.files("spool") == []


def test_a_replica_has_one_result_the_latest(home: Home) -> None:
    spool = home.spool()
    spool.put(finished(1, b"first"))
    spool.put(finished(2))
    spool.put(finished(1, b"second"))
    assert [(entry.replica, entry.value) for entry in home.spool().batch()] == [(1, b"second"), (2, b"\x01")]
    assert len(home.files("spool")) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "name"])
def test_a_damaged_file_is_moved_aside_and_told_and_the_others_stay(home: Home, damage: str) -> None:
    spool = home.spool()
    spool.put(finished(1))
    spool.put(finished(2))
    path = home.files("spool")[0]
    data = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            path.write_bytes(data[:-3])
        case "empty":
            path.write_bytes(b"")
        case "name":
            path.rename(path.with_name("nonsense.result"))
    assert [entry.replica for entry in home.spool().batch()] == [2]
    assert len(home.damage) == 1
    assert str(home.files("damaged")[0]) in home.damage[0]
    home.damage.clear()
    assert len(home.spool()) == 1
    assert home.damage == []


def test_a_half_written_file_is_no_result(home: Home) -> None:
    home.spool().put(finished(1))
    (home.folder / "spool" / ".000000000002-2.result.abcd").write_bytes(b"half")
    assert len(home.spool()) == 1
    assert len(home.files("spool")) == 1
    assert home.damage == []


def test_a_full_disk_keeps_results_in_memory_in_order_until_there_is_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = home.spool()
    spool.put(finished(1))
    with monkeypatch.context() as full:
        full.setattr("dsage.files.os.fsync", no_room)
        for replica in (2, 3):
            with pytest.raises(StorageFull, match="No space left on device"):
                spool.put(finished(replica))
        with pytest.raises(StorageFull):
            spool.settle()
        assert spool.full
        assert [entry.replica for entry in spool.batch()] == [1, 2, 3]
        assert [entry.replica for entry in home.spool().batch()] == [1]
    spool.settle()
    assert not spool.full
    assert [entry.replica for entry in home.spool().batch()] == [1, 2, 3]


def test_a_result_that_was_only_in_memory_can_be_acknowledged(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = home.spool()
    monkeypatch.setattr("dsage.files.os.fsync", no_room)
    with pytest.raises(StorageFull):
        spool.put(finished(1))
    spool.forget(1)
    assert not spool.full


def test_a_call_carries_no_more_than_a_server_takes(home: Home) -> None:
    spool = home.spool()
    for replica in range(1, 4):
        spool.put(finished(replica, b"x" * (MAX_CALL_BYTES * 2 // 3)))
    assert [entry.replica for entry in spool.batch()] == [1]
    for replica in range(1, 4):
        spool.put(finished(replica, b""))
    for replica in range(4, 70):
        spool.put(finished(replica))
    assert len(spool.batch()) == 50
    assert len(spool.batch(1)) == 1


def test_what_is_signed_names_the_value_by_its_hash() -> None:
    assert finished(1, b"answer").signed().value == digest(b"answer")
    assert finished(1, None, "failed").signed().value == ""
    assert finished(1, b"answer").report().value == b"answer"


def lease(replica: int) -> Lease:
    return Lease(
        replica=replica,
        lease=b"t",
        deadline_s=60.0,
        document=b"d",
        index=0,
        path=[b"p"],
        batch=Envelope("type", b"payload", []),
    )


def test_leases_come_back_with_their_last_checkpoint(home: Home) -> None:
    held = home.held()
    for replica in (12, 3):
        held.keep(lease(replica))
    held.checkpoint(3, Checkpoint(b"old", 1.0))
    held.checkpoint(3, Checkpoint(b"new", 2.5))
    assert home.held().load() == [(lease(3), Checkpoint(b"new", 2.5)), (lease(12), None)]
    held.drop(3)
    assert home.held().load() == [(lease(12), None)]


def test_a_damaged_checkpoint_costs_the_checkpoint_and_a_damaged_lease_the_lease(home: Home) -> None:
    held = home.held()
    for replica in (1, 2):
        held.keep(lease(replica))
        held.checkpoint(replica, Checkpoint(b"state", 1.0))
    (home.folder / "held" / "1.checkpoint").write_bytes(b"torn")
    (home.folder / "held" / "2.lease").write_bytes(b"torn")
    assert home.held().load() == [(lease(1), None)]
    assert len(home.damage) == 2
    assert [path.name for path in home.files("held")] == ["1.lease"]
    assert [path.name for path in home.files("damaged")] == ["1.checkpoint", "2.lease"]
