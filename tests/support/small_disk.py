"""A small disk of its own for a program under test, in a mount namespace that ends with the test. Needs root."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

BLOCK: Final = 1 << 20


def impossible() -> str:
    """Return why there can be no such disk here, "" if there can."""
    if os.geteuid() != 0:
        return "only root may mount a disk"
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return "unshare and nsenter are not installed"
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this computer lets nobody mount a disk"


class Disk:
    """A disk at `place`, as programs see it that are started by `inside`; `path` is how others see it."""

    def __init__(self, place: Path, keeper: int) -> None:
        self.place = place
        self.inside = ["nsenter", "--target", str(keeper), "--mount", "--"]
        self._shut = False
        self.path = Path(f"/proc/{keeper}/root") / place.relative_to("/")

    def fill(self) -> None:
        """Leave no byte; names may still be added. May be done again, for what was freed meanwhile."""
        for name, piece in (("ballast", BLOCK), ("crumbs", 4096)):
            with suppress(OSError), (self.path / name).open("ab", buffering=0) as file:
                while file.write(bytes(piece)):
                    pass

    def crowd(self) -> None:
        """Leave no room for one more name; files that are there may still grow. May be done again."""
        number = 0
        while True:
            try:
                (self.path / f"name-{number}").touch()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return
            number += 1

    def clear(self) -> None:
        """Take all that away again."""
        for path in [*self.path.glob("name-*"), self.path / "ballast", self.path / "crumbs"]:
            path.unlink(missing_ok=True)

    def shut(self) -> None:
        """Let nothing be written from now on. May be done again."""
        if self._shut:
            return
        self._shut = True
        self._run("mount", "--bind", str(self.place), str(self.place))
        self._run("mount", "-o", "remount,bind,ro", str(self.place))

    def reopen(self) -> None:
        """Let it be written again."""
        self._shut = False
        self._run("umount", str(self.place))

    def _run(self, *command: str) -> None:
        subprocess.run([*self.inside, *command], check=True)


@contextmanager
def disk(place: Path, *, size: str, names: int = 0) -> Iterator[Disk]:
    """Mount a disk of `size` (as `mount -t tmpfs -o size=` reads it) that holds so many names, if not any number."""
    place.mkdir()
    options = f"size={size},mode=700" + (f",nr_inodes={names}" if names else "")
    keeping = f"mount -t tmpfs -o {options} none {place} && echo && exec sleep infinity"
    keeper = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", keeping], stdout=subprocess.PIPE
    )
    try:
        assert keeper.stdout is not None
        assert keeper.stdout.readline(), "the disk could not be mounted"
        yield Disk(place, keeper.pid)
    finally:
        keeper.kill()
        keeper.wait()
        if keeper.stdout is not None:
            keeper.stdout.close()
