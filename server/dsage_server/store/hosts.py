"""Volunteers and their hosts: invites, enrolment, what a host says about itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, or_, select, update

from dsage import wire
from dsage.errors import Conflict, InviteRefused, NotFound
from dsage_server.pseudonyms import is_pseudonym, pseudonym
from dsage_server.scheduling.record import HostRecord
from dsage_server.sentences import news
from dsage_server.store import consents, credit, kinship, open_links, teams
from dsage_server.store.bulk import among_ids, numbers, update_rows
from dsage_server.store.events import note
from dsage_server.store.open_links import code_hash
from dsage_server.store.schema import host, invite, kin, volunteer


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A host that has enrolled."""

    host: int
    volunteer: int
    pseudonym: str


def make_invite(
    connection: Connection,
    uses: int,
    valid_s: float,
    now: float,
    *,
    volunteer_id: int | None = None,
    verifiable_only: bool = False,
) -> str:
    """Create an invite and return its code, which is stored nowhere; one for a volunteer adds computers of theirs.

    Accounts made by one that is `verifiable_only` get nothing but units whose answers prove themselves.
    """
    code = secrets.token_urlsafe(12)
    connection.execute(
        insert(invite).values(
            code_hash=code_hash(code), uses_left=uses, created=now, expires=now + valid_s, volunteer_id=volunteer_id,
            verifiable_only=verifiable_only,
        )
    )  # fmt: skip
    return code


def find(connection: Connection, key: bytes) -> Known | None:
    """Return the host that has this key, unless it has left."""
    row = connection.execute(_FIND.where(host.c.key == key, host.c.gone.is_(None))).first()
    return None if row is None else Known(host=row.id, volunteer=row.volunteer_id, pseudonym=row.pseudonym)


def revoke(connection: Connection, owner: int, number: int, now: float) -> bytes | None:
    """Take a lost computer out of its volunteer's account, with the codes for further ones; return its key, None if
    the volunteer has no such computer. Unlike one that left, it does not come back into the account by its key."""
    mine = (host.c.id == number) & (host.c.volunteer_id == owner) & host.c.gone.is_(None)
    key: bytes | None = connection.execute(select(host.c.key).where(mine).with_for_update()).scalar()
    if key is not None:
        spent = b"revoked " + hashlib.sha256(key).digest()
        connection.execute(update(host).where(mine).values(gone=now, key=spent))
        connection.execute(delete(invite).where(invite.c.volunteer_id == owner))
    return key


def is_here(connection: Connection, number: int) -> bool:
    """Whether a computer has not left."""
    return connection.execute(select(host.c.id).where(host.c.id == number, host.c.gone.is_(None))).first() is not None


def offer_name(connection: Connection, code: str, now: float) -> wire.NameOffer:
    """Return what a newcomer with this code would be called: by a free name, or by that of the account it leads to."""
    owner = connection.execute(
        select(volunteer.c.pseudonym)
        .join(invite, invite.c.volunteer_id == volunteer.c.id)
        .where(invite.c.code_hash == code_hash(code), invite.c.uses_left > 0, invite.c.expires >= now)
    ).scalar()
    return wire.NameOffer(pseudonym=owner or _free_pseudonym(connection), linked=owner is not None)


def enrol(
    connection: Connection,
    key: bytes,
    code: str,
    shown: wire.Privacy,
    now: float,
    peer: str = "",
    *,
    name: str = "",
) -> Known:
    """Take a key in by a code, of which one use is used up; a known key gets its account back.

    A code that a volunteer made adds a computer to their account; any other makes a new one, but a computer that left
    without being erased has its old one back. A new account is called `name`, if one was offered, and shows what
    `shown` says. `peer` is the address that asks. Raises InviteRefused, Conflict if somebody else has the name by now,
    and Busy if too many came by a link that anybody may use.
    """
    known = find(connection, key)
    if known is not None:
        return known
    came = _use_up(connection, code, now, peer)
    owner = came.owner
    gone = connection.execute(_FIND.where(host.c.key == key)).first()
    if owner is None and gone is not None and gone.erased is None:
        owner = gone.volunteer_id
    if owner is None:
        owner = _new_volunteer(connection, name, shown, came.verifiable_only, now)
        if came.stranger:
            kinship.enter(connection, owner, peer, now, came.team)
        teams.admit(connection, owner, code, now)
    if gone is None:
        machine = connection.execute(
            insert(host).values(volunteer_id=owner, key=key, created=now).returning(host.c.id)
        ).scalar_one()
    else:
        machine = gone.id
        connection.execute(update(host).where(host.c.id == machine).values(volunteer_id=owner, gone=None))
    called = connection.execute(select(volunteer.c.pseudonym).where(volunteer.c.id == owner)).scalar_one()
    return Known(host=machine, volunteer=owner, pseudonym=called)


class _Came(NamedTuple):
    """By what code somebody comes: for whose account, or a new one if None, and what holds for that."""

    owner: int | None
    verifiable_only: bool
    stranger: bool
    team: int | None = None


def _use_up(connection: Connection, code: str, now: float, peer: str) -> _Came:
    """Take one use of a code."""
    row = connection.execute(select(invite).where(invite.c.code_hash == code_hash(code)).with_for_update()).first()
    if row is None:
        only = open_links.use(connection, code, peer, now)
        if only is not None:
            return _Came(None, only, stranger=True)
        raise InviteRefused("this invite code is not one of this server's")
    if row.expires < now:
        raise InviteRefused("this invite code has run out of time")
    if row.uses_left < 1:
        raise InviteRefused("this invite code has been used up")
    owner: int | None = row.volunteer_id
    if owner is not None:
        erased = connection.execute(select(volunteer.c.gone).where(volunteer.c.id == owner).with_for_update()).scalar()
        if erased is not None:
            raise InviteRefused("the account that this code is for was erased")
    connection.execute(update(invite).where(invite.c.code_hash == row.code_hash).values(uses_left=row.uses_left - 1))
    return _Came(owner, row.verifiable_only, stranger=row.team_id is not None, team=row.team_id)


