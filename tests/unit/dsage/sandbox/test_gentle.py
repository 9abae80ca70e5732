"""The idle class of input and output."""

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
