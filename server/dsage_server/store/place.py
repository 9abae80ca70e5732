"""Which database a server's folder goes with: the SQLite file in it, or a PostgreSQL database that it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from dsage.errors import Conflict, NotFound, UsageError
from dsage.files import write_whole
from dsage_server.store.engine import Store

DATABASE: Final = "dsage.sqlite"
MOVED: Final = "dsage.sqlite.moved"
"""What is left of it when its rows have moved to PostgreSQL: to be removed when all is well there."""
MEMORY: Final = "store.json"
"""Where the folder remembers another database; private, since its URL may hold a password."""
EXAMPLE: Final = "Give it as postgresql://USER@HOST:5432/DATABASE."


class Remembered(msgspec.Struct):
    """What `store.json` holds."""

    url: str


def parse(text: str) -> URL:
    """Return the URL of a PostgreSQL database. Raises UsageError, also if the driver for it is not installed."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise UsageError("the store's URL cannot be read", hint=EXAMPLE) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise UsageError(f"a store is PostgreSQL, or SQLite if none is named, not {url.drivername}", hint=EXAMPLE)
    if find_spec("psycopg") is None:
        raise UsageError("psycopg, the driver for PostgreSQL, is missing", hint="pip install 'dsage[postgres]'")
    return url.set(drivername="postgresql")


def shown(where: Path | str) -> str:
    """Return how a database is named to people: never with a password."""
    return str(where) if isinstance(where, Path) else make_url(where).render_as_string(hide_password=True)


def remember(folder: Path, url: str) -> None:
    """Let the folder go with a PostgreSQL database from now on."""
    write_whole(folder / MEMORY, msgspec.json.encode(Remembered(url)), private=True)


def place_of(folder: Path) -> Path | str:
    """Return the file, or the URL, of the database that a server's folder goes with, whether it is there or not."""
    memory = folder / MEMORY
    if not memory.exists():
        return folder / DATABASE
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Remembered).url
    except msgspec.MsgspecError as error:
        raise UsageError(f"{memory} cannot be read: {error}", hint="Name the database with --store again.") from None


def existing(folder: Path) -> Path | str:
    """Return the database of a server that was started before. Raises NotFound."""
    where = place_of(folder)
    if isinstance(where, Path) and not where.exists():
        raise NotFound("there is no server here", hint="Run `dsage serve` first, or set DSAGE_HOME to its home.")
    return where


def chosen(folder: Path, store: str) -> Path | str:
    """Return the database to serve from: the one named by `store` (and remembered), or that of the folder.

    Raises Conflict if the folder has data in SQLite, which another database would silently leave behind.
    """
    if not store:
        return place_of(folder)
    url = parse(store).render_as_string(hide_password=False)
    if (folder / DATABASE).exists():
        raise Conflict(
            f"this server's data are in {folder / DATABASE}",
            hint="Move them first: dsage admin migrate-store URL. Then `dsage serve` knows the new place by itself.",
        )
    if place_of(folder) != url:
        remember(folder, url)
    return url


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Open the database of the server whose folder this is, for a command. Raises as `existing`."""
    store = Store(existing(folder))
    try:
        yield store
    finally:
        store.close()
