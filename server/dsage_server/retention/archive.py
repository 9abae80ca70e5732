"""Runs that are long over leave the database for a file each; their results, tallies and the ledger stay.

A run is archived in three steps, each of which may be the last before a kill. Its rows are written to a file, which
is read back and compared. Then one commit enters the file in the table `archive`: from now on the rows may go. They
do in small commits between those of the running server. Whoever comes next goes on where this stopped: a file that
is not entered is written again, one that is entered must have its hash before another row goes.

What stays in the tables: the run with its result and state, the picture that its units painted with who painted what
(store/paintings.py), `tally` and `run_credit`, every ledger row (a correction must find what it corrects, so
`credit_entry` refers to a copy by its number alone), the last events. Envelopes of results are emptied in place once no
copy needs them, and those of units stay: deleting either row would make the database search all copies or units for
references, to gain some bytes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, literal, or_, select, update

from dsage.errors import Busy, Conflict, NotFound, StorageFull
from dsage.states import OPEN_RUNS
from dsage.trust.documents import ResultBatch
from dsage.trust.envelope import Envelope
from dsage_server.blobs import answers
from dsage_server.blobs.library import Blobs
from dsage_server.retention import files, gather
from dsage_server.store import paintings, tallies, views
from dsage_server.store.blobs import INPUT, OUTPUT, release
from dsage_server.store.bulk import chunks
from dsage_server.store.engine import Store
from dsage_server.store.events import note
from dsage_server.store.paintings import Painting
from dsage_server.store.schema import (
    among,
    answer,
    archive,
    aside,
    event,
    printed,
    proof,
    replica,
    run,
    run_step,
    signed_unit,
    unit,
)

log = logging.getLogger(__name__)

ARCHIVE: Final = "archive"
"""Where in the server's folder the files lie."""
LOOK_S: Final = 3600.0
RETIRED_S: Final = 60.0
"""How often it is asked for runs that were retired elsewhere: by an index that holds no others."""
CLEARED: Final = 100
"""Units that leave in one commit, with all their copies: a few milliseconds."""
PAUSE_S: Final = 0.02
"""Between two such commits, so that the server's own always come in between."""
KEPT_EVENTS: Final = ("submitted", "done", "failed", "cancelled", "retried", "retired", "archived")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """An archived run: its file, and how many units and copies are in it."""

    run: int
    file: Path
    sha256: str
    units: int
    replicas: int


def due(connection: Connection, before: float | None) -> list[int]:
    """Return the runs that were retired, or ended before a time (if there is one), and are not wholly archived; those
    that are half way come first."""
    retired = run.c.retired.is_not(None)
    wanted = retired if before is None else or_(retired, run.c.finished < before)
    query = (
        select(run.c.id)
        .join(archive, archive.c.run_id == run.c.id, isouter=True)
        .where(run.c.state.not_in(sorted(OPEN_RUNS)), wanted, archive.c.cleared.is_(None))
        .order_by(archive.c.run_id.is_(None), run.c.id)
    )
    return list(connection.execute(query).scalars())


async def archive_run(blobs: Blobs, folder: Path, number: int, clock: Callable[[], float]) -> Archived:
    """Archive a run, or go on with one that was begun.

    Raises NotFound; Conflict if it is not over, copies are out, somebody else archives, or the entered file is not what
    it was; StorageFull if the file cannot be written or read back, Busy if a large answer is not to be had. In every
    case no row is lost.
    """
    with _alone(folder):
        return await _archive_run(blobs, folder, number, clock)


async def _archive_run(blobs: Blobs, folder: Path, number: int, clock: Callable[[], float]) -> Archived:
    store, loop = blobs.store, asyncio.get_running_loop()

    def large(sha256: str) -> bytes:
        return asyncio.run_coroutine_threadsafe(answers.read(blobs, sha256), loop).result()

    known = await store.read(lambda c: find(c, number))
    if known is None:
        await store.read(lambda c: check_settled(c, number, clock()))
        sums = await store.read(lambda c: tallies.of(c, number))
        painted = await store.read(lambda c: paintings.gather(c, number))
        entered = await asyncio.to_thread(_write, store, folder, number, large)
        try:
            await store.write(lambda c: _enter(c, entered, sums, painted, clock()))
        except Conflict:
            entered.file.unlink()
            raise
    else:
        entered = Archived(
            run=number, file=folder / known.file, sha256=known.sha256, units=known.units, replicas=known.replicas
        )
        await asyncio.to_thread(_check_entered, entered)
    left = True
    while left:
        left = await store.write(lambda c: _clear(c, number, clock()))
        await asyncio.sleep(PAUSE_S)
    return entered


async def archive_due(blobs: Blobs, folder: Path, clock: Callable[[], float], before: float | None) -> list[Archived]:
    """Archive every run that is due, and return them; one that cannot be yet is told in the log."""
    done = []
    for number in await blobs.store.read(lambda c: due(c, before)):
        try:
            done.append(await archive_run(blobs, folder, number, clock))
        except (Conflict, Busy) as error:
            log.warning("run %s is not archived yet: %s", number, error.message)
    return done


async def archive_steadily(
    blobs: Blobs, folder: Path, clock: Callable[[], float], after_s: float, retired: asyncio.Event
) -> None:
    """Archive, for as long as the server runs, the runs that ended `after_s` ago (0: none) and those that are
    `retired`, which may also happen in another process."""
    last = -math.inf
    while True:
        retired.clear()
        now = clock()
        whole = bool(after_s) and not last <= now < last + LOOK_S
        last = now if whole else last
        await archive_due(blobs, folder, clock, now - after_s if whole else None)
        with suppress(TimeoutError):
            async with asyncio.timeout(RETIRED_S):
                await retired.wait()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder of archives, so that nobody replaces a file that is entered. Raises Conflict, StorageFull."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise StorageFull(f"{folder} cannot be written: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"somebody else archives into {folder} right now", hint="Try again later.") from None
        yield


