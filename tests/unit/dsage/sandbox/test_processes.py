"""What processes use, seen from outside."""

import os
import subprocess
import sys

from dsage.sandbox import processes

FORKS = """
import os, sys
held = os.urandom(32 << 20)
for _ in range(4):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""


def test_what_processes_share_counts_once():
    with subprocess.Popen([sys.executable, "-S", "-c", FORKS], stdin=-1, stdout=-1) as parent:
        parent.stdout.readline()
        pids = processes.tree(parent.pid)
        assert len(pids) == 5
        shared = processes.memory_shared_out(pids)
        assert 32 << 20 <= shared < 64 << 20
        assert processes.usage(pids).memory_bytes > 5 * (32 << 20)
    assert processes.memory_shared_out([1 << 30]) == 0


def test_a_process_that_does_not_show_its_memory_is_not_guessed_at(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr("builtins.open", refused)
    found = processes.memory_shared_out([os.getpid()])
    monkeypatch.undo()
    assert found is None


def test_a_number_that_another_process_has_by_now_is_told_by_its_start():
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=-1) as child:
        first, mine = processes.started(child.pid), processes.started(os.getpid())
        assert first == processes.started(child.pid)
        assert mine <= first
        child.stdin.close()
        child.wait()
    assert processes.started(child.pid) is None
