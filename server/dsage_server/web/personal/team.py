"""The team that a volunteer is in, with who came and went, and the teams of before."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage import wire
from dsage_server.store import memberships, teams
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room
from dsage_server.web.public.ranks import TeamRef, team_ref

MOST_MOVES: Final = 200


class Move(msgspec.Struct, kw_only=True):
    """Somebody `what` ("founded", "joined" or "left") the team. `name` is "" for who is not listed: `who` is then
    "member", or "gone" for an erased account; it is "me" for oneself and "listed" otherwise."""

    at: float
    what: str
    who: str
    name: str


class Time(msgspec.Struct, kw_only=True):
    """A time in a team, until now without `until`; `there` is whether the team still is."""

    team: TeamRef
    there: bool
    since: float
    until: float | None
    founded: bool


class MyTeam(Document, kw_only=True):
    """The team, if one is in one; its last `moves`, the newest first; and one's own `times` in teams."""

    schema: ClassVar[str] = "dsage.me.team/1"
    team: wire.TeamView
    moves: list[Move]
    times: list[Time]


def my_team(connection: Connection, mine: Mine) -> MyTeam:
    """Return the team as a member sees it."""
    team = teams.look(connection, mine.number, mine.now)
    moves = memberships.moves(connection, team.team, MOST_MOVES) if team.team else []
    return MyTeam(
        team=team,
        moves=[
            Move(at=each.at, what=each.what, who=_who(each, mine.number), name=each.name) for each in moves
        ],
        times=[
            Time(
                team=team_ref(row.team, row.name), there=row.gone is None, since=row.since, until=row.until,
                founded=row.founded,
            )
            for row in memberships.of_volunteer(connection, mine.number)
        ],
    )  # fmt: skip


def _who(move: memberships.Move, number: int) -> str:
    if move.volunteer == number:
        return "me"
    return "gone" if move.gone else "listed" if move.name else "member"


ROOM: Final = Room(template="me_team", route="/me/team", load=my_team, document=MyTeam)
