"""Input files of a client: what is kept, what goes, and what a unit meets whose file is not to be had."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dsage.errors import BadSignature, Busy, DSageError, NotFound, ServerAway, StorageFull, TooLarge, WrongRole
from dsage.inputs import InputFile
from dsage_client.inputs import InputLost, Inputs
from dsage_client.session import Session


def made(size: int, seed: int = 0) -> tuple[bytes, InputFile]:
    data = bytes([seed]) * size
    return data, InputFile(sha256=hashlib.sha256(data).hexdigest(), bytes=size)


class Server(Session):
    """Serves blobs; `errors` come first, one for each request."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.errors: list[DSageError] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def offer(self, size: int, seed: int = 0) -> InputFile:
        data, file = made(size, seed)
        self.blobs[file.sha256] = data
        return file

    async def blob(self, sha256: str, size: int, path: Path) -> None:
        self.asked.append(sha256)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if sha256 not in self.blobs:
            raise NotFound("there is no such blob")
        path.write_bytes(self.blobs[sha256])


@pytest.fixture
def server() -> Server:
    return Server()


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


async def test_a_file_is_fetched_once_and_stays_for_the_next_unit(server: Server, tmp_path: Path) -> None:
    inputs, file = Inputs(server, tmp_path / "in", 1000), server.offer(100)
    for _ in range(2):
        paths = await inputs.take({"a": file, "same.txt": file})
        assert {name: path.read_bytes() for name, path in paths.items()} == dict.fromkeys(("a", "same.txt"), bytes(100))
        inputs.release({"a": file, "same.txt": file})
    assert server.asked == [file.sha256]
    assert paths["a"].stat().st_mode & 0o777 == 0o444


async def test_two_units_at_a_time_fetch_a_file_once(server: Server, tmp_path: Path) -> None:
    inputs, file = Inputs(server, tmp_path, 1000), server.offer(100)
    server.gate.clear()
    both = [asyncio.create_task(inputs.take({"a": file})) for _ in range(2)]
    while not server.asked:
        await asyncio.sleep(0)
    server.gate.set()
    assert [await each for each in both] == [{"a": tmp_path / file.sha256}] * 2
    assert len(server.asked) == 1


async def test_the_longest_unused_file_makes_room_and_never_one_in_use(server: Server, tmp_path: Path) -> None:
    inputs = Inputs(server, tmp_path, 100)
    one, two, three, four = (server.offer(40, seed) for seed in range(4))
    for file in (one, two, one):
        await inputs.take({"a": file})
        inputs.release({"a": file})
    await inputs.take({"a": three})
    assert sizes(tmp_path) == {one.sha256: 40, three.sha256: 40}
    await inputs.take({"a": one})
    with pytest.raises(StorageFull):
        await inputs.take({"a": four})
    assert sizes(tmp_path) == {one.sha256: 40, three.sha256: 40}
    inputs.release({"a": three})
    await inputs.take({"a": four})
    assert sizes(tmp_path) == {one.sha256: 40, four.sha256: 40}


async def test_what_a_unit_reads_is_set_aside_at_once_or_not_at_all(server: Server, tmp_path: Path) -> None:
    """Otherwise two units could each hold one file and wait for the other's room for ever."""
    inputs = Inputs(server, tmp_path, 100)
    first, second = server.offer(60, 1), server.offer(60, 2)
    await inputs.take({"a": first})
    small = server.offer(40, 3)
    with pytest.raises(StorageFull):
        await inputs.take({"a": small, "b": second})
    assert server.asked == [first.sha256]
    await inputs.take({"a": small})


async def test_more_than_the_limit_is_refused_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    inputs = Inputs(server, tmp_path, 100)
    with pytest.raises(TooLarge):
        await inputs.take({"a": server.offer(60, 1), "b": server.offer(41, 2)})
    assert server.asked == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (NotFound("gone"), InputLost),
        (BadSignature("other bytes"), InputLost),
        (TooLarge("?"), InputLost),
        (ServerAway("away"), ServerAway),
        (Busy("later"), Busy),
        (StorageFull("full"), StorageFull),
    ],
)
async def test_a_file_that_does_not_come_leaves_nothing_taken(
    server: Server, tmp_path: Path, error: DSageError, raised: type[DSageError]
) -> None:
    inputs = Inputs(server, tmp_path, 100)
    good, bad, other = server.offer(50, 1), server.offer(50, 2), server.offer(50, 3)
    await inputs.take({"a": good})
    server.errors.append(error)
    with pytest.raises(raised):
        await inputs.take({"a": good, "b": bad})
    assert await inputs.take({"c": other}), "the room of what did not come is free again"


def junk_link(folder: Path, file: InputFile) -> None:
    (folder / "elsewhere").write_bytes(bytes([1]) * file.bytes)
    (folder / "in" / file.sha256).symlink_to(folder / "elsewhere")


def junk_bytes(folder: Path, file: InputFile) -> None:
    (folder / "in" / file.sha256).write_bytes(b"x" * file.bytes)


