"""What must be readable, and where it is laid out when root's home hides it."""

import os
import stat

import pytest

from dsage.sandbox import runtime
from dsage.sandbox.launch import box_folder
from dsage.sandbox.reach import copy, laid_out, reachable
from dsage.sandbox.runtime import Runtime, outermost

FOLDER, CLOSED, FILE = stat.S_IFDIR | 0o755, stat.S_IFDIR | 0o700, stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    ("folders", "kept"),
    [
        (["/usr/lib/python3/dist-packages", "/usr"], ()),
        (["/home/a/venv", "/home/a/venv/lib"], ("/home/a/venv",)),
        (["/home/a/venv2", "/home/a/venv"], ("/home/a/venv", "/home/a/venv2")),
        (["/opt/x/../y"], ("/opt/y",)),
        (["/usrlocal"], ("/usrlocal",)),
    ],
)
def test_folders_inside_others_are_left_out(folders, kept):
    assert outermost(folders) == kept


def test_the_current_runtime_finds_dsage_and_its_codec_s_needs():
    found = runtime.current()
    assert any(os.path.exists(f"{place}/dsage/codec.py") for place in found.import_path)
    assert any(os.path.isdir(f"{place}/msgspec") for place in found.import_path)
    assert os.access(found.python, os.X_OK)


def test_a_moved_runtime_points_to_the_copies():
    moved = Runtime(
        python="/root/py/bin/python",
        import_path=("/root/checkout/projects", "/root/venv/site-packages", "/usr/lib/x"),
        folders=("/root/checkout/projects/dsage", "/root/py", "/root/venv/site-packages"),
    ).moved(
        {
            "/root/checkout/projects/dsage": "/c/1/dsage",
            "/root/py": "/c/2/py",
            "/root/venv/site-packages": "/c/3/site-packages",
        }
    )
    assert moved.python == "/c/2/py/bin/python"
    assert moved.import_path == ("/c/1", "/c/3/site-packages", "/usr/lib/x")
    assert moved.folders == ("/c/1/dsage", "/c/2/py", "/c/3/site-packages")


@pytest.mark.parametrize(
    ("modes", "answer"),
    [
        ({"/a": FOLDER, "/a/b": FOLDER}, True),
        ({"/a": CLOSED, "/a/b": FOLDER}, False),
        ({"/a": FOLDER, "/a/b": CLOSED}, False),
        ({"/a": stat.S_IFDIR | 0o711, "/a/b": FILE}, True),
        ({"/a": FOLDER, "/a/b": stat.S_IFREG | 0o600}, False),
        ({"/a": FOLDER, "/a/b": stat.S_IFDIR | 0o744}, False),
    ],
)
def test_reachable_means_every_folder_above_lets_others_through(modes, answer):
    assert reachable("/a/b", modes.__getitem__) is answer


@pytest.fixture
def hidden(tmp_path):
    folder = tmp_path / "home" / "packages"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "open.py").write_text("x = 1")
    (folder / "closed.py").write_text("y = 2")
    (folder / "closed.py").chmod(0o600)
    (folder / "tool").write_text("#!/bin/sh")
    (folder / "tool").chmod(0o700)
    (folder / "link").symlink_to("inner/open.py")
    (folder / "inner").chmod(0o700)
    (tmp_path / "home").chmod(0o700)
    return folder


def test_a_hidden_folder_is_laid_out_readable_once(hidden, tmp_path):
    public = tmp_path / "public"
    laid_out.cache_clear()
    place = laid_out(str(hidden), public)
    assert os.path.basename(place) == "packages"
    modes = {name: stat.S_IMODE(os.stat(f"{place}/{name}").st_mode) for name in ("inner", "closed.py", "tool")}
    assert modes == {"inner": 0o755, "closed.py": 0o644, "tool": 0o755}
    assert os.readlink(f"{place}/link") == "inner/open.py"
    assert stat.S_IMODE((hidden / "closed.py").stat().st_mode) == 0o600
    laid_out.cache_clear()
    assert laid_out(str(hidden), public) == place
    assert len(list((public / "runtime").iterdir())) == 1


def test_a_changed_folder_is_laid_out_anew(hidden, tmp_path):
    laid_out.cache_clear()
    before = laid_out(str(hidden), tmp_path / "public")
    (hidden / "inner" / "more.py").write_text("z = 3")
    laid_out.cache_clear()
    assert laid_out(str(hidden), tmp_path / "public") != before


def test_a_copy_keeps_what_is_readable_as_the_same_file(hidden, tmp_path):
    copy(str(hidden), str(tmp_path / "copy"))
    assert (tmp_path / "copy/inner/open.py").samefile(hidden / "inner" / "open.py")
    assert not (tmp_path / "copy/closed.py").samefile(hidden / "closed.py")


def test_folders_of_killed_programs_are_swept_away(tmp_path):
    alive, dead = tmp_path / f"box-{os.getpid()}-a", tmp_path / "box-99999999-b"
    other = tmp_path / "box-notes"
    for folder in (alive, dead, other):
        folder.mkdir()
    made = box_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, made])
