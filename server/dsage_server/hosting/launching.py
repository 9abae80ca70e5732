"""How the hosting process is started: nothing inherited but one socket, and as root under a user of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dsage_server
from dsage.sandbox import reach, runtime
from dsage.sandbox.space import working_space

HOSTING_USER: Final = 60708
"""Whom root makes it: next to the user of boxes (dsage.sandbox.launch), so that it is neither the server nor a box of
the validator or of a volunteer's client on this computer."""

_BOOT: Final = (
    "import sys; sys.path += sys.argv[1].split(':'); "
    "from dsage_server.hosting.__main__ import main; main(int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class Started:
    """A hosting process, and the server's end of its socket."""

    process: subprocess.Popen[bytes]
    end: socket.socket

    def abandon(self) -> None:
        """End a process that has been told nothing yet."""
        self.end.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Make the folder that the hosting process works in, its own and empty; remove it at the end.

    It lies in one that is ours: whom a folder belongs to could put a link in its place, and root would follow that.
    """
    with working_space(folder) as ours:
        place = ours / "own"
        place.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(place, HOSTING_USER, HOSTING_USER)
        yield place


def launch() -> Started:
    """Start the hosting process. Raises OSError, or SandboxRefused where root's files cannot be laid out for it."""
    ours, theirs = socket.socketpair()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": HOSTING_USER, "group": HOSTING_USER, "extra_groups": []}
    try:
        process = subprocess.Popen(
            [*_command(), str(theirs.fileno())],
            env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            start_new_session=True, **user,
        )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return Started(process, ours)


def _command() -> list[str]:
    """Return how Python is started: as root, from where another user can read it and what it imports."""
    needed, package = runtime.current(), str(Path(dsage_server.__file__).parent)
    sources = {}
    if os.geteuid() == 0:
        sources = {folder: reach.laid_out(folder) for folder in (*needed.folders, package)}
    moved = needed.moved(sources)
    paths = [*moved.import_path, str(Path(sources.get(package, package)).parent)]
    return [moved.python, "-P", "-S", "-B", "-s", "-X", "utf8", "-c", _BOOT, ":".join(dict.fromkeys(paths))]
