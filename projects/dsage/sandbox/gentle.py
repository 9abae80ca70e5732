"""Idle input and output for a box that is to be a good guest, set from outside so that what runs in it cannot undo it.

The filter refuses `ioprio_set` to boxed code. Source: ioprio_set(2), Documentation/block/ioprio.rst.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Final

NICEST: Final = 19
"""Who asks for this niceness also gets the idle classes of scheduling and of input and output."""
_SET_PRIORITY: Final = {"x86_64": 251, "aarch64": 30}
_GET_PRIORITY: Final = {"x86_64": 252, "aarch64": 31}
_PROCESS: Final = 1
IDLE: Final = 3
"""IOPRIO_CLASS_IDLE: only what no other program wants."""
PROCESSES: Final = "/proc"
"""Where Linux shows the processes."""
_CLASS_SHIFT: Final = 13


def make_idle(pid: int) -> bool:
    """Let a process, and what it starts from then on, read and write only when nobody else does; say if it worked."""
    number = _SET_PRIORITY.get(platform.machine())
    return number is not None and not _libc().syscall(number, _PROCESS, pid, IDLE << _CLASS_SHIFT)


def make_last(pid: int | str) -> bool:
    """Let the session of a process come last among the sessions of a computer; say whether it does.

    Where Linux groups processes by session, niceness and SCHED_IDLE count inside a session only, and a session whose
    programs are all idle ones gets as much as the owner's. Such a group has a niceness of its own, which nobody but
    root may set more often than ten times a second in all: then it fails, and is tried again. Source: sched(7).
    Where it does not (kernel.sched_autogroup_enabled=0) the file is empty, there is nothing to set, and the niceness
    of a process counts in the whole computer.
    """
    place = f"{PROCESSES}/{pid}/autogroup"
    try:
        with open(place) as file:
            shown = file.read().strip()
        if not shown or shown.rpartition(" ")[2] == str(NICEST):
            return bool(shown)
        with open(place, "w") as file:
            file.write(str(NICEST))
    except OSError:
        return False
    return True


def io_class(pid: int) -> int:
    """Return the class of a process's input and output: 0 none, 1 real time, 2 best effort, 3 idle; -1 unknown."""
    number = _GET_PRIORITY.get(platform.machine())
    found: int = -1 if number is None else _libc().syscall(number, _PROCESS, pid)
    return found >> _CLASS_SHIFT


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
