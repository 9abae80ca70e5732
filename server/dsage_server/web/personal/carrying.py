"""What is kept about a volunteer, to take along: a zip file of JSON, and of CSV for what is a table.

What the server thinks of a computer's word is left out: it would tell a cheat when nobody looks.
"""

from __future__ import annotations

import base64
import csv
import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, func, literal_column, select

from dsage.exports import no_formula
from dsage_server.store.schema import (
    among,
    consent,
    credit_app,
    credit_daily,
    credit_entry,
    credit_sum,
    discovery,
    host,
    invite,
    kin,
    known,
    membership,
    painted_tile,
    passkey,
    recovery,
    replica,
    team,
    volunteer,
    web_session,
)
from dsage_server.web.personal.mine import Mine, is_in

MOST_ROWS: Final = 20_000
"""Of each table, and of each computer's copies: a file of all of a large farm's would take the server's memory."""
UNSAID: Final = frozenset({"record", "actor"})
"""Columns that are left out: what was learnt of a computer's reliability, and who of the operators did something."""
README: Final = """\
What this server keeps about you, as of {at} (UTC).

Each table is here twice: as JSON and as CSV. Times are seconds since 1970 (UTC); credit is in thousandths; credit_days
counts days since 1970.

account       your pseudonym, when you joined, what you let others see, your sums, your team
consents      what you agreed to and took back, with the version of the text
teams         the teams that you are and were in, since when and until when, and whether you founded them
computers     your computers, as they described themselves; those that left too
credit_days   your credit by day and app, complete
credit        what was granted for the copies in `copies`, and every correction
copies        copies of units that your computers have, or answered, or failed; the newest {most:,} of each computer
logins        browsers that are logged in as you
passkeys      your passkeys' names and public keys
recovery      when your recovery code was made; the code itself is known to you alone
network       hashes, under a secret key, of the network and the day that you came from by a public link, if you did
invites       open codes for one more computer of yours; the codes themselves are known to you alone
pictures      your parts of pictures of archived runs, in pixels; `copies` has the rest
discoveries   published discoveries that your computers' answers held

Not in here: what this server thinks of how reliable a computer is. It would tell cheats when nobody looks.
"""


def packed(connection: Connection, mine: Mine) -> bytes:
    """Return the zip file."""
    tables = {name: _rows(connection, query) for name, query in _queries(mine).items()}
    machines = [row["id"] for row in tables["computers"]]
    tables["copies"] = [row for machine in machines for query in _copies(machine) for row in _rows(connection, query)]
    tables["copies"] += _rows(connection, _COPIES.where(replica.c.volunteer_id == mine.number, is_in("reported")))
    tables["credit"] = [row for machine in machines for row in _rows(connection, _GRANTS.where(*_valid(machine)))]
    corrected = _rows(connection, _CORRECTIONS.where(credit_entry.c.volunteer_id == mine.number))
    tables["credit"] += corrected
    tables["discoveries"] = [row for machine in machines for row in _rows(connection, _FOUND.where(*_valid(machine)))]
    return _zipped(tables, mine.now)


def _zipped(tables: dict[str, list[dict[str, Any]]], now: float) -> bytes:
    buffer, at = io.BytesIO(), datetime.fromtimestamp(now, UTC)
    files = {"README.txt": README.format(at=at.strftime("%Y-%m-%d %H:%M"), most=MOST_ROWS)}
    for name, rows in tables.items():
        files[f"{name}.json"] = msgspec.json.format(msgspec.json.encode(rows)).decode()
        files[f"{name}.csv"] = _csv(rows)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(f"dsage-my-data/{name}", at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()


def _queries(mine: Mine) -> dict[str, Select[Any]]:
    number = mine.number
    sums = [credit_sum.c.amount_milli, credit_sum.c.valid, credit_sum.c.score, credit_sum.c.public.label("leaderboard")]
    logins = [web_session.c[name] for name in ("how", "created", "seen", "expires")]
    keys = [passkey.c[name] for name in ("name", "credential", "public_key", "sign_count", "created", "used")]
    me = web_session.c.role == mine.visit.role.value, web_session.c.subject == mine.visit.subject
    return {
        "account": select(volunteer, team.c.name.label("team"), *sums)
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .outerjoin(team, team.c.id == volunteer.c.team_id)
        .where(volunteer.c.id == number),
        "consents": select(consent).where(consent.c.volunteer_id == number).order_by(consent.c.id),
        "teams": select(team.c.name, membership.c.since, membership.c.until, membership.c.founded)
        .join(team, team.c.id == membership.c.team_id)
        .where(membership.c.volunteer_id == number)
        .order_by(membership.c.id),
        "computers": select(host).where(host.c.volunteer_id == number).order_by(host.c.id),
        "credit_days": select(credit_daily, credit_app.c.app)
        .join(credit_app, credit_app.c.id == credit_daily.c.app_id)
        .where(credit_daily.c.volunteer_id == number)
        .order_by(credit_daily.c.day.desc()),
        "logins": select(*logins).where(*me),
        "passkeys": select(*keys).where(passkey.c.volunteer_id == number),
        "recovery": select(recovery.c.created).where(recovery.c.volunteer_id == number),
        "network": select(kin.c.word).where(kin.c.volunteer_id == number),
        "pictures": select(*(painted_tile.c[name] for name in ("run_id", "unit_id", "x", "y", "width", "height")))
        .where(painted_tile.c.volunteer_id == number)
        .order_by(painted_tile.c.run_id.desc()),
        "invites": select(invite.c.created, invite.c.expires).where(invite.c.volunteer_id == number),
    }


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Return rows as plain data."""
    rows = connection.execute(query.limit(MOST_ROWS)).mappings()
    return [{name: _plain(value) for name, value in row.items() if name not in UNSAID} for row in rows]


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    heads: list[str] = []
    for row in rows:
        if not heads:
            heads = list(row)
            csv.writer(text).writerow(heads)
        csv.writer(text).writerow([_cell(row[name]) for name in heads])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return no_formula(value) if isinstance(value, str) else value


def _valid(machine: int) -> tuple[Any, Any]:
    return replica.c.host_id == machine, is_in("valid")


def _copies(machine: int) -> list[Select[Any]]:
    """Return the queries of a computer's copies, each by the partial index on copies in such states."""
    ways = (is_in("valid"), is_in("leased"), among(replica.c.state, ["error", "expired", "invalid"]))
    return [_COPIES.where(replica.c.host_id == machine, way) for way in ways]


_COPIES: Final = (
    select(
        replica.c.id, func.coalesce(known.c.id, replica.c.unit_id).label("unit"), replica.c.host_id, replica.c.state,
        replica.c.leased, replica.c.reported, replica.c.cpu_s, replica.c.wall_s, replica.c.reason,
    )
    .outerjoin_from(replica, known, (known.c.unit_id == replica.c.unit_id) & (known.c.replica_id == replica.c.id))
    .order_by(replica.c.id.desc())
)  # fmt: skip
_GRANTS: Final = (
    select(credit_entry)
    .join_from(replica, credit_entry, (credit_entry.c.replica_id == replica.c.id) & (credit_entry.c.kind == "grant"))
    .order_by(replica.c.id.desc())
)
_CORRECTIONS: Final = (
    select(credit_entry).where(credit_entry.c.kind != literal_column("'grant'")).order_by(credit_entry.c.id.desc())
)
_FOUND: Final = (
    select(discovery.c.id, discovery.c.title, discovery.c.published, discovery.c.state)
    .join_from(replica, discovery, discovery.c.unit_id == replica.c.unit_id)
    .where(discovery.c.published.is_not(None))
)
