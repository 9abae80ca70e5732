"""Input files of a call: each lane has a folder that its box can only read, filled before a call and emptied after it.

Under bubblewrap the folder is mounted read-only, so what lies in it may be the very files that the host keeps, under a
second name. With Landlock alone a file's owner could still change its mode, and then the file: the box gets a copy.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dsage.errors import UnitFailed
from dsage.inputs import is_name
from dsage.sandbox import reach
from dsage.sandbox.level import Level


def folder(base: Path) -> Path:
    """Make an empty folder for the inputs of a lane; other users may read what will lie in it."""
    made = Path(tempfile.mkdtemp(prefix="inputs-", dir=base))
    made.chmod(0o755)
    return made


def lay_out(level: Level, place: Path, files: Mapping[str, Path]) -> None:
    """Put files, by name, into a lane's folder. Raises UnitFailed for a name that cannot be one, and OSError."""
    for name, source in files.items():
        if not is_name(name):
            raise UnitFailed(f"an input cannot be called {name[:80]!r}")
        target = place / name
        if level is Level.BUBBLEWRAP:
            reach.place(str(source), str(target))
        else:
            shutil.copyfile(source, target)
            target.chmod(0o444)


def clear(place: Path) -> None:
    """Empty a lane's folder."""
    with os.scandir(place) as entries:
        for entry in entries:
            os.unlink(entry.path)
