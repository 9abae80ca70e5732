"""What volunteers earned for good, read from the daily sums of credit; and who was steady, as it was last counted."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Connection, cast, func, select

from dsage import wire
from dsage.trust.documents import Manifest
from dsage.trust.envelope import Envelope
from dsage_server import badges
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import credit_app, credit_daily, credit_sum, document, volunteer

DAY_S: Final = 86400
APP: Final = "app"
EVENT: Final = "event"
STEADY: Final = "steady"
"""Where it is remembered who was steady."""
MOST_STEADY: Final = 1000
"""Volunteers on that board."""
OTHER: Final = ("", "", "")
"""For versions of apps whose manifest is not here any more."""


def badges_of(connection: Connection, number: int, now: float) -> wire.BadgesView:
    """Return the badges of a volunteer, apps first, and for how many weeks they gave without a break."""
    query = (
        select(credit_daily.c.day, credit_daily.c.amount_milli, credit_daily.c.valid, credit_app.c.app)
        .join(credit_app, credit_app.c.id == credit_daily.c.app_id)
        .where(credit_daily.c.volunteer_id == number)
        .order_by(credit_daily.c.day)
    )
    rows = connection.execute(query).all()
    names = app_names(connection, {row.app for row in rows if row.app})
    by_app: defaultdict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        by_app[names.get(row.app, OTHER)].append((row.day, row.amount_milli))
    found = [
        wire.BadgeView(
            kind=APP, name=f"{project}/{entry}", title=title,
            criterion=f"{badges.LEVELS[rank]:,} credits of this app", at=float(day * DAY_S), level=rank + 1,
        )
        for (project, entry, title), days in sorted(by_app.items()) if project
        for rank, day in enumerate(badges.levels(days))
    ]  # fmt: skip
    valid: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        valid[row.day] += row.valid
    days_valid = {day for day, count in valid.items() if count > 0}
    for name, day in badges.events(days_valid).items():
        title, criterion = badges.EVENTS[name]
        found.append(wire.BadgeView(kind=EVENT, name=name, title=title, criterion=criterion, at=float(day * DAY_S)))
    this_week = badges.week_of(int(now // DAY_S))
    weeks = {badges.week_of(day) for day in days_valid}
    run = badges.streak(weeks, this_week)
    return wire.BadgesView(
        badges=found, streak=run.now, longest=run.longest, free=run.free, steady=badges.steady(weeks, this_week),
        steady_of=badges.STEADY_WEEKS,
    )  # fmt: skip


def by_app(connection: Connection, number: int) -> dict[tuple[str, str, str], int]:
    """Return thousandths of credit of a volunteer by project, entry and title of the app."""
    query = (
        select(credit_app.c.app, cast(func.sum(credit_daily.c.amount_milli), BigInteger))
        .join(credit_app, credit_app.c.id == credit_daily.c.app_id)
        .where(credit_daily.c.volunteer_id == number)
        .group_by(credit_app.c.app)
    )
    rows: dict[str, int] = dict(connection.execute(query).all())
    names = app_names(connection, {app for app in rows if app})
    found: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for app, amount in rows.items():
        if app in names:
            found[names[app]] += amount
    return dict(found)


def app_names(connection: Connection, hashes: set[str]) -> dict[str, tuple[str, str, str]]:
    """Return project, entry and title of app versions, by hash: an app is what has the same project and entry, and is
    called as its newest version is."""
    query = select(document.c.hash, document.c.envelope).where(document.c.hash.in_(sorted(hashes)))
    keys, titles = {}, {}
    for sha256, packed in connection.execute(query.order_by(document.c.created, document.c.hash)).all():
        manifest = msgspec.json.decode(msgspec.msgpack.decode(packed, type=Envelope).payload, type=Manifest)
        keys[sha256] = (manifest.project, manifest.entry)
        titles[keys[sha256]] = manifest.title or manifest.entry
    return {sha256: (*key, titles[key]) for sha256, key in keys.items()}


def apps_known(connection: Connection) -> dict[tuple[str, str, str], list[int]]:
    """Return the short ids of the versions of each app that has given credit, by its project, entry and title."""
    ids: dict[str, int] = dict(connection.execute(select(credit_app.c.app, credit_app.c.id)).all())
    found: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for sha256, app in app_names(connection, set(ids)).items():
        found[app].append(ids[sha256])
    return dict(found)


def steadiest(connection: Connection, now: float) -> list[tuple[int, int]]:
    """Return the volunteers on the leaderboard who were steadiest, with the number of weeks: from half a year."""
    days = badges.steady_days(int(now // DAY_S))
    week = (credit_daily.c.day + 3) // 7
    weekly = (
        select(credit_daily.c.volunteer_id, week.label("week"))
        .join(credit_sum, credit_sum.c.volunteer_id == credit_daily.c.volunteer_id)
        .where(credit_daily.c.day >= days.start, credit_daily.c.day < days.stop, credit_sum.c.public)
        .group_by(credit_daily.c.volunteer_id, week)
        .having(func.sum(credit_daily.c.valid) > 0)
        .subquery()
    )
    weeks = func.count().label("weeks")
    query = select(weekly.c.volunteer_id, weeks).group_by(weekly.c.volunteer_id)
    rows = connection.execute(query.order_by(weeks.desc(), weekly.c.volunteer_id).limit(MOST_STEADY)).all()
    return [(row.volunteer_id, row.weeks) for row in rows]


def keep_steadiest(connection: Connection, found: list[tuple[int, int]]) -> None:
    """Remember who was steadiest, until it is counted again."""
    remember(connection, STEADY, msgspec.json.encode(found).decode())


def steady_board(connection: Connection, most: int) -> list[tuple[str, int]]:
    """Return the steadiest as last counted: pseudonyms, of those who are on the leaderboard now, and weeks."""
    kept = msgspec.json.decode(recall(connection, STEADY) or "[]", type=list[tuple[int, int]])
    query = (
        select(volunteer.c.id, volunteer.c.pseudonym)
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.id.in_([number for number, _ in kept]), credit_sum.c.public)
    )
    names: dict[int, str] = dict(connection.execute(query).all())
    return [(names[number], weeks) for number, weeks in kept if number in names][:most]
