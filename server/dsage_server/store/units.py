"""Units and replicas between the tables and the pure life cycle: load, apply events, write what changed.

A `Book` holds the units of one transaction: as they were loaded (and locked, where the database has row locks), and
as the life cycle decided. Writing it guards each row by the state that was loaded; the moves themselves are checked
by the table in `dsage.states`. It inserts the credit of each replica that became valid (once, by a unique key), keeps
the tallies, and notes what people would want to hear about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from dsage.states import ReplicaState, RunState, UnitState
from dsage_server.scheduling.resting import rest_s
from dsage_server.sentences import news
from dsage_server.store import blobs, house, standings, tallies
from dsage_server.store.bulk import among_ids, insert_rows, numbers, update_rows
from dsage_server.store.events import note
from dsage_server.store.memberships import teams_of
from dsage_server.store.schema import answer, credit_entry, replica, run, unit, volunteer
from dsage_validator import contest, issuing
from dsage_validator.unit import Replica, Trust, Unit

_STATES: Final = {state.value: state for state in ReplicaState}
_TRUST: Final = {int(trust): trust for trust in Trust}
_UNIT_STATES: Final = {state.value: state for state in UnitState}


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is fixed about a unit; and the state of its run, which gives out work only while that is "running"."""

    run: int
    credit_milli: int
    deadline_s: float
    memory_bytes: int
    disk_bytes: int
    output_bytes: int
    wall_s: float
    project: str
    app: str
    inputs: bool = False
    run_state: str = RunState.RUNNING
    house: bool = False


class Lease(msgspec.Struct, gc=False):
    """What a replica's row holds beside its life."""

    lease: bytes
    leased: float = 0.0
    length_s: float = 0.0
    value_hash: str | None = None


class Reported(msgspec.Struct, gc=False):
    """What came with an answer or a failure. `value` is None if it is not kept, or kept as the blob `blob`."""

    replica: int
    value: bytes | None
    value_hash: str | None
    proof: int
    cpu_s: float
    wall_s: float
    reason: str
    blob: str | None = None


class Changed(msgspec.Struct, frozen=True, gc=False):
    """What a write did to one unit: the scheduler's queue, its records of hosts and the checker live on these."""

    unit: Unit
    was: Unit
    head: Head

    @property
    def run(self) -> int:
        """The unit's run."""
        return self.head.run

    @property
    def ended(self) -> bool:
        """Whether this change was the unit's last."""
        return self.unit.final and not self.was.final


