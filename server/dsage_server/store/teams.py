"""Teams: made, joined by invite codes, left, led. Credit stays with the team that one was in when it was granted.

Whoever changes who is in a team holds the volunteer's row first, then the team's invites, then the team's: nobody waits
for another in a circle, a volunteer is in one team at most, and none is in a team that is gone.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from dsage import wire
from dsage.errors import Conflict, InviteRefused, NotAllowed, NotFound, UsageError
from dsage_server.store import credit, kinship
from dsage_server.store.dialect import upsert
from dsage_server.store.open_links import code_hash
from dsage_server.store.schema import credit_sum, credit_team, host, invite, membership, team, volunteer

SHORTEST: Final = 3
LONGEST: Final = 40
"""Characters of a name."""
MOST_MARKS: Final = 2
"""Marks on one letter: more are there to deface a page."""
PLAIN: Final = frozenset("LNP")
"""The general categories of Unicode, by their first letter, of which names are made, besides spaces and marks."""
REFUSED: Final = frozenset('<>"\\/{}@')
"""What has a meaning in pages, scripts, addresses or the formulas of a spreadsheet."""
INVITE_S: Final = 30 * 86400.0
INVITE_USES: Final = 100
SILENT_S: Final = 60 * 86400.0
"""After so long without a sign of the founder's computers any member may lead the team."""
MOST_SHOWN: Final = 10_000


def checked_name(text: str) -> str:
    """Return a team's name in its one spelling. Raises UsageError for one that no page could show as it is."""
    name = unicodedata.normalize("NFC", re.sub(" +", " ", text[: 10 * LONGEST].strip(" ")))
    if not SHORTEST <= len(name) <= LONGEST:
        raise _refused(f"it is too {'short' if len(name) < SHORTEST else 'long'}")
    if not name[0].isalnum():
        raise _refused("it does not begin with a letter or a digit")
    marks = 0
    for letter in name:
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind[0] == "M" else 0
        if letter in REFUSED or not (letter == " " or kind[0] in PLAIN or 0 < marks <= MOST_MARKS):
            raise _refused(f"it has a character that does not belong there ({unicodedata.name(letter, repr(letter))})")
    return name


def key_of(name: str) -> str:
    """Return what two names have in common that people would take for the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def look(connection: Connection, number: int, now: float) -> wire.TeamView:
    """Return the team of a volunteer, as they see it."""
    row = connection.execute(_MINE.where(volunteer.c.id == number)).first()
    if row is None:
        return wire.TeamView()
    sums = connection.execute(select(credit_team).where(credit_team.c.team_id == row.id)).first()
    leads = row.founder_id == number
    return wire.TeamView(
        team=row.id, name=row.name, founder=_founder(connection, row.founder_id, known=leads), leads=leads,
        vacant=not leads and _is_silent(connection, row, now), members=_members(connection, row.id),
        granted_milli=0 if sums is None else sums.amount_milli,
        recent=0.0 if sums is None else credit.recent_average(sums.score, now), since=row.team_since,
    )  # fmt: skip


def name_of(connection: Connection, number: int) -> str:
    """Return the name of a volunteer's team, "" if they are in none."""
    return connection.execute(_MINE.where(volunteer.c.id == number)).scalars().first() or ""


def act(connection: Connection, number: int, wish: wire.TeamWish, now: float) -> wire.TeamView:
    """Do what a volunteer wishes about a team, and return their team as it is then.

    Raises UsageError for a name that cannot be, Conflict if somebody has it or if they are in a team already,
    InviteRefused for a code that leads to none, NotAllowed for what only its leader may do, NotFound without a team.
    """
    mine = _hold(connection, number)
    code = ""
    if wish.do == "create":
        _create(connection, number, mine, checked_name(wish.name), now)
    elif wish.do == "join":
        _refuse_second(connection, mine)
        _enter(connection, number, _use_up(connection, wish.code, now), now)
    elif wish.do == "leave":
        depart(connection, number, now)
    elif wish.do == "lead":
        _lead(connection, number, mine, now)
    else:
        code = _invite(connection, number, mine, now)
    view = look(connection, number, now)
    view.code, view.valid_s = code, INVITE_S if code else 0.0
    return view