def _new_volunteer(connection: Connection, wished: str, shown: wire.Privacy, verifiable_only: bool, now: float) -> int:
    if wished and not (is_pseudonym(wished) and _is_free(connection, wished)):
        raise Conflict(f"the name {wished[:80]!r} is not free", hint="Go on with another one.")
    name = wished or _free_pseudonym(connection)
    number: int = connection.execute(
        insert(volunteer)
        .values(pseudonym=name, public=shown.discoveries, created=now, verifiable_only=verifiable_only)
        .returning(volunteer.c.id)
    ).scalar_one()
    credit.enter(connection, number, shown.leaderboard)
    agreed = consents.Held(leaderboard=shown.leaderboard, discoveries=shown.discoveries)
    consents.joined(connection, number, agreed, now)
    listed = shown.leaderboard or shown.discoveries
    note(connection, now, "joined", news.JOINED(name=name) if listed else news.SOMEBODY_JOINED())
    return number


def describe(connection: Connection, number: int, said: wire.HostInfo, now: float) -> None:
    """Keep what a host says of itself at its start."""
    connection.execute(
        update(host)
        .where(host.c.id == number)
        .values(
            client=said.client[:80], platform=said.platform[:120], cores=said.cores,
            memory_bytes=said.memory_bytes, sandbox=said.sandbox[:40], last_seen=now,
            disk_bytes=said.disk_bytes, offers=_text(said.offers), tags=_text(said.tags),
            features=_text(said.features), name=said.name.strip(),
            refuses=_text(said.refuses),
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
    refuses: list[str]
    record: HostRecord
    verifiable_only: bool
    kin: frozenset[str]


def described(connection: Connection, number: int) -> Described:
    """Return what is known of a host."""
    row = connection.execute(
        select(host, volunteer.c.verifiable_only)
        .join(volunteer, volunteer.c.id == host.c.volunteer_id)
        .where(host.c.id == number)
    ).one()
    return Described(
        platform=row.platform, cores=row.cores, memory_bytes=row.memory_bytes, disk_bytes=row.disk_bytes,
        offers=_names.decode(row.offers), tags=_names.decode(row.tags), features=_names.decode(row.features),
        refuses=_names.decode(row.refuses),
        record=_record.decode(row.record) if row.record else HostRecord(), verifiable_only=row.verifiable_only,
        kin=kinship.of(connection, [row.volunteer_id]).get(row.volunteer_id, kinship.NOBODY),
    )  # fmt: skip


def trust(connection: Connection, name: str, trusted: bool) -> None:
    """Let a volunteer get every kind of unit, or those only whose answers prove themselves. Who is trusted is vouched
    for, and kin to nobody. Raises NotFound."""
    found = connection.execute(
        update(volunteer)
        .where(volunteer.c.pseudonym == name, volunteer.c.gone.is_(None))
        .values(verifiable_only=not trusted)
        .returning(volunteer.c.id)
    ).scalar()
    if found is None:
        raise NotFound(f"there is no volunteer {name!r}", hint="A client's `dsage status` shows its pseudonym.")
    if trusted:
        kinship.forget(connection, found)


def strangers(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[bool, frozenset[str]]]:
    """Return of those of these hosts whose volunteers are strangers: whether they get only units whose answers prove
    themselves, and what makes them kin to others."""
    rows = connection.execute(_STRANGERS, {"ids": numbers(connection, ids)}).all()
    known = kinship.of(connection, {row.volunteer_id for row in rows})
    return {row.id: (row.verifiable_only, known.get(row.volunteer_id, kinship.NOBODY)) for row in rows}


def record_text(record: HostRecord) -> str:
    """Return what was learnt of a host as it is stored."""
    return msgspec.json.encode(record).decode()


def note_seen(connection: Connection, rows: Sequence[tuple[float, str, int]]) -> None:
    """Note when hosts were last in contact and what was learnt of them: (time, record, host)."""
    update_rows(connection, host, ("last_seen", "record"), sorted(rows, key=lambda row: row[2]))


_FIND = select(host.c.id, host.c.volunteer_id, volunteer.c.pseudonym, volunteer.c.gone.label("erased")).join(
    volunteer, volunteer.c.id == host.c.volunteer_id
)
_STRANGERS = (
    select(host.c.id, host.c.volunteer_id, volunteer.c.verifiable_only)
    .join(volunteer, volunteer.c.id == host.c.volunteer_id)
    .where(among_ids(host.c.id), or_(volunteer.c.verifiable_only, volunteer.c.id.in_(select(kin.c.volunteer_id))))
)
_names = msgspec.json.Decoder(list[str])
_record = msgspec.json.Decoder(HostRecord)


def _text(names: Sequence[str]) -> str:
    return msgspec.json.encode(sorted(set(names))).decode()


def _free_pseudonym(connection: Connection) -> str:
    while not _is_free(connection, name := pseudonym()):
        pass
    return name


def _is_free(connection: Connection, name: str) -> bool:
    return connection.execute(select(volunteer.c.id).where(volunteer.c.pseudonym == name)).first() is None