def junk_short(folder: Path, file: InputFile) -> None:
    (folder / "in" / file.sha256).write_bytes(b"x")


def junk_folder(folder: Path, file: InputFile) -> None:
    (folder / "in" / file.sha256).mkdir()
    (folder / "in" / file.sha256 / "more").touch()


@pytest.mark.parametrize("junk", [junk_link, junk_bytes, junk_short, junk_folder])
async def test_what_is_not_the_file_is_fetched_again(
    server: Server, tmp_path: Path, junk: Callable[[Path, InputFile], None]
) -> None:
    file = server.offer(50, 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "stray").touch()
    junk(tmp_path, file)
    inputs = Inputs(server, tmp_path / "in", 100)
    paths = await inputs.take({"a": file})
    assert paths["a"].read_bytes() == server.blobs[file.sha256]
    assert not paths["a"].is_symlink()
    assert (sizes(tmp_path / "in"), server.asked) == ({file.sha256: 50}, [file.sha256])
    assert not (tmp_path / "elsewhere").exists() or (tmp_path / "elsewhere").stat().st_mode & 0o200


async def test_a_link_that_comes_while_the_client_runs_is_not_followed(server: Server, tmp_path: Path) -> None:
    inputs, file = Inputs(server, tmp_path / "in", 100), server.offer(50, 1)
    path = (await inputs.take({"a": file}))["a"]
    inputs.release({"a": file})
    path.unlink()
    junk_link(tmp_path, file)
    assert not (await inputs.take({"a": file}))["a"].is_symlink()
    assert len(server.asked) == 2


async def test_a_restart_keeps_whole_files_and_begun_ones_and_counts_them(server: Server, tmp_path: Path) -> None:
    inputs, old, new = Inputs(server, tmp_path, 100), server.offer(40, 1), server.offer(70, 3)
    await inputs.take({"a": old})
    (tmp_path / f".{'b' * 64}.part").write_bytes(bytes(30))
    os.utime(tmp_path / f".{'b' * 64}.part", (1, 1))
    again = Inputs(server, tmp_path, 100)
    await again.take({"a": old})
    assert server.asked == [old.sha256], "hashed, and not fetched again"
    with pytest.raises(StorageFull):
        await again.take({"a": new})
    again.release({"a": old})
    await again.take({"a": new})
    assert sizes(tmp_path) == {new.sha256: 70}


# -- a client at work ----------------------------------------------------------------------------------------------


async def test_a_unit_runs_with_its_files_and_they_may_go_afterwards(client) -> None:
    data, file = made(5000, 7)
    client.server.blobs[file.sha256] = data
    client.runner.gate.clear()
    (replica,) = await client.server.give(3, inputs={"table.bin": file})
    async with client.running() as agent:
        await client.until(lambda: replica in client.runner.running)
        assert client.runner.running[replica].inputs["table.bin"].read_bytes() == data
        assert agent._slots._inputs._files[file.sha256].users == 1
        client.runner.gate.set()
        await client.until(lambda: replica in client.server.ended)
        assert agent._slots._inputs._files[file.sha256].users == 0
    assert client.server.ended[replica][0] == "done"


@pytest.mark.parametrize("served", [None, b"other bytes here", b"longer than what was signed"])
async def test_a_file_that_the_server_does_not_have_is_its_own_fault(client, served: bytes | None) -> None:
    _, file = made(16, 7)
    if served is not None:
        client.server.blobs[file.sha256] = served
    (replica,) = await client.server.give(3, inputs={"table.bin": file})
    async with client.running():
        await client.until(lambda: replica in client.server.ended)
        (fine,) = await client.server.give(4)
        await client.until(lambda: fine in client.server.ended)
    assert client.server.ended[replica] == ("returned", "input", None)
    assert client.server.ended[fine][0] == "done"
    assert client.server.fetched.count(file.sha256) == 3, "it may be put in its place in the meantime"
    assert client.kinds().count("lost-input") == 1
    assert "failing" not in client.kinds()
    assert not list(client.settings.inputs.iterdir())


async def test_more_to_read_than_the_unit_may_have_on_disk_is_refused(client) -> None:
    _, file = made(16, 7)
    (replica,) = await client.server.give(3, inputs={"a": file}, disk_bytes=15)
    async with client.running():
        await client.until(lambda: replica in client.server.ended)
    assert client.server.ended[replica][:2] == ("failed", WrongRole.code)
    assert client.server.fetched == []


async def test_a_client_that_comes_back_fetches_after_its_login(client) -> None:
    data, file = made(5000, 7)
    (replica,) = await client.server.give(3, inputs={"table.bin": file})
    async with client.running():
        await client.until(lambda: file.sha256 in client.server.fetched)
        gone = client.killed(client.settings.folder.with_name("gone"))
    client.server.blobs[file.sha256] = data
    client.server.forget_tokens()
    client.server.ended.clear()
    async with gone.running():
        await gone.until(lambda: replica in client.server.ended)
    assert client.server.ended[replica][0] == "done"
