"""Finished results on their way to the server: kept until it has said what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsage.errors import StorageFull, TooLarge
from dsage.wire import Ack, Holding
from dsage_client.events import Event, Tell
from dsage_client.patience import Patience
from dsage_client.spool import Finished, Spool

ACKS: Final = {
    "ok": ("accepted", "was accepted"),
    "late": ("late", "came after the unit was decided; thank you all the same"),
    "unknown": ("unknown", "is of no lease that the server knows"),
    "refused": ("refused-result", "was refused"),
}
"""Code of an acknowledgement -> kind of event, words for people."""


class Results:
    """What is in the spool, with the words about it for the owner."""

    def __init__(self, spool: Spool, patience: Patience, tell: Tell) -> None:
        self._spool = spool
        self._patience = patience
        self._tell = tell
        self._most = 0

    def batch(self) -> list[Finished]:
        """Return what the next call reports."""
        return self._spool.batch(self._most)

    def holding(self, sending: Sequence[Finished], *, suspended: bool) -> list[Holding]:
        """Return what waits to be reported and is not among what a call sends."""
        sent = {finished.replica for finished in sending}
        return [
            Holding(replica=entry.replica, lease=entry.lease, cpu_s=entry.cpu_s, suspended=suspended)
            for entry in self._spool.waiting()
            if entry.replica not in sent
        ]

    def put(self, finished: Finished) -> None:
        """Keep one; where the disk has no room, in memory."""
        try:
            self._spool.put(finished)
        except StorageFull as error:
            self._patience.say("storage", error.message)

    def settle(self) -> None:
        """Write what could not be kept before, once there is room."""
        if self._spool.full:
            try:
                self._spool.settle()
            except StorageFull as error:
                self._patience.say("storage", error.message)
            else:
                self._tell(Event(kind="storage", text="there is room on the disk again"))

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Forget what the server has heard of, and tell the owner what became of it."""
        for ack in acks:
            finished = self._spool.forget(ack.replica)
            if finished is None:
                continue
            kind, words = ACKS.get(ack.code, ("refused-result", "was not taken"))
            if finished.status != "done":
                kind, words = "told", f"({finished.status}) was reported"
            said = f": {ack.message}" if ack.message else ""
            data = {"unit": finished.unit, "replica": ack.replica, "code": ack.code}
            self._tell(Event(kind=kind, text=f"the result of unit {finished.unit} {words}{said}", data=data))

    def answered(self) -> None:
        """A call got through: the next one may send several again."""
        self._most = 0

    def shrink(self, results: Sequence[Finished], error: TooLarge) -> None:
        """Send one at a time what is too much at once; what is too much by itself has failed."""
        if len(results) != 1:
            self._most = 1
            return
        self.put(
            Finished(
                replica=results[0].replica,
                lease=results[0].lease,
                unit=results[0].unit,
                app=results[0].app,
                status="failed",
                reason=error.code,
                detail=error.message,
                cpu_s=results[0].cpu_s,
                wall_s=results[0].wall_s,
            )
        )