class Book:
    """The units of one transaction. Change `now[number]` by the functions of `life`; then `write`."""

    def __init__(self, connection: Connection, *, lock: bool = True) -> None:
        self.connection = connection
        self.lock = lock
        self.before: dict[int, Unit] = {}
        self.now: dict[int, Unit] = {}
        self.heads: dict[int, Head] = {}
        self.leases: dict[int, Lease] = {}
        self.reported: dict[int, Reported] = {}

    @classmethod
    def of(cls, connection: Connection, wanted: Iterable[int], *, lock: bool = True) -> Book:
        """Return the book of these units; those that do not exist are not in it. Who only reads needs no `lock`."""
        book = cls(connection, lock=lock)
        book.load(wanted)
        return book

    def load(self, wanted: Iterable[int]) -> None:
        """Load (and lock) further units, each with all its replicas."""
        missing = {number for number in wanted if number not in self.before}
        if not missing:
            return
        ids = {"ids": numbers(self.connection, missing)}
        heads = self.connection.execute(_LOCKED if self.lock else _UNITS, ids).all()
        copies: dict[int, list[Replica]] = {row[0]: [] for row in heads}
        for row in self.connection.execute(_REPLICAS, ids).all():
            n, u, v, h, state, soft, hard, camp, proof, partial, share, trust, lease, leased, value = row
            copies[u].append(
                Replica(
                    id=n, volunteer=v, host=h, state=_STATES[state], deadline=soft, hard_deadline=hard, camp=camp,
                    proof=proof, partial=partial, share=share, trust=_TRUST[trust],
                )
            )  # fmt: skip
            self.leases[n] = Lease(lease, leased, value_hash=value)
        for number, quorum, state, unsent, canonical, reason, splits, code, since, retries, adaptive, *head in heads:
            self.before[number] = self.now[number] = Unit(
                id=number, quorum=quorum, state=_UNIT_STATES[state], unsent=unsent, canonical=canonical,
                reason=reason, replicas=tuple(copies[number]), splits=splits, code=code, since=since,
                retries=retries, adaptive=adaptive,
            )  # fmt: skip
            self.heads[number] = Head(*head)

    def write(self, now: float) -> list[Changed]:
        """Write what changed since the units were loaded, and return it."""
        touched = [number for number, unit in self.now.items() if unit is not self.before[number]]
        if not touched:
            return []
        added: list[tuple[Any, ...]] = []
        moved: list[tuple[Any, ...]] = []
        answered: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        codes: list[tuple[Any, ...]] = []
        opened: list[tuple[Any, ...]] = []
        paid: list[tuple[Replica, Head]] = []
        large: list[tuple[int, Reported]] = []
        sums: Counter[tuple[int, str]] = Counter()
        for number in touched:
            old, new, head = self.before[number], self.now[number], self.heads[number]
            known = {r.id: r for r in old.replicas}
            for copy in new.replicas:
                was = known.get(copy.id)
                if was is copy or was == copy:
                    continue
                if was is None:
                    added.append(self._added(number, copy, now))
                elif copy.id in self.reported:
                    answered.append(self._answered(was, copy, now))
                    if self.reported[copy.id].blob is not None:
                        large.append((head.run, self.reported[copy.id]))
                else:
                    moved.append((*_life(copy), copy.id, was.state.value))
                if was is None or was.state is not copy.state:
                    sums[head.run, "replica." + copy.state] += 1
                    if was is not None:
                        sums[head.run, "replica." + was.state] -= 1
                    if copy.state is ReplicaState.VALID:
                        paid.append((copy, head))
            if _standing(new) != _standing(old):
                finished = now if new.final and not old.final else None
                rows.append((new.state.value, new.unsent, new.canonical, new.reason, finished, number, old.state.value))
            if new.state is not old.state:
                sums[head.run, "unit." + new.state] += 1
                sums[head.run, "unit." + old.state] -= 1
                if new.code != old.code:
                    codes.append((new.code, number))
                if old.final and not new.final:
                    opened.append((None, new.since, number))
        update_rows(self.connection, replica, _ANSWERED, answered, guard="state")
        update_rows(self.connection, replica, _MOVED, moved, guard="state")
        insert_rows(self.connection, replica, _ADDED, added)
        update_rows(self.connection, unit, _UNIT, rows, guard="state", once=("finished",))
        update_rows(self.connection, unit, ("code",), codes)
        update_rows(self.connection, unit, ("finished", "since_id"), opened)
        self._free(touched, now)
        self._keep_answers(large, now)
        self._pay(paid, sums, now)
        tallies.add_up(self.connection, sums)
        said = [
            (self.heads[number].app, each)
            for number in touched
            for each in standings.says(self.before[number], self.now[number])
        ]
        if said:
            standings.note(self.connection, said, now)
        changed = [self.entry(number) for number in touched]
        for entry in changed:
            _tell(self.connection, entry, now)
        return changed

    def _keep_answers(self, large: list[tuple[int, Reported]], now: float) -> None:
        """Insert the answers: small ones with their value, large ones as what their runs need of the blobs."""
        values = [(n, entry.value) for n, entry in self.reported.items() if entry.value is not None]
        insert_rows(self.connection, answer, ("replica_id", "value"), values)
        if not large:
            return
        rows = [(entry.replica, b"", entry.blob) for _, entry in large]
        insert_rows(self.connection, answer, ("replica_id", "value", "blob"), rows)
        for number in {number for number, _ in large}:
            hashes = [entry.blob for of, entry in large if of == number and entry.blob]
            blobs.refer(self.connection, number, blobs.OUTPUT, hashes, now)

    def _free(self, touched: list[int], now: float) -> None:
        """Let any process claim the units that want copies again."""
        if not self.connection.info.get("slot"):
            return
        again = [n for n in touched if self.now[n].unsent and not self.before[n].unsent]
        if again:
            update_rows(self.connection, unit, ("claimed_until",), [(self._rest(n, now), n) for n in again])

    def _rest(self, number: int, now: float) -> float | None:
        """Return until when no other process may claim a unit: while it rests where its copy failed."""
        failures = issuing.failures(self.now[number])
        return now + rest_s(failures) if failures > issuing.failures(self.before[number]) else None

    def entry(self, number: int) -> Changed:
        """Return one unit as it was and as it is."""
        return Changed(self.now[number], self.before[number], self.heads[number])

    def _added(self, number: int, copy: Replica, now: float) -> tuple[Any, ...]:
        kept = self.leases[copy.id]
        return (copy.id, number, copy.host, copy.volunteer, copy.state.value, kept.lease, now, copy.deadline,
                copy.hard_deadline, kept.length_s, int(copy.trust))  # fmt: skip

    def _answered(self, was: Replica, copy: Replica, now: float) -> tuple[Any, ...]:
        said = self.reported[copy.id]
        return (
            *_life(copy), said.value_hash, said.proof, said.cpu_s, said.wall_s, now, said.reason, copy.id,
            was.state.value,
        )  # fmt: skip

    def _pay(self, paid: list[tuple[Replica, Head]], sums: Counter[tuple[int, str]], now: float) -> None:
        rows = []
        asked = {head.run for _, head in paid if head.house}
        house_pairs = house.pairs(self.connection, asked) if asked else ()
        in_teams = teams_of(self.connection, {copy.volunteer for copy, _ in paid}) if paid else {}
        for copy, head in paid:
            amount = round(head.credit_milli * copy.share)
            own = (head.run, copy.volunteer) in house_pairs
            rows.append(
                (copy.id, copy.volunteer, copy.host, head.run, head.project, "grant", amount, now, head.app, own,
                 in_teams.get(copy.volunteer))
            )  # fmt: skip
            sums[head.run, "credit"] += 0 if own else amount
        insert_rows(self.connection, credit_entry, _PAID, rows)


