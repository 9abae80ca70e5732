"""A volunteer's account, as its own computers see and change it: credit, computers, what is shown, its end."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, select, update

from dsage import wire
from dsage.states import OPEN_RUNS
from dsage_server.sentences import news
from dsage_server.store import consents, hosts, kinship, ledger, passkeys, recovery, teams, visits
from dsage_server.store.events import note
from dsage_server.store.schema import among, credit_sum, host, invite, meta, replica, run, unit, volunteer

LINK_S: Final = 600.0
"""How long a code for one more computer is good."""
MAX_PROJECTS: Final = 100
MAX_DEVICES: Final = 1000
MAX_CORRECTIONS: Final = 20
DESCRIBED: Final = "project:"
"""Begins the names under which it is remembered what projects are for (store/projects.py)."""


def view(connection: Connection, caller: hosts.Known, page: str) -> wire.AccountView:
    """Return the account of a host; `page` is where the public finds those who are listed."""
    row = connection.execute(
        select(
            volunteer.c.pseudonym,
            volunteer.c.public,
            volunteer.c.exported,
            credit_sum.c.amount_milli,
            credit_sum.c.public.label("listed"),
        )
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.id == caller.volunteer)
    ).one()
    pending = connection.execute(
        select(func.coalesce(func.sum(unit.c.credit_milli), 0))
        .join(replica, replica.c.unit_id == unit.c.id)
        .where(replica.c.volunteer_id == caller.volunteer, replica.c.state == "reported")
    ).scalar_one()
    machines = connection.execute(
        select(host)
        .where(host.c.volunteer_id == caller.volunteer, host.c.gone.is_(None))
        .order_by(host.c.id)
        .limit(MAX_DEVICES)
    ).all()
    taken, own = ledger.standing(connection, caller.volunteer)
    return wire.AccountView(
        pseudonym=row.pseudonym, granted_milli=row.amount_milli, pending_milli=int(pending),
        devices=[
            wire.DeviceView(
                name=machine.name, seen=machine.last_seen, here=machine.id == caller.host, platform=machine.platform,
                cores=machine.cores,
            )
            for machine in machines
        ],
        privacy=wire.Privacy(leaderboard=row.listed, discoveries=row.public, export=row.exported),
        team=teams.name_of(connection, caller.volunteer),
        projects={offer.name: offer.title for offer in offers(connection)}, page=page if row.listed else "",
        taken_milli=taken, house_milli=own,
        corrections=[
            wire.Correction(
                kind=each.kind, amount_milli=each.amount_milli, at=each.granted, project=each.project,
                reason=each.reason,
            )
            for each in ledger.corrections(connection, caller.volunteer, MAX_CORRECTIONS)
        ],
    )  # fmt: skip


def offers(connection: Connection) -> list[wire.ProjectOffer]:
    """Return the projects of this server: those that are described, and those that have runs which go on."""
    query = select(run.c.project, func.max(run.c.title)).where(among(run.c.state, OPEN_RUNS)).group_by(run.c.project)
    running: dict[str, str] = dict(connection.execute(query.limit(MAX_PROJECTS)).all())
    said = connection.execute(
        select(meta.c.value).where(meta.c.name.startswith(DESCRIBED, autoescape=True)).limit(MAX_PROJECTS)
    )
    views = {each.name: each for each in (msgspec.json.decode(text, type=wire.ProjectView) for text in said.scalars())}
    found = [
        wire.ProjectOffer(name=each.name, title=each.title, purpose=each.purpose, by=each.by, link=each.link)
        for each in views.values()
    ]
    found += [wire.ProjectOffer(name=name, title=title) for name, title in running.items() if name not in views]
    return sorted(found, key=lambda offer: (offer.name not in running, offer.name))[:MAX_PROJECTS]


def link_code(connection: Connection, volunteer_id: int, now: float) -> wire.LinkCode:
    """Make a code that takes one more computer into an account; an older one that is still out holds no longer."""
    connection.execute(delete(invite).where(invite.c.volunteer_id == volunteer_id))
    code = hosts.make_invite(connection, 1, LINK_S, now, volunteer_id=volunteer_id)
    return wire.LinkCode(code=code, valid_s=LINK_S)


def set_privacy(connection: Connection, volunteer_id: int, wish: wire.Privacy, now: float) -> None:
    """Show of a volunteer what their computers may say, and no more; what is chosen on their page alone stays."""
    wishes = {"leaderboard": wish.leaderboard, "discoveries": wish.discoveries, "export": wish.export}
    consents.choose(connection, volunteer_id, wishes, now)


def leave(connection: Connection, caller: hosts.Known, *, erase: bool, now: float) -> wire.Left:
    """A host goes. With `erase` and no other host of the account left, the account is forgotten: what it has earned
    stays in the sums, and nothing leads from there to anybody. How many copies came back is the caller's to add."""
    machine = {"gone": now} | ({"name": "", "platform": "", "tags": "[]"} if erase else {})
    connection.execute(update(host).where(host.c.id == caller.host).values(**machine))
    others = connection.execute(
        select(func.count()).select_from(host).where(host.c.volunteer_id == caller.volunteer, host.c.gone.is_(None))
    ).scalar_one()
    if erase and not others:
        erase_account(connection, caller.volunteer, now)
    return wire.Left(returned=0, erased=erase and not others, others=others)


def erase_account(connection: Connection, number: int, now: float) -> None:
    """Forget an account: nobody is logged in as it, and its computers' keys open nothing. What it earned stays in the
    sums under a name that says nothing."""
    consents.choose(connection, number, consents.Held()._asdict(), now)
    teams.depart(connection, number, now)
    visits.end(connection, visits.Role.VOLUNTEER, str(number))
    passkeys.remove(connection, number)
    recovery.forget(connection, number)
    connection.execute(delete(invite).where(invite.c.volunteer_id == number))
    machines = {"gone": func.coalesce(host.c.gone, now), "name": "", "platform": "", "tags": "[]"}
    connection.execute(update(host).where(host.c.volunteer_id == number).values(**machines))
    erased = {"gone": now, "pseudonym": f"left-{number}"}
    connection.execute(update(volunteer).where(volunteer.c.id == number).values(**erased))
    kinship.forget(connection, number)
    note(connection, now, "left", news.LEFT())
