"""Sockets in folders that lie deeper than an address reaches."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dsage import sockets


def deep(below: Path, length: int) -> Path:
    """Make a folder whose path has so many bytes."""
    folder = below
    while len(os.fsencode(folder)) < length - 1:
        folder = folder / ("d" * min(60, length - 1 - len(os.fsencode(folder))))
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder)) == length
    return folder


@pytest.mark.parametrize("length", [101, 102, 103, 200, 1000])
def test_a_socket_is_made_and_called_however_deep_it_lies(tmp_path: Path, length: int) -> None:
    path = deep(tmp_path, length) / "place"
    held = set(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        with sockets.reachable(path) as address:
            listener.bind(address)
            assert len(os.fsencode(address)) <= sockets.MAX_ADDRESS
        listener.listen()
        with sockets.reachable(path) as address:
            caller.connect(address)
        assert path.is_socket()
    assert set(os.listdir("/proc/self/fd")) == held


def test_a_path_that_fits_is_the_address(tmp_path: Path) -> None:
    path = tmp_path / "place"
    with sockets.reachable(path) as address:
        assert address == str(path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), sockets.reachable(tmp_path / ("d" * 100) / ("e" * 100) / "place"):
        pass


def test_a_system_that_does_not_show_open_files_takes_paths_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "OPEN_FILES", tmp_path / "none")
    path = deep(tmp_path, 200) / "place"
    with (
        sockets.reachable(path) as address,
        socket.socket(socket.AF_UNIX) as listener,
        pytest.raises(OSError, match="too long"),
    ):
        listener.bind(address)
