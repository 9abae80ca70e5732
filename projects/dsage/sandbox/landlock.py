"""Landlock: a process gives up, for itself and all it starts, every file and connection that is not listed.

Three system calls without a C library wrapper, called by number (the same on every architecture). Source: Linux
uapi `linux/landlock.h`, Documentation/userspace-api/landlock.rst. What an older kernel does not know is left out:
version 1 (Linux 5.13) knows files, 4 (6.7) TCP, 5 (6.10) device ioctl, 6 (6.12) signals and abstract sockets.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from typing import Final

from dsage.errors import SandboxRefused

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_NO_NEW_PRIVILEGES: Final = 38

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
IOCTL_DEVICE: Final = 1 << 15
READING: Final = EXECUTE | READ_FILE | READ_DIR
MAKE_DEVICES: Final = 1 << 6 | 1 << 11
"""MAKE_CHAR and MAKE_BLOCK."""

TCP: Final = 0b11
SCOPES: Final = 0b11
"""Abstract UNIX sockets and signals outside the restricted processes."""


def version() -> int:
    """Return the kernel's Landlock version, 0 where there is none."""
    found: int = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(found, 0)


def file_rights(abi: int) -> int:
    """Return every file right that version `abi` can withhold."""
    bits = 13 + (abi >= 2) + (abi >= 3)
    return (1 << bits) - 1 | (IOCTL_DEVICE if abi >= 5 else 0)


def attributes(abi: int) -> bytes:
    """Return struct landlock_ruleset_attr for version `abi`: all files, TCP and scopes that it can withhold."""
    fields = [file_rights(abi)]
    if abi >= 4:
        fields.append(TCP)
    if abi >= 6:
        fields.append(SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
"""What programs may count on in any box."""


def restrict_if_known(read: Iterable[str], write: Iterable[str]) -> bool:
    """Restrict as `restrict` does, with `DEVICES`; return False, and do nothing, where the kernel has no Landlock."""
    if version() == 0:
        return False
    restrict(read, write, DEVICES)
    return True


def restrict(read: Iterable[str], write: Iterable[str], devices: Iterable[str] = ()) -> None:
    """Keep only reading and running below `read`, everything but device files below `write`, and `devices`.

    Paths that do not exist are left out. Raises SandboxRefused if the kernel has no Landlock.
    """
    abi = version()
    if abi == 0:
        raise SandboxRefused(
            "the kernel has no Landlock", hint="Use Linux 5.13 or later, or a system where bubblewrap works."
        )
    every = file_rights(abi)
    described = attributes(abi)
    ruleset = _call(_CREATE_RULESET, described, ctypes.c_size_t(len(described)), ctypes.c_uint32(0))
    try:
        for path in read:
            _allow(ruleset, path, READING & every)
        for path in write:
            _allow(ruleset, path, every & ~MAKE_DEVICES & ~IOCTL_DEVICE)
        for path in devices:
            _allow(ruleset, path, (READ_FILE | WRITE_FILE) & every)
        _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= EXECUTE | READ_FILE | WRITE_FILE
        beneath = struct.pack("=Qi", rights, place)
        path_beneath = 1
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(path_beneath), beneath, ctypes.c_uint32(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    answer: int = _libc().syscall(number, *arguments)
    if answer < 0:
        reason = errno.errorcode.get(ctypes.get_errno(), "unknown error")
        raise SandboxRefused(f"the kernel refused Landlock ({reason})", hint="Update the kernel.")
    return answer


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
