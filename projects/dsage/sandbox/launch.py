"""Start the outermost process of a box, as an unprivileged user and with nothing inherited."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dsage.errors import SandboxRefused
from dsage.sandbox import bubblewrap, gentle, groups, inputs, processes, slots
from dsage.sandbox.level import Level
from dsage.sandbox.runtime import SYSTEM, SYSTEM_FILES, Runtime

UNPRIVILEGED: Final = 60707
"""Who a box runs as when root starts it: a number that neither Debian nor systemd gives to anybody."""
MAX_PRINTED: Final = 1 << 16
PROCESSES: Final = 64
"""Threads and processes that a box may have at a time."""

_outermost: set[int] = set()
_BOOT: Final = (
    "import sys; sys.path += sys.argv[1].split(':'); from dsage.sandbox.inside import main; main(int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one box's lanes have in common.

    `folder` is the box's own on the host; `sources` says where a path of the box really lies. `environment` changes
    what calls find in theirs; `start` is another folder for them to begin in (under Landlock each slot is another).
    `preload` names modules that are imported before the app.
    """

    level: Level
    app_dir: str
    entry: str
    folder: Path
    nice: int
    runtime: Runtime
    sources: Mapping[str, str]
    filter: bytes
    environment: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    preload: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """How many processes an idle lane has: bwrap, its init and the warm parent; or guardian and warm parent."""
        return 3 if self.level is Level.BUBBLEWRAP else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A launched box: its outermost process, the host's end of the control socket, what it printed at its start.

    Input files are put into `inputs`, which is `settings["inputs"]` inside. `slot` is the writable folder where that
    lies on the host's disk, and `held` a descriptor of it. `group` is the control group of all its processes.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    printed: int
    inputs: Path
    slot: Path | None
    held: int | None
    life: int | None
    group: groups.Group | None
    settings: dict[str, Any]


