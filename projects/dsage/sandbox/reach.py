"""Started by root, a box runs as nobody in particular: what such a user cannot reach is laid out where it can.

A home folder is closed to others as a rule, and with it a checkout, a virtual environment or an interpreter below
it. Those are linked (or copied, across file systems) once into a folder that only root writes and all may read.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from dsage.errors import SandboxRefused

PUBLIC: Final = Path("/var/cache/dsage")

UNUSED_S: Final = 30 * 86400
"""Copies that no program has asked for in this time are removed."""

Mode = Callable[[str], int]


def _mode(path: str) -> int:
    return os.stat(path).st_mode


def reachable(path: str, mode: Mode = _mode) -> bool:
    """Say whether a user without any rights of their own can read the file or folder at this absolute path."""
    above = path
    while (above := os.path.dirname(above)) != "/":
        if not mode(above) & stat.S_IXOTH:
            return False
    own = mode(path)
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(own) else 0)
    return own & needed == needed


@functools.cache
def laid_out(folder: str, public: Path = PUBLIC) -> str:
    """Return where all may read what `folder` holds: itself, or its copy below `public`.

    A copy is named by the folder's path and its files' names, sizes and times, so a changed folder gets a new one.
    Raises SandboxRefused if the copy cannot be made.
    """
    if reachable(folder):
        return folder
    target = public / "runtime" / _fingerprint(folder) / os.path.basename(folder)
    if target.exists():
        os.utime(target.parent)
        return str(target)
    try:
        _open_to_all(public / "runtime")
        _prune(public / "runtime")
        making = Path(tempfile.mkdtemp(prefix="new-", dir=public / "runtime"))
        try:
            copy(folder, str(making / target.name))
            making.chmod(0o755)
            os.utime(making)
            making.rename(target.parent)
        except OSError:
            # Another process may have made the same copy meanwhile.
            if not target.exists():
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise SandboxRefused(
            f"{folder} cannot be read by an unprivileged user, nor be copied below {public}: {error.strerror}",
            hint="Install DSage outside of root's home, or start it as an ordinary user.",
        ) from None
    return str(target)


def place_for_slots(work_dir: Path, public: Path = PUBLIC) -> Path:
    """Return the folder for a box's writable folders: `work_dir` if the box can get there, else one that it can."""
    if reachable(str(work_dir)):
        return work_dir
    slots = public / "slots"
    _open_to_all(slots)
    return slots


def copy(folder: str, target: str) -> None:
    """Make `target` hold what `folder` holds, readable by all: hard links where they serve, else copies."""
    shutil.copytree(folder, target, symlinks=True, copy_function=place)
    for parent, _, _ in os.walk(target):
        os.chmod(parent, 0o755)


def place(source: str, target: str) -> None:
    """Make `target` the same file as `source`, or a copy that all may read where it cannot be."""
    mode = os.stat(source).st_mode
    if mode & stat.S_IROTH:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
    os.chmod(target, 0o755 if mode & stat.S_IXUSR else 0o644)


def _prune(copies: Path) -> None:
    for old in copies.iterdir():
        if old.lstat().st_mtime < time.time() - UNUSED_S:
            shutil.rmtree(old, ignore_errors=True)


def _fingerprint(folder: str) -> str:
    seen = hashlib.sha256(folder.encode())
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(files):
            found = os.lstat(os.path.join(parent, name))
            seen.update(f"{parent}/{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return seen.hexdigest()[:24]


def _open_to_all(folder: Path) -> None:
    """Make a folder that all may pass through; refuse one that somebody else owns."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder.parent, folder):
        if path.lstat().st_uid != os.geteuid() or path.is_symlink():
            raise SandboxRefused(f"{path} belongs to somebody else", hint=f"Remove {path} and try again.")
        path.chmod(0o755)
