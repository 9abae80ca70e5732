"""What is odd about hosts and app versions, in the tables: what it is measured by, and what was found.

Only the latest copies of hosts that were there of late are looked at, by the indexes on hosts: it costs the same
however many copies there ever were.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, literal_column, select, update

from dsage_server.scheduling.faults import Row, memory
from dsage_server.scheduling.terms import REFERENCE_S_PER_MILLI
from dsage_server.sentences import news
from dsage_server.store import events
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import among, host, outlying, replica, run, standing, unit
from dsage_validator.outliers import AUDIT, CHECKED, Answer, Kind, Profile, Sign

EACH: Final = 64
"""Answers, and failures, of a host that are looked at: the latest."""
KEEP_S: Final = 86_400.0
"""A host stands out until it was not seen to for so long."""
REST_S: Final = 86_400.0
"""A host whose memory may be faulty gets nothing for so long."""
EXCUSED_S: Final = 90 * 86_400.0
"""Once in so long a host is not held a liar because its memory may be faulty."""
RUNS: Final = 200
"""Running runs whose units that were given up are looked at, and as many of each."""
CRASHES: Final = frozenset({"crash", "codec", "exception"})
"""Reasons of a failure that bad memory may have."""
RESTS: Final = "your computer's memory may be faulty: it gets no work for a day; test it, with memtest86+ for example"
_APART = re.compile(r"answers in (\d+) camps")


HELD: Final = select(outlying.c.app).where(
    outlying.c.host_id == 0, outlying.c.ended.is_(None), among(outlying.c.kind, [Kind.DIFFER.value])
)


@dataclass(slots=True)
class History:
    """What hosts did of late, as it is measured."""

    profiles: list[Profile] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def active(connection: Connection, since: float, most: int, turn: int) -> list[int]:
    """Return up to `most` hosts that called since then; if there are more, others each turn, spread over all."""
    n = connection.execute(select(func.count()).where(host.c.last_seen >= since)).scalar_one()
    strides = max(1, -(-n // most))
    query = select(host.c.id).where(host.c.last_seen >= since, host.c.id % strides == turn % strides)
    return sorted(connection.execute(query.order_by(host.c.last_seen.desc()).limit(most)).scalars())


def history(connection: Connection, hosts: Collection[int]) -> History:
    """Return what some hosts did of late."""
    found = History()
    volunteers = dict(connection.execute(_VOLUNTEERS, {"ids": numbers(connection, hosts)}).all()) if hosts else {}
    right = {h: connection.execute(_RIGHT, {"host": h, "most": EACH}).all() for h in volunteers}
    failed = {h: connection.execute(_FAILED, {"host": h, "most": EACH}).all() for h in volunteers}
    asked = {row.unit_id for rows in (*right.values(), *failed.values()) for row in rows}
    others: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(_OTHERS, {"ids": numbers(connection, asked)}) if asked else ():
        others[row.unit_id].append(row)
    for number, volunteer in sorted(volunteers.items()):
        oldest = right[number][-1].id if len(right[number]) == EACH else 0
        bad = [row for row in failed[number] if row.id > max(oldest, row.since_id)]
        for app in sorted({row.app for row in (*right[number], *bad)}):
            good = [row for row in reversed(right[number]) if row.app == app]
            answers = tuple([_answer(row, others[row.unit_id]) for row in good])
            found.profiles.append(Profile(host=number, volunteer=volunteer, app=app, answers=answers))
            counts = Counter(what for row in bad if row.app == app for what in _said(row, others[row.unit_id]))
            confirmed = sum(bool(answer.partners) for answer in answers)
            found.rows.append(
                Row(host=number, volunteer=volunteer, app=app, right=len(good), confirmed=confirmed, **counts)
            )
    return found


def apart(connection: Connection) -> dict[str, int]:
    """Return of how many units of app versions that run no two answers were the same, until they were given up."""
    found: Counter[str] = Counter()
    for number, app in connection.execute(_RUNNING).all():
        for (reason,) in connection.execute(_GIVEN_UP, {"run": number}):
            camps = _APART.search(reason)
            found[app] += camps is not None and int(camps[1]) > 2
    return {app: n for app, n in found.items() if n}


def note(
    connection: Connection, hosts: Collection[int], apps: Collection[str], signs: Iterable[Sign], now: float
) -> list[Sign]:
    """Write down what was found of some hosts and app versions that were looked at; returns what is new."""
    rows = connection.execute(_OPEN, {"ids": numbers(connection, [*hosts, 0])}).all()
    known = {(row.host_id, row.app, row.kind): row for row in rows if row.host_id or row.app in apps}
    fresh = []
    for sign in signs:
        row = known.pop((sign.host, sign.app, sign.kind.value), None)
        if row is None:
            _begin(connection, sign, now)
            fresh.append(sign)
        else:
            connection.execute(
                _SEEN, {"b_id": row.id, "b_now": now, "b_sentence": sign.sentence, "b_figures": _text(sign)}
            )
    over = [row.id for row in known.values() if row.seen <= now - KEEP_S]
    if over:
        connection.execute(_END, {"ids": numbers(connection, over), "b_now": now})
    _audit(connection, {row.host_id for row in rows} | {sign.host for sign in fresh})
    for sign in fresh:
        if sign.kind is Kind.DIFFER:
            connection.execute(_CLEAR, {"b_app": sign.app})
        if not sign.host:
            _tell(connection, sign, now)
    return fresh


def held(connection: Connection) -> set[str]:
    """Return the app versions whose answers differ among honest computers: nobody is convicted by them, and nobody's
    word is taken alone."""
    return set(connection.execute(HELD).scalars())


def resting(connection: Connection, hosts: Iterable[int], now: float) -> set[int]:
    """Return those of some hosts that get nothing for now, because their memory may be faulty."""
    return set(connection.execute(_RESTING, {"ids": numbers(connection, hosts), "since": now - REST_S}).scalars())


def suspect(connection: Connection, number: int, now: float) -> None:
    """Before anything of a host that was found lying falls: note if it looks like faulty memory, for `excuse`."""
    query = select(outlying.c.id).where(_EXCUSES, outlying.c.began > now - EXCUSED_S).limit(1)
    if connection.execute(query, {"host": number}).first() is None:
        sign = memory(history(connection, [number]).rows)
        app = connection.execute(_DUE, {"host": number}).scalars().first()
        if sign is not None and app is not None:
            _begin(connection, msgspec.structs.replace(sign, app=app), now)


def excuse(connection: Connection, number: int) -> bool:
    """Take back a host's last lie if it looks like faulty memory: it begins anew, after a rest. Returns whether so."""
    due = select(func.min(standing.c.due)).where(standing.c.host_id == bindparam("host")).scalar_subquery()
    query = select(outlying.c.id).where(_EXCUSES, outlying.c.began >= due).limit(1)
    if connection.execute(query, {"host": number}).first() is None:
        return False
    connection.execute(_FORGIVE, {"b_host": number})
    return True


