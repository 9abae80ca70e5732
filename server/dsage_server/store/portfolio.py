"""What became of projects: their runs, units, copies and credit, added up, and the app versions that they ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, distinct, func, literal_column, select

from dsage import wire
from dsage.states import OPEN_RUNS
from dsage.trust.documents import Manifest
from dsage.trust.envelope import Envelope
from dsage_server.store import public, views
from dsage_server.store.schema import credit_app, credit_entry, discovery, document, meta, run, tally

DESCRIBED: Final = "project:"
"""Begins the names under which it is remembered what projects are for."""
MOST: Final = 500
"""Projects, and app versions of one, that are shown."""
MOST_COUNTED: Final = 100_000
"""Rows of the ledger that take credit back; more are not counted."""


class Sums(NamedTuple):
    """What a project came to; `units` and `copies` by state as anybody may read them, without those put aside."""

    runs: int
    running: int
    units: dict[str, int]
    copies: dict[str, int]
    amount_milli: int


class App(NamedTuple):
    """An app version: what was signed, its runs, since when (Unix seconds), and what it was worth."""

    hash: str
    manifest: Manifest
    runs: int
    first: float
    amount_milli: int
    valid: int
    taken_back: int


def described(connection: Connection) -> dict[str, wire.ProjectView]:
    """Return what is said of projects, by name."""
    said = connection.execute(
        select(meta.c.value).where(meta.c.name.startswith(DESCRIBED, autoescape=True)).limit(MOST)
    )
    views = (msgspec.json.decode(text, type=wire.ProjectView) for text in said.scalars())
    return {view.name: view for view in views}


def sums(connection: Connection, project: str = "") -> dict[str, Sums]:
    """Return what projects that have runs came to: all, or one."""
    mine = [run.c.project == project] if project else []
    counted: dict[str, Counter[str]] = {}
    rows = connection.execute(
        select(run.c.project, run.c.state, func.count()).where(*mine).group_by(run.c.project, run.c.state)
    )
    for name, state, n in rows:
        counted.setdefault(name, Counter()).update({"runs": n, "running": n if state in OPEN_RUNS else 0})
    rows = connection.execute(
        select(run.c.project, tally.c.what, func.sum(tally.c.n))
        .join(run, run.c.id == tally.c.run_id)
        .where(*mine)
        .group_by(run.c.project, tally.c.what)
    )
    for name, what, n in rows:
        counted[name][what] += int(n)
    goes_on: defaultdict[str, list[public.Going]] = defaultdict(list)
    for each in public.going(connection):
        goes_on[each.project].append(each)
    return {name: _sums(found, goes_on[name]) for name, found in counted.items()}


def runs_of(connection: Connection, project: str, most: int) -> Sequence[int]:
    """Return the newest runs of a project."""
    query = select(run.c.id).where(run.c.project == project).order_by(run.c.id.desc()).limit(most)
    return connection.execute(query).scalars().all()


def finds_of(connection: Connection, project: str, most: int) -> Sequence[int]:
    """Return the newest published discoveries of a project."""
    query = (
        select(discovery.c.id)
        .join(run, run.c.id == discovery.c.run_id)
        .where(run.c.project == project, discovery.c.published.is_not(None))
        .order_by(discovery.c.published.desc())
        .limit(most)
    )
    return connection.execute(query).scalars().all()


def researchers_of(connection: Connection, project: str) -> int:
    """Return how many researchers have submitted runs of a project."""
    query = select(func.count(distinct(run.c.researcher))).where(run.c.project == project)
    return connection.execute(query).scalar_one()


def apps(connection: Connection, project: str) -> list[App]:
    """Return the app versions that a project ran, the newest first."""
    used = (
        select(run.c.app, func.count().label("runs"), func.min(run.c.created).label("first"))
        .where(run.c.project == project)
        .group_by(run.c.app)
        .order_by(func.max(run.c.id).desc())
        .limit(MOST)
        .subquery()
    )
    rows = connection.execute(
        select(used, document.c.envelope, credit_app.c.amount_milli, credit_app.c.valid)
        .join(document, document.c.hash == used.c.app)
        .outerjoin(credit_app, credit_app.c.app == used.c.app)
        .order_by(used.c.first.desc())
    ).all()
    taken = _taken_back(connection)
    return [
        App(
            row.app, _manifest(row.envelope), row.runs, row.first, row.amount_milli or 0, row.valid or 0,
            taken.get(row.app, 0),
        )
        for row in rows
    ]  # fmt: skip


def signed_app(connection: Connection, name: str) -> Envelope | None:
    """Return an app version as its researcher signed it, by its hash."""
    query = select(document.c.envelope).where(document.c.hash == name, document.c.kind == "manifest")
    found = connection.execute(query).scalar()
    return None if found is None else msgspec.msgpack.decode(found, type=Envelope)


def _taken_back(connection: Connection) -> dict[str, int]:
    some = select(credit_entry.c.app, credit_entry.c.kind).where(literal_column("kind <> 'grant'")).limit(MOST_COUNTED)
    found = some.subquery()
    query = select(found.c.app, func.count()).where(found.c.kind == "reversal").group_by(found.c.app)
    return {app: int(n) for app, n in connection.execute(query)}


def _manifest(envelope: bytes) -> Manifest:
    return msgspec.json.decode(msgspec.msgpack.decode(envelope, type=Envelope).payload, type=Manifest)


def _sums(found: Counter[str], goes_on: list[public.Going]) -> Sums:
    units, copies = public.told(views.by_state(found, "unit"), views.by_state(found, "replica"), goes_on)
    return Sums(found["runs"], found["running"], units, copies, found["credit"])
