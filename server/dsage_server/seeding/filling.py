"""Fills an empty database with a made-up world, part by part, so that each sum equals what it is the sum of."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select

from dsage import wire
from dsage.bundle import Bundle, manifest, pack
from dsage.errors import Conflict
from dsage.states import RunState
from dsage.trust.documents import Manifest
from dsage.trust.envelope import Envelope, hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage_server.seeding import words, works
from dsage_server.seeding.crowding import newcomers, write_crowd
from dsage_server.seeding.history import History
from dsage_server.seeding.ledger import Grant, Ledger, Work
from dsage_server.seeding.people import DAY_S, Crowd, Size, crowd
from dsage_server.seeding.plans import KEPT, Old, old_runs
from dsage_server.seeding.play import Plan, Play
from dsage_server.seeding.works import Signers
from dsage_server.sentences import news
from dsage_server.store import census, deeds, earned, projects, runs
from dsage_server.store.engine import Store
from dsage_server.store.ids import reserve
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import archive, process, run, volunteer
from dsage_server.store.tallies import add_up
from dsage_server.store.transfer import set_sequences

SEEDED: Final = "seeded"
"""Where it is remembered that the world is made up, and how."""
CLOSED_S: Final = 60.0
"""After midnight the day before is closed."""
CONTROLLED: Final = ("paused", "cancelled")
"""What researchers do to runs, of what happens to these: it stands in the audit log too."""
HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Seeded:
    """How much was made up. `credit` is in credits."""

    volunteers: int
    hosts: int
    teams: int
    runs: int
    units: int
    entries: int
    credit: float


@dataclass(frozen=True, slots=True)
class App:
    """A packed app, with its signed manifest."""

    bundle: Bundle
    manifest: Manifest
    envelope: Envelope


def fill(store: Store, size: Size, seed: int, now: float, signers: Signers | None = None) -> Seeded:
    """Fill an empty database up to `now` (Unix seconds): the same seed, time and signers give the same rows.

    Without `signers` the rows bear signatures of keys that are made from the seed. Raises Conflict if there are
    volunteers or runs already.
    """
    store.write_now(partial(_begin, said={"seed": seed, "now": now, **asdict(size)}))
    signers = signers or made_signers(seed)
    world = crowd(size, seed, now)
    store.write_now(lambda c: write_crowd(c, world, now))
    apps = {(name, app): _app(signers, name, app) for name, app in _apps()}
    plays, old = _runs(apps, world, size, seed, now)
    store.write_now(lambda c: _write_runs(c, signers, apps, plays, old, world, now))
    works_of = {number: Work(number, play.plan.project, hash_of(app)) for number, (app, play) in plays.items()}
    archived = [(each, Work(each.number, each.project.name, _name(apps, each))) for each in old]
    history = History(world, size, archived, _grants(plays, works_of), seed=seed, now=now)
    ledger = Ledger()
    for day in history.days:
        store.write_now(partial(_day, history=history, ledger=ledger, day=day, now=now))
    store.write_now(partial(_end, ledger=ledger, old=old, now=now))
    units = sum(len(play.units) for _, play in plays.values())
    return Seeded(
        len(world.people), len(world.machines()), len(world.teams), len(plays) + len(old), units, ledger.entries,
        ledger.amount_milli / 1000,
    )  # fmt: skip


def made_signers(seed: int) -> Signers:
    """Return signers whose keys follow from the seed: they are nobody's."""

    def key(name: str) -> PrivateKey:
        secret = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        return PrivateKey(Ed25519PrivateKey.from_private_bytes(secret))

    server_id = hashlib.sha256(f"{seed}/server".encode()).hexdigest()[:32]
    return Signers(server_id, key("unit key"), key("code key"), seed)


def _begin(connection: Connection, said: dict[str, Any]) -> None:
    """Note how the database is filled. Raises Conflict if it is not empty."""
    known = recall(connection, SEEDED)
    if known is not None:
        raise Conflict(
            f"this database was filled before, or somebody broke that off ({known})",
            hint="A ledger is only ever added to: fill another server's, with another DSAGE_HOME.",
        )
    if any(connection.execute(select(table.c.id).limit(1)).first() for table in (volunteer, run)):
        raise Conflict(
            "this server has volunteers or runs of its own, and made-up ones would stand among them",
            hint="Fill the database of another server: DSAGE_HOME=FOLDER dsage admin seed-demo --empty-ok",
        )
    remember(connection, SEEDED, msgspec.json.encode(said).decode())


# -- runs -----------------------------------------------------------------------------------------------------------


def _apps() -> Iterable[tuple[str, str]]:
    """Yield the apps as (project, app)."""
    for project in words.PROJECTS:
        yield project.name, project.app
    yield from sorted({(plan.project, plan.app) for plan in KEPT if plan.app})


def _app(signers: Signers, project: str, app: str) -> App:
    bundle = pack(app.format(here=HERE))
    said = manifest(bundle, project)
    return App(bundle, said, seal(said, signers.code))


def _main_app(apps: dict[tuple[str, str], App], project: str) -> App:
    return next(app for (name, _), app in apps.items() if name == project)


def _name(apps: dict[tuple[str, str], App], old: Old) -> str:
    return hash_of(_main_app(apps, old.project.name).envelope)


