"""Which of some programs run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage_client import programs
from dsage_client.programs import Programs, plain_name


class Proc:
    """A folder of processes, as Linux shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, pid: int, comm: str, exe: str = "", *started: str) -> None:
        """Have a process, or let it become another program."""
        process = self.folder / str(pid)
        process.mkdir(exist_ok=True)
        (process / "comm").write_text(f"{comm[:15]}\n")
        (process / "cmdline").write_bytes(b"".join(each.encode() + b"\0" for each in started))
        (process / "exe").unlink(missing_ok=True)
        if exe:
            (process / "exe").symlink_to(exe)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    (tmp_path / "self").mkdir()
    (tmp_path / "uptime").write_text("1 1")
    return Proc(tmp_path)


@pytest.mark.parametrize(
    ("process", "wanted"),
    [
        (("firefox",), "firefox"),
        (("GeckoMain", "/usr/lib/firefox/firefox"), "Firefox"),
        (("GeckoMain", "/usr/lib/firefox/firefox (deleted)"), "firefox"),
        (("python3", "/usr/bin/python3.11", "/usr/games/supergame", "-x"), "supergame"),
        (("wine64-preload", "/usr/bin/wine64-preloader", "C:\\Games\\Quake.exe", "-f"), "quake"),
        (("Quake.exe",), "QUAKE"),
        (("a-game-with-a-long-name",), "a-game-with-a-long-name"),
        (("firefox",), "/usr/bin/firefox"),
    ],
)
def test_what_a_program_is_called(proc: Proc, process: tuple[str, ...], wanted: str) -> None:
    proc.put(10, "systemd", "/usr/lib/systemd/systemd", "/sbin/init")
    assert Programs(proc.folder).running([wanted]) == frozenset()
    proc.put(11, *process)
    assert Programs(proc.folder).running([wanted, "nothing"]) == {wanted}


@pytest.mark.parametrize("wanted", ["fire", "firefox-esr", "", " ", "/", "-x", "firefoxx", ".exe"])
def test_others_do_not_count(proc: Proc, wanted: str) -> None:
    proc.put(11, "firefox", "/usr/bin/firefox", "firefox", "-x")
    assert Programs(proc.folder).running([wanted]) == frozenset()


def test_what_is_known_is_not_read_again_until_it_becomes_something_else(proc: Proc) -> None:
    seen = Programs(proc.folder)
    proc.put(11, "sh", "/bin/sh", "sh")
    assert seen.running(["quake"]) == frozenset()
    (proc.folder / "11" / "cmdline").write_bytes(b"quake\0")
    assert seen.running(["quake"]) == frozenset(), "its name is the same"
    proc.put(11, "quake-bin", "/usr/bin/quake-bin", "quake")
    assert seen.running(["quake"]) == {"quake"}
    for file in ("comm", "cmdline", "exe"):
        (proc.folder / "11" / file).unlink()
    (proc.folder / "11").rmdir()
    assert seen.running(["quake"]) == frozenset()


def test_a_process_that_hides_or_has_just_gone(proc: Proc) -> None:
    (proc.folder / "12").mkdir()
    (proc.folder / "13").mkdir()
    (proc.folder / "13" / "comm").mkdir()
    assert Programs(proc.folder).running(["quake"]) == frozenset()


@pytest.fixture
def game(tmp_path: Path) -> Iterator[str]:
    """A program that runs; tests look at it as if it were not below this process."""
    path = tmp_path / "a-game-with-a-long-name.x86_64"
    path.symlink_to("/bin/sleep")
    with subprocess.Popen([path, "300"]) as child:
        yield path.name
        child.kill()


def test_a_real_program_runs_and_our_own_do_not_count(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Programs().running([game]) == frozenset(), "it is ours"
    monkeypatch.setattr(programs.processes, "tree", lambda root: [os.getpid()])
    assert Programs().running([game.upper()]) == {game.upper()}


def test_names_as_they_are_compared() -> None:
    assert [plain_name(name) for name in ("Quake.EXE", "/opt/x/Blender", "C:\\A\\b.exe", " steam\n")] == [
        "quake", "blender", "b", "steam",
    ]  # fmt: skip
