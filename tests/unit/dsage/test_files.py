"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage import files
from dsage.errors import StorageFull
from dsage.files import write_whole


@pytest.fixture(autouse=True)
def loose_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
def test_mode_and_content(tmp_path: Path, private: bool, mode: int) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"one", b"two"):
        write_whole(path, content, private=private)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_found_no_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "kept"
    monkeypatch.setattr(files.os, "fsync", full)
    with (
        pytest.raises(StorageFull, match=f"^{place} cannot be written: No space left on device$"),
        files.keeping(place),
    ):
        files.write_whole(place, b"x")
    with pytest.raises(OSError, match="No space") as caught:
        files.write_whole(place, b"x")
    assert files.unwritten(caught.value).message == f"{place} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "hint"), [(errno.EROFS, "Make it writable"), (errno.ENOSPC, "Free some disk")])
def test_the_hint_is_for_what_the_disk_said(number: int, hint: str) -> None:
    assert files.unwritten(OSError(number, "no", "/a", None, "/b")).hint.startswith(hint)
    assert files.unwritten(OSError(number, "no", "/a", None, "/b")).message == "/b cannot be written: no"
    assert files.unwritten(OSError(number, "no")).message == "a file cannot be written: no"
