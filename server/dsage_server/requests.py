"""The requests of researchers' programs, free of HTTP: runs made, driven, stepped, paused and ended.

What a request changes is committed first; then the queue and the waiting calls learn of it; then the caller gets its
answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection

from dsage import wire
from dsage.bundle import MAX_BUNDLE_BYTES
from dsage.errors import Busy, SandboxRefused, TooLarge
from dsage.states import OPEN_RUNS, RunState
from dsage.trust.chain import check_dates
from dsage.trust.documents import Authorisation
from dsage.trust.envelope import hash_of
from dsage_server.blobs import answers
from dsage_server.sessions import DRIVER, Session
from dsage_server.signing import SignedUnits, parted, sign_units
from dsage_server.store import blobs, hosting, known, projects, quotas, reopening, runs, unfolded, units
from dsage_server.store.meta import recall

if TYPE_CHECKING:
    from dsage_server.hub import Hub

TOUCH_S: Final = 20.0
"""How often a driver's presence is written down, while it calls."""
MAX_NEW_UNITS: Final = 10_000
"""Units of one step: what a transaction takes without keeping others waiting."""


class Requests:
    """The requests of researchers at one server process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._authorisations: dict[str, Authorisation] = {}
        self._drivers: dict[int, float] = {}

    async def store_bundle(self, sha256: str, data: bytes) -> None:
        """Keep a bundle by its hash; keeping it again changes nothing."""
        if len(data) > MAX_BUNDLE_BYTES:
            raise TooLarge(f"a bundle of {len(data)} bytes; at most {MAX_BUNDLE_BYTES} are taken")
        await self.hub.blobs.keep(sha256, data)

    async def submit(self, session: Session, request: wire.SubmitRun) -> wire.RunCreated:
        """Create a run whose app and authorisation this server's root certifies."""
        now = self.hub.clock()
        manifest = self.hub.chain.manifest(request.manifest, now)
        app = hash_of(request.manifest)
        authorisation = self.hub.chain.authorisation(request.authorisation, manifest, app, now)
        if (
            manifest.needs_box
            and not self.hub.can_check
            and await self.hub.store.read(lambda c: recall(c, "checks")) != "on"
        ):
            raise SandboxRefused("this server has no sandbox for the checks that this app brings along")
        if request.hosted:
            await self._check_hosting()

        def change(connection: Connection) -> wire.RunCreated:
            quotas.check_run(connection, authorisation.run_key, session.key, self.hub.quota)
            created = runs.create(connection, request, manifest, authorisation.run_key, session.key, now)
            blobs.refer(connection, created.run, "bundle", [manifest.bundle], now)
            if created.created and self.hub.approve_first_runs:
                projects.ask(connection, created.run, session.key, now)
            return created

        made = await self.hub.store.write(change)
        if request.hosted:
            self.hub.waiting.call(hosting.HOSTED)
        return made

    async def host(self, session: Session, number: int) -> None:
        """Let the server drive a run, in place of whoever does."""
        await self._check_hosting()
        await self.hub.store.write(lambda c: hosting.host(c, number, session.key, self.hub.clock()))
        self.hub.waiting.call(hosting.HOSTED)
        self.hub.tell(number)

    async def _check_hosting(self) -> None:
        if await self.hub.store.read(lambda c: recall(c, hosting.REMEMBERED)) != "on":
            raise SandboxRefused(
                "this server has no sandbox to host drivers in",
                hint="Drive the run from your own computer: leave --hosted out, or `dsage attach ID`.",
            )

    async def drive(self, session: Session, number: int) -> wire.Drive:
        """Hand a run to the caller: older drivers are shut out. The server drives no run that its researcher took."""
        by_server, now = session.role == DRIVER, self.hub.clock()

        def change(connection: Connection) -> wire.Drive:
            drive = runs.drive(connection, number, session.key, now)
            hosting.taken_over(connection, number, by_server=by_server, now=now)
            return drive

        drive = await self.hub.store.write(change)
        self.hub.tell(number)
        return drive

    async def step(self, session: Session, number: int, step: wire.Step) -> wire.StepReply:
        """Commit one step of a run."""
        if len(step.units) > MAX_NEW_UNITS:
            raise TooLarge(
                f"{len(step.units)} units in one step; at most {MAX_NEW_UNITS} are taken",
                hint="Make them over several steps: units() is pulled as volunteers need more.",
            )
        info = await self.hub.run(number)
        now = self.hub.clock()
        fresh, sizes = await self.hub.store.read(
            lambda c: (runs.may_step(c, number, session.key, step), blobs.sizes(c, runs.inputs_of(step)))
        )
        count = len(step.units) if fresh else 0

        async with self.hub.allowances.taking(session.key, "open_units", count):
            signed = await self._signed(info, step.units, sizes, now) if count else None
            told = [leaf.unit for _, leaf in signed.known] if signed else []

            def change(connection: Connection) -> list[units.Changed]:
                return runs.commit_step(connection, number, session.key, step, signed, now)

            await self.hub.store.write(change, then=self.hub.learn)
            for known_unit in told:
                self.hub.known.put(known_unit, number)
        if step.finished or step.failed:
            self.hub.over(number)
        if step.discoveries:
            self.hub.discovered.set()
        return wire.StepReply(step=step.step, hungry=self.hub.hungry())

    async def _signed(
        self, info: runs.RunInfo, new: list[wire.NewUnit], sizes: Mapping[str, int], now: float
    ) -> SignedUnits:
        """Return new units of a run, numbered and signed. Raises TrustError if the run's authorisation has run out."""
        authorisation = await self.authorisation(info.authorisation)
        check_dates("the run's authorisation", None, authorisation.expires, now)
        again = await self._known(info, new)
        mixed, places = known.mixed(new, again)
        if again:
            inputs = {sha256 for entry in mixed for sha256 in entry.inputs.values()}
            sizes = await self.hub.store.read(lambda c: blobs.sizes(c, inputs))
        numbers = await self.hub.store.write(lambda c: c.info["ids"].take(c, "unit", len(mixed)))
        signed = await asyncio.to_thread(
            sign_units, self.hub.unit_key, authorisation, info.authorisation, numbers.start, mixed, now, sizes
        )
        return parted(signed, places)

    async def _known(self, info: runs.RunInfo, new: list[wire.NewUnit]) -> dict[int, wire.NewUnit]:
        """Return the units to be made once more with new ones, whose answer is known."""
        most = known.wanted(new, info.manifest)
        return await self.hub.store.read(lambda c: known.pick(c, info.id, most)) if most else {}

    async def replay(self, session: Session, number: int, fence: int) -> wire.Drive:
        """Take a run back to before the first folded answer that does not hold any more."""
        now = self.hub.clock()

        def told(done: tuple[wire.Drive, list[units.Changed]]) -> None:
            self.hub.learn(done[1])

        drive, _ = await self.hub.store.write(lambda c: reopening.replay(c, number, session.key, fence, now), then=told)
        self.hub.tell(number)
        return drive

    async def answers(self, session: Session, number: int, fence: int, wait_s: float, hungry: bool) -> wire.Answers:
        """Return what a driver can fold; hold the call until there is something or volunteers are hungry.

        Raises Busy, with a time to come back, if too many calls are held.
        """
        now = self.hub.ticks()
        ends = now + min(max(wait_s, 0.0), wire.MAX_WAIT_S)
        if now - self._drivers.get(number, -math.inf) > TOUCH_S:
            await self.hub.store.write(lambda c: runs.see_driver(c, number, session.key, fence, self.hub.clock()))
            self._drivers[number] = now

        def query(connection: Connection) -> wire.Answers:
            runs.check_driver(connection, number, session.key, fence)
            return unfolded.answers(connection, number)

        while True:
            since = self.hub.waiting.moment()
            found = await self.hub.store.read(query)
            await answers.fill(self.hub.blobs, found)
            left = ends - self.hub.ticks()
            paused = found.state_of_run == RunState.PAUSED
            found.hungry = 0 if paused else self.hub.hungry()
            ended = found.state_of_run not in OPEN_RUNS or not found.open_units
            if found.answers or found.retracted or ended or (hungry and found.hungry) or left <= 0 or self.hub.closing:
                return found
            if hungry and not paused:
                self.hub.hungry_drivers.add(number)
            with self.hub.pressure.hold() as granted:
                if not granted:
                    raise Busy(
                        "this server holds as many calls as it can", retry_s=self.hub.pressure.retry_s(idle=True)
                    )
                await self.hub.waiting.wait(("run", number), left, since=since)

    async def cancel(self, session: Session, number: int) -> None:
        """Cancel a run and everything of it that is open."""
        now = self.hub.clock()

        def change(connection: Connection) -> list[units.Changed]:
            runs.check_owner(connection, number, session.key)
            self.hub.control.note(connection, session, "cancelled", number)
            return runs.end(connection, number, RunState.CANCELLED, "cancelled by its researcher", now, None)

        await self.hub.store.write(change, then=self.hub.learn)
        self.hub.over(number)

    async def authorisation(self, name: str) -> Authorisation:
        """Return a run's authorisation, by the hash of its payload."""
        if name not in self._authorisations:
            envelope = await self.hub.document(name)
            self._authorisations[name] = msgspec.json.decode(envelope.payload, type=Authorisation)
        return self._authorisations[name]
