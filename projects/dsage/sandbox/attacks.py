"""What a hostile app would try, each attempt harmless in itself: doors are tried, never walked through.

`Attacks.compute` runs all of it and returns the names of the attempts that got through. In a box that must be none;
the same code outside one must get through at many, or it would prove nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from dsage.sandbox import seccomp

Targets = dict[str, Any]
"""`secret` (a path), `private` (paths of what people keep, beside it), `tcp` (port on 127.0.0.1), `unix` (path),
`doors` (paths of sockets as desktops have them), `abstract` (name), `pid`, `names` (of environment variables that a box
may have)."""

REFUSED: Final = (errno.EPERM, errno.EACCES, errno.ENOSYS)
TERMINAL_INPUT: Final = 0x5412
DOORS: Final = (
    "/run/dbus/system_bus_socket", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    "/tmp/.X11-unix/X0", "/run/user/1000/bus", "/run/user/1000/wayland-0", "/run/user/1000/pulse/native",
    "/run/systemd/private", "/run/snapd.socket", "/run/cups/cups.sock",
)  # fmt: skip
"""Where such doors are on many computers."""
NEW_USER_NAMESPACE: Final = 0x10000000


class Attacks:
    """The app of the self-test."""

    @staticmethod
    def compute(targets: Targets) -> list[str]:
        """Try everything; return the names of what got through, sorted."""
        return sorted(attempted(targets) + [f"call {name}" for name in reached(seccomp.DENIED)])

    @staticmethod
    def works(text: str) -> str:
        """Do what honest work needs: write and read its slot, start a program, use a pipe and the clock."""
        with open("kept", "w") as kept:
            kept.write(text)
        with os.popen("cat kept") as program:
            return program.read()

    @staticmethod
    def hang(_: object) -> None:
        """Ignore every polite signal and never end; a grandchild in its own session does the same."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
        while True:
            signal.pause()


def attempted(targets: Targets) -> list[str]:
    """Return the names of the attempts that got through."""
    return [name for name, attempt in ATTEMPTS.items() if _tried(attempt, targets)]


def reached(names: Iterable[str]) -> list[str]:
    """Return those of these system calls that the kernel does more about than refuse, given senseless arguments."""
    column = seccomp.ARCHITECTURES[platform.machine()].column
    libc = ctypes.CDLL(None, use_errno=True)
    got = []
    for name in names:
        number = seccomp.DENIED[name][column]
        # vhangup takes no argument that could make it harmless.
        if number is None or name == "vhangup":
            continue
        ctypes.set_errno(0)
        answer = libc.syscall(number, *[ctypes.c_long(-1)] * 6)
        if answer >= 0 or ctypes.get_errno() not in REFUSED:
            got.append(name)
    return got


def _tried(attempt: Callable[[Targets], object], targets: Targets) -> bool:
    """Say whether the attempt got through: it neither raised nor returned False."""
    try:
        return attempt(targets) is not False
    except OSError:
        return False


def _opened(path: str, flags: int = os.O_RDONLY) -> bool:
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))
    return True


def _created(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)
    return True


def _linked(path: str) -> None:
    os.link(path, "stolen")
    os.unlink("stolen")


def _followed(path: str) -> bool:
    """Plant a link to a file where a result could be, and go through it."""
    os.symlink(path, "result")
    try:
        return _opened("result")
    finally:
        os.unlink("result")


def _renamed(path: str) -> None:
    os.rename(path, path + "-gone")
    os.rename(path + "-gone", path)


def _limit_raised() -> bool:
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most + 1))
    except ValueError:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
    return True


def _signal_owner(pid: int) -> None:
    import fcntl

    fcntl.fcntl(0, seccomp.SIGNAL_OWNER[0], pid)


def _typed() -> None:
    import fcntl

    fcntl.ioctl(0, TERMINAL_INPUT, b"x")


def _device_made() -> None:
    os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink("device")


def _became_root() -> bool:
    if os.getuid() == 0:
        return False
    os.setuid(0)
    return True


def _connected(family: int, address: Any, kind: int = socket.SOCK_STREAM) -> bool:
    with socket.socket(family, kind) as attempt:
        attempt.settimeout(0.2)
        attempt.connect(address)
    return True


def _made(family: int, kind: int, protocol: int = 0) -> bool:
    socket.socket(family, kind, protocol).close()
    return True


