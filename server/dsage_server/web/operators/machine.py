"""What the operator's pages know beside the tables: the keys, the disk and the limits of the machine that serves."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from dsage.errors import DSageError
from dsage.home import Home
from dsage.trust.ceremony import load_root, read
from dsage.trust.documents import Root
from dsage.trust.inventory import Line, inventory
from dsage_server.settings import Settings
from dsage_server.store.place import DATABASE

SOON_DAYS: Final = 30.0


class Disk(msgspec.Struct, kw_only=True):
    """Bytes of the disk that the server's folder is on, and of its database."""

    free: int
    total: int
    database: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The server's home on this machine, and its settings."""

    home: Home
    settings: Settings

    def keys(self, now: float) -> list[Line]:
        """Return every key and certificate with its expiry; what cannot be read is a line with that as its warning."""
        try:
            return inventory(self.home, self.home.root_file, now)
        except (DSageError, OSError) as error:
            return [Line(role="root.json", where=str(self.home.root_file), warning=str(error))]

    def expiring(self, now: float) -> int:
        """Return how many keys and certificates have a warning, or end within SOON_DAYS."""
        return sum(
            bool(line.warning)
            or (line.days_left is not None and line.days_left < SOON_DAYS and line.role != "certificate")
            for line in self.keys(now)
            if not line.revoked
        )

    def root(self) -> Root | None:
        """Return root.json, if there is one that can be read."""
        try:
            return read(load_root(self.home.root_file))
        except (DSageError, OSError):
            return None

    def disk(self, connection: Connection) -> Disk:
        """Return how full the disk is."""
        folder = _existing(self.settings.folder)
        usage = shutil.disk_usage(folder)
        return Disk(free=usage.free, total=usage.total, database=database_bytes(connection, self.settings.folder))


def database_bytes(connection: Connection, folder: Path) -> int:
    """Return the size of the database, its log included."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    files = [folder / f"{DATABASE}{end}" for end in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
