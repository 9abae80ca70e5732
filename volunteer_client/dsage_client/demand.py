"""How much work a client asks one server for now, and how much it hands back."""

from __future__ import annotations

from dsage_client import policy
from dsage_client.gate import Gate
from dsage_client.guest.reasons import Work
from dsage_client.patience import Patience
from dsage_client.session import Session
from dsage_client.slots import Slots
from dsage_client.spool import Spool


class Demand:
    """What `policy` says of what this computer holds, of its gate, and of what the server said last."""

    def __init__(self, session: Session, gate: Gate, slots: Slots, spool: Spool, patience: Patience) -> None:
        self._session = session
        self._gate = gate
        self._slots = slots
        self._spool = spool
        self._patience = patience

    @property
    def shut(self) -> bool:
        """Whether no work may be fetched now, whatever there is."""
        standing = self._gate.standing
        return standing.work is not Work.RUN or not standing.fetch

    @property
    def units(self) -> int:
        """How many further units to ask for."""
        if self._patience.idle_s or self.shut or self._session.stale:
            return 0
        return policy.want(
            slots=self._gate.slots(self._session.server_id),
            held=len(self._slots),
            mean_unit_s=self._slots.unit_s,
            storage_full=self._spool.full or self._spool.crowded,
        )

    @property
    def surplus(self) -> int:
        """How many units to hand back that have not begun."""
        if self._gate.standing.work is Work.FINISH:
            return len(self._slots)
        server = self._session.server_id
        return policy.surplus(
            slots=self._gate.slots(server),
            held=len(self._slots),
            mean_unit_s=self._slots.unit_s,
            tight=self._gate.tight(server),
        )
