"""`dsage admin backup`, `restore`, `archive` and `migrate-store`: a server's data as a whole."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Final

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import date, emit, say
from dsage.cli.safe import passphrase_option, read_passphrase
from dsage.errors import UsageError
from dsage.home import Home
from dsage.trust.ceremony import load_root, read
from dsage_server.blobs.place import known_blobs
from dsage_server.retention.archive import ARCHIVE, Archived, archive_due, archive_run
from dsage_server.retention.backup import Backup, back_up
from dsage_server.retention.restore import restore as put_back
from dsage_server.retention.restore import verify
from dsage_server.settings import Settings
from dsage_server.store import deeds
from dsage_server.store.engine import Store
from dsage_server.store.place import MOVED, existing, shown
from dsage_server.store.transfer import migrate_store

DAY_S: Final = 86400.0


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@passphrase_option
@json_option
def backup(destination: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Write one encrypted file from which the server can be put back; it may run meanwhile.

    DEST is a new file, or a folder that gets one with the time in its name. The database, the blobs, the CA, the unit
    key and root.json are in it; the root key and code keys are not: keep those apart (`dsage keys export-root`).
    """
    made = back_up(Home(), destination, read_passphrase(passphrase_file, new=True))
    emit("dsage.backup/1", _described(made), as_json, str(made.path))
    say(f"{made.rows} rows and {made.files} files in {made.bytes} bytes. Without its passphrase nobody can open it.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--home", type=click.Path(path_type=Path), help="Where to put the server (default: DSAGE_HOME).")
@click.option("--verify", "only_verify", is_flag=True, help="Only read it to its end and check everything.")
@click.option(
    "--root-key", type=click.Path(path_type=Path, dir_okay=False), help="The root key's file, to sign root.json again."
)
@passphrase_option
@json_option
def restore(
    file: Path, home: Path | None, only_verify: bool, root_key: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Put a server back from a backup, where there is none.

    Everything is checked before it is put in place. Start it with `dsage serve`: leases that were open are extended by
    the time since the backup, and what was issued after it is never issued again with another meaning.
    """
    passphrase = read_passphrase(passphrase_file, new=False)
    if only_verify:
        found = verify(file, passphrase)
        emit("dsage.backup/1", _described(found), as_json, str(file))
        say(f"Whole: {found.rows} rows and {found.files} files of {date(found.made)}.")
        return
    place = Home() if home is None else Home(home)
    found = put_back(file, passphrase, place, root_key=root_key)
    emit("dsage.backup/1", _described(found), as_json, str(place.server))
    say(f"The server of {date(found.made)} is in {place.server}: {found.rows} rows, {found.files} files.")
    if root_key is None and not place.root_key.exists():
        say(
            f"Its root.json is version {found.root_version}. If it was signed again since the backup, put the newer one"
        )
        say(f"into {place.root_file}, or sign it above that: dsage keys renew --above VERSION --root-key FILE.")


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.IntRange(1))
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Every run that ended at least so many days ago."
)
@json_option
def archive(runs: tuple[int, ...], older_than: float | None, as_json: bool) -> None:
    """Move runs that are over from the database to a file each; the server may run meanwhile.

    Results, counts, credit and the ledger stay. The files are Parquet, or JSON lines where pyarrow is not installed,
    and hold everything that is needed to check the answers again.
    """
    if bool(runs) == (older_than is not None):
        raise UsageError("name the runs to archive, or say --older-than DAYS")
    home = Home()
    existing(home.server)
    done = asyncio.run(_archive(home, runs, older_than))
    files = [dataclasses.asdict(each) | {"file": str(each.file)} for each in done]
    emit("dsage.archive/1", files, as_json, "\n".join(str(each.file) for each in done))


@click.command("migrate-store")
@click.argument("url")
@json_option
def migrate(url: str, as_json: bool) -> None:
    """Move a stopped server's data from SQLite to an empty PostgreSQL database.

    URL is postgresql://USER@HOST/DATABASE; give the password in PGPASSFILE, or in the URL. Every row is compared
    afterwards; then `dsage serve` uses the new store by itself. If this breaks off, run it again.
    """
    home = Home()
    rows = migrate_store(home.server, url, say)
    data = {"store": shown(url), "rows": rows}
    emit("dsage.migrate-store/1", data, as_json, shown(url))
    say(f"{sum(rows.values())} rows are there, and equal. The old file is {home.server / MOVED}: keep it until you")
    say("have seen the server run, then remove it.")


async def _archive(home: Home, runs: tuple[int, ...], older_than: float | None) -> list[Archived]:
    store = Store(existing(home.server))
    blobs = known_blobs(Settings(folder=home.server), store, read(load_root(home.root_file)).server_id)
    done: list[Archived] = []

    def note(connection: Connection) -> None:
        for each in done:
            deeds.record(connection, time.time(), "operator", "archived", f"run {each.run}")

    try:
        if older_than is not None:
            before = time.time() - older_than * DAY_S
            done += await archive_due(blobs, home.server / ARCHIVE, time.time, before)
        for number in runs:
            done.append(await archive_run(blobs, home.server / ARCHIVE, number, time.time))
            say(f"Run {number}: {done[-1].units} units and {done[-1].replicas} copies.")
        return done
    finally:
        store.write_now(note)
        store.close()


def _described(found: Backup) -> dict[str, object]:
    return dataclasses.asdict(found) | {"path": str(found.path)}
