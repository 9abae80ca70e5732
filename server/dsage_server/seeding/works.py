"""The rows of runs that were played: documents and signatures, units, copies, answers, discoveries, what is told."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select

from dsage import codec
from dsage.discoveries import declared
from dsage.states import ReplicaState, RunState
from dsage.trust.documents import Authorisation, Manifest, ResultBatch, SignedResult
from dsage.trust.envelope import Envelope, hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage.wire import Discovered
from dsage_server.seeding.people import DAY_S, host_key
from dsage_server.seeding.play import Copy, Play, Played
from dsage_server.signing import sign_units
from dsage_server.store import discoveries, ids, runs
from dsage_server.store.bulk import insert_rows
from dsage_server.store.schema import (
    answer,
    batch,
    discovery,
    event,
    proof,
    replica,
    run,
    run_step,
    signed_unit,
    standing,
    unit,
)
from dsage_server.store.tallies import add_up

ALLOWED: Final[dict[str, Any]] = {
    "cpu_s": 1e7, "wall_s": 1e8, "memory_bytes": 1 << 34, "disk_bytes": 1 << 34, "output_bytes": 1 << 30,
}  # fmt: skip
AUTHORISED_S: Final = 400 * DAY_S
FATES: Final = (
    (discoveries.PUBLISHED, True),
    (discoveries.CONFIRMED, True),
    (discoveries.PUBLISHED, True),
    (discoveries.PUBLISHED, False),
    (discoveries.CANDIDATE, True),
)
"""What becomes of discoveries, one after the other, and whether they still hold."""
UNSTEADY: Final = frozenset({"eta_s", "seconds_left_on_this_level"})
"""What apps say by the clock of the computer that fills the database, not by that of the made-up world."""


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures the rows bear: a server's id and unit key, and a researcher's code key."""

    server_id: str
    unit: PrivateKey
    code: PrivateKey
    seed: int


def authorised(signers: Signers, app: Envelope, project: str, run_key: str, issued: float) -> Envelope:
    """Return what allows a run of an app."""
    return seal(
        Authorisation(
            server_id=signers.server_id, project=project, run_key=run_key, app=hash_of(app), issued=issued,
            expires=issued + AUTHORISED_S, **ALLOWED,
        ),
        signers.code,
    )  # fmt: skip


