"""Control groups: the kernel's own limits, pause and end for all processes of a lane, where we may make groups.

That is in version 2 of the hierarchy, below the group that this program runs in, where systemd delegates it
(`Delegate=yes`, which it marks) or where no systemd rules and the folder is ours to write. Sources: Linux
Documentation/admin-guide/cgroup-v2.rst; systemd's CGROUP_DELEGATION. Version 1 is left alone. Every limit here has a
second keeper (limits of processes, and measuring from outside), so a computer without groups does without.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsage.sandbox import processes

KERNEL: Final = ("memory", "pids")
OWN: Final = "dsage-agent"
"""The group that this program's own processes move to: a group that hands out limits may hold no process itself."""
MARKS: Final = ("user.delegate", "trusted.delegate")
SYSTEMD: Final = Path("/run/systemd/system")
HEADROOM_BYTES: Final = 32 << 20
"""Beyond what a call may use: page tables, sockets and the like, which a group counts too."""
GONE_S: Final = 1.0

_LEFT: Final = re.compile(r"dsage-(\d+)-\d+")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Group:
    """One lane's control group."""

    path: Path

    def limit_processes(self, most: int) -> None:
        """Let the group have so many processes and threads. Raises OSError."""
        self._write("pids.max", str(most))

    def limit_memory(self, more_bytes: int) -> None:
        """Let the group take so much memory beyond what it has now, files in memory included, and no swap."""
        if (now := self._read("memory.current")).isdigit():
            with suppress(OSError):
                self._write("memory.max", str(int(now) + more_bytes + HEADROOM_BYTES))
                self._write("memory.swap.max", "0")

    def out_of_memory(self) -> int:
        """Return how many processes the kernel has ended here for want of memory."""
        found = re.search(r"^oom_kill (\d+)$", self._read("memory.events"), re.MULTILINE)
        return int(found[1]) if found else 0

    def join(self, pid: int) -> None:
        """Take in a process; what it starts from then on is in the group too. Raises OSError."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def members(self) -> list[int]:
        """Return the processes in the group."""
        return [int(pid) for pid in self._read("cgroup.procs").split()]

    def freeze(self) -> bool:
        """Stop everything in the group, at once, also what is just being started; say if that was possible."""
        return self._froze("1")

    def thaw(self) -> bool:
        """Let it go on."""
        return self._froze("0")

    def end(self) -> None:
        """Kill what is left in the group and remove it. Takes `GONE_S` at most."""
        deadline = time.monotonic() + GONE_S
        while self.path.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                self._write("cgroup.kill", "1")
                self._write("cgroup.freeze", "0")
                self.path.rmdir()
                return
            time.sleep(0.001)

    def _froze(self, value: str) -> bool:
        try:
            (self.path / "cgroup.freeze").write_text(value)
        except OSError:
            return False
        return True

    def _read(self, name: str) -> str:
        """Return what a file of the group says, nothing where the kernel or the hierarchy has no such file."""
        try:
            return (self.path / name).read_text().strip()
        except OSError:
            return ""

    def _write(self, name: str, value: str) -> None:
        if (self.path / name).exists():
            (self.path / name).write_text(value)


def new(processes: int) -> Group | None:
    """Make a group for a lane that may have so many processes, None where that is not ours to do."""
    parent = ours()
    if parent is None:
        return None
    group = Group(parent / f"dsage-{os.getpid()}-{next(_numbers)}")
    try:
        group.path.mkdir()
        group.limit_processes(processes)
    except OSError:
        group.end()
        return None
    return group


@functools.cache
def ours() -> Path | None:
    """Return the group below which this program may make others, prepared for it; None if there is none."""
    try:
        own = Path("/proc/self/cgroup").read_text()
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return None
    place = located(own, mounts)
    if place is None or not delegated(place, systemd=SYSTEMD.exists()):
        return None
    sweep(place)
    try:
        prepare(place)
    except OSError:
        return None
    return place


def located(own: str, mounts: str) -> Path | None:
    """Return the folder of a program's group in version 2: `own` and `mounts` are its /proc cgroup and mountinfo."""
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::/")), None)
    if path is None or path.startswith("/.."):
        return None
    for line in mounts.splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split(" ")[0] != "cgroup2":
            continue
        root, mounted = (_unescaped(field) for field in fields.split(" ")[3:5])
        # A namespace or a container may show only a part of the hierarchy.
        inside = path if root == "/" else path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else None
        if inside is not None:
            place = Path(mounted) / inside.lstrip("/")
            return place.parent if place.name == OWN else place
    return None


def delegated(place: Path, *, systemd: bool) -> bool:
    """Say whether a group is ours to divide: we can write it, and systemd, if it rules here, has marked it so."""
    if not all(os.access(each, os.W_OK) for each in (place, place / "cgroup.procs", place / "cgroup.subtree_control")):
        return False
    return not systemd or any(_marked(place, name) for name in MARKS)


def prepare(place: Path) -> None:
    """Hand the limits that there are down to the groups below; our own processes move out of the way for it.

    Where others' are in the group too they stay, and no limits are handed down: groups still freeze and end a box.
    Raises OSError if it is not allowed.
    """
    wanted = [name for name in KERNEL if name in (place / "cgroup.controllers").read_text().split()]
    missing = set(wanted) - set((place / "cgroup.subtree_control").read_text().split())
    if not missing:
        return
    order = " ".join(f"+{name}" for name in wanted)
    try:
        (place / "cgroup.subtree_control").write_text(order)
    except OSError:
        inside = [int(pid) for pid in (place / "cgroup.procs").read_text().split()]
        if not set(inside) <= set(processes.tree(os.getpid())):
            return
        (place / OWN).mkdir(exist_ok=True)
        for pid in inside:
            with suppress(ProcessLookupError):
                (place / OWN / "cgroup.procs").write_text(str(pid))
        (place / "cgroup.subtree_control").write_text(order)


def sweep(place: Path) -> None:
    """Remove the groups of programs that were killed before they could."""
    for left in place.glob("dsage-*-*"):
        owner = _LEFT.fullmatch(left.name)
        if owner and not Path("/proc", owner[1]).exists():
            with suppress(OSError):
                left.rmdir()


def _marked(place: Path, name: str) -> bool:
    try:
        return os.getxattr(place, name) == b"1"
    except OSError:
        return False


def _unescaped(field: str) -> str:
    """Return a path of mountinfo, where blanks and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
