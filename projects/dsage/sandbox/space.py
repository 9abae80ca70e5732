"""The folder that boxes work in: empty at the start, gone at the end, and found again after a kill."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def working_space(place: Path) -> Iterator[Path]:
    """Make the sandbox's working space, empty, and remove it at the end, or what a killed program left of it.

    When root runs the program, boxes run as another user, who may not be able to enter root's own folders; then
    `place` is a link to a folder that anybody may pass through.
    """
    _remove_space(place)
    if os.geteuid() == 0:
        space = Path(tempfile.mkdtemp(prefix="dsage-"))
        space.chmod(0o711)
        try:
            place.symlink_to(space)
        except OSError:
            space.rmdir()
            raise
    else:
        space = place
        space.mkdir(mode=0o700)
    try:
        yield space
    finally:
        with suppress(OSError):  # a disk that may only be read by now keeps the link; the next start clears it away
            _remove_space(place)


def _remove_space(place: Path) -> None:
    shutil.rmtree(place.resolve(), ignore_errors=True)
    if place.is_symlink():
        place.unlink()
