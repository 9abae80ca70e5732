"""Runs: created once per key, driven by steps that commit results folded, new state and new units together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from dsage import wire
from dsage.errors import Conflict, NotAllowed, NotFound
from dsage.states import OPEN_RUNS, OPEN_UNITS, RunState, move
from dsage.trust.documents import Manifest
from dsage.trust.envelope import Envelope, hash_of
from dsage_server.scheduling.terms import RunTerms
from dsage_server.sentences import news
from dsage_server.signing import SignedUnits
from dsage_server.store import blobs, discoveries, ids, standings, steps, tallies, units
from dsage_server.store import known as known_units
from dsage_server.store.blobs import INPUT
from dsage_server.store.bulk import LOAD_CHUNK, among_ids, insert_rows, known_keys, numbers
from dsage_server.store.dialect import upsert
from dsage_server.store.events import note
from dsage_server.store.schema import among, batch, document, run, signed_unit, unit
from dsage_validator import life

MAX_SIGNATURES: Final = 8
"""Older ones kept of one document: enough for a lost key's successor and for researchers who share an app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What the server keeps at hand about a run: everything here is fixed when the run is made."""

    id: int
    project: str
    app: str
    authorisation: str
    researcher: bytes
    manifest: Manifest
    priority: int = 0
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def terms(self) -> RunTerms:
        """What scheduling goes by."""
        homogeneous = self.manifest.homogeneous is True
        rule, perturbs = self.manifest.rule is not None or homogeneous, self.manifest.perturbs
        read = [name for name, needed in ((wire.AGREEMENT, rule), (wire.PERTURBED, perturbs)) if needed]
        return RunTerms(
            run=self.id, project=self.project, researcher=self.researcher, priority=self.priority,
            packages=frozenset(self.manifest.needs), platforms=self.platforms, tags=frozenset(self.tags),
            proves=self.manifest.has_verify, features=frozenset(read), homogeneous=homogeneous,
        )  # fmt: skip

    @property
    def has_check(self) -> bool:
        """Whether more than equal bytes decides: the validator judges by the app's rule or its own functions."""
        return self.manifest.judges


def add_document(connection: Connection, kind: str, envelope: Envelope, now: float) -> str:
    """Store a signed document under the hash of its payload; the signatures of another key are added to those there."""
    name = hash_of(envelope)
    known = connection.execute(select(document.c.envelope).where(document.c.hash == name)).scalar()
    if known is not None:
        old = [s for s in msgspec.msgpack.decode(known, type=Envelope).signatures if s not in envelope.signatures]
        signatures = [*envelope.signatures, *old[:MAX_SIGNATURES]]
        envelope = Envelope(envelope.payload_type, envelope.payload, signatures)
    encoded = msgspec.msgpack.encode(envelope)
    if encoded != known:
        statement = upsert(connection, document).values(hash=name, kind=kind, envelope=encoded, created=now)
        connection.execute(statement.on_conflict_do_update(index_elements=["hash"], set_={"envelope": encoded}))
    return name


def create(
    connection: Connection, request: wire.SubmitRun, manifest: Manifest, run_key: str, researcher: bytes, now: float
) -> wire.RunCreated:
    """Create a run; the same run key again returns the run that exists."""
    found = connection.execute(select(run.c.id, run.c.researcher).where(run.c.run_key == run_key)).first()
    if found is not None:
        if found.researcher != researcher:
            raise Conflict("another researcher has used this run key")
        return wire.RunCreated(run=found.id, created=False)
    app = add_document(connection, "manifest", request.manifest, now)
    authorisation = add_document(connection, "authorisation", request.authorisation, now)
    number = connection.execute(
        insert(run)
        .values(
            id=ids.reserve(connection, "run", 1), run_key=run_key, project=manifest.project, title=manifest.title,
            app=app, authorisation=authorisation, researcher=researcher, params=request.params,
            state=RunState.RUNNING.value, fence=0, step=0,
            driver_state=request.state, progress=b"", created=now, priority=request.priority,
            platforms=_text(request.platforms), tags=_text(request.tags), hosted=request.hosted,
        )
        .returning(run.c.id)
    ).scalar_one()  # fmt: skip
    note(connection, now, "submitted", news.SUBMITTED(run=number, title=manifest.title), run=number)
    return wire.RunCreated(run=number, created=True)