def depart(connection: Connection, number: int, now: float) -> None:
    """Take a volunteer out of their team, if they are in one: who has been in it longest leads it if they did, and it
    is gone if nobody is left."""
    left = _hold(connection, number)
    if left is None:
        return
    row = _locked(connection, left)
    _let_out(connection, volunteer.c.id == number, membership.c.volunteer_id == number, now)
    if row.founder_id != number:
        return
    heir = connection.execute(
        select(volunteer.c.id)
        .where(volunteer.c.team_id == left)
        .order_by(volunteer.c.team_since, volunteer.c.id)
        .limit(1)
    ).scalar()
    if heir is None:
        _end(connection, left, now)
    else:
        connection.execute(update(team).where(team.c.id == left).values(founder_id=heir))


def admit(connection: Connection, number: int, code: str, now: float) -> None:
    """Put an account that was just made by a code into the team that the code is of, if it is one of a team."""
    into = connection.execute(select(invite.c.team_id).where(invite.c.code_hash == code_hash(code))).scalar()
    if into is not None and connection.execute(_LOCKED, {"number": into}).one().gone is None:
        _enter(connection, number, into, now)


def listed(connection: Connection) -> list[Any]:
    """Return the teams that there are: number, name, members, credit in thousandths, when they were made."""
    members = select(func.count()).select_from(volunteer).where(volunteer.c.team_id == team.c.id).scalar_subquery()
    query = (
        select(team.c.id, team.c.name, team.c.created, credit_team.c.amount_milli, members.label("members"))
        .outerjoin(credit_team, credit_team.c.team_id == team.c.id)
        .where(team.c.gone.is_(None))
    )
    return list(connection.execute(query.order_by(team.c.id).limit(MOST_SHOWN)).all())


def rename(connection: Connection, number: int, text: str) -> str:
    """Give a team another name, and return it as it is spelled. Raises NotFound, UsageError, Conflict."""
    name = checked_name(text)
    _there(connection, number)
    other = connection.execute(select(team.c.id).where(team.c.name_key == key_of(name), team.c.id != number)).scalar()
    if other is not None:
        raise _taken(name)
    connection.execute(update(team).where(team.c.id == number).values(name=name, name_key=key_of(name)))
    return name


def close(connection: Connection, number: int, now: float) -> int:
    """End a team: nobody is in it any more and nobody can join it. Return how many were. Raises NotFound."""
    everybody = volunteer.c.team_id == number, membership.c.team_id == number
    out = _let_out(connection, *everybody, now)
    _there(connection, number)
    out += _let_out(connection, *everybody, now)
    _end(connection, number, now)
    return out


def _create(connection: Connection, number: int, mine: int | None, name: str, now: float) -> None:
    _refuse_second(connection, mine)
    row = upsert(connection, team).values(name=name, name_key=key_of(name), founder_id=number, created=now)
    made = connection.execute(row.on_conflict_do_nothing().returning(team.c.id)).scalar()
    if made is None:
        raise _taken(name)
    _enter(connection, number, made, now, founded=True)


def _lead(connection: Connection, number: int, mine: int | None, now: float) -> None:
    row = _mine(connection, mine)
    if row.founder_id == number:
        return
    if not _is_silent(connection, row, now):
        raise NotAllowed(
            f"whoever leads {row.name!r} was here within the last {SILENT_S / 86400:.0f} days",
            hint="A team can be taken over when its founder has been silent for longer.",
        )
    connection.execute(update(team).where(team.c.id == row.id).values(founder_id=number))


def _invite(connection: Connection, number: int, mine: int | None, now: float) -> str:
    """Make a code that takes volunteers into the team. Accounts that are made by it get units whose answers prove
    themselves only, as those of public links do: nobody whom the operator knows vouches for them."""
    row = _mine(connection, mine)
    if row.founder_id != number:
        raise NotAllowed(f"only its leader invites others into {row.name!r}")
    connection.execute(delete(invite).where(invite.c.team_id == row.id))
    code = secrets.token_urlsafe(12)
    connection.execute(
        insert(invite).values(
            code_hash=code_hash(code), uses_left=INVITE_USES, created=now, expires=now + INVITE_S, team_id=row.id,
            verifiable_only=True,
        )
    )  # fmt: skip
    kinship.invites(connection, number, row.id)
    return code


