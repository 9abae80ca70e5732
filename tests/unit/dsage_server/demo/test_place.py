"""A demo's folders: made, removed, kept, and cleared away after demos that were killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dsage.errors import UsageError
from dsage_server.demo.place import PREFIX, place


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_nothing_stays_even_after_an_error(temporary: Path) -> None:
    def fail() -> None:
        with place(None) as where:
            where.home("server").mkdir()
            (where.home("server") / "key").write_text("secret")
            where.scratch.joinpath("box").mkdir()
            assert where.homes.stat().st_mode & 0o077 == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(temporary.iterdir()) == []


def test_homes_are_kept_where_asked_and_scratch_is_not(temporary: Path, tmp_path: Path) -> None:
    with place(tmp_path / "new" / "kept") as where:
        where.log("server").write_text("ready")
    assert (tmp_path / "new" / "kept" / "server.log").read_text() == "ready"
    assert list(temporary.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_sentence(temporary: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"), place(Path("/proc/nothing")):
        pytest.fail("there is no such place")
    assert list(temporary.iterdir()) == []


def test_what_killed_demos_left_goes_and_what_living_ones_use_stays(temporary: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left, used = (temporary / f"{PREFIX}{process.pid}-x" for process in (gone, living))
    other = temporary / "dsage-demonstration"
    for folder in (left, used, other):
        folder.mkdir()
    with place(None):
        assert not left.exists()
        assert used.exists()
        assert other.exists()
    living.communicate()
