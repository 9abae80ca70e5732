"""A backup of a server while it runs: its database, blobs and keys in one sealed file.

The database is read in one transaction that begins first, so all that was acknowledged before is in it; the files
follow, so every bundle that the rows name is there. Nothing is written beside the sealed file. Under SQLite the
write-ahead log grows while the transaction is open, and shrinks at the next checkpoint after it. The rows are the
same whatever the engine, so a server with PostgreSQL is put back with SQLite, and then moved (`migrate-store`).
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection

from dsage import __version__
from dsage.errors import Conflict, StorageFull
from dsage.files import whole_file
from dsage.home import Home
from dsage.trust.ceremony import load_root, read
from dsage.trust.sealed import SealedWriter
from dsage_server.retention.contents import Begin, End, Piece, Record, Tally
from dsage_server.retention.tables import dump, revision
from dsage_server.store.engine import Store
from dsage_server.store.place import DATABASE, MEMORY, MOVED, existing

LEFT_OUT: Final = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", MEMORY, MOVED, "lock", "work"})
"""What the rows replace, where else they were, and what lives only as long as its server."""
PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds; `root_version` is that of its root.json."""

    path: Path
    made: float
    bytes: int
    root_version: int
    rows: int
    files: int


def back_up(home: Home, destination: Path, passphrase: str) -> Backup:
    """Write a backup of the server in `home` to a new file, or into a folder under a name with the time.

    Raises NotFound if there is no server, Conflict if the file exists, StorageFull if it cannot be written.
    """
    where = existing(home.server)
    root = read(load_root(home.root_file))
    made = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made))
    path = destination / f"dsage-{root.server_id[:8]}-{stamp}.backup" if destination.is_dir() else destination
    if path.exists():
        raise Conflict(f"{path} is there already", hint="Choose another name; a backup never replaces one.")
    tally = Tally()
    try:
        with whole_file(path, private=True) as file, view(where) as connection:
            writer = SealedWriter(file, passphrase)
            begin = Begin(
                made=made, version=__version__, server_id=root.server_id, root_version=root.version,
                revision=revision(connection),
            )  # fmt: skip
            for record in _records(begin, connection, home.server):
                tally.note(record)
                writer.write(msgspec.msgpack.encode(record))
            end = tally.end()
            writer.write(msgspec.msgpack.encode(end))
            writer.close()
    except OSError as error:
        raise StorageFull(f"the backup cannot be written: {error.strerror or error}") from error
    return described(path, begin, end)


def described(path: Path, begin: Begin, end: End) -> Backup:
    """Return what people want to know of a backup."""
    return Backup(
        path=path, made=begin.made, bytes=path.stat().st_size, root_version=begin.root_version,
        rows=sum(end.rows.values()), files=len(end.files),
    )  # fmt: skip


@contextmanager
def view(where: Path | str) -> Iterator[Connection]:
    """Open a database for one consistent view of it; writers go on meanwhile."""
    store = Store(where)
    try:
        with store.reading() as connection:
            yield connection
    finally:
        store.close()


def _records(begin: Begin, connection: Connection, folder: Path) -> Iterator[Record]:
    yield begin
    yield from dump(connection)
    yield from _pieces(folder, folder)


def _pieces(folder: Path, top: Path) -> Iterator[Piece]:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(top).as_posix()
        if name in LEFT_OUT or path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _pieces(path, top)
        elif path.is_file():
            yield from _pieces_of(path, name)


def _pieces_of(path: Path, name: str) -> Iterator[Piece]:
    """Yield a file; one that was removed meanwhile is left out, since nothing that the rows name goes so soon."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = file.read(PIECE_BYTES)
        while True:
            yield Piece(path=name, mode=mode, data=data)
            data = file.read(PIECE_BYTES)
            if not data:
                return