def info(connection: Connection, number: int) -> RunInfo:
    """Return what is fixed about a run; raises NotFound."""
    row = connection.execute(
        select(
            run.c.project,
            run.c.app,
            run.c.authorisation,
            run.c.researcher,
            run.c.priority,
            run.c.platforms,
            run.c.tags,
            document.c.envelope,
        )
        .join(document, document.c.hash == run.c.app)
        .where(run.c.id == number)
    ).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    envelope = msgspec.msgpack.decode(row.envelope, type=Envelope)
    manifest = msgspec.json.decode(envelope.payload, type=Manifest)
    return RunInfo(
        id=number, project=row.project, app=row.app, authorisation=row.authorisation,
        researcher=row.researcher, manifest=manifest, priority=row.priority,
        platforms=msgspec.json.decode(row.platforms, type=tuple[str, ...]),
        tags=msgspec.json.decode(row.tags, type=tuple[str, ...]),
    )  # fmt: skip


def find_document(connection: Connection, name: str) -> Envelope:
    """Return a stored envelope by the hash of its payload; raises NotFound."""
    data = connection.execute(select(document.c.envelope).where(document.c.hash == name)).scalar()
    if data is None:
        raise NotFound("there is no such document")
    return msgspec.msgpack.decode(data, type=Envelope)


def check_owner(connection: Connection, number: int, researcher: bytes) -> None:
    """Raise NotFound or NotAllowed unless the run is this researcher's."""
    _owned(connection, number, researcher)


def check_driver(connection: Connection, number: int, researcher: bytes, fence: int) -> None:
    """Raise Conflict unless the fence is that of the run's present driver."""
    if _owned(connection, number, researcher).fence != fence:
        raise _other_driver(number)


def see_driver(connection: Connection, number: int, researcher: bytes, fence: int, now: float) -> None:
    """Note that a run's driver is there. Raises Conflict for an older fence."""
    check_driver(connection, number, researcher, fence)
    connection.execute(update(run).where(run.c.id == number).values(driver_seen=now))


def drive(connection: Connection, number: int, researcher: bytes, now: float) -> wire.Drive:
    """Make the caller the driver: the new fence shuts out every older one."""
    row = _owned(connection, number, researcher, lock=True)
    connection.execute(update(run).where(run.c.id == number).values(fence=row.fence + 1, driver_seen=now))
    return standing(connection, number)


def standing(connection: Connection, number: int) -> wire.Drive:
    """Return where a run stands, as its driver needs to know it."""
    row = connection.execute(select(run).where(run.c.id == number)).one()
    envelope = connection.execute(select(document.c.envelope).where(document.c.hash == row.app)).scalar_one()
    return wire.Drive(
        fence=row.fence, step=row.step, state=row.driver_state, state_of_run=row.state, params=row.params,
        manifest=msgspec.msgpack.decode(envelope, type=Envelope), open_units=tallies.open_units(connection, number),
    )  # fmt: skip


def may_step(connection: Connection, number: int, researcher: bytes, step: wire.Step) -> bool:
    """Whether this step is the next one; False if it stands already. Raises Conflict for an older fence."""
    return _follows(_owned(connection, number, researcher), step)


def inputs_of(step: wire.Step) -> set[str]:
    """Return the hashes of all inputs of a step's units."""
    return {sha256 for entry in step.units for sha256 in entry.inputs.values()}


