"""House credit: what a researcher's own computers earn on the researcher's own runs, until a second person approved.

Nothing tells by itself whose computers are whose: the operator says which volunteers' accounts belong to a researcher.
Such a grant is marked when it is made, and stays what it is: it is paid and shown to its volunteer, and in no public
sum. Once a run of the researcher was approved by somebody else (`projects.approve`), further grants are ordinary ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, exists, select

from dsage.errors import NotFound
from dsage_server.store.dialect import upsert
from dsage_server.store.meta import recall
from dsage_server.store.projects import APPROVED
from dsage_server.store.schema import house_account, run, volunteer

IS_ASKED = exists().where(house_account.c.researcher == run.c.researcher)
"""Whether accounts are known that belong to a run's researcher."""


def link(connection: Connection, researcher: bytes, pseudonyms: Iterable[str], *, off: bool = False) -> None:
    """Note that accounts belong to a researcher, or do not. Raises NotFound."""
    for name in pseudonyms:
        number = connection.execute(select(volunteer.c.id).where(volunteer.c.pseudonym == name)).scalar()
        if number is None:
            raise NotFound(f"there is no volunteer {name!r}", hint="Names are as on the volunteer's own computers.")
        here = (house_account.c.researcher == researcher) & (house_account.c.volunteer_id == number)
        if off:
            connection.execute(delete(house_account).where(here))
        else:
            row = upsert(connection, house_account).values(researcher=researcher, volunteer_id=number)
            connection.execute(row.on_conflict_do_nothing())


def accounts(connection: Connection, researcher: bytes) -> list[str]:
    """Return the pseudonyms of the accounts that belong to a researcher."""
    query = (
        select(volunteer.c.pseudonym)
        .join(house_account, house_account.c.volunteer_id == volunteer.c.id)
        .where(house_account.c.researcher == researcher)
        .order_by(volunteer.c.pseudonym)
    )
    return list(connection.execute(query).scalars())


def pairs(connection: Connection, runs: Iterable[int]) -> set[tuple[int, int]]:
    """Return which volunteers earn house credit in which of some runs, as (run, volunteer)."""
    query = (
        select(run.c.id, run.c.researcher, house_account.c.volunteer_id)
        .join(house_account, house_account.c.researcher == run.c.researcher)
        .where(run.c.id.in_(sorted(runs)))
    )
    found = connection.execute(query).all()
    approved = {key for key in {row.researcher for row in found} if recall(connection, APPROVED + key.hex())}
    return {(row.id, row.volunteer_id) for row in found if row.researcher not in approved}
