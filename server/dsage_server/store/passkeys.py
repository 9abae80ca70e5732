"""Volunteers' passkeys: what a browser or a security key made for this site. Only public keys are here."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from dsage.errors import Conflict
from dsage_server.store.schema import passkey, volunteer

MOST: Final = 20
"""Passkeys of one volunteer."""
LONGEST: Final = 60
"""Characters of a name."""


class Passkey(NamedTuple):
    """One passkey; `name` is what its owner calls it, `sign_count` how often it signed, if it counts."""

    id: int
    volunteer_id: int
    credential: bytes
    public_key: bytes
    sign_count: int
    name: str
    created: float
    used: float | None


def of(connection: Connection, number: int) -> list[Passkey]:
    """Return those of a volunteer, oldest first."""
    query = select(*_COLUMNS).where(passkey.c.volunteer_id == number).order_by(passkey.c.id).limit(MOST)
    return [Passkey(*row) for row in connection.execute(query)]


def find(connection: Connection, credential: bytes) -> Passkey | None:
    """Return the passkey with this credential id, of somebody who has not left."""
    query = (
        select(*_COLUMNS)
        .join(volunteer, volunteer.c.id == passkey.c.volunteer_id)
        .where(passkey.c.credential == credential, volunteer.c.gone.is_(None))
    )
    row = connection.execute(query).first()
    return None if row is None else Passkey(*row)


def add(
    connection: Connection, number: int, credential: bytes, public_key: bytes, sign_count: int, name: str, now: float
) -> None:
    """Keep a new one. Raises Conflict if it is known already, or if there are too many."""
    connection.execute(select(volunteer.c.id).where(volunteer.c.id == number).with_for_update()).one()
    known = connection.execute(select(passkey.c.id).where(passkey.c.credential == credential)).first()
    if known is not None:
        raise Conflict("this passkey is known here already", hint="It logs you in.")
    count = connection.execute(select(func.count()).where(passkey.c.volunteer_id == number)).scalar_one()
    if count >= MOST:
        raise Conflict(f"you have {MOST} passkeys, and more are not kept", hint="Remove one first.")
    row = {"credential": credential, "public_key": public_key, "sign_count": sign_count, "created": now}
    connection.execute(insert(passkey).values(volunteer_id=number, name=name[:LONGEST], **row))


def note_use(connection: Connection, known: Passkey, sign_count: int, now: float) -> bool:
    """Note that one was used; False if it is gone, or was used meanwhile with the count that is known."""
    same = (passkey.c.id == known.id) & (passkey.c.sign_count == known.sign_count)
    changed = connection.execute(update(passkey).where(same).values(sign_count=sign_count, used=now))
    return bool(changed.rowcount)


def remove(connection: Connection, number: int, which: int | None = None) -> int:
    """Forget one of a volunteer's passkeys, or all; return how many there were."""
    gone = delete(passkey).where(passkey.c.volunteer_id == number)
    return connection.execute(gone if which is None else gone.where(passkey.c.id == which)).rowcount


_COLUMNS: Final = [passkey.c[name] for name in Passkey._fields]