def dropped_user() -> int | None:
    """Return the user id that a box must take because we are root, or None for an ordinary user."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def box_folder(base: Path) -> Path:
    """Make a folder for a box below `base`, and remove those whose program was killed before it could."""
    for left in base.glob("box-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            slots.remove(left)
    folder = Path(tempfile.mkdtemp(prefix=f"box-{os.getpid()}-", dir=base))
    if dropped_user() is not None:
        folder.chmod(0o711)
    return folder


def outermost() -> list[int]:
    """Return the outermost process of every box of this program, also of those that are being opened."""
    _outermost.intersection_update(processes.children(os.getpid()) or ())
    return sorted(_outermost)


def launch(plan: Plan, disk_bytes: int) -> Started:
    """Start a box. Raises SandboxRefused if its program is missing or cannot be run."""
    with ExitStack() as on_failure, ExitStack() as handed_over:
        control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        on_failure.callback(control.close)
        handed_over.callback(inner.close)
        control.setblocking(False)
        printed = _bounded_file("printed", MAX_PRINTED)
        on_failure.callback(os.close, printed)
        place = inputs.folder(plan.folder)
        on_failure.callback(slots.remove, place)
        settings: dict[str, Any] = {
            "entry": plan.entry,
            "preload": list(plan.preload),
            "nice": plan.nice,
            "processes": _most_processes(plan.level),
            "landlock": None,
            "inner": None,
        }
        boot = [plan.runtime.python, "-P", "-S", "-B", "-s", "-c", _BOOT]
        boot += [":".join(plan.runtime.import_path), str(inner.fileno())]
        slot, held, life = None, None, None
        if plan.level is Level.BUBBLEWRAP:
            filter_fd = _memory_file(handed_over, plan.filter)
            options = bubblewrap.arguments(
                plan.runtime, plan.app_dir, inputs=str(place), disk_bytes=disk_bytes, filter_fd=filter_fd,
                sources=plan.sources, environment=plan.environment, start=plan.start or bubblewrap.SLOT,
            )  # fmt: skip
            options_fd = _memory_file(handed_over, "\0".join(options).encode())
            boot = [_program(), "--args", str(options_fd), "--", *boot]
            process = _start(boot, [inner.fileno(), filter_fd, options_fd], {}, printed)
            settings |= {"app": bubblewrap.APP, "slot": bubblewrap.SLOT, "inputs": bubblewrap.INPUTS}
            settings["inner"] = bubblewrap.reach(plan.runtime, plan.start or bubblewrap.SLOT)
        else:
            slot = _slot(plan.folder)
            on_failure.callback(slots.remove, slot)
            held = slots.held(slot)
            on_failure.callback(os.close, held)
            end, life = os.pipe()
            handed_over.callback(os.close, end)
            on_failure.callback(os.close, life)
            places = {"HOME": str(slot), "TMPDIR": str(slot)}
            process = _start(
                boot, [inner.fileno(), end], {**bubblewrap.ENVIRONMENT, **places, **plan.environment}, printed
            )
            settings |= _landlock_settings(plan, slot, place, end)
        on_failure.pop_all()
    group = groups.new(PROCESSES + plan.layers)
    return Started(
        process=process, control=control, printed=printed, inputs=place, slot=slot, held=held, life=life,
        group=_settled(process.pid, group, idle=plan.nice >= gentle.NICEST), settings=settings,
    )  # fmt: skip


def tidy(started: Started) -> None:
    """Remove what an ended lane leaves on the host."""
    for folder in filter(None, (started.inputs, started.slot)):
        slots.remove(folder)
    if started.group is not None:
        started.group.end()


def _settled(root: int, group: groups.Group | None, *, idle: bool) -> groups.Group | None:
    """Put a box that waits for its settings into its group and priority; return the group, None if that failed.

    What a process starts takes after it, so that all are in when a look finds none that is not.
    """
    seen = set[int]()
    while (group is not None or idle) and (new := [pid for pid in processes.tree(root) if pid not in seen]):
        for pid in new:
            if idle:
                gentle.make_idle(pid)
            try:
                if group is not None:
                    group.join(pid)
            except ProcessLookupError:
                continue
            except OSError:
                if group is not None:
                    group.end()
                group = None
        seen.update(new)
    return group


def _start(command: list[str], handed: list[int], env: dict[str, str], printed: int) -> subprocess.Popen[bytes]:
    """Start a box in a session of its own: a Ctrl-C at the program that has it is not meant for what runs in it."""
    user = dropped_user()
    dropped: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        process = subprocess.Popen(
            command,
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=printed,
            pass_fds=handed,
            start_new_session=True,
            **dropped,
        )
    except OSError as error:
        raise SandboxRefused(f"{command[0]} cannot be started: {error.strerror}") from None
    _outermost.add(process.pid)
    return process


def _program() -> str:
    found = shutil.which(bubblewrap.PROGRAM)
    if found is None:
        raise SandboxRefused("bubblewrap is not installed", hint="Install it: sudo apt install bubblewrap")
    return found


def _slot(base: Path) -> Path:
    slot = Path(tempfile.mkdtemp(prefix="slot-", dir=base))
    user = dropped_user()
    if user is not None:
        os.chown(slot, user, user)
    return slot


def _landlock_settings(plan: Plan, slot: Path, place: Path, life: int) -> dict[str, Any]:
    app = plan.sources.get(plan.app_dir, plan.app_dir)
    return {
        "app": app,
        "slot": str(slot),
        "inputs": str(place),
        "landlock": {
            "read": [*SYSTEM, *SYSTEM_FILES, *plan.runtime.folders, app, str(place)],
            "write": [str(slot)],
            "filter": plan.filter,
            "life": life,
            "chdir": str(slot),
        },
    }


def _most_processes(level: Level) -> int:
    """Return the limit to set: except in a namespace of Linux 5.14 or later it counts all that this user runs."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if level is Level.BUBBLEWRAP and release >= (5, 14):
        return PROCESSES
    user = dropped_user()
    return PROCESSES + processes.count(os.getuid() if user is None else user)


def _bounded_file(name: str, size: int) -> int:
    """Return a file in memory that cannot grow: boxed code finds it at its init's standard error."""
    import fcntl

    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd


def _memory_file(held: ExitStack, data: bytes) -> int:
    fd = os.memfd_create("handed")
    held.callback(os.close, fd)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
