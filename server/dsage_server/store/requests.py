"""What people ask the operator to sign: a code key, certified under a name for some projects.

Anybody may ask, so what waits is bounded, and nothing here signs anything: the root key does, on the operator's own
machine. Whether a request was granted is what root.json says in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from dsage.errors import Busy, Conflict, NotFound, UsageError
from dsage.home import is_plain
from dsage.trust.keys import fingerprint, public_text
from dsage_server.store import deeds
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import request

WAITING, APPROVED, REFUSED = "waiting", "approved", "refused"
MOST_WAITING: Final = 100
MOST_PROJECTS: Final = 5
MOST_WORDS: Final = 1000
MOST_LISTED: Final = 300
KEPT_S: Final = 30 * 86400.0
"""A request that nobody decides is forgotten after so long, and one that was decided too."""
FULL_RETRY_S: Final = 3600.0
KEY_BYTES: Final = 32


class Request(msgspec.Struct, kw_only=True):
    """One request: `public` is the key as `dsage keys certify` takes it; `words` say what it is for."""

    id: int
    name: str
    projects: list[str]
    words: str
    fingerprint: str
    public: str
    made: float
    state: str
    decided: float | None
    answer: str


def ask(connection: Connection, key: bytes, name: str, projects: Sequence[str], words: str, now: float) -> int:
    """Ask for a certificate; who asks again for the same key replaces the request. Return its number.

    Raises UsageError, Conflict if the key was refused, Busy while too many wait.
    """
    wanted = list(dict.fromkeys(projects))
    said = words.strip()
    if len(key) != KEY_BYTES or not is_plain(name):
        raise UsageError(
            "a name has letters, digits, . _ and -", hint="`dsage keys new code --name NAME` prints the key."
        )
    if not 0 < len(wanted) <= MOST_PROJECTS or not all(is_plain(project) for project in wanted):
        raise UsageError(f"name 1 to {MOST_PROJECTS} projects, with letters, digits, . _ and -")
    if not 0 < len(said) <= MOST_WORDS:
        raise UsageError(f"say in 1 to {MOST_WORDS} characters what you want to compute")
    connection.execute(delete(request).where(func.coalesce(request.c.decided, request.c.made) < now - KEPT_S))
    before = connection.execute(select(request.c.state).where(request.c.key == key)).scalar()
    if before == REFUSED:
        raise Conflict("the operator has refused this key", hint="Ask the operator why.")
    if before is None and waiting(connection) >= MOST_WAITING:
        raise Busy("too many requests wait for the operator already", retry_s=FULL_RETRY_S)
    row = {
        "name": name, "projects": msgspec.json.encode(wanted).decode(), "words": said, "made": now, "state": WAITING,
        "decided": None,
    }  # fmt: skip
    entry = upsert(connection, request).values(key=key, **row)
    entry = entry.on_conflict_do_update(index_elements=["key"], set_=row)
    return int(connection.execute(entry.returning(request.c.id)).scalar_one())


def waiting(connection: Connection) -> int:
    """Return how many requests wait."""
    query = select(func.count()).select_from(request).where(request.c.state == WAITING)
    return int(connection.execute(query).scalar_one())


def listed(connection: Connection) -> list[Request]:
    """Return all requests: those that wait first, by age, then those that were decided last."""
    rows = connection.execute(select(request).order_by(request.c.id.desc()).limit(MOST_LISTED))
    found = [_request(row) for row in rows]
    found.sort(key=lambda each: (each.state != WAITING, each.made if each.state == WAITING else -(each.decided or 0)))
    return found


def one(connection: Connection, number: int) -> tuple[Request, bytes]:
    """Return a request and its key. Raises NotFound."""
    row = connection.execute(select(request).where(request.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no request {number}", hint="`dsage admin requests` lists them.")
    return _request(row), row.key


def decide(connection: Connection, number: int, state: str, answer: str, now: float) -> None:
    """Note what the operator decided, for the public audit log too. Raises NotFound, Conflict if it was decided."""
    found, _ = one(connection, number)
    if found.state != WAITING:
        raise Conflict(f"request {number} was {found.state} already", hint="`dsage admin requests` lists them.")
    connection.execute(update(request).where(request.c.id == number).values(state=state, decided=now, answer=answer))
    what = f"the key {found.fingerprint} for {', '.join(found.projects)}"
    deeds.record(connection, now, "operator", state, what, answer)


def _request(row: Row[Any]) -> Request:
    return Request(
        id=row.id, name=row.name, projects=msgspec.json.decode(row.projects, type=list[str]), words=row.words,
        fingerprint=fingerprint(row.key), public=public_text(row.key), made=row.made, state=row.state,
        decided=row.decided, answer=row.answer,
    )  # fmt: skip
