"""A small world to fill a store with: volunteers, runs and units, by the same functions that the server uses."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from dsage import codec, wire
from dsage.trust.documents import Authorisation, Manifest, SignedResult
from dsage.trust.envelope import hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage_server.signing import sign_units
from dsage_server.store import credit, hosts, leases, runs
from dsage_server.store.engine import Store
from dsage_server.store.ids import reserve
from dsage_server.store.leases import Call, Caller
from dsage_server.store.schema import metadata, replica, unit, volunteer
from dsage_server.store.schema import run as run_table

SERVER_ID = "test-server"


class World:
    """Things happen here one after the other, at the time `now` (Unix seconds), which the caller moves."""

    def __init__(self, store: Store, now: float) -> None:
        self.store = store
        self.now = now
        self._key = PrivateKey.generate()
        self._authorisations: dict[int, tuple[Authorisation, str, str]] = {}
        store.write_now(metadata.create_all)

    @property
    def researcher(self) -> bytes:
        """The key of whoever submits."""
        return self._key.public

    def join(self, name: str, *, public: bool = True) -> Caller:
        """A volunteer with one host joins, and calls."""
        key = secrets.token_bytes(32)
        code = self.store.write_now(lambda connection: hosts.make_invite(connection, 1, 60.0, self.now))
        shown = wire.Privacy(leaderboard=public, discoveries=public)
        known = self.store.write_now(lambda connection: hosts.enrol(connection, key, code, shown, self.now))
        self.store.write_now(
            lambda connection: connection.execute(
                update(volunteer).where(volunteer.c.id == known.volunteer).values(pseudonym=name)
            )
        )
        caller = Caller(host=known.host, volunteer=known.volunteer, key=key)
        self.call(caller)
        return caller

    def call(self, caller: Caller) -> None:
        """A host is in contact."""
        self.store.write_now(lambda connection: hosts.note_seen(connection, [(self.now, "", caller.host)]))

    def submit(self, title: str, *, project: str = "example", entry: str = "example:Example", **params: Any) -> int:
        """A researcher submits a run and drives it."""
        manifest = seal(Manifest(project=project, title=title, entry=entry, bundle="0" * 64, bundle_bytes=1), self._key)
        authorisation = Authorisation(
            server_id=SERVER_ID, project=project, run_key=secrets.token_hex(8), app=hash_of(manifest), cpu_s=1e6,
            wall_s=1e6, memory_bytes=1 << 34, disk_bytes=1 << 34, output_bytes=1 << 30, issued=self.now,
            expires=self.now + 1e7,
        )  # fmt: skip
        sealed = seal(authorisation, self._key)
        request = wire.SubmitRun(manifest=manifest, authorisation=sealed, params=codec.encode(params), state=b"")
        made = self.store.write_now(
            lambda connection: runs.create(
                connection, request, msgspec.json.decode(manifest.payload, type=Manifest), authorisation.run_key,
                self._key.public, self.now,
            )
        )  # fmt: skip
        self._authorisations[made.run] = (authorisation, hash_of(sealed), hash_of(manifest))
        self.store.write_now(lambda connection: runs.drive(connection, made.run, self._key.public, self.now))
        return made.run

    def step(
        self, run: int, *, args: Sequence[Any] = (), group: str = "", quorum: int = 2, credit_milli: int = 1000,
        progress: dict[str, Any] | None = None, cancel: Sequence[str] = (), **end: Any,
    ) -> list[int]:  # fmt: skip
        """The driver commits a step; returns the new units. `end`: `finished` and `result`, or `failed`."""
        authorisation, name, _ = self._authorisations[run]
        number = self.store.write_now(lambda connection: _last_step(connection, run)) + 1
        new = [
            wire.NewUnit(
                key=f"{number}.{i}", args=codec.encode(arg), group=group, quorum=quorum, credit_milli=credit_milli
            )
            for i, arg in enumerate(args)
        ]
        first = self.store.write_now(lambda connection: reserve(connection, "unit", len(new)))
        signed = sign_units(self._key, authorisation, name, first, new, self.now) if new else None
        if "result" in end:
            end["result"] = codec.encode(end["result"])
        step = wire.Step(
            fence=1, step=number, units=new, cancel_groups=list(cancel), state=b"",
            progress=codec.encode(progress or {}), **end,
        )  # fmt: skip
        self.store.write_now(
            lambda connection: runs.commit_step(connection, run, self._key.public, step, signed, self.now)
        )
        return list(range(first, first + len(new)))

    def lease(self, caller: Caller, *units: int) -> None:
        """A host fetches copies of units."""
        self._serve(Call(caller=caller, chosen=dict.fromkeys(units, 3600.0)))

    def report(self, caller: Caller, number: int, value: Any = None, *, status: str = "done", detail: str = "") -> None:
        """A host reports the copy of a unit that it holds; the projector folds what was granted."""
        row = self.store.write_now(
            lambda connection: connection.execute(
                select(replica.c.id, replica.c.lease, unit.c.run_id)
                .join(unit, unit.c.id == replica.c.unit_id)
                .where(replica.c.unit_id == number, replica.c.host_id == caller.host)
                .order_by(replica.c.id.desc())
            ).first()
        )
        assert row is not None, "this host has leased no such unit"
        data = codec.encode(value) if status == "done" else None
        signed = SignedResult(
            replica=row.id, lease=row.lease, unit=number, app=self._authorisations[row.run_id][2], status=status,
            value="" if data is None else codec.digest(data), reason="" if data is not None else "exception",
        )  # fmt: skip
        said = wire.Report(replica=row.id, value=data, cpu_s=41.5, detail=detail)
        self._serve(Call(caller=caller, results=[(signed, said)]))
        self.store.write_now(credit.fold)
        self.call(caller)

    def compute(self, number: int, value: Any, *callers: Caller) -> None:
        """Some hosts fetch a unit and report the same answer."""
        for caller in callers:
            self.lease(caller, number)
        for caller in callers:
            self.report(caller, number, value)

    def _serve(self, call: Call) -> None:
        self.store.write_now(lambda connection: leases.serve(connection, [call], self.now, lambda run: False))


def _last_step(connection: Connection, number: int) -> int:
    step: int = connection.execute(select(run_table.c.step).where(run_table.c.id == number)).scalar_one()
    return step
