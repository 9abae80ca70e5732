"""Recovery codes: 20 characters on paper that log a volunteer in once, when everything else is lost.

A code is one of 32 ** 20 (100 bits), so its SHA-256 can be kept as it is: nobody tries them all.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from sqlalchemy import Connection, delete, select

from dsage_server.store.dialect import upsert
from dsage_server.store.schema import recovery, volunteer

LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without I, O, 0 and 1, which people take for each other."""
LENGTH: Final = 20
GROUP: Final = 5


def make(connection: Connection, number: int, now: float) -> str:
    """Return a new code of a volunteer, in groups; an older one holds no longer."""
    letters = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    statement = upsert(connection, recovery).values(volunteer_id=number, code_hash=_hash(letters), created=now)
    fresh = {name: statement.excluded[name] for name in ("code_hash", "created")}
    connection.execute(statement.on_conflict_do_update(index_elements=["volunteer_id"], set_=fresh))
    return "-".join(letters[at : at + GROUP] for at in range(0, LENGTH, GROUP))


def use(connection: Connection, code: str) -> int | None:
    """Use a code up, and return whose it was; None if it is nobody's. Case, spaces and hyphens do not matter."""
    letters = "".join(letter for letter in code[:200].upper() if letter.isalnum())
    found = connection.execute(
        delete(recovery)
        .where(
            recovery.c.code_hash == _hash(letters),
            recovery.c.volunteer_id.in_(select(volunteer.c.id).where(volunteer.c.gone.is_(None))),
        )
        .returning(recovery.c.volunteer_id)
    ).scalar()
    return None if found is None else int(found)


def made(connection: Connection, number: int) -> float | None:
    """Return when a volunteer's code was made, in Unix seconds; None if there is none."""
    at: float | None = connection.execute(select(recovery.c.created).where(recovery.c.volunteer_id == number)).scalar()
    return at


def forget(connection: Connection, number: int) -> None:
    """A volunteer's code holds no longer."""
    connection.execute(delete(recovery).where(recovery.c.volunteer_id == number))


def _hash(letters: str) -> str:
    return hashlib.sha256(letters.encode()).hexdigest()