def _answer(row: Any, others: Iterable[Any]) -> Answer:
    partners = [r.volunteer_id for r in others if r.camp == row.camp and r.state == "valid" and r.id != row.id]
    away_s = max(0.0, (row.reported or row.leased) - row.leased)
    return Answer(
        reference_s=row.credit_milli * REFERENCE_S_PER_MILLI, took_s=min(row.cpu_s, away_s),
        value=row.value_hash or "", call=row.leased, partners=tuple(sorted(set(partners))),
    )  # fmt: skip


def _said(row: Any, others: Sequence[Any]) -> list[str]:
    """Return what one failure says of its host, in the words of Row."""
    if row.state == "expired" or row.partial:
        return []
    if row.state == "error":
        elsewhere = row.unit_state == "valid"
        crash = elsewhere and row.reason.partition(":")[0] in CRASHES
        return ["errors", *["elsewhere"] * elsewhere, *["crashes"] * crash]
    if row.proven is False:
        return ["refuted"]
    alone = not any(r.camp == row.camp and r.id != row.id for r in others)
    return ["wrong", *["alone"] * alone]


def _begin(connection: Connection, sign: Sign, now: float) -> None:
    row = {"host_id": sign.host, "app": sign.app, "kind": sign.kind.value, "began": now, "seen": now}
    statement = upsert(connection, outlying).values(**row, sentence=sign.sentence, figures=_text(sign))
    connection.execute(statement.on_conflict_do_nothing())


def _audit(connection: Connection, hosts: Iterable[int]) -> None:
    """Let the share that is checked be what the open signs of some hosts ask for."""
    ids = {"ids": numbers(connection, [number for number in hosts if number])}
    wanted = {(row.host_id, row.app) for row in connection.execute(_CHECKED, ids)}
    raised = {(row.host_id, row.app) for row in connection.execute(_RAISED, ids)}
    for number, app in sorted(raised - wanted):
        connection.execute(_LOWER, {"b_host": number, "b_app": app})
    for number, app in sorted(wanted - raised):
        row = {"host_id": number, "app": app, "passed": 0.0, "lies": 0, "at": 0.0, "audit": AUDIT}
        statement = upsert(connection, standing).values(**row)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["host_id", "app"], set_={"audit": statement.excluded.audit})
        )


