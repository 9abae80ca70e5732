"""Where a demo lives: homes that may be kept, and scratch space that never is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsage.errors import UsageError
from dsage.home import Home

PREFIX: Final = "dsage-demo-"


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one demo: `homes` holds a home and a log for each program, `scratch` temporary files."""

    homes: Path
    scratch: Path

    @property
    def server(self) -> Home:
        """The home of the server and of the researcher, who are one person here."""
        return Home(self.home("server"))

    def home(self, name: str) -> Path:
        """The folder of one program."""
        return self.homes / name

    def log(self, name: str) -> Path:
        """What one program said."""
        return self.homes / f"{name}.log"


def check_keep(folder: Path) -> None:
    """Raise UsageError unless `folder` is free to become the home of a demo's programs."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder", hint="Give --keep a new folder.")


@contextmanager
def place(keep: Path | None) -> Iterator[Place]:
    """Make a demo's folders, and remove them at the end; those in `keep` stay. Raises UsageError."""
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    if os.geteuid() == 0:
        scratch.chmod(0o711)
    homes = scratch / "homes" if keep is None else keep.absolute()
    try:
        homes.mkdir(mode=0o700, parents=True, exist_ok=True)
        (scratch / "tmp").mkdir(mode=0o711)
        yield Place(homes, scratch / "tmp")
    except OSError as error:
        if error.filename != str(homes):
            raise
        raise UsageError(f"{homes} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sweep() -> None:
    """Remove what demos left that were killed before they could."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = left.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and left.lstat().st_uid == os.geteuid():
            shutil.rmtree(left, ignore_errors=True)