def run_row(
    signers: Signers, app: Envelope, manifest: Manifest, authorisation: str, number: int, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the rows of all runs have."""
    return {
        "id": number, "run_key": run_key(signers, number), "project": manifest.project, "title": manifest.title,
        "app": hash_of(app), "authorisation": authorisation, "researcher": signers.code.public,
        "params": codec.encode(dict(params)), "fence": 1, "driver_state": b"", "progress": b"",
    }  # fmt: skip


def run_key(signers: Signers, number: int) -> str:
    """Return the key of a run."""
    return hashlib.sha256(f"{signers.seed}/run/{number}".encode()).hexdigest()[:32]


def write_play(connection: Connection, signers: Signers, app: Envelope, number: int, play: Play, now: float) -> None:
    """Write a run that was played, but for its credit."""
    sealed = authorised(signers, app, play.manifest.project, run_key(signers, number), play.begun)
    authorisation = runs.add_document(connection, "authorisation", sealed, play.begun)
    told = {name: said for name, said in play.function.progress().items() if name not in UNSTEADY}
    row = run_row(signers, app, play.manifest, authorisation, number, play.plan.params) | {
        "state": play.state.value, "step": play.step, "created": play.begun, "finished": play.finished,
        "driver_seen": play.finished or now, "progress": codec.encode(told), "reason": play.reason,
        "result": codec.encode(play.function.result) if play.state is RunState.DONE else None,
    }  # fmt: skip
    connection.execute(insert(run).values(row))
    connection.execute(insert(run_step).values(run_id=number, step=play.step, state=b""))
    _write_units(connection, signers, msgspec.json.decode(sealed.payload, type=Authorisation), number, play, now)
    _write_copies(connection, signers, hash_of(app), number, play)
    _write_discoveries(connection, number, play, now)
    add_up(connection, _counted(number, play))


def _write_units(
    connection: Connection, signers: Signers, allowed: Authorisation, number: int, play: Play, now: float
) -> None:
    played = list(play.units.values())
    rows = [
        {
            "id": each.life.id, "run_id": number, "key": each.new.key, "grp": each.new.group,
            "state": each.life.state.value, "quorum": each.life.quorum, "unsent": each.life.unsent,
            "credit_milli": each.new.credit_milli, "deadline_s": each.new.deadline_s,
            "canonical_id": each.life.canonical, "folded_step": each.folded_step, "reason": each.life.reason,
            "code": each.life.code, "created": each.created, "finished": each.finished,
            "memory_bytes": each.new.memory_bytes, "disk_bytes": each.new.disk_bytes,
            "output_bytes": each.new.output_bytes, "wall_s": each.new.wall_s, "made_step": each.made_step,
        }
        for each in played
    ]  # fmt: skip
    connection.execute(insert(unit), rows)
    signed = sign_units(
        signers.unit, allowed, run_hash_of(allowed), played[0].life.id, [each.new for each in played], now
    )
    first = ids.reserve(connection, "batch", len(signed.batches))
    insert_rows(
        connection, batch, ("id", "envelope", "expires"),
        [(first + n, envelope, signed.expires) for n, envelope in enumerate(signed.batches)],
    )  # fmt: skip
    insert_rows(
        connection, signed_unit, ("unit_id", "document", "batch_id", "leaf_index", "path"),
        [(leaf.unit, leaf.document, first + leaf.batch, leaf.index, leaf.path) for leaf in signed.leaves],
    )  # fmt: skip


def run_hash_of(allowed: Authorisation) -> str:
    """Return the hash by which units name their run."""
    return hashlib.sha256(msgspec.json.encode(allowed)).hexdigest()


def _write_copies(connection: Connection, signers: Signers, app: str, number: int, play: Play) -> None:
    rows: list[dict[str, Any]] = []
    answers: list[tuple[Any, ...]] = []
    proofs: list[tuple[Any, ...]] = []
    said = [(each, copy) for each in play.units.values() for copy in each.copies.values() if copy.value is not None]
    first = ids.reserve(connection, "proof", len(said)) if said else 0
    for each in play.units.values():
        lives = {r.id: r for r in each.life.replicas}
        for copy_id, copy in each.copies.items():
            of = lives[copy_id]
            lease = hashlib.sha256(f"{signers.seed}/lease/{copy_id}".encode()).digest()[:16]
            proof_id = None
            if copy.value is not None:
                proof_id = first + len(proofs)
                proofs.append((proof_id, copy.machine.id, _proven(signers, app, each, copy_id, copy, lease),
                               copy.reported))  # fmt: skip
                if of.camp == copy_id:
                    answers.append((copy_id, copy.value))
            rows.append({
                "id": copy_id, "unit_id": each.life.id, "host_id": of.host, "volunteer_id": of.volunteer,
                "state": of.state.value, "lease": lease, "leased": copy.leased, "deadline": of.deadline,
                "hard_deadline": of.hard_deadline, "cpu_s": copy.cpu_s, "wall_s": copy.wall_s,
                "reported": copy.reported, "reason": copy.reason, "length_s": copy.length_s,
                "value_hash": None if copy.value is None else codec.digest(copy.value), "proof_id": proof_id,
                "camp": of.camp, "proven": of.proof, "share": of.share, "trust": int(of.trust),
            })  # fmt: skip
    if rows:
        connection.execute(insert(replica), rows)
    insert_rows(connection, answer, ("replica_id", "value"), answers)
    insert_rows(connection, proof, ("id", "host_id", "envelope", "received"), proofs)


def _proven(signers: Signers, app: str, played: Played, number: int, copy: Copy, lease: bytes) -> bytes:
    """Return the answer as its computer signs it."""
    key = host_key(signers.seed, copy.machine.id)
    result = SignedResult(
        replica=number, lease=lease, unit=played.life.id, app=app, status="done",
        value=codec.digest(copy.value or b""),
    )  # fmt: skip
    return msgspec.msgpack.encode(seal(ResultBatch(server_id=signers.server_id, key=key.public, results=[result]), key))


def _counted(number: int, play: Play) -> Counter[tuple[int, str]]:
    sums: Counter[tuple[int, str]] = Counter()
    for each in play.units.values():
        sums[number, "unit." + each.life.state] += 1
        for copy in each.life.replicas:
            sums[number, "replica." + copy.state] += 1
    return sums


# -- what was found ---------------------------------------------------------------------------------------------------


def _write_discoveries(connection: Connection, number: int, play: Play, now: float) -> None:
    """Write what the run declared: most was published, some still waits, and one did not hold."""
    found = [*play.discovered, *_factors(play)]
    before = connection.execute(select(func.count()).select_from(discovery)).scalar_one()
    rows = []
    for index, (at, step, said) in enumerate(found, start=before):
        held = play.units[said.unit]
        state, holds = FATES[index % len(FATES)]
        row = {
            "run_id": number, "unit_id": said.unit, "title": said.title,
            "facts": msgspec.json.encode(said.facts, order="sorted").decode(), "check_line": said.check,
            "state": state, "step": step, "declared": at, "confirmed": None, "published": None,
            "proven": bool(held.life.replica(held.life.canonical or 0).proof), "people": "[]", "reason": "",
            "correction": "",
        }  # fmt: skip
        if state != discoveries.CANDIDATE:
            row |= {"confirmed": min(at + 900.0, now), "people": msgspec.json.encode(_finders(held)).decode()}
        if state == discoveries.PUBLISHED:
            row["published"] = min(at + 40_000.0, now)
            play.say(min(at + 40_000.0, now), "discovery", f"a discovery was published: {said.title}")
        if not holds:
            row |= {"step": None, "reason": discoveries.WENT_BACK, "correction": discoveries.WENT_BACK}
        rows.append(row)
    if rows:
        connection.execute(insert(discovery), rows)


def _factors(play: Play) -> Iterator[tuple[float, int, Discovered]]:
    """Declare the factors that a unit's answer gave; the app itself declares none."""
    result = play.function.result
    if not isinstance(result, dict) or "found_by" not in result:
        return
    for prime, number in result["found_by"]:
        digits = len(str(prime))
        if number and digits >= 12 and prime * prime < result["n"]:
            held = play.units[number]
            yield held.finished or play.begun, held.folded_step or 1, declared(
                number, f"A factor of {play.plan.params['n']} with {digits} digits",
                {"factor": str(prime), "digits": digits, "of": str(play.plan.params["n"])},
                f"print({result['n']} % {prime} == 0)",
            )  # fmt: skip


def _finders(held: Played) -> list[int]:
    valid = [r for r in held.life.replicas if r.state is ReplicaState.VALID]
    return [r.volunteer for r in sorted(valid, key=lambda r: (held.copies[r.id].reported or 0.0, r.id))]


# -- what is known of computers, and what is told ---------------------------------------------------------------------


def write_standings(connection: Connection, plays: Mapping[int, tuple[Envelope, Play]], now: float) -> None:
    """Write how computers stand with each app: what others confirmed, and what was found wrong."""
    passed: Counter[tuple[int, str]] = Counter()
    lies: Counter[tuple[int, str]] = Counter()
    for app, play in plays.values():
        name = hash_of(app)
        for each in play.units.values():
            for copy in each.life.replicas:
                passed[copy.host, name] += copy.state is ReplicaState.VALID
                lies[copy.host, name] += copy.state is ReplicaState.INVALID
    rows = [
        {"host_id": host, "app": app, "passed": 0.0 if lies[host, app] else float(passed[host, app]),
         "lies": lies[host, app], "at": now}
        for host, app in sorted(passed.keys() | lies.keys()) if passed[host, app] or lies[host, app]
    ]  # fmt: skip
    connection.execute(insert(standing), rows)


def write_events(connection: Connection, told: list[dict[str, Any]]) -> None:
    """Write what people heard of, in its order."""
    connection.execute(insert(event), sorted(told, key=lambda each: each["at"]))
