"""Who may confirm whom: copies of one adaptive unit never go to two volunteers who may be one person.

Strangers, who came by a link that anybody may use or by a team's, are kin to those who came from the same network, to
those who came on the same day, and to those who came by links of the same team and who made these. Whom the operator
invited, or trusts, is kin to nobody else. What is kept of a network is a hash under a key that only this server has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from dsage.states import ReplicaState
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.dialect import upsert
from dsage_server.store.meta import secret
from dsage_server.store.open_links import network
from dsage_server.store.schema import kin
from dsage_validator.unit import Unit

KEY: Final = "kin_key"
"""Under which name the key is remembered that hashes networks."""
DAY_S: Final = 86_400.0
NOBODY: Final[frozenset[str]] = frozenset()
_PARTNERS: Final = frozenset({ReplicaState.LEASED, ReplicaState.EXPIRED, ReplicaState.REPORTED, ReplicaState.VALID})
"""Copies that may confirm another, or be confirmed by it: one whose lease ran out may be answered late."""


def enter(connection: Connection, number: int, peer: str, now: float, team: int | None = None) -> None:
    """Keep of a stranger who joins now, from an address and maybe by a team's link, what others share who may be the
    same person."""
    place = hashlib.blake2b(network(peer).encode(), key=secret(connection, KEY), digest_size=8).hexdigest()
    words = [f"net-{place}", f"day-{int(now // DAY_S)}", *([] if team is None else [_lineage(team)])]
    connection.execute(insert(kin), [{"volunteer_id": number, "word": word} for word in words])


def invites(connection: Connection, number: int, team: int) -> None:
    """Whoever makes a team's link is kin to the strangers who come by it."""
    row = upsert(connection, kin).values(volunteer_id=number, word=_lineage(team))
    connection.execute(row.on_conflict_do_nothing())


def forget(connection: Connection, number: int) -> None:
    """A volunteer is kin to nobody any more: the operator vouches for them, or they had themselves erased."""
    connection.execute(delete(kin).where(kin.c.volunteer_id == number))


def of(connection: Connection, volunteers: Iterable[int]) -> dict[int, frozenset[str]]:
    """Return what those of some volunteers share with others who are strangers."""
    found: dict[int, frozenset[str]] = {}
    for number, word in connection.execute(_OF, {"ids": numbers(connection, volunteers)}):
        found[number] = found.get(number, NOBODY) | {word}
    return found


def partners(unit: Unit) -> set[int]:
    """Return the volunteers whose copies of a unit may be confirmed by another copy; none, if its quorum is fixed."""
    return {r.volunteer for r in unit.replicas if r.state in _PARTNERS} if unit.adaptive else set()


def barred(unit: Unit, known: Mapping[int, frozenset[str]]) -> frozenset[str]:
    """Return what nobody may have who takes another copy of a unit."""
    return NOBODY.union(*[known.get(number, NOBODY) for number in partners(unit)])


def _lineage(team: int) -> str:
    return f"team-{team}"


_OF = select(kin.c.volunteer_id, kin.c.word).where(among_ids(kin.c.volunteer_id))
