"""The tables. Times are Unix seconds (UTC), credit is in thousandths, keys are raw bytes, hashes hexadecimal.

What is written for every copy has no foreign keys: they cost a tenth of a server's rate with SQLite, and PostgreSQL
runs a trigger for each; the life cycle's tests and the audit of `benchmarks/fleet` hold in their place
(docs/decisions/0010).

Migrations under `migrations/` are the truth for existing databases; a test checks that they lead to exactly this.
"""

from __future__ import annotations

from dsage_server.store.schema.base import Id, among, metadata
from dsage_server.store.schema.blobs import blob, blob_piece, blob_ref, blob_sum, blob_upload
from dsage_server.store.schema.credit import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_host,
    credit_house,
    credit_sum,
    credit_team,
    credit_team_daily,
    credit_unfolded,
    house_account,
    ledger_day,
    ledger_span,
    people_sum,
    run_credit,
)
from dsage_server.store.schema.discoveries import discovery
from dsage_server.store.schema.events import NEWS, event
from dsage_server.store.schema.hosts import host
from dsage_server.store.schema.joining import invite, kin, open_link, open_use
from dsage_server.store.schema.logins import passkey, recovery, used_challenge, web_link, web_session
from dsage_server.store.schema.operating import announcement, deed, meta, process
from dsage_server.store.schema.paintings import painted_tile, painting
from dsage_server.store.schema.people import consent, membership, team, volunteer
from dsage_server.store.schema.researchers import api_token, quota, request
from dsage_server.store.schema.runs import archive, aside, document, run, run_step, tally
from dsage_server.store.schema.trust import known, last_word, outlying, standing
from dsage_server.store.schema.units import answer, batch, printed, proof, replica, signed_unit, unit

__all__ = [
    "NEWS",
    "Id",
    "among",
    "announcement",
    "answer",
    "api_token",
    "archive",
    "aside",
    "batch",
    "blob",
    "blob_piece",
    "blob_ref",
    "blob_sum",
    "blob_upload",
    "consent",
    "credit_app",
    "credit_daily",
    "credit_entry",
    "credit_host",
    "credit_house",
    "credit_sum",
    "credit_team",
    "credit_team_daily",
    "credit_unfolded",
    "deed",
    "discovery",
    "document",
    "event",
    "host",
    "house_account",
    "invite",
    "kin",
    "known",
    "last_word",
    "ledger_day",
    "ledger_span",
    "membership",
    "meta",
    "metadata",
    "open_link",
    "open_use",
    "outlying",
    "painted_tile",
    "painting",
    "passkey",
    "people_sum",
    "printed",
    "process",
    "proof",
    "quota",
    "recovery",
    "replica",
    "request",
    "run",
    "run_credit",
    "run_step",
    "signed_unit",
    "standing",
    "tally",
    "team",
    "unit",
    "used_challenge",
    "volunteer",
    "web_link",
    "web_session",
]
