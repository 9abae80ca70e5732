"""A researcher's control over a run: pause it, let it go on, try failed units again, refuse answers, retire it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dsage import wire
from dsage.errors import Revoked
from dsage.trust.chain import check_dates
from dsage_server.certified import certified_for
from dsage_server.retention.archive import check_settled
from dsage_server.sessions import Session
from dsage_server.store import control, deeds, projects, quotas, reopening, runs, units

if TYPE_CHECKING:
    from dsage_server.hub import Hub


class Control:
    """The requests at one server process. All are for the run's researcher only, and asking twice is asking once."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def pause(self, session: Session, number: int) -> None:
        """Let a run give out no more work; what volunteers have goes on, and its driver folds what comes."""
        now = self.hub.clock()
        await self.hub.run(number)

        def change(connection: Connection) -> None:
            if control.pause(connection, number, session.key, now):
                self.note(connection, session, "paused", number)

        await self.hub.store.write(change)
        self.hub.over(number, paused=True)

    async def resume(self, session: Session, number: int) -> None:
        """Let a paused run go on."""
        now = self.hub.clock()

        def change(connection: Connection) -> None:
            if control.resume(connection, number, session.key, now):
                self.note(connection, session, "resumed", number)

        await self.hub.store.write(change)
        await self.hub.begin(number)

    async def retry(self, session: Session, number: int, chosen: wire.Chosen) -> None:
        """Try failed units again, and let the run go on if it had failed. Raises Revoked if its app was withdrawn."""
        hub, now = self.hub, self.hub.clock()
        info = await hub.run(number)
        if info.app in hub.chain.root.revoked_apps:
            raise Revoked(f"the app version of run {number} was revoked")
        authorisation = await hub.requests.authorisation(info.authorisation)
        check_dates("the run's authorisation", None, authorisation.expires, now)

        def change(connection: Connection) -> list[units.Changed]:
            quotas.check_again(connection, number, session.key, hub.quota)
            tried = control.retry(connection, number, session.key, chosen.units, now)
            self.note(connection, session, "retried", number)
            return tried

        await hub.store.write(change, then=hub.learn)
        await hub.begin(number)

    async def reopen(self, session: Session, number: int, chosen: wire.Chosen) -> None:
        """Refuse the accepted answers of units: others compute them again, and the run takes the old ones back."""
        now = self.hub.clock()

        def change(connection: Connection) -> list[units.Changed]:
            runs.check_owner(connection, number, session.key)
            quotas.check_again(connection, number, session.key, self.hub.quota)
            self.note(connection, session, "refused answers of", number)
            return reopening.reopen(connection, number, chosen.units, now)

        await self.hub.store.write(change, then=self.hub.learn)
        await self.hub.begin(number)

    async def retire(self, session: Session, number: int) -> None:
        """Free what a run that ended keeps here, but its answer and its credit: its rows go into an archive soon."""
        now = self.hub.clock()

        def change(connection: Connection) -> None:
            if control.retire(connection, number, session.key, now):
                self.note(connection, session, "retired", number)
            check_settled(connection, number, now)

        await self.hub.store.write(change)
        self.hub.retired.set()

    async def approve(self, session: Session, number: int) -> None:
        """Let a new researcher's first run go on. Raises NotAllowed unless the key is certified for its project."""
        project, now = (await self.hub.run(number)).project, self.hub.clock()
        known = certified_for(self.hub.chain, session.key, project, now)

        def change(connection: Connection) -> None:
            if projects.approve(connection, number, session.key, known.name, now):
                self.note(connection, session, "approved", number)

        await self.hub.store.write(change)
        await self.hub.begin(number)

    def note(self, connection: Connection, session: Session, did: str, number: int) -> None:
        """Write into the audit log what a researcher did to a run, in the transaction that does it."""
        names = {known.key: known.name for known in self.hub.chain.root.code_keys}
        deeds.record(connection, self.hub.clock(), names.get(session.key, "a researcher"), did, f"run {number}")