def _runs(
    apps: dict[tuple[str, str], App], world: Crowd, size: Size, seed: int, now: float
) -> tuple[dict[int, tuple[Envelope, Play]], list[Old]]:
    """Play the runs that are kept, and number all by the time they began."""
    old = old_runs(now - size.days * DAY_S, now, random.Random(f"{seed}/old"))
    plans = [replace(plan, begins=plan.begins * size.days, lasts=plan.lasts * size.days) for plan in KEPT]
    begun: list[tuple[float, Plan | Old]] = [(now - plan.begins * DAY_S, plan) for plan in plans]
    begun += [(each.begins, each) for each in old]
    unit_ids, copy_ids = count(size.ledger + 1), count(2 * size.ledger + 1)
    plays: dict[int, tuple[Envelope, Play]] = {}
    for number, (_, each) in enumerate(sorted(begun, key=lambda pair: pair[0]), start=1):
        if isinstance(each, Old):
            each.number = number
            continue
        app = apps[each.project, each.app] if each.app else _main_app(apps, each.project)
        play = Play(
            each, app.bundle, app.manifest, world, now=now, seed=f"{seed}/run/{number}", unit_ids=unit_ids,
            copy_ids=copy_ids,
        )  # fmt: skip
        play.play()
        plays[number] = app.envelope, play
    return plays, old


def _grants(plays: dict[int, tuple[Envelope, Play]], of: dict[int, Work]) -> list[Grant]:
    return [
        Grant(copy.granted, copy.machine, of[number], range(copy_id, copy_id + 1), played.new.credit_milli)
        for number, (_, play) in plays.items()
        for played in play.units.values()
        for copy_id, copy in played.copies.items()
        if copy.granted is not None
    ]


def _write_runs(
    connection: Connection, signers: Signers, apps: dict[tuple[str, str], App],
    plays: dict[int, tuple[Envelope, Play]], old: list[Old], world: Crowd, now: float,
) -> None:  # fmt: skip
    """Write what is said of projects, the documents, the runs and what is told of them all."""
    begun = min(each.begins for each in old)
    for app in apps.values():
        runs.add_document(connection, "manifest", app.envelope, begun)
    for each in words.PROJECTS:
        view = wire.ProjectView(
            name=each.name, title=each.title, purpose=each.purpose, ethics=each.ethics, link=each.link, by=each.by,
            changed=begun,
        )  # fmt: skip
        projects.describe(connection, view, new=True)
    remember(connection, projects.APPROVED + signers.code.public.hex(), f"run 1, by {words.OPERATOR}")
    last_unit = max(number for _, play in plays.values() for number in play.units)
    last_copy = max(n for _, play in plays.values() for u in play.units.values() for n in u.copies)
    for name, last in (("run", len(plays) + len(old)), ("unit", last_unit), ("replica", last_copy)):
        reserve(connection, name, last)
    for number, (app_envelope, play) in plays.items():
        works.write_play(connection, signers, app_envelope, number, play, now)
    for archived in old:
        _write_old(connection, signers, _main_app(apps, archived.project.name), archived)
    works.write_standings(connection, plays, now)
    told = newcomers(world)
    for number, (_, play) in plays.items():
        told += _told(number, play)
    works.write_events(connection, told)
    deeds.record(connection, begun, words.OPERATOR, "approved", "run 1")
    for row in sorted(told, key=lambda row: row["at"]):
        if row["kind"] in CONTROLLED:
            deeds.record(connection, row["at"], "ada", row["kind"], f"run {row['run_id']}")


def _told(number: int, play: Play) -> list[dict[str, Any]]:
    said: list[tuple[float, str, str, int | None]] = []
    said.append((play.begun, "submitted", f"run {number} ({play.manifest.title}) was submitted", None))
    for each in play.told:
        text = news.PAUSED(run=number) if each.kind == "paused" else each.text
        said.append((each.at, each.kind, text, each.unit))
    if play.finished is not None:
        why = f": {play.reason}" if play.reason else ""
        said.append((play.finished, play.state.value, f"run {number} is {play.state.value}{why}", None))
    return [{"at": at, "kind": kind, "text": text, "run_id": number, "unit_id": unit} for at, kind, text, unit in said]


def _write_old(connection: Connection, signers: Signers, app: App, old: Old) -> None:
    sealed = works.authorised(signers, app.envelope, old.project.name, works.run_key(signers, old.number), old.begins)
    authorisation = runs.add_document(connection, "authorisation", sealed, old.begins)
    row = works.run_row(signers, app.envelope, app.manifest, authorisation, old.number, old.params) | {
        "state": RunState.DONE.value, "step": 1, "created": old.begins, "finished": old.ends,
        "driver_seen": old.ends,
    }  # fmt: skip
    connection.execute(insert(run).values(row))


# -- days -----------------------------------------------------------------------------------------------------------


def _day(connection: Connection, history: History, ledger: Ledger, day: int, now: float) -> None:
    history.day(day, ledger)
    midnight = (day + 1) * DAY_S + CLOSED_S
    if midnight <= now:
        ledger.close(connection, day, midnight)
    else:
        ledger.write(connection)


def _end(connection: Connection, ledger: Ledger, old: list[Old], now: float) -> None:
    """Write the last sums, archive the old runs, and count who was steady."""
    ledger.write(connection, last=True)
    sums: Counter[tuple[int, str]] = Counter()
    for each in old:
        units = max(1, each.copies // 2)
        sums.update({(each.number, "unit.valid"): units, (each.number, "replica.valid"): each.copies})
        name = f"run-{each.number}.jsonl"
        connection.execute(
            insert(archive).values(
                run_id=each.number, file=name, sha256=hashlib.sha256(name.encode()).hexdigest(), units=units,
                replicas=each.copies, volunteers=len(each.people), made=min(each.ends + 1800.0, now),
                cleared=min(each.ends + 1860.0, now),
            )
        )  # fmt: skip
    add_up(connection, sums)
    earned.keep_steadiest(connection, earned.steadiest(connection, now))
    census.keep(connection, census.count(connection, now))
    if connection.dialect.name == "postgresql":
        roles = "api,projector"
        connection.execute(insert(process).values(id=1, roles=roles, started=now - 9 * DAY_S, seen=now - 2.0))
        set_sequences(connection)
