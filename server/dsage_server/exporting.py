"""The daily files for statistics sites: made as one edition, which is there whole or not at all.

An edition is a folder named by its UTC day: each table as JSON lines, as CSV and in the form of BOINC's files, sums,
and `index.json`, which has the size and SHA-256 of each. When a new one is in place the older ones are removed, so
that whoever withdrew is in none of them a day later.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.sax.saxutils import escape

import msgspec
from sqlalchemy import Connection

from dsage.files import sync_folder, write_whole
from dsage_server.hub import Hub
from dsage_server.store import earned, exports

EXPORT: Final = "export"
INDEX: Final = "index.json"
COBBLESTONES: Final = 0.625
"""Cobblestones for a credit: 200 are a day of a core that does 10^9 operations a second, and the reference core counts
as one that does 4.5 * 10^9. For statistics sites only; nothing here reckons in them."""
LOOK_S: Final = 60.0
AFTER_S: Final = 180.0
"""When an edition is made, after midnight: the ledger's day before is closed and hashed by then."""
LEFT_S: Final = 86400.0
"""After so long what a process left behind that died in the middle is removed."""
DAY_S: Final = 86400.0

Xml = Callable[[Any, float], Mapping[str, Any]]


class Entry(msgspec.Struct, kw_only=True):
    """A file of an edition."""

    name: str
    bytes: int
    sha256: str
    rows: int


class Edition(msgspec.Struct, kw_only=True):
    """What there is: for whom `credit` counts, and what a cobblestone is to it."""

    schema: str = "dsage.export/1"
    server_id: str
    day: str
    made: int
    cobblestones_per_credit: float = COBBLESTONES
    totals: exports.Sums
    files: list[Entry]


async def export_daily(hub: Hub, folder: Path) -> None:
    """Make an edition a day, and count who was steady; at the start too, if there is none of today."""
    while True:
        now = hub.clock()
        if now % DAY_S >= AFTER_S and not (folder / day_name(now)).exists():
            make = partial(make_edition, folder=folder, server_id=hub.server_id, now=now)
            await hub.store.read(make)
            found = await hub.store.read(partial(earned.steadiest, now=now))
            await hub.store.write(partial(earned.keep_steadiest, found=found))
        await asyncio.sleep(LOOK_S)


def day_name(now: float) -> str:
    """Return the name of an edition: its UTC date."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def newest(folder: Path, now: float) -> Path | None:
    """Return the edition of today, or of yesterday until that is made: an older one may name who withdrew since."""
    for at in (now, now - DAY_S):
        if (folder / day_name(at) / INDEX).is_file():
            return folder / day_name(at)
    return None


def make_edition(connection: Connection, folder: Path, server_id: str, now: float) -> Path:
    """Write the edition of a day, as one moment of the database has it; remove those before. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh, place = folder / f".{secrets.token_hex(4)}", folder / day_name(now)
    fresh.mkdir()
    try:
        files = [
            *_table(fresh, "users", "user", "users", exports.people(connection, server_id, now), now, _user),
            *_table(fresh, "hosts", "host", "hosts", exports.computers(connection, now), now, _host),
            *_table(fresh, "teams", "team", "teams", exports.teams(connection, now), now, _team),
            *_table(fresh, "deleted", "user_deleted", "users", exports.gone(connection, server_id, now), now, _deleted),
        ]
        totals = exports.sums(connection, now)
        write_whole(fresh / "tables.xml", _tables(totals, files, now).encode())
        write_whole(fresh / "totals.json", msgspec.json.format(msgspec.json.encode(totals)))
        files += [_entry(fresh / name, 1) for name in ("tables.xml", "totals.json")]
        told = Edition(server_id=server_id, day=place.name, made=int(now), totals=totals, files=files)
        write_whole(fresh / INDEX, msgspec.json.format(msgspec.json.encode(told)))
        try:
            fresh.rename(place)
        except OSError:
            if not (place / INDEX).is_file():
                raise
        sync_folder(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _tidy(folder, place)
    return place


def _tidy(folder: Path, place: Path) -> None:
    for other in folder.iterdir():
        under_way = other.name.startswith(".") and time.time() - other.stat().st_mtime < LEFT_S
        if other != place and not under_way:
            shutil.rmtree(other, ignore_errors=True)


def _table(
    folder: Path, name: str, boinc: str, tag: str, rows: Iterable[msgspec.Struct], now: float, xml: Xml
) -> list[Entry]:
    """Write rows three times: as JSON lines, as CSV and, in a file called `boinc`, as elements in one called `tag`."""
    paths = [folder / f"{name}.jsonl.gz", folder / f"{name}.csv.gz", folder / f"{boinc}.gz"]
    count, element = 0, tag.removesuffix("s")
    with ExitStack() as stack:
        as_json, as_csv, as_xml = (stack.enter_context(_packed(stack, path)) for path in paths)
        table = csv.writer(stack.enter_context(io.TextIOWrapper(as_csv, "utf-8", newline="", write_through=True)))
        as_xml.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag}>\n'.encode())
        for row in rows:
            if not count:
                table.writerow(row.__struct_fields__)
            table.writerow(msgspec.structs.astuple(row))
            as_json.write(msgspec.json.encode(row) + b"\n")
            as_xml.write(_element(element, xml(row, now)).encode())
            count += 1
        as_xml.write(f"</{tag}>\n".encode())
    return [_entry(path, count) for path in paths]


