"""What copies of units printed: kept for their researcher to read, and no part of any answer."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from dsage.wire import MAX_OUTPUT
from dsage_server.store.bulk import put_rows
from dsage_server.store.schema import printed


def keep(connection: Connection, told: Sequence[tuple[int, bytes]]) -> None:
    """Keep the end of what copies printed, by their ids; what is told later replaces what was told before."""
    rows = [(copy, output[-MAX_OUTPUT:]) for copy, output in sorted(dict(told).items())]
    put_rows(connection, printed, ("replica_id", "output"), rows, keys=("replica_id",))
