"""The tables of blobs: which there are and in which object, what needs them, and uploads that are under way."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, union_all, update

from dsage.errors import Conflict, NotFound, TooLarge
from dsage_server.store.bulk import add_rows
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import blob, blob_piece, blob_ref, blob_sum, blob_upload, run

MAX_OPEN: Final = 64
"""Uploads that one owner may have open."""
COLLECTED: Final = 500
"""Blobs let go in one transaction."""
PART: Final = 500
"""Hashes in one statement."""
BUNDLE: Final = "bundle"
INPUT: Final = "input"
OUTPUT: Final = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob and the object that holds it; `size` in bytes."""

    sha256: str
    size: int
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload that is under way: `received` of `size` bytes have come, in `pieces` objects."""

    id: str
    sha256: str
    size: int
    received: int
    pieces: int


def find(connection: Connection, sha256: str) -> Blob | None:
    """Return a blob, if there is one of this hash."""
    row = connection.execute(select(blob.c.bytes, blob.c.object).where(blob.c.sha256 == sha256)).first()
    return Blob(sha256=sha256, size=row.bytes, object=row.object) if row else None


def use(connection: Connection, sha256: str, now: float) -> bool:
    """Note that somebody wants to refer to a blob soon; False if there is none."""
    return connection.execute(update(blob).where(blob.c.sha256 == sha256).values(last_used=now)).rowcount > 0


def add(connection: Connection, new: Blob, now: float) -> bool:
    """Enter a blob. False if it is there already, in another object: the new one is of no use then."""
    statement = upsert(connection, blob).values(
        sha256=new.sha256, bytes=new.size, object=new.object, created=now, last_used=now
    )
    kept = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[blob.c.sha256], set_={"last_used": statement.excluded.last_used}
        ).returning(blob.c.object)
    ).scalar_one()
    return bool(kept == new.object)


def replace(connection: Connection, lost: Blob, new: Blob) -> bool:
    """Let another object hold a blob whose own was lost. False if somebody else was quicker."""
    which = (blob.c.sha256 == lost.sha256) & (blob.c.object == lost.object)
    return connection.execute(update(blob).where(which).values(object=new.object)).rowcount > 0


def sizes(connection: Connection, hashes: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of those of some blobs that are there."""
    found: dict[str, int] = {}
    for part in _parts(hashes):
        rows = connection.execute(select(blob.c.sha256, blob.c.bytes).where(blob.c.sha256.in_(part)))
        found |= {row.sha256: row.bytes for row in rows}
    return found


def refer(connection: Connection, number: int, kind: str, hashes: Iterable[str], now: float) -> None:
    """Let a run need blobs (`kind`: BUNDLE, INPUT or OUTPUT), which keeps them. Raises NotFound if one is not there.

    Marking the blob as used first makes a collector in another process wait for this transaction and look again, and
    whoever lets the researcher's runs need it, or not any more.
    """
    owner = _owner(connection, number)
    for part in _parts(hashes):
        used = update(blob).where(blob.c.sha256.in_(part)).values(last_used=now).returning(blob.c.sha256)
        missing = sorted(set(part) - set(connection.execute(used).scalars()))
        if missing:
            raise NotFound(f"there is no blob {missing[0][:12]}", hint="Send it to the server first.")
        _add_up(connection, owner, _bytes_without(connection, owner, part))
        rows = [{"sha256": sha256, "run_id": number, "kind": kind} for sha256 in part]
        connection.execute(upsert(connection, blob_ref).on_conflict_do_nothing(), rows)


def release(connection: Connection, number: int, kinds: Sequence[str]) -> None:
    """Let a run need no blobs of these kinds any more."""
    these = blob_ref.c.run_id == number, blob_ref.c.kind.in_(kinds)
    owner = _owner(connection, number)
    for part in _parts(connection.execute(select(blob_ref.c.sha256).where(*these)).scalars().all()):
        held = select(blob.c.sha256).where(blob.c.sha256.in_(part)).order_by(blob.c.sha256).with_for_update()
        connection.execute(held).all()
        connection.execute(delete(blob_ref).where(*these, blob_ref.c.sha256.in_(part)))
        _add_up(connection, owner, -_bytes_without(connection, owner, part))


def bytes_of(connection: Connection, researcher: bytes) -> int:
    """Return the bytes of the blobs that a researcher's runs need, each blob once."""
    total = select(func.sum(blob_sum.c.bytes)).where(blob_sum.c.researcher == researcher)
    return int(connection.execute(total).scalar() or 0)


def _owner(connection: Connection, number: int) -> bytes:
    owner: bytes = connection.execute(select(run.c.researcher).where(run.c.id == number)).scalar_one()
    return owner


def _bytes_without(connection: Connection, owner: bytes, hashes: Sequence[str]) -> int:
    """Return the bytes of those of some blobs that no run of a researcher needs."""
    needed = exists().where(
        blob_ref.c.sha256 == blob.c.sha256, run.c.id == blob_ref.c.run_id, run.c.researcher == owner
    )
    total = select(func.sum(blob.c.bytes)).where(blob.c.sha256.in_(hashes), ~needed)
    return int(connection.execute(total).scalar() or 0)


