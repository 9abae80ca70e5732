"""What makes a process a good guest."""

import os
import subprocess

import pytest

from dsage.sandbox import gentle


def test_a_process_and_what_it_starts_from_then_on_become_idle():
    child = subprocess.Popen(["/bin/sh", "-c", "read line; sleep 60 & echo $!; wait"], stdin=-1, stdout=-1)
    with child:
        if not gentle.make_idle(child.pid):
            pytest.skip("this kernel takes no priorities of input and output")
        child.stdin.write(b"\n")
        child.stdin.flush()
        below = int(child.stdout.readline())
        assert [gentle.io_class(pid) for pid in (child.pid, below)] == [gentle.IDLE, gentle.IDLE]
        os.kill(below, 9)
    assert gentle.io_class(os.getpid()) != gentle.IDLE


def test_a_process_that_has_gone_is_not_made_idle():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert not gentle.make_idle(child.pid)


@pytest.mark.parametrize(
    ("shown", "last", "left"),
    [
        ("/autogroup-25 nice 0\n", True, "19"),
        ("/autogroup-25 nice 19\n", True, "/autogroup-25 nice 19\n"),
        ("", False, ""),
        (None, False, None),
    ],
    ids=["a-session", "already-last", "sessions-are-no-groups", "no-such-process"],
)
def test_a_session_comes_last_where_sessions_are_groups(tmp_path, monkeypatch, shown, last, left):
    monkeypatch.setattr(gentle, "PROCESSES", str(tmp_path))
    file = tmp_path / "7" / "autogroup"
    if shown is not None:
        file.parent.mkdir()
        file.write_text(shown)
    assert gentle.make_last(7) is last
    assert (file.read_text() if file.exists() else None) == left


def test_a_session_that_may_not_be_set_now_is_none_that_comes_last(tmp_path, monkeypatch):
    monkeypatch.setattr(gentle, "PROCESSES", str(tmp_path))
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "autogroup").symlink_to("/proc/self/cmdline")
    assert not gentle.make_last(7)
