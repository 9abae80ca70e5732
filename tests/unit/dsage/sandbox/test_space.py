"""The folder that boxes work in."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dsage.sandbox.space import working_space


def test_it_is_removed_at_the_end_and_also_after_a_kill(tmp_path: Path) -> None:
    place = tmp_path / "work"
    with working_space(place) as killed:
        (killed / "left").write_text("behind")
        with working_space(place) as space:
            assert list(space.iterdir()) == []
            assert space == killed or not killed.exists()
        assert not space.exists()
        assert not place.exists()


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_disk_that_may_only_be_read_at_the_end_keeps_it_until_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "work"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with monkeypatch.context() as shut, working_space(place):
        shut.setattr(Path, "unlink", refuse)
    assert place.is_symlink()
    with working_space(place) as space:
        assert space.is_dir()
    assert not place.is_symlink()


def test_what_was_made_elsewhere_goes_if_it_cannot_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match="Read-only"), working_space(tmp_path / "work"):
        pytest.fail("there is no such place")
    assert list(tmp_path.iterdir()) == []
