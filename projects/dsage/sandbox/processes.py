"""What the processes of a box are and use, seen from the host through /proc; and how to stop them all.

Nothing here asks the boxed code: a call that hangs, lies or floods is measured all the same.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE: Final = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes use together: processor time so far (ended children included), memory now, threads."""

    cpu_s: float
    memory_bytes: int
    address_bytes: int
    threads: int


def children(pid: int) -> list[int] | None:
    """Return the living children of a process, None if it has gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listed:
                found += map(int, listed.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found


def tree(root: int) -> list[int]:
    """Return `root` and its living descendants, parents first; empty if it has gone."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        below = children(pid)
        if below is not None:
            found.append(pid)
            waiting += below
    return found


def started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None if it has gone."""
    fields = _fields(pid)
    return int(fields[22 - 3]) if fields else None


def usage(pids: Iterable[int]) -> Usage:
    """Return what these processes use together; those that have gone count nothing."""
    ticks = pages = addresses = threads = 0
    for pid in pids:
        if fields := _fields(pid):
            ticks += sum(int(fields[number - 3]) for number in (14, 15, 16, 17))
            threads += int(fields[20 - 3])
            addresses += int(fields[23 - 3])
            pages += int(fields[24 - 3])
    return Usage(ticks / _TICK, pages * _PAGE, addresses, threads)


def urgent_s(pids: Iterable[int]) -> float:
    """Return the processor time (s) of these processes that Linux does not count as `nice` (man proc_stat): what they
    computed at full priority, and what the kernel did for them at any.

    Of ended children only the kernel's work is in it, as nobody tells what priority they had.
    """
    ticks = 0
    for pid in pids:
        if fields := _fields(pid):
            ticks += sum(int(fields[number - 3]) for number in (15, 17))
            ticks += int(fields[14 - 3]) if int(fields[19 - 3]) <= 0 else 0
    return ticks / _TICK


def memory_shared_out(pids: Iterable[int]) -> int | None:
    """Return the memory (bytes) that processes use together, what they share counted once; None if it is not shown.

    Dear to find out: the kernel looks at each page.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as listed:
                lines = (line for line in listed if line.startswith((b"Pss:", b"SwapPss:")))
                total += sum(int(line.split()[1]) << 10 for line in lines)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            return None
    return total


def descriptors(pids: Iterable[int]) -> int:
    """Return how many files, pipes and sockets these processes hold open together."""
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            total += len(os.listdir(f"/proc/{pid}/fd"))
    return total


def stop(root: int, *, keep: Iterable[int] = ()) -> list[int]:
    """Pause `root` and all below it, also what starts meanwhile, except `keep`. Return the paused."""
    kept, stopped = set(keep), set[int]()
    while new := [pid for pid in tree(root) if pid not in stopped and pid not in kept]:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        stopped.update(new)
    return list(stopped)


def resume(root: int) -> None:
    """Let `root` and all below it go on."""
    for pid in tree(root):
        _signal(pid, signal.SIGCONT)


def kill(root: int, *, keep: Iterable[int] = ()) -> int:
    """End `root` and all below it, except `keep`, with no way to escape by forking meanwhile; return how many."""
    stopped = stop(root, keep=keep)
    for pid in stopped:
        _signal(pid, signal.SIGKILL)
    return len(stopped)


def count(uid: int) -> int:
    """Return how many threads of all processes have this real user id (what RLIMIT_NPROC counts)."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    total += len(os.listdir(f"/proc/{name}/task"))
    return total


def _fields(pid: int) -> list[bytes]:
    """Return what Linux shows of a process after its name, which may hold anything; empty if it has gone. In proc(5)
    the first of them, the state, is number 3."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
