"""The rows of volunteers, their computers, teams and invites."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, insert

from dsage import wire
from dsage_server.seeding.people import DAY_S, Crowd, Machine, Person, host_key
from dsage_server.store import teams
from dsage_server.store.bulk import add_rows
from dsage_server.store.consents import CONSENTS, Held
from dsage_server.store.schema import consent, credit_sum, host, invite, membership, people_sum, team, volunteer

ROWS: Final = 20_000
"""Rows of one statement."""
OFFERS: Final = msgspec.json.encode(["flint", "gmpy2", "numpy"]).decode()
FEATURES: Final = msgspec.json.encode([wire.AGREEMENT, wire.PERTURBED]).decode()
TOLD: Final = 200
"""Newcomers that the news speak of."""


def write_crowd(connection: Connection, crowd: Crowd, now: float) -> None:
    """Write everybody: to be listed, or not, without credit yet."""
    insert_all(connection, team, [
        {"id": each.id, "name": each.name, "name_key": teams.key_of(each.name), "founder_id": each.founder,
         "created": each.created, "gone": each.gone}
        for each in crowd.teams
    ])  # fmt: skip
    insert_all(connection, volunteer, [_volunteer(each) for each in crowd.people])
    insert_all(connection, membership, sorted(_memberships(crowd), key=lambda row: row["since"]))
    insert_all(connection, host, [_host(each, crowd.seed) for each in crowd.machines()])
    insert_all(connection, credit_sum, [
        {"volunteer_id": each.id, "amount_milli": 0, "valid": 0, "score": 0.0, "public": each.listed}
        for each in crowd.people
    ])  # fmt: skip
    insert_all(connection, consent, list(_consents(crowd)))
    listed = Counter(each.listed for each in crowd.people)
    slot = connection.info.get("slot", 0)
    add_rows(
        connection, people_sum, ("public", "slot", "people", "amount_milli", "valid", "score"),
        [(public, slot, people, 0, 0, 0.0) for public, people in sorted(listed.items())], keys=("public", "slot"),
    )  # fmt: skip
    insert_all(connection, invite, list(_invites(crowd, now)))


def insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, many at a time."""
    for start in range(0, len(rows), ROWS):
        connection.execute(insert(table), rows[start : start + ROWS])


def newcomers(crowd: Crowd) -> list[dict[str, Any]]:
    """Return what was told of the last who came and of those who left."""
    told = []
    for person in crowd.people[-TOLD:]:
        name = person.pseudonym if person.listed else "a volunteer"
        told.append({"at": person.created, "kind": "joined", "text": f"{name} joined", "run_id": None, "unit_id": None})
        if person.erased:
            told.append(
                {"at": person.until, "kind": "left", "text": "a volunteer left", "run_id": None, "unit_id": None}
            )
    return told


def _volunteer(person: Person) -> dict[str, Any]:
    return {
        "id": person.id, "pseudonym": person.pseudonym, "public": person.named, "created": person.created,
        "gone": person.until if person.erased else None, "verifiable_only": person.verifiable_only,
        "team_id": person.team, "team_since": person.team_since, "exported": person.exported,
        "withdrawn": person.withdrawn, "country": person.country, "devices": person.devices,
    }  # fmt: skip


def _memberships(crowd: Crowd) -> Iterator[dict[str, Any]]:
    created = {each.id: each.created for each in crowd.teams}
    for person in crowd.people:
        times: list[tuple[int, float, float | None]] = [*person.before]
        if person.team is not None and person.team_since is not None:
            times.append((person.team, person.team_since, None))
        for number, since, until in times:
            yield {
                "team_id": number, "volunteer_id": person.id, "since": since, "until": until,
                "founded": since == created[number],
            }  # fmt: skip


def _consents(crowd: Crowd) -> Iterator[dict[str, Any]]:
    """Yield what people agreed to when they joined, as their page remembers it."""
    for person in crowd.people:
        shown = Held(person.listed, person.named, person.devices, person.exported, person.country)
        for name, value in shown._asdict().items():
            if value and not person.erased:
                yield {
                    "volunteer_id": person.id, "what": name, "given": True, "version": CONSENTS[name],
                    "at": person.created, "said": value if isinstance(value, str) else "",
                }  # fmt: skip


def _host(machine: Machine, seed: int) -> dict[str, Any]:
    erased = machine.owner.erased
    return {
        "id": machine.id, "volunteer_id": machine.owner.id, "key": host_key(seed, machine.id).public,
        "client": machine.client, "platform": "" if erased else machine.platform, "cores": machine.cores,
        "memory_bytes": machine.memory_bytes, "disk_bytes": 8 * machine.memory_bytes, "sandbox": machine.sandbox,
        "last_seen": machine.seen, "created": machine.created, "offers": OFFERS, "features": FEATURES,
        "name": "" if erased else machine.name, "gone": machine.gone,
    }  # fmt: skip


def _invites(crowd: Crowd, now: float) -> Any:
    """Yield invites of the operator, used up or not, and those of teams."""
    rng = random.Random(f"{crowd.seed}/invites")
    for number in range(6):
        created = now - rng.uniform(0, 40) * DAY_S
        yield _invite(crowd, f"operator/{number}", rng.choice((0, 0, 1, 5)), created, 7 * DAY_S, None)
    for each in crowd.teams:
        if each.gone is None and rng.random() < 0.7:
            created = max(each.created, now - rng.uniform(0, 45) * DAY_S)
            uses = teams.INVITE_USES - rng.randrange(40)
            yield _invite(crowd, f"team/{each.id}", uses, created, teams.INVITE_S, each.id)


def _invite(crowd: Crowd, name: str, uses: int, created: float, lasts: float, team_id: int | None) -> dict[str, Any]:
    return {
        "code_hash": hashlib.sha256(f"{crowd.seed}/invite/{name}".encode()).hexdigest(), "uses_left": uses,
        "created": created, "expires": created + lasts, "team_id": team_id, "verifiable_only": team_id is not None,
    }  # fmt: skip
