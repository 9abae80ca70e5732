"""macOS, an experiment: an outline as a profile for `sandbox-exec`, and the steps that a forked child takes to it.

Nothing here has ever run on macOS. `sandbox-exec` is deprecated, and there is no other program for its place. Rules of
the profile language: everything is denied, the last rule that matches wins. Sources: sandbox-exec(1), setrlimit(2), and
what others wrote about the language, which Apple does not document.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from dsage.sandbox.outline import Outline, refuse

PROGRAM: Final = "/usr/bin/sandbox-exec"
SYSTEM: Final = (
    "/usr/lib",
    "/usr/share",
    "/System/Library",
    "/System/Volumes/Preboot/Cryptexes",
    "/private/var/db/dyld",
)
"""What every program on macOS reads as it starts."""
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
NICEST: Final = 19


class Posix(Protocol):
    """The calls that a child makes on its way; `Here` makes them."""

    def setsid(self) -> None:
        """Leave the session of the host."""

    def setrlimit(self, name: str, most: int) -> None:
        """Set the limit RLIMIT_`name`, soft and hard."""

    def nice(self, by: int) -> None:
        """Stand back."""

    def execve(self, program: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        """Become the program."""


class Here:
    """The calls of this system."""

    def setsid(self) -> None:
        """Leave the session of the host."""
        os.setsid()

    def setrlimit(self, name: str, most: int) -> None:
        """Set the limit RLIMIT_`name`, soft and hard."""
        import resource

        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))

    def nice(self, by: int) -> None:
        """Stand back."""
        os.nice(by)

    def execve(self, program: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        """Become the program."""
        os.execve(program, arguments, environment)


def quoted(path: str) -> str:
    """Return a path as a word of the profile language.

    Raises SandboxRefused for one that is not absolute and plain, or holds letters that the language might read
    otherwise: what cannot be said for certain is not said.
    """
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path or path == "/":
        refuse(f"{path!r} is no plain absolute path")
    if not path.isprintable():
        refuse(f"{path!r} has letters in it that cannot be printed")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def profile(outline: Outline) -> str:
    """Return the profile. Raises SandboxRefused for a path that cannot be written in it."""
    read = [*SYSTEM, *outline.read]
    for path in (*outline.read, outline.write):
        quoted(path)
    above = sorted({parent for path in (*read, outline.write) for parent in _parents(path)})
    rules = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        "(allow sysctl-read)",
        "(allow signal (target same-sandbox))",
        '(allow file-read-metadata (literal "/"))',
        _rule("file-read-metadata", "literal", above),
        _rule("file-read* file-map-executable process-exec", "subpath", read),
        _rule("file-read* file-write*", "subpath", [outline.write]),
        _rule("file-read* file-write-data", "literal", DEVICES),
        "(deny network*)",
        "(deny mach-lookup)",
        "(deny file-write-setugid)",
    ]
    return "\n".join(rules) + "\n"


def arguments(outline: Outline, command: Sequence[str]) -> list[str]:
    """Return what to start for `command` (whose first word is an absolute path) to run in the box."""
    if not command or not command[0].startswith("/") or any("\0" in word for word in command):
        refuse("the command does not begin with an absolute path, or has a zero in it")
    return [PROGRAM, "-p", profile(outline), *command]


def limits(outline: Outline) -> list[tuple[str, int]]:
    """Return the limits of each process by name, in the order in which they are set."""
    return [
        ("CORE", 0),
        ("CPU", outline.cpu_s),
        ("FSIZE", outline.file_bytes),
        ("AS", outline.memory_bytes),
        ("NPROC", outline.processes),
    ]


def become(outline: Outline, command: Sequence[str], posix: Posix) -> None:
    """In a child just forked: take on the limits, then the profile and with it the command. Does not return.

    Raises SandboxRefused if any step fails: then nothing of the command has run.
    """
    words = arguments(outline, command)
    try:
        posix.setsid()
        for name, most in limits(outline):
            posix.setrlimit(name, most)
        posix.nice(NICEST)
        posix.execve(words[0], words, dict(outline.environment))
    except (OSError, ValueError, AttributeError) as error:
        refuse(f"macOS said {error}")
    refuse("macOS did not start the program")


def _rule(operations: str, kind: str, paths: Sequence[str]) -> str:
    where = [f"    ({kind} {quoted(path)})" for path in paths]
    return "\n".join([f"(allow {operations}", *where]) + ")"


def _parents(path: str) -> list[str]:
    found = []
    while (path := posixpath.dirname(path)) not in ("/", ""):
        found.append(path)
    return found
