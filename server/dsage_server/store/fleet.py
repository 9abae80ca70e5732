"""What an operator asks of the hosts: who they are, how their copies end, how far they are trusted, who stands out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, func, literal_column, select

from dsage.errors import NotFound
from dsage_server.store import standings
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import among, credit_host, host, outlying, replica, run, standing, unit, volunteer
from dsage_validator.reputation import RULES, Standing

MOST: Final = 1000
"""Hosts that are listed: those that stand out, then those that called last."""
COPIES: Final = 5000
"""Of one host: the latest that were right, and the latest that failed."""
ENDS: Final = {"valid": "right", "invalid": "wrong", "error": "errors", "expired": "lost"}
"""How copies end, and what that is called here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Something odd about a host or an app version, from when to when; None: it still is."""

    kind: str
    app: str
    began: float
    ended: float | None
    sentence: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a host did with one app version. `checks` it passed, as they count now; `audit` is the share of its units
    that others compute as well."""

    app: str
    title: str
    right: int
    wrong: int
    errors: int
    lost: int
    checks: float
    lies: int
    audit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One host: how its copies ended, what its answers proved, what is odd."""

    host: int
    volunteer: str
    platform: str
    client: str
    last_seen: float | None
    right: int
    wrong: int
    errors: int
    lost: int
    checks: float
    lies: int
    audit: float
    odd: list[Oddity]
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How copies of an app version ended on computers of one kind: `away` are out, waiting or were not needed."""

    app: str
    title: str
    platform: str
    right: int
    wrong: int
    errors: int
    lost: int
    away: int
    mostly: str
    """The most frequent reason of its errors, a word."""


def lines(connection: Connection, now: float, *, flagged: bool = False) -> list[Line]:
    """Return the hosts: those that stand out or were found lying first; only those if they are to be `flagged`."""
    odd = _odd(connection)
    liars = set(connection.execute(_LIARS).scalars())
    marked = odd.keys() | liars
    chosen = sorted(marked, reverse=True)[:MOST]
    if not flagged:
        rest = connection.execute(_LATEST, {"most": MOST}).scalars()
        chosen += [number for number in rest if number not in marked][: MOST - len(chosen)]
    ids = {"ids": numbers(connection, chosen)}
    known = {row.id: row for row in connection.execute(_HOSTS, ids)}
    right = _right(connection, ids)
    bad: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for number, state, n in connection.execute(_BAD, ids):
        bad[number][ENDS[state]] = n
    trusted = standings.of(connection, chosen)
    return [
        _line(known[number], right.get(number, 0), bad[number], trusted.get(number, {}), odd.get(number, []), now)
        for number in chosen
        if number in known
    ]


def one(connection: Connection, number: int, now: float) -> Line:
    """Return one host with its app versions and all that was ever odd about it. Raises NotFound."""
    ids = {"ids": numbers(connection, [number])}
    row = connection.execute(_HOSTS, ids).first()
    if row is None:
        raise NotFound(f"there is no host {number}", hint="`dsage admin hosts` lists them.")
    ends: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for query in (_ENDED_RIGHT, _ENDED_BAD):
        for app, state in connection.execute(query, {"host": number, "most": COPIES}):
            ends[app][ENDS[state]] += 1
    trusted = standings.of(connection, [number]).get(number, {})
    apps = sorted(ends.keys() | trusted.keys())
    titles = _titles(connection, apps)
    parts = []
    for app in apps:
        how, stands = ends[app], trusted.get(app, Standing())
        parts.append(
            Part(
                app=app, title=titles.get(app, ""), right=how["right"], wrong=how["wrong"], errors=how["errors"],
                lost=how["lost"], checks=stands.checks(now), lies=stands.lies, audit=_audit(stands, now),
            )
        )  # fmt: skip
    odd = [_oddity(each) for each in connection.execute(_HISTORY, {"host": number, "most": MOST})]
    right = _right(connection, ids).get(number, 0)
    bad = Counter({ENDS[state]: n for _, state, n in connection.execute(_BAD, ids)})
    return _line(row, right, bad, trusted, odd, now, parts)


def cells(connection: Connection, copies: int) -> list[Cell]:
    """Return how the latest copies of all ended, by app version and kind of computer."""
    ends: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for app, platform, state, reason, n in connection.execute(_LAST, {"most": copies}):
        ends[app, platform][ENDS.get(state, "away")] += n
        if state == "error":
            reasons[app, platform][reason.partition(":")[0]] += n
    titles = _titles(connection, {app for app, _ in ends})
    found = []
    for app, platform in sorted(ends, key=lambda key: (titles.get(key[0], ""), key)):
        how = ends[app, platform]
        mostly = reasons[app, platform].most_common(1)
        found.append(
            Cell(
                app=app, title=titles.get(app, ""), platform=platform, right=how["right"], wrong=how["wrong"],
                errors=how["errors"], lost=how["lost"], away=how["away"], mostly=mostly[0][0] if mostly else "",
            )
        )  # fmt: skip
    return found


def apps_odd(connection: Connection) -> dict[str, list[Oddity]]:
    """Return what is odd about app versions now."""
    found: defaultdict[str, list[Oddity]] = defaultdict(list)
    for row in connection.execute(select(outlying).where(outlying.c.host_id == 0, outlying.c.ended.is_(None))):
        found[row.app].append(_oddity(row))
    return dict(found)


