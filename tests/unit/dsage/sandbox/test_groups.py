"""Control groups: where we may make them, and what is written into them; on a tree of ordinary files."""

import os
from pathlib import Path

import pytest

from dsage.sandbox import groups
from dsage.sandbox.groups import Group, delegated, located, prepare, sweep

V1 = "23 20 0:6 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
APP = "/user.slice/user-1000.slice/user@1000.service/app.slice/dsage.service"


@pytest.mark.parametrize(
    ("own", "mounts", "place"),
    [
        (f"0::{APP}\n", V2, f"/sys/fs/cgroup{APP}"),
        (f"4:memory:/x\n0::{APP}\n", V1 + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), None),
        (f"0::{APP}/dsage-agent\n", V2, f"/sys/fs/cgroup{APP}"),
        ("0::/\n", V2, "/sys/fs/cgroup"),
        ("0::/\n", V1, None),
        ("4:memory:/x\n", V2, None),
        ("0::/../other\n", V2, None),
        ("0::/box/inner\n", V2.replace("0:26 / ", "0:26 /box "), "/sys/fs/cgroup/inner"),
        ("0::/boxer\n", V2.replace("0:26 / ", "0:26 /box "), None),
        ("0::/a\n", V2.replace("/sys/fs/cgroup ", "/with\\040blank "), "/with blank/a"),
    ],
)
def test_the_folder_of_a_program_s_group_is_found(own, mounts, place):
    expected = Path(place) if place else None
    if place is None and "unified" in mounts:
        expected = Path(f"/sys/fs/cgroup/unified{APP}")
    assert located(own, mounts) == expected


@pytest.fixture
def tree(tmp_path):
    """A group as the kernel shows it, of files that remember the last word written."""
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.freeze", "cgroup.kill", "memory.max"):
        (tmp_path / name).write_text("")
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "memory.swap.max").write_text("max")
    (tmp_path / "pids.max").write_text("max")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 1\n")
    return tmp_path


def test_a_group_is_ours_where_no_systemd_rules_or_where_it_says_so(tree):
    assert delegated(tree, systemd=False)
    assert not delegated(tree, systemd=True)
    try:
        os.setxattr(tree, "user.delegate", b"1")
    except OSError:
        pytest.skip("this file system keeps no marks")
    assert delegated(tree, systemd=True)
    os.setxattr(tree, "user.delegate", b"0")
    assert not delegated(tree, systemd=True)


def test_a_group_that_cannot_be_written_is_not_ours(tree):
    (tree / "cgroup.subtree_control").unlink()
    assert not delegated(tree, systemd=False)


def test_only_the_limits_that_are_there_are_handed_down(tree):
    prepare(tree)
    assert (tree / "cgroup.subtree_control").read_text() == "+memory +pids"
    (tree / "cgroup.controllers").write_text("cpu")
    (tree / "cgroup.subtree_control").write_text("")
    prepare(tree)
    assert (tree / "cgroup.subtree_control").read_text() == ""


def test_our_own_processes_move_out_of_the_way_when_the_kernel_asks_for_it(tree, monkeypatch):
    (tree / "cgroup.procs").write_text("11\n12\n")
    written = []
    write = Path.write_text

    def busy(path, text):
        written.append((path.name if path.parent == tree else f"{path.parent.name}/{path.name}", text))
        if path.name == "cgroup.subtree_control" and len(written) == 1:
            raise OSError(16, "Device or resource busy")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", busy)
    monkeypatch.setattr(groups.processes, "tree", lambda root: [root, 11])
    prepare(tree)
    assert written == [("cgroup.subtree_control", "+memory +pids")], "12 is not ours to move"
    written.clear()
    (tree / "cgroup.subtree_control").unlink()
    write(tree / "cgroup.subtree_control", "")
    monkeypatch.setattr(groups.processes, "tree", lambda root: [root, 11, 12])
    prepare(tree)
    assert written == [
        ("cgroup.subtree_control", "+memory +pids"),
        ("dsage-agent/cgroup.procs", "11"),
        ("dsage-agent/cgroup.procs", "12"),
        ("cgroup.subtree_control", "+memory +pids"),
    ]


def test_limits_are_written_where_the_kernel_has_them(tree):
    group = Group(tree)
    group.limit_processes(67)
    group.limit_memory(1 << 20)
    assert (tree / "pids.max").read_text() == "67"
    assert int((tree / "memory.max").read_text()) == 1000 + (1 << 20) + groups.HEADROOM_BYTES
    assert (tree / "memory.swap.max").read_text() == "0"
    assert group.out_of_memory() == 2
    (tree / "memory.current").unlink()
    (tree / "memory.max").write_text("untouched")
    group.limit_memory(1)
    assert (tree / "memory.max").read_text() == "untouched"


def test_freezing_says_whether_it_could(tree, tmp_path):
    assert Group(tree).freeze()
    assert (tree / "cgroup.freeze").read_text() == "1"
    assert Group(tree).thaw()
    assert (tree / "cgroup.freeze").read_text() == "0"
    assert not Group(tmp_path / "gone").freeze()


def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path):
    gone = next(pid for pid in range(4_000_000, 5_000_000) if not Path("/proc", str(pid)).exists())
    for name in (f"dsage-{gone}-0", f"dsage-{os.getpid()}-3", "dsage-agent", "dsage-x-y", "other"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"dsage-{os.getpid()}-3", "dsage-agent", "dsage-x-y", "other",
    ]  # fmt: skip


def test_without_a_group_of_ours_there_is_none(monkeypatch):
    monkeypatch.setattr(groups, "ours", lambda: None)
    assert groups.new(64) is None


def test_a_group_that_takes_no_limit_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "ours", lambda: tmp_path)
    monkeypatch.setattr(Group, "limit_processes", lambda self, most: (_ for _ in ()).throw(PermissionError()))
    assert groups.new(64) is None
    assert list(tmp_path.iterdir()) == []