def find(connection: Connection, number: int) -> Any | None:
    """Return the row about a run's archive, if it has one."""
    return connection.execute(select(archive).where(archive.c.run_id == number)).first()


def check_settled(connection: Connection, number: int, now: float) -> None:
    """Raise NotFound, or Conflict while anything about the run may still change."""
    row = connection.execute(select(run.c.state).where(run.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    if row.state in OPEN_RUNS:
        raise Conflict(f"run {number} is not over", hint="Archive it when it has ended.")
    moving = or_(
        among(replica.c.state, ["leased", "reported"]),
        (replica.c.state == "expired") & (replica.c.hard_deadline > now),
    )
    query = (
        select(func.count(), func.max(replica.c.hard_deadline))
        .join(unit, unit.c.id == replica.c.unit_id)
        .where(unit.c.run_id == number, moving)
    )
    count, last = connection.execute(query).one()
    if count:
        date = datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise Conflict(
            f"{count} copies of run {number} are out, and their answers are still welcome until {date}",
            hint="Try again after that.",
        )


def _write(store: Store, folder: Path, number: int, large: Callable[[str], bytes]) -> Archived:
    """Write a run's file, read it back, and compare."""
    path = folder / f"run-{number:08}{files.suffix()}"
    try:
        written = files.write(path, gather.TABLES, gather.rows(store.read_now, number, large))
        if files.check(path, gather.TABLES) != written:
            raise StorageFull(f"{path} does not give back what was written", hint="Check the disk; no row was removed.")
        digest = _hash(path)
    except (OSError, ValueError, EOFError) as error:
        raise StorageFull(f"the archive of run {number} cannot be written and read back: {error}") from error
    return Archived(
        run=number, file=path, sha256=digest, units=written.rows.get("unit", 0), replicas=written.rows.get("replica", 0)
    )  # fmt: skip


def _enter(
    connection: Connection, written: Archived, sums: dict[str, int], painted: Painting | None, now: float
) -> None:
    """Enter a file, and keep the picture that the rows paint: they may go. Raises Conflict if the run is not as it was
    when the file was begun.

    The sums that are kept with every commit tell that without a look at each unit, so nobody waits for this.
    """
    if tallies.of(connection, written.run) != sums or find(connection, written.run) is not None:
        raise Conflict(f"run {written.run} changed while it was archived", hint="Try again.")
    connection.execute(
        insert(archive).values(
            run_id=written.run, file=written.file.name, sha256=written.sha256, units=written.units,
            replicas=written.replicas, volunteers=sums.get("volunteers", 0), made=now,
        )
    )  # fmt: skip
    if painted is not None:
        paintings.keep(connection, written.run, painted)


def _check_entered(entered: Archived) -> None:
    try:
        same = _hash(entered.file) == entered.sha256
    except OSError as error:
        raise Conflict(
            f"the archive {entered.file} of run {entered.run} cannot be read: {error.strerror or error}",
            hint=f"Put {entered.file} back; the rows that are left stay until then.",
        ) from None
    if not same:
        raise Conflict(
            f"{entered.file} is not what was written when run {entered.run} was archived",
            hint="Put the right file back; the rows that are left stay until then.",
        )


def _clear(connection: Connection, number: int, now: float) -> bool:
    """Let some units of an archived run go, with all that hangs on them; False once none is left."""
    units = list(connection.execute(select(unit.c.id).where(unit.c.run_id == number).limit(CLEARED)).scalars())
    if not units:
        _finish(connection, number, now)
        return False
    copies = connection.execute(select(replica.c.id, replica.c.proof_id).where(replica.c.unit_id.in_(units))).all()
    for part in chunks(row.id for row in copies):
        connection.execute(delete(answer).where(answer.c.replica_id.in_(part)))
        connection.execute(delete(printed).where(printed.c.replica_id.in_(part)))
        connection.execute(delete(replica).where(replica.c.id.in_(part)))
    connection.execute(delete(signed_unit).where(signed_unit.c.unit_id.in_(units)))
    connection.execute(delete(unit).where(unit.c.id.in_(units)))
    for part in chunks({row.proof_id for row in copies if row.proof_id is not None}):
        _empty_proofs(connection, part)
    return True


def _empty_proofs(connection: Connection, numbers: list[int]) -> None:
    """Empty the envelopes that no copy needs any more; one call may have reported copies of several runs."""
    rows = connection.execute(select(proof.c.id, proof.c.envelope).where(proof.c.id.in_(numbers))).all()
    for row in rows:
        if not row.envelope:
            continue
        signed = msgspec.json.decode(msgspec.msgpack.decode(row.envelope, type=Envelope).payload, type=ResultBatch)
        ids = [entry.replica for entry in signed.results]
        needed = select(literal(1)).where(replica.c.id.in_(ids), replica.c.proof_id == row.id).limit(1)
        if connection.execute(needed).first() is None:
            connection.execute(update(proof).where(proof.c.id == row.id).values(envelope=b""))


def _finish(connection: Connection, number: int, now: float) -> None:
    row = find(connection, number)
    if row is None or row.cleared is not None:
        return
    connection.execute(delete(event).where(event.c.run_id == number, event.c.kind.not_in(KEPT_EVENTS)))
    release(connection, number, [INPUT, OUTPUT])
    connection.execute(update(run).where(run.c.id == number).values(retired=None))
    for table in (run_step, aside):
        connection.execute(delete(table).where(table.c.run_id == number))
    connection.execute(update(archive).where(archive.c.run_id == number).values(cleared=now))
    note(connection, now, "archived", views.archived(row.made, row.file), run=number)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
