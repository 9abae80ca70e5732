"""Input files as an author names them, in a driver and under a server in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsage import DistributedFunction, Unit, running
from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.inputs import InputFile, named
from dsage.running import Hooks
from dsage.states import RunState
from dsage.testing import Fault, FaultyApi, MemoryServer
from dsage.trust.documents import UnitDocument


class Lines(DistributedFunction):
    """Each unit reads a line of a file."""

    table: str
    n: int

    def units(self) -> Iterator[Unit]:
        for i in range(self.n):
            yield Unit(i, inputs={"table.txt": Path(self.table)})

    @staticmethod
    def compute(i: int) -> str:
        return running.input("table.txt").read_text().splitlines()[i]

    def process_result(self, unit: Unit, value: str) -> None:
        self.result = sorted([*(self.result or []), value])


class Uploads(MemoryServer):
    """Counts what is sent."""

    def __init__(self, function: DistributedFunction) -> None:
        super().__init__(function)
        self.sent: list[Path] = []

    async def upload(self, path: Path) -> str:
        self.sent.append(path)
        return await super().upload(path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.txt"
    path.write_text("".join(f"line {i}\n" for i in range(9)))
    return path


async def test_a_file_is_sent_once_and_every_unit_reads_it(table: Path) -> None:
    function = Lines(table=str(table), n=9)
    server = Uploads(function)
    ended = await Driver(function, server, 1).drive()
    assert ended.result == [f"line {i}" for i in range(9)]
    assert server.sent == [table]
    sha256 = hashlib.sha256(table.read_bytes()).hexdigest()
    assert {each for step in server.steps for unit in step.units for each in unit.inputs.values()} == {sha256}
    assert Hooks.inputs == {}


async def test_a_file_that_changed_is_sent_again(table: Path) -> None:
    class Growing(Lines):
        def process_result(self, unit: Unit, value: str) -> None:
            Path(self.table).write_text("other\n" * (20 + unit.args))

    function = Growing(table=str(table), n=9)
    server = Uploads(function)
    await Driver(function, server, 1).drive()
    assert len(server.sent) > 1
    assert len({each for step in server.steps for unit in step.units for each in unit.inputs.values()}) > 1


async def test_a_driver_without_the_file_stops_and_the_run_waits(table: Path) -> None:
    function = Lines(table=str(table.with_name("none")), n=1)
    server = Uploads(function)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        await Driver(function, server, 1).drive()
    assert (server.steps, server.state_of_run) == ([], RunState.RUNNING)


async def test_sending_goes_on_when_the_server_was_away(table: Path) -> None:
    function = Lines(table=str(table), n=2)
    server = Uploads(function)

    async def at_once(_: float) -> None:
        return None

    api = FaultyApi(server, iter([Fault.NONE, Fault.NONE, Fault.AWAY, Fault.LOST_REPLY]))
    assert (await Driver(function, api, 1, sleep=at_once).drive()).result == ["line 0", "line 1"]
    assert server.sent == [table, table]


@pytest.mark.parametrize(
    "inputs",
    [
        {"../x": Path("/x")},
        {"": Path("/x")},
        {".x": Path("/x")},
        {"x\n": Path("/x")},
        {1: Path("/x")},
        {"x": "not a hash"},
        {"x": "A" * 64},
        {"x": "/a/path"},
        {"x": b"0" * 64},
        {f"x{number}": Path("/x") for number in range(65)},
    ],
)
async def test_what_cannot_be_an_input_fails_the_run_with_the_reason(inputs: dict[Any, Any]) -> None:
    with pytest.raises(UsageError):
        named(inputs)

    class Wrong(Lines):
        def units(self) -> Iterator[Unit]:
            yield Unit(1, inputs=inputs)

    function = Wrong(table="", n=1)
    ended = await Driver(function, MemoryServer(function), 1).drive()
    assert ended.state is RunState.FAILED
    assert "input" in ended.reason


async def test_a_hash_that_the_server_does_not_know_is_refused() -> None:
    class Wrong(Lines):
        def units(self) -> Iterator[Unit]:
            yield Unit(1, inputs={"a": "0" * 64})

    function = Wrong(table="", n=1)
    with pytest.raises(Exception, match="no such blob"):
        await Driver(function, MemoryServer(function), 1).drive()


def test_an_input_that_the_unit_does_not_name_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no input 'x' \(it has: none at all\)"):
        running.input("x")


def test_a_unit_without_inputs_is_signed_as_before() -> None:
    fields: dict[str, Any] = dict.fromkeys(("server_id", "run", "app"), "x") | {"args": b""}
    fields |= dict.fromkeys(("unit", "credit_milli", "memory_bytes", "disk_bytes", "output_bytes"), 1)
    fields |= dict.fromkeys(("cpu_s", "wall_s", "expires"), 1.0)
    assert b"inputs" not in msgspec.json.encode(UnitDocument(**fields))
    file = InputFile(sha256="0" * 64, bytes=1)
    data = msgspec.json.encode(UnitDocument(**fields, inputs={"a": file}))
    assert msgspec.json.decode(data, type=UnitDocument).inputs == {"a": file}