def _use_up(connection: Connection, code: str, now: float) -> int:
    """Take one use of a team's code; return the team."""
    wanted = invite.c.code_hash == code_hash(code)
    kept = connection.execute(select(invite).where(wanted).with_for_update()).first()
    if kept is None or kept.team_id is None:
        raise InviteRefused("this code leads into no team", hint="Its leader makes a new one: dsage team invite.")
    if connection.execute(_LOCKED, {"number": kept.team_id}).one().gone is not None:
        raise InviteRefused("the team that this code was for is gone")
    if kept.expires < now or kept.uses_left < 1:
        ended = "run out of time" if kept.expires < now else "been used up"
        raise InviteRefused(f"this team's code has {ended}", hint="Its leader makes a new one: dsage team invite.")
    connection.execute(update(invite).where(wanted).values(uses_left=kept.uses_left - 1))
    return int(kept.team_id)


def _hold(connection: Connection, number: int) -> int | None:
    """Lock a volunteer's row; return their team."""
    row = select(volunteer.c.team_id).where(volunteer.c.id == number).with_for_update()
    found: int | None = connection.execute(row).scalar()
    return found


def _mine(connection: Connection, mine: int | None) -> Any:
    if mine is None:
        raise NotFound("you are in no team", hint="dsage team create NAME, or dsage team join LINK.")
    return _locked(connection, mine)


def _locked(connection: Connection, number: int) -> Any:
    connection.execute(select(invite.c.code_hash).where(invite.c.team_id == number).with_for_update()).all()
    return connection.execute(_LOCKED, {"number": number}).first()


def _there(connection: Connection, number: int) -> None:
    row = _locked(connection, number)
    if row is None or row.gone is not None:
        raise NotFound(f"there is no team {number}", hint="`dsage admin team ls` lists them.")


def _refuse_second(connection: Connection, mine: int | None) -> None:
    if mine is not None:
        name = connection.execute(select(team.c.name).where(team.c.id == mine)).scalar()
        raise Conflict(f"you are in the team {name!r}", hint="One team at a time: dsage team leave.")


def _enter(connection: Connection, number: int, into: int, now: float, *, founded: bool = False) -> None:
    connection.execute(update(volunteer).where(volunteer.c.id == number).values(team_id=into, team_since=now))
    connection.execute(insert(membership).values(team_id=into, volunteer_id=number, since=now, founded=founded))


def _let_out(connection: Connection, who: ColumnElement[bool], whose: ColumnElement[bool], now: float) -> int:
    """Take volunteers out of their team, and note when they left; return how many."""
    out = connection.execute(update(volunteer).where(who).values(team_id=None, team_since=None)).rowcount
    connection.execute(update(membership).where(whose, membership.c.until.is_(None)).values(until=now))
    return out


def _end(connection: Connection, number: int, now: float) -> None:
    connection.execute(update(team).where(team.c.id == number).values(founder_id=None, gone=now))
    connection.execute(delete(invite).where(invite.c.team_id == number))


def _members(connection: Connection, number: int) -> int:
    query = select(func.count()).select_from(volunteer).where(volunteer.c.team_id == number)
    return int(connection.execute(query).scalar_one())


def _founder(connection: Connection, number: int | None, *, known: bool) -> str:
    query = select(volunteer.c.pseudonym, credit_sum.c.public).join(credit_sum)
    row = connection.execute(query.where(volunteer.c.id == number)).first()
    return "" if row is None or not (row.public or known) else str(row.pseudonym)


def _is_silent(connection: Connection, row: Any, now: float) -> bool:
    """Whether no computer of a team's founder called for long; one that never called counts from when they came."""
    if row.founder_id is None:
        return True
    seen = select(func.max(host.c.last_seen)).where(host.c.volunteer_id == row.founder_id)
    joined = select(volunteer.c.team_since).where(volunteer.c.id == row.founder_id)
    last = connection.execute(seen).scalar() or connection.execute(joined).scalar() or row.created
    return bool(now - last > SILENT_S)


def _refused(why: str) -> UsageError:
    return UsageError(
        f"that cannot be a team's name: {why}",
        hint=f"Names have {SHORTEST} to {LONGEST} letters, digits, spaces and points, in any language.",
    )


def _taken(name: str) -> Conflict:
    return Conflict(f"there is, or was, a team called {name!r}", hint="Choose another name.")


_LOCKED = select(team).where(team.c.id == bindparam("number")).with_for_update()
_MINE = select(
    team.c.name, team.c.id, team.c.founder_id, team.c.created, volunteer.c.team_since
).join(team, team.c.id == volunteer.c.team_id)  # fmt: skip
