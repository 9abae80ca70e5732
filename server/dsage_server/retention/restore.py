"""A server put back from a backup: all of it is read and checked first, and its lost future is left behind.

What the server issued after the backup is forgotten, but volunteers and researchers remember it. So nothing that may
have been issued is issued again: ids go on far above, drivers of that time are shut out, and root.json can be signed
again with a version that nobody has seen yet.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, delete, event, pool, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dsage.errors import Conflict, NotFound, StorageFull, UsageError
from dsage.files import sync_folder
from dsage.home import Home
from dsage.states import OPEN_RUNS
from dsage.trust import ceremony
from dsage.trust.keys import PrivateKey
from dsage.trust.sealed import Damaged, records
from dsage_server.retention.backup import Backup, described
from dsage_server.retention.contents import Begin, End, Piece, Record, Rows, decoded
from dsage_server.retention.tables import Loader
from dsage_server.sentences import news
from dsage_server.store.events import note
from dsage_server.store.meta import recall, remember
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import DATABASE
from dsage_server.store.schema import among, meta, process, run

ERA: Final = 10**12
"""Units and copies are numbered on from the next multiple: 20,000 a second for a year and a half reach that far, and
9,000 restores fit below 2^53."""
TOKEN_SECRET: Final = "token_secret"
"""Forgotten, so that a token for a host of the lost future is not taken for the host that gets its number next."""
RUNS: Final = 10_000
FENCES: Final = 1_000_000
ROOT_VERSIONS: Final = 1000
"""How far run numbers, fences and root.json jump: further than people get between two backups."""


def verify(path: Path, passphrase: str) -> Backup:
    """Read a backup to its end. Raises NotFound, WrongPassphrase, Damaged."""
    with _opened(path) as file:
        begin, end = _ends(decoded(records(file, passphrase)))
    return described(path, begin, end)


def restore(path: Path, passphrase: str, home: Home, *, root_key: Path | None = None) -> Backup:
    """Put the server of a backup into `home`, wholly or not at all; sign root.json again if the root key is at hand.

    Raises Conflict if there is a server already, and as `verify`; UsageError for a backup of a newer version.
    """
    if home.server.exists() and any(home.server.iterdir()):
        raise Conflict(
            f"there is a server in {home.folder} already, and a backup never replaces one",
            hint="Move that folder away, or give another one with --home.",
        )
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = home.folder / f".restoring-{secrets.token_hex(4)}"
    staging.mkdir(mode=0o700)
    try:
        with _opened(path) as file:
            begin, end = _unpack(decoded(records(file, passphrase)), staging)
        _check_keys(staging)
        _leave_the_lost_future(staging, begin)
        key = root_key or home.root_key
        if key.exists():
            ceremony.sign_root(
                home, root_key=key, root_file=staging / "root.json", above=begin.root_version + ROOT_VERSIONS
            )
        _sync_all(staging)
        os.rename(staging, home.server)
        sync_folder(home.folder)
    except OSError as error:
        raise StorageFull(f"the backup cannot be put in place: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return described(path, begin, end)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"there is no backup {path}", hint="Give the file that `dsage admin backup` wrote.") from None
    with file:
        yield file


def _ends(contents: Iterable[Record]) -> tuple[Begin, End]:
    """Take every record and return the first and the last, which `decoded` has seen to be what they are."""
    taken = [record for record in contents if isinstance(record, Begin | End)]
    begin, end = taken
    assert isinstance(begin, Begin)
    assert isinstance(end, End)
    return begin, end


def _unpack(contents: Iterator[Record], folder: Path) -> tuple[Begin, End]:
    begin = next(contents, None)
    if not isinstance(begin, Begin):
        raise Damaged("it is empty")
    database = folder / DATABASE
    try:
        upgrade(database, begin.revision)
    except CommandError:
        raise UsageError(
            f"the backup was made by DSage {begin.version}, whose tables this version does not know",
            hint="Restore it with that version or a newer one.",
        ) from None
    database.chmod(0o600)
    end: Record | None = None
    with _loading(database) as connection, _without_notes(connection):
        loader = Loader(connection)
        for record in contents:
            if isinstance(record, Rows):
                loader.put(record)
            elif isinstance(record, Piece):
                _append(folder, record)
            end = record
        _check_rows(connection)
    assert isinstance(end, End)
    upgrade(database)
    return begin, end


@contextmanager
def _loading(database: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{database}", poolclass=pool.NullPool)

    @event.listens_for(engine, "connect")
    def _quickly(connection: object, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]

    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise StorageFull(f"the database cannot be written: {error.orig}") from error
    except SQLAlchemyError as error:
        raise Damaged(f"its rows do not fit into a database: {error}") from error
    finally:
        engine.dispose()


@contextmanager
def _without_notes(connection: Connection) -> Iterator[None]:
    """Put rows in without what notes each of them elsewhere: the backup has those notes too."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%AFTER INSERT%'"
    noting = connection.exec_driver_sql(query).all()
    for name, _ in noting:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    yield
    for _, statement in noting:
        connection.exec_driver_sql(statement)


def _check_rows(connection: Connection) -> None:
    if orphan := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise Damaged(f"a row of its table {orphan[0]} refers to one that is not there")


def _append(folder: Path, piece: Piece) -> None:
    target = folder / piece.path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(piece.data)
        os.fchmod(descriptor, piece.mode & 0o777)


def _check_keys(folder: Path) -> None:
    """Raise unless the unit key and root.json are there and can be read."""
    PrivateKey.load(folder / "unit.key")
    ceremony.read(ceremony.load_root(folder / "root.json"))


def _leave_the_lost_future(folder: Path, begin: Begin) -> None:
    engine = create_engine(f"sqlite:///{folder / DATABASE}", poolclass=pool.NullPool)
    with engine.begin() as connection:
        jump(connection, begin.made, time.time())
    engine.dispose()


def jump(connection: Connection, made: float, now: float) -> None:
    """Move every number that people outside remember beyond what can have been issued since the backup.

    The server's absence, by which leases are extended at its start, begins when it was last alive before the backup.
    """
    counters = select(meta.c.name, meta.c.value).where(meta.c.name.startswith("next_", autoescape=True))
    for name, value in connection.execute(counters).all():
        room = RUNS if name == "next_run" else ERA
        remember(connection, name, str((int(value) // room + 1) * room + 1))
    connection.execute(delete(meta).where(meta.c.name == TOKEN_SECRET))
    connection.execute(delete(process))
    remember(connection, "alive", recall(connection, "alive") or repr(made))
    connection.execute(update(run).where(among(run.c.state, OPEN_RUNS)).values(fence=run.c.fence + FENCES))
    date = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%d %H:%M UTC")
    note(connection, now, "restored", news.RESTORED(date=date))


def _sync_all(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
