"""Boxed code against its input files: it can read what its unit names, and change nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dsage import Limits, codec
from dsage.sandbox import Box, Level, landlock

APP = """
import ctypes
import os
from dsage.running import Hooks, input


class Reader:
    @staticmethod
    def read(name):
        return input(name).read_bytes()

    @staticmethod
    def names(_):
        found = list(Hooks.inputs)
        for folder in {os.path.dirname(place) for place in Hooks.inputs.values()} | {"/inputs"}:
            if os.path.isdir(folder):
                found += os.listdir(folder)
        return sorted(set(found))

    @staticmethod
    def vandalise(name):
        path = str(input(name))
        folder = os.path.dirname(path)
        through = []
        attempts = {
            "mode": lambda: os.chmod(path, 0o777),
            "folder": lambda: os.chmod(folder, 0o777),
            "write": lambda: open(path, "wb").write(b"evil"),
            "truncate": lambda: os.truncate(path, 1),
            "times": lambda: os.utime(path, (1, 1)),
            "own": lambda: os.chown(path, os.getuid(), os.getgid()),
            "attribute": lambda: os.setxattr(path, "user.evil", b"1"),
            "link": lambda: os.link(path, folder + "/link"),
            "away": lambda: os.link(path, "kept"),
            "add": lambda: open(folder + "/more", "w").close(),
            "replace": lambda: os.replace(path, folder + "/other"),
            "remove": lambda: os.unlink(path),
        }
        for what, attempt in attempts.items():
            try:
                attempt()
            except OSError:
                continue
            through.append(what)
        return through
"""
LIMITS = Limits(cpu_s=20, wall_s=20, memory_bytes=256 << 20, disk_bytes=16 << 20, output_bytes=1 << 20)


@pytest.fixture(params=list(Level))
def level(request: pytest.FixtureRequest) -> Level:
    if request.param is Level.LANDLOCK and landlock.version() < 1:
        pytest.skip("this kernel has no Landlock")
    return Level(request.param)


@pytest.fixture
async def box(level: Level, tmp_path: Path) -> AsyncIterator[Box]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "reader.py").write_text(APP)
    opened = await Box.open(level, tmp_path / "app", "reader:Reader", tmp_path / "boxes")
    yield opened
    await opened.close()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file as a client keeps it, in a folder that is its own."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "file").write_bytes(b"precious" * 1000)
    (folder / "file").chmod(0o444)
    return folder / "file"


def facts(path: Path) -> tuple[object, ...]:
    seen = path.lstat()
    return path.read_bytes(), seen.st_mode, seen.st_uid, seen.st_mtime_ns, seen.st_nlink, os.listxattr(path)


async def test_a_call_reads_its_files_and_the_next_one_sees_none(box: Box, kept: Path) -> None:
    before = facts(kept)
    for _ in range(2):
        read = await box.call("read", (codec.encode("a.txt"),), LIMITS, inputs={"a.txt": kept, "b": kept})
        assert (read.status, read.value) == ("done", codec.encode(b"precious" * 1000)), read
        without = await box.call("names", (codec.encode(None),), LIMITS)
        assert without.value == codec.encode([])
    assert facts(kept) == before
    assert len(box._lanes) == 1, "one sandbox served all"


async def test_the_host_s_file_stays_as_it_is(level: Level, box: Box, kept: Path) -> None:
    before = facts(kept)
    outcome = await box.call("vandalise", (codec.encode("x"),), LIMITS, inputs={"x": kept})
    assert outcome.status == "done", outcome
    if level is Level.BUBBLEWRAP:
        assert outcome.value == codec.encode([])
    assert facts(kept) == before
    again = await box.call("read", (codec.encode("x"),), LIMITS, inputs={"x": kept})
    assert again.value == codec.encode(b"precious" * 1000)


@pytest.mark.parametrize("name", ["../x", "/x", "..", "a/b", "", ".hidden", "x\0", "x" * 65])
async def test_a_name_never_leads_out_of_the_folder(box: Box, kept: Path, tmp_path: Path, name: str) -> None:
    before = sorted(str(path) for path in tmp_path.rglob("*") if "box-" not in str(path))
    outcome = await box.call("names", (codec.encode(None),), LIMITS, inputs={name: kept})
    assert (outcome.status, outcome.reason) == ("broken", "sandbox")
    assert sorted(str(path) for path in tmp_path.rglob("*") if "box-" not in str(path)) == before
    assert (await box.call("read", (codec.encode("a"),), LIMITS, inputs={"a": kept})).status == "done"


async def test_a_file_that_is_gone_breaks_the_call_and_nothing_else(box: Box, kept: Path) -> None:
    outcome = await box.call("names", (codec.encode(None),), LIMITS, inputs={"a": kept, "b": kept.with_name("none")})
    assert (outcome.status, outcome.reason) == ("broken", "sandbox")
    assert (await box.call("names", (codec.encode(None),), LIMITS)).value == codec.encode([])