def unjudged(connection: Connection) -> list[int]:
    """Return the ids of units that have a reported answer which nobody has judged yet."""
    query = select(replica.c.unit_id).where(replica.c.state == "reported", replica.c.camp.is_(None)).distinct()
    return [row.unit_id for row in connection.execute(query)]


def names_of(connection: Connection, replicas: Iterable[int]) -> dict[int, str]:
    """Return the pseudonyms behind replicas; "a volunteer" for those who have not opted in."""
    rows = connection.execute(_NAMES, {"ids": numbers(connection, replicas)})
    return {row.id: row.pseudonym if row.public else "a volunteer" for row in rows}


def _standing(unit: Unit) -> tuple[Any, ...]:
    return unit.state, unit.unsent, unit.canonical, unit.reason


def _life(copy: Replica) -> tuple[Any, ...]:
    return copy.state.value, copy.camp, copy.proof, copy.partial, copy.share, copy.deadline, int(copy.trust)


def _tell(connection: Connection, changed: Changed, now: float) -> None:
    """Note what people watching the run want to know: disagreement, refusal, a unit given up."""
    new, old = changed.unit, changed.was
    if len(new.replicas) > 1 and not new.final:
        camps = {r.camp for r in new.replicas if r.camp is not None and not r.partial}
        old_camps = {r.camp for r in old.replicas if r.camp is not None and not r.partial}
        if len(camps) > 1 and len(camps) > len(old_camps):
            text = news.DISAGREE(unit=new.id, n=len(camps))
            note(connection, now, "disagreement", text, run=changed.run, unit=new.id)
    if len(contest.contesting(new)) > len(contest.contesting(old)):
        text = news.CONTRADICTED(unit=new.id)
        note(connection, now, "disagreement", text, run=changed.run, unit=new.id)
    lies = [r.id for r in new.replicas if r.state is ReplicaState.INVALID]
    if lies:
        was = {r.id: r.state for r in old.replicas}
        fresh = [number for number in lies if was.get(number) is not ReplicaState.INVALID]
        for number, name in names_of(connection, fresh).items():
            sentence = news.REFUSED if was.get(number) is ReplicaState.VALID else news.UNPAID
            text = sentence(unit=new.id, name=name)
            note(connection, now, "refused", text, run=changed.run, unit=new.id)
    if changed.ended and new.state is UnitState.FAILED:
        text = news.GIVEN_UP(unit=new.id, why=new.reason)
        note(connection, now, "unit-failed", text, run=changed.run, unit=new.id)


_ADDED: Final = (
    "id", "unit_id", "host_id", "volunteer_id", "state", "lease", "leased", "deadline", "hard_deadline", "length_s",
    "trust",
)  # fmt: skip
_MOVED: Final = ("state", "camp", "proven", "partial", "share", "deadline", "trust")
_ANSWERED: Final = (*_MOVED, "value_hash", "proof_id", "cpu_s", "wall_s", "reported", "reason")
_UNIT: Final = ("state", "unsent", "canonical_id", "reason", "finished")
_PAID: Final = (
    "replica_id",
    "volunteer_id",
    "host_id",
    "run_id",
    "project",
    "kind",
    "amount_milli",
    "granted",
    "app",
    "house",
    "team_id",
)

_UNITS = (
    select(
        unit.c.id, unit.c.quorum, unit.c.state, unit.c.unsent, unit.c.canonical_id, unit.c.reason, unit.c.splits,
        unit.c.code, unit.c.since_id, unit.c.retries, unit.c.adaptive, unit.c.run_id, unit.c.credit_milli,
        unit.c.deadline_s, unit.c.memory_bytes, unit.c.disk_bytes, unit.c.output_bytes, unit.c.wall_s, run.c.project,
        run.c.app, unit.c.inputs, run.c.state, house.IS_ASKED,
    )
    .join(run, run.c.id == unit.c.run_id)
    .where(among_ids(unit.c.id))
    .order_by(unit.c.id)
)  # fmt: skip
_LOCKED = _UNITS.with_for_update(of=unit)

_REPLICAS = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.volunteer_id, replica.c.host_id, replica.c.state,
        replica.c.deadline, replica.c.hard_deadline, replica.c.camp, replica.c.proven, replica.c.partial,
        replica.c.share, replica.c.trust, replica.c.lease, replica.c.leased, replica.c.value_hash,
    )
    .where(among_ids(replica.c.unit_id))
    .order_by(replica.c.id)
)  # fmt: skip

_NAMES = (
    select(replica.c.id, volunteer.c.pseudonym, volunteer.c.public)
    .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
    .where(among_ids(replica.c.id))
)
