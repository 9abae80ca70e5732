"""What every process of a database must know to honour the same tokens, and each challenge once."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import Connection, delete

from dsage_server.sessions import SECRET_BYTES
from dsage_server.store.dialect import upsert
from dsage_server.store.meta import recall
from dsage_server.store.schema import meta, used_challenge

TOKEN_SECRET: Final = "token_secret"


def token_secret(connection: Connection) -> bytes:
    """Return the secret behind tokens, made by whoever asks first."""
    fresh = upsert(connection, meta).values(name=TOKEN_SECRET, value=secrets.token_hex(SECRET_BYTES))
    connection.execute(fresh.on_conflict_do_nothing())
    return bytes.fromhex(recall(connection, TOKEN_SECRET) or "")


def use_challenge(connection: Connection, challenge: bytes, expires: float, now: float) -> bool:
    """Note that a challenge was used; False if it was noted before. Those that have run out are forgotten."""
    connection.execute(delete(used_challenge).where(used_challenge.c.expires < now))
    mark = upsert(connection, used_challenge).values(challenge=challenge, expires=expires).on_conflict_do_nothing()
    return connection.execute(mark.returning(used_challenge.c.challenge)).first() is not None
