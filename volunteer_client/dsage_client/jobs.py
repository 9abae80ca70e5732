"""A held unit on its way through this computer, from its lease to what is said of its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsage.errors import TrustError
from dsage.trust.documents import UnitDocument
from dsage.trust.envelope import parse
from dsage_client.held import Checkpoint, Lease
from dsage_client.library import Proven
from dsage_client.spool import Finished


@dataclass(slots=True, kw_only=True)
class Job:
    """A held lease on its way. `cpu_s` is how far its child has come, over all its lives.

    `output` is the end of what it has printed and `heard` what of that the server was told; `tell_at` is when it is to
    hear of more at the latest.
    """

    lease: Lease
    unit: int
    app: str
    checkpoint: Checkpoint | None
    saved_at: float = float("-inf")
    cpu_s: float = 0.0
    output: bytes = b""
    heard: bytes = b""
    tell_at: float | None = None
    proven: Proven | None = None
    inputs: dict[str, Path] = field(default_factory=dict)
    started: float | None = None
    fraction: float | None = None
    shows: dict[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def names(self) -> dict[str, int | str]:
        """By what events about it name it."""
        return {"unit": self.unit, "replica": self.lease.replica}

    def finished(
        self,
        status: str,
        *,
        value: bytes | None = None,
        reason: str = "",
        detail: str = "",
        cpu_s: float = 0.0,
        wall_s: float = 0.0,
    ) -> Finished:
        """Return what its server is told of its end."""
        return Finished(
            replica=self.lease.replica,
            lease=self.lease.lease,
            unit=self.unit,
            app=self.app,
            status=status,
            value=value,
            reason=reason,
            detail=detail,
            cpu_s=cpu_s,
            wall_s=wall_s,
            output=self.output,
            project="" if self.proven is None else self.proven.manifest.project,
        )


def claimed(lease: Lease) -> tuple[int, str]:
    """Return the unit and app that a lease claims to be of, unchecked: to name it when it is refused."""
    try:
        unit = parse(lease.document, UnitDocument)
    except TrustError:
        return 0, ""
    return unit.unit, unit.app