def _add_up(connection: Connection, owner: bytes, more: int) -> None:
    if more:
        row = owner, connection.info.get("slot", 0), more
        add_rows(connection, blob_sum, ("researcher", "slot", "bytes"), [row], keys=("researcher", "slot"))


def runs_without(connection: Connection, kind: str) -> list[int]:
    """Return the runs that refer to no blob of a kind."""
    has = exists().where(blob_ref.c.run_id == run.c.id, blob_ref.c.kind == kind)
    return list(connection.execute(select(run.c.id).where(~has).order_by(run.c.id)).scalars())


def collect(connection: Connection, before: float) -> list[str]:
    """Forget some blobs that nothing refers to and nobody used since `before`; return the objects that held them."""
    needed = exists().where(blob_ref.c.sha256 == blob.c.sha256)
    old = select(blob.c.sha256).where(blob.c.last_used < before, ~needed).limit(COLLECTED)
    gone = delete(blob).where(blob.c.sha256.in_(old), blob.c.last_used < before, ~needed)
    return list(connection.execute(gone.returning(blob.c.object)).scalars())


def unknown(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return which of these objects no table names."""
    known = union_all(
        select(blob.c.object).where(blob.c.object.in_(names)),
        select(blob_piece.c.object).where(blob_piece.c.object.in_(names)),
    )
    return set(names) - set(connection.execute(known).scalars())


# -- uploads -------------------------------------------------------------------------------------------------------


def begin(connection: Connection, sha256: str, owner: bytes, size: int, now: float) -> Upload:
    """Open an upload, or return the one of this owner that is open. Raises Conflict."""
    open_one = upload(connection, sha256, owner)
    if open_one is not None:
        if open_one.size != size:
            raise Conflict(
                f"an upload of this hash is open already, with {open_one.size} bytes instead of {size}",
                hint="Delete that upload, then begin again.",
            )
        return open_one
    count = connection.execute(select(func.count()).where(blob_upload.c.owner == owner)).scalar_one()
    if count >= MAX_OPEN:
        raise Conflict(f"you have {count} uploads open, as many as are allowed", hint="Finish or delete some of them.")
    statement = upsert(connection, blob_upload).values(
        id=secrets.token_hex(8), sha256=sha256, owner=owner, bytes=size, received=0, pieces=0, touched=now
    )
    connection.execute(statement.on_conflict_do_nothing())
    found = upload(connection, sha256, owner)
    if found is None:
        raise Conflict("this upload has just ended")
    return found


def upload(connection: Connection, sha256: str, owner: bytes) -> Upload | None:
    """Return an owner's open upload of a hash, if there is one."""
    row = connection.execute(
        select(blob_upload).where(blob_upload.c.sha256 == sha256, blob_upload.c.owner == owner)
    ).first()
    if row is None:
        return None
    return Upload(id=row.id, sha256=sha256, size=row.bytes, received=row.received, pieces=row.pieces)


def append(connection: Connection, number: str, start: int, size: int, name: str, most: int, now: float) -> None:
    """Enter the next piece of an upload. Raises Conflict if others were quicker, TooLarge beyond `most` pieces."""
    done = connection.execute(
        update(blob_upload)
        .where(blob_upload.c.id == number, blob_upload.c.received == start)
        .values(received=start + size, pieces=blob_upload.c.pieces + 1, touched=now)
        .returning(blob_upload.c.pieces)
    ).scalar()
    if done is None:
        raise Conflict(f"byte {start} is not where this upload goes on", hint="Ask how far it has come, then go on.")
    if done > most:
        raise TooLarge(f"this upload came in more than {most} pieces", hint="Send larger ones.")
    connection.execute(insert(blob_piece).values(upload_id=number, start=start, bytes=size, object=name))


def pieces(connection: Connection, number: str) -> list[tuple[str, int]]:
    """Return the objects of an upload and their sizes in bytes, in order."""
    query = select(blob_piece.c.object, blob_piece.c.bytes).where(blob_piece.c.upload_id == number)
    return [(row.object, row.bytes) for row in connection.execute(query.order_by(blob_piece.c.start))]


def drop(connection: Connection, number: str) -> list[str]:
    """Forget an upload, ended or given up; return the objects of its pieces."""
    return _drop(connection, blob_upload.c.id == number)


def expire(connection: Connection, before: float) -> list[str]:
    """Forget the uploads that got nothing since `before`; return the objects of their pieces."""
    return _drop(connection, blob_upload.c.touched < before)


def _drop(connection: Connection, which: ColumnElement[bool]) -> list[str]:
    ids = list(connection.execute(select(blob_upload.c.id).where(which).with_for_update()).scalars())
    objects: list[str] = []
    for number in ids:
        gone = delete(blob_piece).where(blob_piece.c.upload_id == number).returning(blob_piece.c.object)
        objects += connection.execute(gone).scalars()
        connection.execute(delete(blob_upload).where(blob_upload.c.id == number))
    return objects


def _parts(hashes: Iterable[str]) -> Iterator[list[str]]:
    """Split hashes into lists for a statement, in an order in which nobody waits for one another."""
    ordered = sorted(set(hashes))
    for start in range(0, len(ordered), PART):
        yield ordered[start : start + PART]
