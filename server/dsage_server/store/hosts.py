"""Volunteers and their hosts: invites, enrolment, what a host says about itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, insert, select, update

from dsage import wire
from dsage.errors import InviteRefused
from dsage_server.pseudonyms import pseudonym
from dsage_server.scheduling.record import HostRecord
from dsage_server.store import credit
from dsage_server.store.bulk import update_rows
from dsage_server.store.events import note
from dsage_server.store.schema import host, invite, volunteer


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A host that has enrolled."""

    host: int
    volunteer: int
    pseudonym: str


def code_hash(code: str) -> str:
    """Return what the server stores of an invite code."""
    return hashlib.sha256(code.encode()).hexdigest()


def make_invite(connection: Connection, uses: int, valid_s: float, now: float) -> str:
    """Create an invite and return its code, which is stored nowhere."""
    code = secrets.token_urlsafe(12)
    connection.execute(
        insert(invite).values(code_hash=code_hash(code), uses_left=uses, created=now, expires=now + valid_s)
    )
    return code


def find(connection: Connection, key: bytes) -> Known | None:
    """Return the host that has this key."""
    row = connection.execute(
        select(host.c.id, host.c.volunteer_id, volunteer.c.pseudonym)
        .join(volunteer, volunteer.c.id == host.c.volunteer_id)
        .where(host.c.key == key)
    ).first()
    return None if row is None else Known(host=row.id, volunteer=row.volunteer_id, pseudonym=row.pseudonym)


def enrol(connection: Connection, key: bytes, code: str, public: bool, now: float) -> Known:
    """Make an account for a new key and use up one use of the code; a known key gets its account back."""
    known = find(connection, key)
    if known is not None:
        return known
    row = connection.execute(select(invite).where(invite.c.code_hash == code_hash(code)).with_for_update()).first()
    if row is None:
        raise InviteRefused("this invite code is not one of this server's")
    if row.expires < now:
        raise InviteRefused("this invite code has run out of time")
    if row.uses_left < 1:
        raise InviteRefused("this invite code has been used up")
    connection.execute(update(invite).where(invite.c.code_hash == row.code_hash).values(uses_left=row.uses_left - 1))
    name = _free_pseudonym(connection)
    number = connection.execute(
        insert(volunteer).values(pseudonym=name, public=public, created=now).returning(volunteer.c.id)
    ).scalar_one()
    machine = connection.execute(
        insert(host).values(volunteer_id=number, key=key, created=now).returning(host.c.id)
    ).scalar_one()
    credit.enter(connection, number, public)
    note(connection, now, "joined", f"{name if public else 'a volunteer'} joined")
    return Known(host=machine, volunteer=number, pseudonym=name)


def describe(connection: Connection, number: int, said: wire.HostInfo, now: float) -> None:
    """Keep what a host says of itself at its start."""
    connection.execute(
        update(host)
        .where(host.c.id == number)
        .values(
            client=said.client[:80], platform=said.platform[:120], cores=said.cores,
            memory_bytes=said.memory_bytes, sandbox=said.sandbox[:40], last_seen=now,
            disk_bytes=said.disk_bytes, offers=_text(said.offers), tags=_text(said.tags),
            features=_text(said.features),
        )
    )  # fmt: skip


class Described(msgspec.Struct):
    """What is known of a host: what it said of itself, and what was learnt of it."""

    platform: str
    cores: int
    memory_bytes: int
    disk_bytes: int
    offers: list[str]
    tags: list[str]
    features: list[str]
    record: HostRecord


def described(connection: Connection, number: int) -> Described:
    """Return what is known of a host."""
    row = connection.execute(select(host).where(host.c.id == number)).one()
    return Described(
        platform=row.platform, cores=row.cores, memory_bytes=row.memory_bytes, disk_bytes=row.disk_bytes,
        offers=_names.decode(row.offers), tags=_names.decode(row.tags), features=_names.decode(row.features),
        record=_record.decode(row.record) if row.record else HostRecord(),
    )  # fmt: skip


def record_text(record: HostRecord) -> str:
    """Return what was learnt of a host as it is stored."""
    return msgspec.json.encode(record).decode()


def note_seen(connection: Connection, rows: Sequence[tuple[float, str, int]]) -> None:
    """Note when hosts were last in contact and what was learnt of them: (time, record, host)."""
    update_rows(connection, host, ("last_seen", "record"), sorted(rows, key=lambda row: row[2]))


_names = msgspec.json.Decoder(list[str])
_record = msgspec.json.Decoder(HostRecord)


def _text(names: Sequence[str]) -> str:
    return msgspec.json.encode(sorted(set(names))).decode()


def _free_pseudonym(connection: Connection) -> str:
    while True:
        name = pseudonym()
        if connection.execute(select(volunteer.c.id).where(volunteer.c.pseudonym == name)).first() is None:
            return name
