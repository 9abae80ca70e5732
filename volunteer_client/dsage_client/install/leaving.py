"""Leaving without a trace: what is removed from a computer when its owner wants no more of it.

Handing units back and taking leave of the servers comes first and is the agent's; this is what is left afterwards.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dsage.errors import StorageFull
from dsage.home import Home
from dsage_client.install.switch import Switch, prune
from dsage_client.membership import locked
from dsage_client.settings import Settings


def belongings(home: Home) -> list[Path]:
    """Return what a client keeps of its own in a home, as far as it is there: keys, preferences, data, log."""
    return [path for path in (home.client,) if path.exists() or path.is_symlink()]


def leave(home: Home, switch: Switch, *, erase: bool = False) -> list[Path]:
    """Start no more with the session, and with `erase` remove keys, preferences and data too; return what went.

    A researcher's keys and a server in the same home stay: they are no part of the client. A package's own files stay
    until the package is removed. Raises Conflict if an agent still runs there, StorageFull for what cannot be removed.
    """
    gone = switch.clear()
    if not erase:
        return gone
    for path in belongings(home):
        with locked(Settings(folder=path).lock_file):
            _remove(path)
        gone.append(path)
    prune(home.folder, home.folder.parent)
    return gone


def _remove(folder: Path) -> None:
    """Remove a folder, or a link to one with all that is behind it."""
    try:
        if folder.is_symlink():
            shutil.rmtree(folder.resolve())
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageFull(
            f"{error.filename or folder} cannot be removed: {error.strerror}", hint=f"Remove {folder} by hand."
        ) from error