def _sent(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attempt:
        return attempt.sendto(b"x", ("127.0.0.1", port)) == 1


def _environment(path: str, names: list[str]) -> bool:
    """Say whether an environment holds a variable that the box was not given."""
    with open(path, "rb") as listed:
        pairs = [pair.partition(b"=")[0].decode() for pair in listed.read().split(b"\0") if pair]
    return any(name not in names for name in pairs)


def _descriptors() -> bool:
    """Say whether an open file or folder was inherited that is neither a pipe, a socket, a log nor /dev/null."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("/") and not target.startswith(("/dev/null", "/slot/", "/proc/")):
                return True
    return False


def _any(attempt: Callable[[str], bool], *paths: str) -> bool:
    return any(_tried(lambda _: attempt(path), {}) for path in paths)  # noqa: B023 - called at once


def _write(path: str) -> bool:
    return _opened(path, os.O_WRONLY)


def _namespace_by_clone() -> bool:
    known = seccomp.ARCHITECTURES[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    child = libc.syscall(known.clone, ctypes.c_long(NEW_USER_NAMESPACE | signal.SIGCHLD), *[ctypes.c_long(0)] * 4)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
    return bool(child > 0)


def _refused_by_filter(call: Callable[[], object]) -> bool:
    """Say whether the call got past the filter, whatever the kernel then thought of it."""
    try:
        call()
    except OSError as error:
        return error.errno not in REFUSED
    return True


ATTEMPTS: Final[dict[str, Callable[[Targets], object]]] = {
    "read a file of the host": lambda t: _opened(t["secret"]),
    "read an SSH key": lambda t: _opened(t["private"]["ssh"]),
    "read a browser's profile": lambda t: _opened(t["private"]["browser"]),
    "read the client's key": lambda t: _opened(t["private"]["key"]),
    "read the slot of another box": lambda t: _opened(t["private"]["slot"]),
    "follow a link to a file of the host": lambda t: _followed(t["secret"]),
    "remove a file of the host": lambda t: _renamed(t["private"]["doomed"]),
    "change a file's rights on the host": lambda t: os.chmod(t["secret"], 0o600),
    "change a file's times on the host": lambda t: os.utime(t["secret"], (1, 1)),
    "change a file of the host": lambda t: _opened(t["secret"], os.O_WRONLY),
    "list a folder of the host": lambda t: os.path.basename(t["secret"]) in os.listdir(os.path.dirname(t["secret"])),
    "read the password file": lambda t: _opened("/etc/passwd"),
    "read the machine's settings": lambda t: _any(_opened, "/etc/shadow", "/etc/hostname", "/etc/fstab"),
    "link a file of the host": lambda t: _linked(t["secret"]),
    "read the host's environment": lambda t: _environment("/proc/1/environ", t["names"]),
    "find the host's variables in its own environment": lambda t: not set(os.environ) <= set(t["names"]),
    "use an inherited file": lambda t: _descriptors(),
    "see the host's processes": lambda t: (
        os.path.exists(f"/proc/{t['pid']}/comm") and _opened(f"/proc/{t['pid']}/comm")
    ),
    "read the memory of the host's processes": lambda t: _opened(f"/proc/{t['pid']}/mem"),
    "raise its own limits": lambda t: _limit_raised(),
    "signal the host's processes": lambda t: os.kill(t["pid"], 0),
    "signal every process": lambda t: os.kill(-1, 0),
    "limit the host's processes": lambda t: _refused_by_filter(lambda: _prlimit(t["pid"])),
    "have signals sent to others": lambda t: _refused_by_filter(lambda: _signal_owner(t["pid"])),
    "connect over TCP": lambda t: _connected(socket.AF_INET, ("127.0.0.1", t["tcp"])),
    "open a socket for TCP, version 6": lambda t: _made(socket.AF_INET6, socket.SOCK_STREAM),
    "send over UDP": lambda t: _sent(t["tcp"]),
    "open a raw socket": lambda t: _made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open a packet socket": lambda t: _made(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": lambda t: _made(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a vsock": lambda t: _made(socket.AF_VSOCK, socket.SOCK_STREAM),
    "connect to a UNIX socket": lambda t: _connected(socket.AF_UNIX, t["unix"]),
    "connect to the desktop's doors": lambda t: _any(
        lambda path: _connected(socket.AF_UNIX, path), *t["doors"], *DOORS, "\0/tmp/.X11-unix/X0"
    ),
    "connect to an abstract socket": lambda t: _connected(socket.AF_UNIX, "\0" + t["abstract"]),
    "become root": lambda t: _became_root(),
    "gain rights from a program": lambda t: ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) != 1,
    "make a namespace by clone": lambda t: _namespace_by_clone(),
    "type into the terminal": lambda t: _refused_by_filter(_typed),
    "change the kernel's settings": lambda t: _any(
        _write,
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/swappiness",
        "/proc/sysrq-trigger",
        "/proc/1/oom_score_adj",
    ),
    "change devices' settings": lambda t: _any(_write, "/sys/kernel/uevent_helper", "/sys/power/state"),
    "open a device": lambda t: _any(
        _opened,
        *("/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/sda", "/dev/input/event0"),
        *("/dev/dri/renderD128", "/dev/snd/timer", "/dev/video0", "/proc/kcore", "/proc/kmsg"),
    ),
    "make a file outside its slot": lambda t: _any(
        lambda folder: _created(f"{folder}/dsage-attack"),
        *("", "/usr", "/etc", "/dev", "/dev/shm", "/var/tmp", "/app", "/inputs", "/run", os.path.dirname(t["secret"])),
    ),
    "make a device": lambda t: _device_made(),
}


def _prlimit(pid: int) -> None:
    import resource

    resource.prlimit(pid, resource.RLIMIT_CORE)