def _line(
    row: object, right: int, bad: Counter[str], trusted: Mapping[str, Standing], odd: list[Oddity], now: float,
    parts: Iterable[Part] = (),
) -> Line:  # fmt: skip
    known = msgspec.convert(row._mapping, _Known)  # type: ignore[attr-defined]
    shares = [_audit(each, now) for each in trusted.values()]
    return Line(
        host=known.id, volunteer=known.pseudonym, platform=known.platform, client=known.client,
        last_seen=known.last_seen, right=right, wrong=bad["wrong"], errors=bad["errors"], lost=bad["lost"],
        checks=sum(each.checks(now) for each in trusted.values()), lies=sum(each.lies for each in trusted.values()),
        audit=max(shares, default=1.0), odd=odd, parts=list(parts),
    )  # fmt: skip


class _Known(msgspec.Struct):
    id: int
    pseudonym: str
    platform: str
    client: str
    last_seen: float | None


def _right(connection: Connection, ids: dict[str, object]) -> dict[int, int]:
    """Return how many answers of hosts were right: those of archived runs are in the credit only, and those that earned
    house credit in the copies only."""
    found = dict(connection.execute(_PAID, ids).all())
    for number, n in connection.execute(_RIGHT, ids):
        found[number] = max(n, found.get(number, 0))
    return found


def _audit(known: Standing, now: float) -> float:
    return max(RULES.audit, known.audit) if known.established(now) else 1.0


def _odd(connection: Connection) -> dict[int, list[Oddity]]:
    """Return what is odd about hosts now."""
    found: defaultdict[int, list[Oddity]] = defaultdict(list)
    for row in connection.execute(_OPEN, {"most": MOST}):
        found[row.host_id].append(_oddity(row))
    return dict(found)


def _oddity(row: object) -> Oddity:
    mapping = dict(row._mapping)  # type: ignore[attr-defined]
    figures = msgspec.json.decode(mapping.pop("figures"), type=dict[str, float])
    return Oddity(figures=figures, **{name: mapping[name] for name in ("kind", "app", "began", "ended", "sentence")})


def _titles(connection: Connection, apps: Collection[str]) -> dict[str, str]:
    newest = select(func.max(run.c.id)).where(run.c.app.in_(bindparam("apps", expanding=True))).group_by(run.c.app)
    query = select(run.c.app, run.c.title).where(run.c.id.in_(newest))
    return dict(connection.execute(query, {"apps": list(apps)}).all())


_LIARS = select(standing.c.host_id).where(standing.c.lies > 0).limit(MOST)
_LATEST = select(host.c.id).where(host.c.last_seen.is_not(None)).order_by(host.c.last_seen.desc()).limit(
    bindparam("most")
)  # fmt: skip
_HOSTS = (
    select(host.c.id, volunteer.c.pseudonym, host.c.platform, host.c.client, host.c.last_seen)
    .join(volunteer, volunteer.c.id == host.c.volunteer_id)
    .where(among_ids(host.c.id))
)
_PAID = select(credit_host.c.host_id, credit_host.c.valid).where(among_ids(credit_host.c.host_id))
_VALID = replica.c.state == literal_column("'valid'")
_RIGHT = select(replica.c.host_id, func.count()).where(among_ids(replica.c.host_id), _VALID).group_by(replica.c.host_id)
_FAILED = among(replica.c.state, ["error", "expired", "invalid"])
_BAD = (
    select(replica.c.host_id, replica.c.state, func.count())
    .where(among_ids(replica.c.host_id), _FAILED)
    .group_by(replica.c.host_id, replica.c.state)
)
_ENDED = (
    select(run.c.app, replica.c.state)
    .select_from(replica.join(unit, unit.c.id == replica.c.unit_id).join(run, run.c.id == unit.c.run_id))
    .where(replica.c.host_id == bindparam("host"))
    .order_by(replica.c.id.desc())
    .limit(bindparam("most"))
)
_ENDED_RIGHT = _ENDED.where(_VALID)
_ENDED_BAD = _ENDED.where(_FAILED)
_last = (
    select(replica.c.unit_id, replica.c.host_id, replica.c.state, func.substr(replica.c.reason, 1, 40).label("reason"))
    .order_by(replica.c.id.desc())
    .limit(bindparam("most"))
    .subquery()
)
_LAST = (
    select(run.c.app, host.c.platform, _last.c.state, _last.c.reason, func.count())
    .select_from(
        _last.join(unit, unit.c.id == _last.c.unit_id)
        .join(run, run.c.id == unit.c.run_id)
        .join(host, host.c.id == _last.c.host_id)
    )
    .group_by(run.c.app, host.c.platform, _last.c.state, _last.c.reason)
)
_OPEN = (
    select(outlying)
    .where(outlying.c.host_id > 0, outlying.c.ended.is_(None))
    .order_by(outlying.c.id.desc())
    .limit(bindparam("most"))
)
_HISTORY = (
    select(outlying)
    .where(outlying.c.host_id == bindparam("host"))
    .order_by(outlying.c.id.desc())
    .limit(bindparam("most"))
)
