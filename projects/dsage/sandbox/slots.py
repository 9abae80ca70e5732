"""The folder on disk that a box without namespaces writes to, looked at and removed through a descriptor held on it.

What lies in it is a stranger's: links that lead elsewhere, folders closed to their owner or nested by the thousand,
names that are no text. So nothing here goes by path, follows a link, opens a file or calls itself.
"""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_FILES: Final = 10_000
"""Files and folders that a box may have at a time."""
DEEPEST: Final = 64
"""Levels of folders that are looked into; what is nested deeper counts as too many files."""
_BLOCK: Final = 512
"""What st_blocks counts in. Source: stat(2)."""
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def held(path: Path | str, below: int | None = None) -> int:
    """Return a descriptor of a folder, for as long as the folder is needed. Raises OSError if it is none."""
    return os.open(path, _FOLDER | getattr(os, "O_CLOEXEC", 0), dir_fd=below)


def measure(folder: int) -> tuple[int, int]:
    """Return (bytes, files) below a folder that may be changing; beyond `MAX_FILES` or `DEEPEST` it stops counting."""
    size = count = 0
    # A descriptor for each level of the folder being looked at, with the names still to come there.
    levels = [(os.dup(folder), iter(_names(folder)))]
    try:
        while levels and count <= MAX_FILES:
            place, names = levels[-1]
            name = next(names, None)
            if name is None:
                os.close(levels.pop()[0])
                continue
            with suppress(OSError):
                seen = os.stat(name, dir_fd=place, follow_symlinks=False)
                size, count = size + seen.st_blocks * _BLOCK, count + 1
                if stat.S_ISDIR(seen.st_mode):
                    if len(levels) == DEEPEST:
                        return size, MAX_FILES + 1
                    inner = held(name, place)
                    levels.append((inner, iter(_names(inner))))
    finally:
        for place, _ in levels:
            os.close(place)
    return size, count


def unlinked(pids: list[int]) -> int:
    """Return how many bytes on disk these processes hold in files without a name: those no folder shows.

    Those that have gone, or are another user's, count nothing.
    """
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    seen = os.stat(f"/proc/{pid}/fd/{name}")
                    if stat.S_ISREG(seen.st_mode) and not seen.st_nlink:
                        found[seen.st_dev, seen.st_ino] = seen.st_blocks * _BLOCK
    return sum(found.values())


def remove(path: Path) -> None:
    """Remove a folder and what is in it, however deep; nothing may be running in it any more. A missing one is gone."""
    with suppress(OSError):
        folder = _opened(str(path))
        try:
            _empty(folder)
        finally:
            os.close(folder)
        path.rmdir()


def _empty(folder: int) -> None:
    """Remove everything in a folder: what lies two levels down moves up one, until nothing is nested."""
    moved = (f"up-{secrets.token_hex(8)}-{number}" for number in itertools.count())
    while names := _names(folder):
        for name in names:
            if _unlinked(name, folder):
                continue
            inner = _opened(name, folder)
            try:
                while nested := _names(inner):
                    for each in nested:
                        if not _unlinked(each, inner):
                            # To move a folder takes the right to write in it: its ".." changes.
                            os.close(_opened(each, inner))
                            os.rename(each, next(moved), src_dir_fd=inner, dst_dir_fd=folder)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder)


def _unlinked(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


def _opened(name: str, below: int | None = None) -> int:
    """Return a descriptor of a folder that its owner, who we are, can look into and change, whatever it was before."""
    try:
        folder = held(name, below)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=below)
        folder = held(name, below)
    os.fchmod(folder, stat.S_IRWXU)
    return folder


def _names(folder: int) -> list[str]:
    """Return the names in a folder, at most one more than a box may have."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_FILES:
                break
    return names