def _tell(connection: Connection, sign: Sign, now: float) -> None:
    """Tell the researchers whose runs compute an app version."""
    query = select(run.c.id).where(run.c.app == sign.app, run.c.state == "running").order_by(run.c.id).limit(RUNS)
    for number in connection.execute(query).scalars().all():
        events.note(connection, now, f"app-{sign.kind}", news.ODD(run=number, why=sign.sentence), run=number)


def _text(sign: Sign) -> str:
    return msgspec.json.encode(sign.figures).decode()


_VOLUNTEERS = select(host.c.id, host.c.volunteer_id).where(among_ids(host.c.id))
_WORK = replica.join(unit, unit.c.id == replica.c.unit_id).join(run, run.c.id == unit.c.run_id)
_RIGHT = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.cpu_s, replica.c.leased, replica.c.reported, replica.c.value_hash,
        replica.c.camp, unit.c.credit_milli, run.c.app,
    )
    .select_from(_WORK)
    .where(replica.c.host_id == bindparam("host"), replica.c.state == literal_column("'valid'"))
    .order_by(replica.c.id.desc())
    .limit(bindparam("most"))
)  # fmt: skip
_FAILED = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.state, replica.c.reason, replica.c.camp, replica.c.partial,
        replica.c.proven, unit.c.state.label("unit_state"), unit.c.since_id, run.c.app,
    )
    .select_from(_WORK)
    .where(replica.c.host_id == bindparam("host"), among(replica.c.state, ["error", "expired", "invalid"]))
    .order_by(replica.c.id.desc())
    .limit(bindparam("most"))
)  # fmt: skip
_OTHERS = select(
    replica.c.id, replica.c.unit_id, replica.c.volunteer_id, replica.c.state, replica.c.camp
).where(among_ids(replica.c.unit_id), among(replica.c.state, ["reported", "valid", "invalid"]))  # fmt: skip
_RUNNING = select(run.c.id, run.c.app).where(run.c.state == "running").order_by(run.c.id.desc()).limit(RUNS)
_GIVEN_UP = (
    select(unit.c.reason)
    .where(unit.c.run_id == bindparam("run"), among(unit.c.state, ["failed"]))
    .order_by(unit.c.id.desc())
    .limit(RUNS)
)
_OPEN = select(outlying).where(among_ids(outlying.c.host_id), outlying.c.ended.is_(None))
_SEEN = (
    update(outlying)
    .where(outlying.c.id == bindparam("b_id"))
    .values(seen=bindparam("b_now"), sentence=bindparam("b_sentence"), figures=bindparam("b_figures"))
)
_END = update(outlying).where(among_ids(outlying.c.id)).values(ended=bindparam("b_now"))
_CHECKED = select(outlying.c.host_id, outlying.c.app).where(
    among_ids(outlying.c.host_id), outlying.c.ended.is_(None), among(outlying.c.kind, CHECKED)
)
_RAISED = select(standing.c.host_id, standing.c.app).where(among_ids(standing.c.host_id), standing.c.audit > 0)
_LOWER = (
    update(standing)
    .where(standing.c.host_id == bindparam("b_host"), standing.c.app == bindparam("b_app"))
    .values(audit=0.0)
)
_CLEAR = (
    update(standing)
    .where(standing.c.app == bindparam("b_app"), standing.c.lies > 0)
    .values(lies=0, passed=0.0, due=None)
)
_RESTING = select(outlying.c.host_id).where(
    among_ids(outlying.c.host_id), outlying.c.kind == Kind.MEMORY.value, outlying.c.began > bindparam("since")
)
_EXCUSES = and_(outlying.c.host_id == bindparam("host"), outlying.c.kind == Kind.MEMORY.value, outlying.c.app != "")
_DUE = select(standing.c.app).where(standing.c.host_id == bindparam("host"), standing.c.due.is_not(None))
_FORGIVE = (
    update(standing)
    .where(standing.c.host_id == bindparam("b_host"), standing.c.due.is_not(None), standing.c.lies > 0)
    .values(lies=standing.c.lies - 1, passed=0.0)
)