def commit_step(
    connection: Connection, number: int, researcher: bytes, step: wire.Step, signed: SignedUnits | None, now: float
) -> list[units.Changed]:
    """Commit one step: results folded and taken back, units made, groups cancelled, state and end, all or nothing.

    Raises Conflict (Reopened if an answer that it rests on does not hold any more), and NotFound for an input that is
    not among the blobs any more.
    """
    row = _owned(connection, number, researcher, lock=True)
    if not _follows(row, step):
        return []
    steps.rest(connection, number, step)
    if step.discoveries:
        discoveries.declare(connection, number, step, now)
    by_step = None if step.failed else step.step
    changed = cancel_groups(connection, number, step.cancel_groups, now, step=by_step)
    if signed is not None:
        blobs.refer(connection, number, INPUT, inputs_of(step), now)
        changed += _insert_units(connection, row, step, signed, now)
    steps.keep(connection, number, row.step, row.driver_state)
    values: dict[str, Any] = {
        "step": step.step, "driver_state": step.state, "driver_seen": now, "progress": step.progress,
    }  # fmt: skip
    connection.execute(update(run).where(run.c.id == number).values(**values))
    if step.finished:
        changed += end(connection, number, RunState.DONE, "", now, step.result)
    elif step.failed:
        changed += end(connection, number, RunState.FAILED, step.failed, now, None)
    return changed


def end(
    connection: Connection, number: int, state: RunState, reason: str, now: float, result: bytes | None
) -> list[units.Changed]:
    """End a run; units that are still open are cancelled.

    A run that had ended before, and was taken up again because an answer did not hold, is told to be corrected.
    """
    query = select(run.c.state, run.c.result).where(run.c.id == number).with_for_update(key_share=True)
    current, before = connection.execute(query).one()
    connection.execute(
        update(run)
        .where(run.c.id == number)
        .values(state=move(RunState(current), state).value, finished=now, reason=reason, result=result)
    )
    text = news.ENDED_BECAUSE[state](run=number, why=reason) if reason else news.ENDED[state](run=number)
    note(connection, now, state.value, text, run=number)
    if before is not None and state is RunState.DONE:
        sentence = news.CORRECTED if result != before else news.CONFIRMED
        note(connection, now, "corrected", sentence(run=number), run=number)
    return cancel_groups(connection, number, None, now)


def fail(connection: Connection, number: int, reason: str, now: float) -> list[units.Changed]:
    """End a run as failed; one that has ended already stays as it is."""
    if not unfinished(connection, run.c.id == number):
        return []
    return end(connection, number, RunState.FAILED, reason, now, None)


def cancel_groups(
    connection: Connection, number: int, groups: Sequence[str] | None, now: float, *, step: int | None = None
) -> list[units.Changed]:
    """Cancel the open units of some groups of a run, or (None) of all of it; `step` is the one that says so."""
    if groups is not None and not groups:
        return []
    query = select(unit.c.id, unit.c.grp).where(unit.c.run_id == number, among(unit.c.state, OPEN_UNITS))
    if groups is not None and len(groups) <= LOAD_CHUNK:
        query = query.where(unit.c.grp.in_(list(groups)))
    wanted = None if groups is None else set(groups)
    found = [row.id for row in connection.execute(query) if wanted is None or row.grp in wanted]
    book = units.Book.of(connection, found)
    checked = info(connection, number).has_check if found else False
    for unit_id, current in book.now.items():
        book.now[unit_id] = life.cancel(current, checked=checked)
    if found and step is not None:
        connection.execute(_CANCELLED_BY, {"ids": numbers(connection, found), "b_step": step})
    return book.write(now)


def running(connection: Connection) -> list[int]:
    """Return the ids of the runs that give out work."""
    return list(connection.execute(select(run.c.id).where(run.c.state == RunState.RUNNING.value)).scalars())


def paused(connection: Connection) -> list[int]:
    """Return the ids of the runs that are paused."""
    return list(connection.execute(select(run.c.id).where(run.c.state == RunState.PAUSED.value)).scalars())


def unfinished(connection: Connection, where: ColumnElement[bool]) -> list[int]:
    """Return the ids of those runs that have not ended, paused ones too, which fulfil a condition."""
    return list(connection.execute(select(run.c.id).where(among(run.c.state, OPEN_RUNS), where)).scalars())


