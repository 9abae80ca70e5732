"""Whether a server's tables fit together, and whether they hold everything that it acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from dsage_server.store import recount
from dsage_server.store.engine import Store

CHUNK: Final = 10_000
_RULES: Final = {
    "units are valid without a canonical answer that is valid": """
        SELECT count(*) FROM unit LEFT JOIN replica ON replica.id = unit.canonical_id AND replica.unit_id = unit.id
        WHERE unit.state = 'valid' AND (replica.id IS NULL OR replica.state <> 'valid')""",
    "units have a canonical answer and are not valid": """
        SELECT count(*) FROM unit WHERE canonical_id IS NOT NULL AND state <> 'valid'""",
    "units are valid with fewer valid copies than their quorum, of hosts that are not trusted alone": """
        SELECT count(*) - (SELECT coalesce(sum(n), 0) FROM tally WHERE what = 'own.ruled')
        FROM (SELECT unit.id FROM unit LEFT JOIN replica ON replica.unit_id = unit.id
        AND replica.state = 'valid' WHERE unit.state = 'valid' GROUP BY unit.id, unit.quorum
        HAVING count(replica.id) < unit.quorum
        AND coalesce(max(CASE WHEN replica.proven OR replica.trust = 2 THEN 1 END), 0) = 0) AS f""",
    "valid copies were not paid": """
        SELECT count(*) FROM replica LEFT JOIN credit_entry ON credit_entry.replica_id = replica.id
        AND credit_entry.kind = 'grant' WHERE replica.state = 'valid' AND credit_entry.id IS NULL""",
    "copies were paid that are not valid": """
        SELECT count(*) FROM credit_entry JOIN replica ON replica.id = credit_entry.replica_id
        LEFT JOIN credit_entry AS taken ON taken.reverses = credit_entry.id
        WHERE credit_entry.kind = 'grant' AND taken.id IS NULL AND replica.state <> 'valid'""",
    "credits went to somebody else than the copy's host and volunteer": """
        SELECT count(*) FROM credit_entry JOIN replica ON replica.id = credit_entry.replica_id
        WHERE credit_entry.host_id <> replica.host_id OR credit_entry.volunteer_id <> replica.volunteer_id""",
    "volunteers have two copies of one unit": """
        SELECT count(*) FROM (SELECT 1 FROM replica WHERE state IN ('leased', 'reported', 'valid', 'invalid')
        GROUP BY unit_id, volunteer_id HAVING count(*) > 1) AS twice""",
    "ready units have no copy to send": "SELECT count(*) FROM unit WHERE state = 'ready' AND unsent < 1",
    "copies are leased without a deadline ahead of their lease": """
        SELECT count(*) FROM replica WHERE state = 'leased' AND NOT deadline > leased""",
    "kept counts of units differ from the tables": """
        SELECT count(*) FROM (SELECT run_id, what, sum(n) AS n FROM tally WHERE what LIKE 'unit.%'
        GROUP BY run_id, what) AS kept LEFT JOIN (SELECT run_id, 'unit.' || state AS what, count(*) AS n
        FROM unit GROUP BY run_id, state) AS found
        ON found.run_id = kept.run_id AND found.what = kept.what WHERE kept.n <> coalesce(found.n, 0)""",
    "kept counts of copies differ from the tables": """
        SELECT count(*) FROM (SELECT run_id, what, sum(n) AS n FROM tally WHERE what LIKE 'replica.%'
        GROUP BY run_id, what) AS kept LEFT JOIN (SELECT run_id, 'replica.' || replica.state AS what, count(*) AS n
        FROM replica JOIN unit ON unit.id = replica.unit_id GROUP BY run_id, replica.state) AS found
        ON found.run_id = kept.run_id AND found.what = kept.what WHERE kept.n <> coalesce(found.n, 0)""",
}
"""What must not be there, and how many of it there are. Where answers disagreed and the server was heard
(`own.ruled`), one copy fewer may decide."""
_LOST: Final = """SELECT count(*) FROM replica WHERE id IN ({}) AND reported IS NOT NULL
    AND state IN ('reported', 'valid', 'invalid', 'redundant')"""


def audit(where: Path | str, acknowledged: Iterable[int] = ()) -> list[str]:
    """Return what is wrong in a database, one sentence each: nothing, one hopes.

    `acknowledged` are replicas whose answers a server said it had: each must stand in the tables.
    """
    store = Store(where)
    try:
        return store.read_now(lambda connection: [*_broken(connection), *_lost(connection, acknowledged)])
    finally:
        store.close()


def _broken(connection: Connection) -> Iterable[str]:
    for rule, query in _RULES.items():
        count = connection.execute(text(query)).scalar_one()
        if count > 0:
            yield f"{count} {rule}"
    for difference in recount.differences(connection):
        yield f"a sum is not that of the ledger: {difference}"


def _lost(connection: Connection, acknowledged: Iterable[int]) -> Iterable[str]:
    numbers = sorted(acknowledged)
    if len(set(numbers)) != len(numbers):
        yield f"{len(numbers) - len(set(numbers))} answers were acknowledged twice"
    lost = 0
    for start in range(0, len(numbers), CHUNK):
        part = set(numbers[start : start + CHUNK])
        found = connection.execute(text(_LOST.format(json.dumps(sorted(part))[1:-1]))).scalar_one()
        lost += len(part) - found
    if lost:
        yield f"{lost} acknowledged answers are not there"
