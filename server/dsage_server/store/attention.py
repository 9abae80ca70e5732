"""What of a server needs its operator's attention, and how much there is of each."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection, func, literal_column, select

from dsage_server.store import announcements, requests, tallies, units, vitals
from dsage_server.store.schema import NEWS, among, credit_entry, credit_unfolded, event, outlying, standing

DAY_S: Final = 86400.0
LATELY_S: Final = DAY_S
MOST: Final = 1000
"""Beyond this things are not counted."""


class Glance(msgspec.Struct, kw_only=True):
    """Counts of what goes through the server, and of what is odd about it.

    `alive_s` is how long ago the server last said that it lives (None: never), `unfolded_s` the age of the oldest
    credit that is in no sum; `failed_runs` and `taken_back` (rows of the ledger) are of the last 24 hours.
    """

    hosts_hour: int
    people_hour: int
    open_units: int
    copies_out: int
    unjudged: int
    alive_s: float | None
    unfolded: int
    unfolded_s: float
    requests: int
    outlying_hosts: int
    lying_hosts: int
    odd_apps: int
    failed_runs: int
    taken_back: int
    maintenance: announcements.Notice | None


class Matter(msgspec.Struct, kw_only=True, frozen=True):
    """Something to look at: `what` is a word, `n` how much of it, `page` where; it is `urgent` or can wait."""

    what: str
    n: int
    page: str
    urgent: bool = False


def glance(connection: Connection, now: float) -> Glance:
    """Return how things stand."""
    found = vitals.vitals(connection, now)
    hour = vitals.windows(connection, now)[0]
    sums = tallies.of(connection)
    news = select(event.c.kind, event.c.at).where(among(event.c.kind, NEWS))
    ends = news.order_by(event.c.id.desc()).limit(MOST)
    failed = [row for row in connection.execute(ends) if row.kind == "failed" and row.at > now - LATELY_S]
    corrected = (
        select(credit_entry.c.kind, credit_entry.c.granted)
        .where(credit_entry.c.kind != literal_column("'grant'"))
        .order_by(credit_entry.c.id.desc())
        .limit(MOST)
    )
    taken = [row for row in connection.execute(corrected) if row.kind == "reversal" and row.granted > now - LATELY_S]
    odd = select(
        func.count(outlying.c.host_id.distinct()).filter(outlying.c.host_id > 0),
        func.count(outlying.c.app.distinct()).filter(outlying.c.host_id == 0),
    ).where(outlying.c.ended.is_(None))
    odd_hosts, odd_apps = connection.execute(odd).one()
    lying = select(func.count(standing.c.host_id.distinct())).where(standing.c.lies > 0)
    return Glance(
        hosts_hour=hour.hosts, people_hour=hour.people,
        open_units=sum(sums.get(f"unit.{state}", 0) for state in ("ready", "active", "comparing")),
        copies_out=sums.get("replica.leased", 0), unjudged=len(units.unjudged(connection)),
        alive_s=max(now - found.alive, 0.0) if found.alive else None,
        unfolded=int(connection.execute(select(func.count()).select_from(credit_unfolded)).scalar_one()),
        unfolded_s=found.unfolded_s, requests=requests.waiting(connection), outlying_hosts=odd_hosts,
        lying_hosts=int(connection.execute(lying).scalar_one()), odd_apps=odd_apps,
        failed_runs=len(failed), taken_back=len(taken),
        maintenance=announcements.maintenance(connection, now),
    )  # fmt: skip


def matters(found: Glance) -> list[Matter]:
    """Return what there is to look at, the urgent first."""
    silent = found.alive_s is None or found.alive_s > vitals.SILENT_S
    told = [
        Matter(what="silent", n=int(silent), page="/admin/health", urgent=True),
        Matter(what="late", n=int(found.unfolded_s > vitals.LATE_S), page="/admin/health", urgent=True),
        Matter(what="maintenance", n=int(found.maintenance is not None), page="/admin/announcements", urgent=True),
        Matter(what="requests", n=found.requests, page="/admin/requests"),
        Matter(what="odd apps", n=found.odd_apps, page="/admin/apps"),
        Matter(what="outlying hosts", n=found.outlying_hosts, page="/admin/hosts"),
        Matter(what="lying hosts", n=found.lying_hosts, page="/admin/hosts"),
        Matter(what="failed runs", n=found.failed_runs, page="/status"),
        Matter(what="taken back", n=found.taken_back, page="/admin/checks"),
    ]
    return [matter for matter in told if matter.n]
