"""What a box of any system is to allow, as plain values: from it each backend's parameters are made by pure functions.

The backends for Windows and macOS are experiments: what they build is tested, what it holds has never been tried on
those systems. No work runs in them (`selftest.strongest` refuses there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from dsage.errors import SandboxRefused

REFUSED: Final = "Until its sandbox is proven on such a system, this computer takes no work."
SYSTEMS: Final = {"win32": "Windows", "cygwin": "Windows", "darwin": "macOS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A box: folders to read, the one to write, limits; sizes in bytes, times in seconds of processor time.

    `name` is of letters, digits, dots and dashes; all paths are absolute and have no links in them.
    """

    name: str
    read: tuple[str, ...]
    write: str
    memory_bytes: int
    file_bytes: int
    processes: int
    cpu_s: int
    environment: Mapping[str, str] = field(default_factory=dict)


def refuse(what: str) -> NoReturn:
    """Raise SandboxRefused, saying what went wrong: a box that is not whole is not used."""
    raise SandboxRefused(f"the sandbox could not be made: {what}", hint=REFUSED)


def unsupported(platform: str) -> SandboxRefused:
    """Return the error for a system (`sys.platform`) where no sandbox is proven."""
    name = SYSTEMS.get(platform, platform)
    return SandboxRefused(
        f"computers with {name} cannot run work yet: DSage's sandbox for them has not been proven",
        hint="Use a computer with Linux. This one can still submit and watch runs.",
    )