def _text(names: Sequence[str]) -> str:
    return msgspec.json.encode(sorted(set(names))).decode()


def _owned(connection: Connection, number: int, researcher: bytes, *, lock: bool = False) -> Any:
    query = select(run).where(run.c.id == number)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    if row.researcher != researcher:
        raise NotAllowed(f"run {number} belongs to another researcher")
    return row


def _follows(row: Any, step: wire.Step) -> bool:
    if step.fence != row.fence:
        raise _other_driver(row.id)
    if step.step <= row.step:
        return False
    if row.state not in OPEN_RUNS:
        raise Conflict(f"run {row.id} is {row.state}")
    if step.step != row.step + 1:
        raise Conflict(f"step {step.step} cannot follow step {row.step}")
    return True


def _other_driver(number: int) -> Conflict:
    return Conflict(f"run {number} has another driver now", hint=f"`dsage watch {number}` shows it.")


def _insert_units(
    connection: Connection, of: Any, step: wire.Step, signed: SignedUnits, now: float
) -> list[units.Changed]:
    """Insert signed units; a key that the run has already is skipped, so nothing is made twice.

    A unit that a replay put aside, and that is the same work, comes in place of a new one.
    """
    number, new = of.id, step.units
    known = known_keys(connection, number, [entry.key for entry in new])
    adopted = steps.adopt(connection, number, [entry for entry in new if entry.key not in known], step.step)
    again = steps.opened_again(connection, adopted.values(), now) if adopted else []
    known |= adopted.keys()
    first = connection.info["ids"].take(connection, "batch", len(signed.batches)).start
    sealed = [(first + n, envelope, signed.expires) for n, envelope in enumerate(signed.batches)]
    insert_rows(connection, batch, ("id", "envelope", "expires"), sealed)
    adapts = any(entry.adaptive for entry in new) and standings.enough(connection)
    rows: list[tuple[Any, ...]] = []
    leaves: list[tuple[Any, ...]] = []
    made: list[units.Changed] = []
    for entry, leaf in zip(new, signed.leaves, strict=True):
        if entry.key in known:
            continue
        known.add(entry.key)
        fresh = life.created(
            leaf.unit, entry.quorum, splits=entry.splits, retries=entry.retries,
            adaptive=adapts and entry.adaptive and entry.quorum > 1,
        )  # fmt: skip
        rows.append(
            (leaf.unit, number, entry.key, entry.group, "ready", entry.quorum, fresh.unsent, entry.credit_milli,
             entry.deadline_s, entry.memory_bytes, entry.disk_bytes, entry.output_bytes, entry.wall_s, "", now,
             bool(entry.inputs), entry.splits, step.step, entry.retries, fresh.adaptive)
        )  # fmt: skip
        leaves.append((leaf.unit, leaf.document, first + leaf.batch, leaf.index, leaf.path))
        head = units.Head(
            number, entry.credit_milli, entry.deadline_s, entry.memory_bytes, entry.disk_bytes, entry.output_bytes,
            entry.wall_s, of.project, of.app, bool(entry.inputs), of.state,
        )  # fmt: skip
        made.append(units.Changed(fresh, fresh, head))
    insert_rows(connection, unit, _NEW, rows)
    insert_rows(connection, signed_unit, ("unit_id", "document", "batch_id", "leaf_index", "path"), leaves)
    tallies.add_up(connection, Counter({(number, "unit.ready"): len(rows)}))
    if signed.known:
        known_units.keep(connection, number, signed.known, first, now)
    return made + again


_NEW: Final = (
    "id", "run_id", "key", "grp", "state", "quorum", "unsent", "credit_milli", "deadline_s", "memory_bytes",
    "disk_bytes", "output_bytes", "wall_s", "reason", "created", "inputs", "splits",
    "made_step", "retries", "adaptive",
)  # fmt: skip

_CANCELLED_BY = update(unit).where(among_ids(unit.c.id)).values(folded_step=bindparam("b_step"))
