"""Without namespaces: the process that outlives a box's code just long enough to end it.

The guardian forks the warm parent, adopts whatever loses its parent below it, and kills all of it when the host goes
away or the warm parent ends. It has confined nothing in itself and runs none of the app's code.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from contextlib import suppress
from typing import Any, Final

from dsage.sandbox import landlock, processes, seccomp

_PARENT_DEATH_SIGNAL: Final = 1
_CHILD_SUBREAPER: Final = 36


def confine(settings: dict[str, Any]) -> None:
    """Fork a guardian, and return in its child, confined; `settings` holds read, write, filter, life and chdir."""
    _prctl(_CHILD_SUBREAPER, 1)
    guardian = os.getpid()
    child = os.fork()
    if child:
        _watch(child, settings["life"])
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)
    os.close(settings["life"])
    os.setsid()
    os.chdir(settings["chdir"])
    landlock.restrict(settings["read"], settings["write"], landlock.DEVICES)
    seccomp.install(settings["filter"])


def _watch(child: int, life: int) -> None:
    """Wait for the end of the host (its end of `life` closes) or of `child`; then kill all and exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    poll = select.poll()
    poll.register(life, select.POLLIN)
    poll.register(os.pidfd_open(child), select.POLLIN)
    poll.poll()
    processes.kill(os.getpid(), keep=[os.getpid()])
    # Ignored children are reaped by themselves, and this returns (with an error) when the last of them is gone.
    with suppress(ChildProcessError):
        os.waitpid(-1, 0)
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