def _packed(stack: ExitStack, path: Path) -> gzip.GzipFile:
    """Open a compressed file for writing, which has reached the disk when the stack is through."""
    raw = stack.enter_context(path.open("wb"))
    stack.callback(_sync, raw)
    return gzip.GzipFile("", "wb", fileobj=raw, mtime=0)


def _sync(raw: BinaryIO) -> None:
    raw.flush()
    os.fsync(raw.fileno())


def _entry(path: Path, rows: int) -> Entry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(name=path.name, bytes=path.stat().st_size, sha256=digest, rows=rows)


def _element(tag: str, fields: Mapping[str, Any]) -> str:
    said = "".join(
        f" <{name}>{f'{value:f}' if isinstance(value, float) else escape(str(value))}</{name}>\n"
        for name, value in fields.items()
        if value is not None
    )
    return f"<{tag}>\n{said}</{tag}>\n"


def _credit(row: Any, now: float) -> dict[str, Any]:
    return {
        "total_credit": row.credit * COBBLESTONES, "expavg_credit": row.recent * COBBLESTONES,
        "expavg_time": float(now),
    }  # fmt: skip


def _user(row: exports.Person, now: float) -> dict[str, Any]:
    fields = {"id": row.id, "name": row.name, "create_time": row.created, **_credit(row, now)}
    return fields | {"cpid": row.cpid, "teamid": row.team}


def _host(row: exports.Computer, now: float) -> dict[str, Any]:
    system, _, machine = row.platform.partition("-")
    fields = {"id": row.id, "userid": row.user, **_credit(row, now), "p_vendor": "", "p_model": machine}
    return fields | {"os_name": system, "os_version": "", "create_time": row.created, "ncpus": row.cores}


def _team(row: exports.Team, now: float) -> dict[str, Any]:
    fields = {"id": row.id, "type": 0, "name": row.name, "userid": row.founder or 0, **_credit(row, now)}
    return fields | {"founder_name": row.founder_name, "create_time": row.created}


def _deleted(row: exports.Gone, _: float) -> dict[str, Any]:
    return {"id": row.id, "cpid": row.cpid}


def _tables(totals: exports.Sums, files: list[Entry], now: float) -> str:
    rows = {entry.name: entry.rows for entry in files}
    fields = {
        "update_time": int(now), "nusers_total": rows["user.gz"], "nteams_total": rows["team.gz"],
        "nhosts_total": rows["host.gz"], "nusers_deleted_total": rows["user_deleted.gz"],
        "total_credit": totals.credit * COBBLESTONES,
    }  # fmt: skip
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _element("tables", fields)
