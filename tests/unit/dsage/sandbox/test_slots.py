"""The folder that a stranger wrote to: measured and removed without following anything in it."""

import os
import sys
from pathlib import Path

import pytest

from dsage.sandbox import slots


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "slot"
    made.mkdir()
    return made


def measured(folder):
    fd = slots.held(folder)
    try:
        return slots.measure(fd)
    finally:
        os.close(fd)


def test_bytes_and_names_are_counted_links_and_pipes_too(folder, tmp_path):
    (tmp_path / "host").mkdir()
    for number in range(20):
        (tmp_path / "host" / str(number)).write_bytes(bytes(1 << 20))
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_bytes(os.urandom(1 << 16))
    (folder / "link").symlink_to(tmp_path / "host")
    os.mkfifo(folder / "pipe")
    size, files = measured(folder)
    assert files == 4
    assert 1 << 16 <= size < 1 << 18


def test_a_link_is_no_folder_to_hold(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(OSError, match="link"):
        slots.held(tmp_path / "link")


def test_counting_ends_where_it_is_too_many(folder, monkeypatch):
    monkeypatch.setattr(slots, "MAX_FILES", 50)
    for number in range(80):
        (folder / str(number)).touch()
    assert measured(folder)[1] == 51


def nested(folder, levels):
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_folders_nested_too_deep_count_as_too_many(folder):
    nested(folder, slots.DEEPEST - 1)
    assert measured(folder)[1] == slots.DEEPEST - 1
    nested(folder, 1) if not (folder / "deep").exists() else nested(folder / Path(*["deep"] * (slots.DEEPEST - 1)), 3)
    assert measured(folder)[1] > slots.MAX_FILES


def test_a_folder_deeper_than_any_call_can_nest_is_removed(folder):
    nested(folder, 3 * sys.getrecursionlimit())
    slots.remove(folder)
    assert not folder.exists()


def test_what_is_removed_leads_nowhere_and_may_be_closed_or_named_anyhow(folder, tmp_path):
    host = tmp_path / "host"
    host.mkdir()
    (host / "kept").write_text("kept")
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "link").symlink_to(host)
    (folder / "hard").hardlink_to(host / "kept")
    os.mkfifo(folder / "pipe")
    open(os.fsencode(folder) + b"/\xff\xfe", "w").close()
    os.chmod(folder / "closed" / "inner", 0)
    os.chmod(folder / "closed", 0)
    slots.remove(folder)
    assert not folder.exists()
    assert (host / "kept").read_text() == "kept"
    assert host.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_not_there_or_is_a_link_is_left(tmp_path):
    slots.remove(tmp_path / "none")
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "host")
    slots.remove(tmp_path / "link")
    assert (tmp_path / "host" / "kept").exists()


def test_files_without_a_name_are_counted_once(folder):
    first = os.open(folder / "hidden", os.O_CREAT | os.O_RDWR)
    os.write(first, os.urandom(1 << 20))
    again = os.dup(first)
    before = slots.unlinked([os.getpid()])
    os.unlink(folder / "hidden")
    try:
        assert 1 << 20 <= slots.unlinked([os.getpid(), os.getpid()]) - before < 1 << 21
    finally:
        os.close(first)
        os.close(again)
    assert slots.unlinked([1 << 30]) == 0
