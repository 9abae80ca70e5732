"""The tables. Times are Unix seconds (UTC), credit is in thousandths, keys are raw bytes, hashes hexadecimal.

What is written for every copy has no foreign keys: they cost a tenth of a server's rate with SQLite, and PostgreSQL
runs a trigger for each; the life cycle's tests and the audit of `benchmarks/fleet` hold in their place
(docs/decisions/0010).

Migrations under `migrations/` are the truth for existing databases; a test checks that they lead to exactly this.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    literal_column,
    text,
)

from dsage.states import HOLDS_PLACE, OPEN_UNITS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

volunteer = Table(
    "volunteer",
    metadata,
    Column("id", Id, primary_key=True),
    Column("pseudonym", String, nullable=False, unique=True),
    Column("public", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("gone", Float),
    Column("verifiable_only", Boolean, nullable=False, server_default=false()),
    Column("team_id", Id),
    Column("team_since", Float),
    Column("exported", Boolean, nullable=False, server_default=false()),
    Column("withdrawn", Float),
    Column("country", String, nullable=False, server_default=""),
    Column("devices", Boolean, nullable=False, server_default=false()),
    Index(
        "ix_volunteer_team",
        "team_id",
        sqlite_where=text("team_id IS NOT NULL"),
        postgresql_where=text("team_id IS NOT NULL"),
    ),
    Index(
        "ix_volunteer_withdrawn",
        "withdrawn",
        sqlite_where=text("withdrawn IS NOT NULL"),
        postgresql_where=text("withdrawn IS NOT NULL"),
    ),
    Index(
        "ix_volunteer_gone", "gone", sqlite_where=text("gone IS NOT NULL"), postgresql_where=text("gone IS NOT NULL")
    ),
)
"""`public` is whether discoveries may name the volunteer (the leaderboard goes by `credit_sum.public`). `gone` is when
they had themselves erased. With `verifiable_only` they get nothing but units whose answers prove themselves. Those who
are `exported` are in the files for statistics sites; `withdrawn` is when they last ended that. `country` is an ISO 3166
code that they chose to tell; `devices` whether their computers may be seen on their page."""

team = Table(
    "team",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String, nullable=False),
    Column("name_key", String, nullable=False, unique=True),
    Column("founder_id", Id),
    Column("created", Float, nullable=False),
    Column("gone", Float),
)
"""Teams; no two have names that differ in case only (`name_key`). `founder_id` is the volunteer who leads it; a team is
`gone` when its last member left it or the operator closed it, and keeps its credit."""

host = Table(
    "host",
    metadata,
    Column("id", Id, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), nullable=False, index=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("client", String, nullable=False, server_default=""),
    Column("platform", String, nullable=False, server_default=""),
    Column("cores", Id, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("sandbox", String, nullable=False, server_default=""),
    Column("last_seen", Float, index=True),
    Column("created", Float, nullable=False),
    Column("disk_bytes", BigInteger, nullable=False, server_default="0"),
    Column("offers", String, nullable=False, server_default="[]"),
    Column("tags", String, nullable=False, server_default="[]"),
    Column("record", String, nullable=False, server_default=""),
    Column("features", String, nullable=False, server_default="[]"),
    Column("name", String, nullable=False, server_default=""),
    Column("refuses", String, nullable=False, server_default="[]"),
    Column("gone", Float),
)
"""`offers` (Python packages), `tags`, `features` and `refuses` (projects) are JSON lists. `record` is the scheduler's
HostRecord as JSON, `name` what its owner calls it, `gone` when it left."""

invite = Table(
    "invite",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("uses_left", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("volunteer_id", ForeignKey("volunteer.id")),
    Column("verifiable_only", Boolean, nullable=False, server_default=false()),
    Column("team_id", Id, index=True),
)
"""Codes to join with; one that has a `volunteer_id` takes a further computer into that account. Accounts that are made
by one get its `verifiable_only`. One that has a `team_id` takes volunteers into that team."""

kin = Table(
    "kin",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("word", String, primary_key=True),
    Index("ix_kin_word", "word"),
)
"""What strangers share with others who may be the same person, in words (kinship.py)."""

open_link = Table(
    "open_link",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("per_hour", Integer, nullable=False),
    Column("per_prefix", Integer, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("revoked", Float),
    Column("verifiable_only", Boolean, nullable=False, server_default=false()),
)
"""Links that anybody may use: how many accounts an hour in all and from one address prefix, and how many there were."""

open_use = Table(
    "open_use",
    metadata,
    Column("id", Id, primary_key=True),
    Column("number", ForeignKey("open_link.number"), nullable=False),
    Column("prefix", String, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_open_use_number", "number", "at"),
)
"""Who joined by them within the last hour; `prefix` is a keyed hash of the network that they came from."""

document = Table(
    "document",
    metadata,
    Column("hash", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_key", String, nullable=False, unique=True),
    Column("project", String, nullable=False),
    Column("title", String, nullable=False),
    Column("app", ForeignKey("document.hash"), nullable=False),
    Column("authorisation", ForeignKey("document.hash"), nullable=False),
    Column("researcher", LargeBinary, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("fence", Id, nullable=False),
    Column("step", Id, nullable=False),
    Column("driver_state", LargeBinary, nullable=False),
    Column("driver_seen", Float),
    Column("progress", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("reason", String, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("platforms", String, nullable=False, server_default="[]"),
    Column("tags", String, nullable=False, server_default="[]"),
    Column("hosted", Boolean, nullable=False, server_default=false()),
    Column("retired", Float),
    Index("ix_run_researcher", "researcher"),
    Index(
        "ix_run_retired", "id", sqlite_where=text("retired IS NOT NULL"), postgresql_where=text("retired IS NOT NULL")
    ),
    Index("ix_run_running", "id", sqlite_where=text("state = 'running'"), postgresql_where=text("state = 'running'")),
)
"""`platforms` and `tags` are JSON lists: where its units may run at all. `retired` is when its researcher asked to have
it archived, until it is."""

batch = Table(
    "batch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("expires", Float, nullable=False),
)

_open = text("state IN ({})".format(", ".join(sorted(f"'{s}'" for s in OPEN_UNITS))))
_failed = text("state = 'failed'")
_ended = text("state IN ('cancelled', 'valid')")

unit = Table(
    "unit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("key", String, nullable=False),
    Column("grp", String, nullable=False),
    Column("state", String, nullable=False),
    Column("quorum", Id, nullable=False),
    Column("unsent", Id, nullable=False),
    Column("credit_milli", Id, nullable=False),
    Column("deadline_s", Float, nullable=False),
    Column("canonical_id", Id),
    Column("folded_step", Id),
    Column("reason", String, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("claimed_by", Integer),
    Column("claimed_until", Float),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("disk_bytes", BigInteger, nullable=False, server_default="0"),
    Column("output_bytes", BigInteger, nullable=False, server_default="0"),
    Column("wall_s", Float, nullable=False, server_default="0"),
    Column("inputs", Boolean, nullable=False, server_default=false()),
    Column("made_step", Id),
    Column("refused_id", Id),
    Column("splits", Boolean, nullable=False, server_default=false()),
    Column("code", String, nullable=False, server_default=""),
    Column("since_id", Id, nullable=False, server_default="0"),
    Column("retries", Integer),
    Column("adaptive", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("run_id", "key"),
    Index(
        "ix_unit_ready", "run_id", "id", sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'")
    ),
    Index(
        "ix_unit_unfolded",
        "run_id",
        "finished",
        sqlite_where=text("state IN ('failed', 'valid') AND folded_step IS NULL"),
        postgresql_where=text("state IN ('failed', 'valid') AND folded_step IS NULL"),
    ),
    Index("ix_unit_open", "run_id", "state", sqlite_where=_open, postgresql_where=_open),
    Index("ix_unit_failed", "run_id", "id", sqlite_where=_failed, postgresql_where=_failed),
    Index("ix_unit_ended", "run_id", "id", sqlite_where=_ended, postgresql_where=_ended),
    Index(
        "ix_unit_refused",
        "run_id",
        "id",
        sqlite_where=text("refused_id IS NOT NULL"),
        postgresql_where=text("refused_id IS NOT NULL"),
    ),
)
"""`made_step` and `folded_step` are the steps of its run that made it and folded its answer or cancelled it (0: it is
put aside). `refused_id` is the replica whose answer was folded and does not hold any more, until the driver has taken
it back. `code` is the reason of a failure as one word; a unit that `splits` fails with the first time limit that was
passed. Replicas up to `since_id` were of an earlier try. `retries` is how many failures are followed by another try;
null: the server's rule. Of an `adaptive` one a trusted host's answer is taken alone."""

signed_unit = Table(
    "signed_unit",
    metadata,
    Column("unit_id", Id, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("batch_id", Id, nullable=False),
    Column("leaf_index", Integer, nullable=False),
    Column("path", LargeBinary, nullable=False),
)
"""A unit as it is signed, apart from the row that moves: ten times as many of those lie in a page of the disk."""

proof = Table(
    "proof",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host_id", Id, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("received", Float, nullable=False),
)

_holds_place = text("state IN ({})".format(", ".join(sorted(f"'{s}'" for s in HOLDS_PLACE))))


def among(column: ColumnElement[str], states: Iterable[str]) -> ColumnElement[bool]:
    """Return `column IN (states)` as fixed text: unlike bound lists it can be executed for many rows at once. Of one
    state `column = state`, by which alone SQLite finds a partial index on it."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in sorted(states)]
    return column == words[0] if len(words) == 1 else column.in_(words)


replica = Table(
    "replica",
    metadata,
    Column("id", Id, primary_key=True),
    Column("unit_id", Id, nullable=False, index=True),
    Column("host_id", Id, nullable=False),
    Column("volunteer_id", Id, nullable=False),
    Column("state", String, nullable=False),
    Column("lease", LargeBinary, nullable=False),
    Column("leased", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("hard_deadline", Float, nullable=False),
    Column("cpu_s", Float, nullable=False, server_default="0"),
    Column("reported", Float),
    Column("value_hash", String),
    Column("proof_id", Id),
    Column("camp", Id),
    Column("proven", Boolean),
    Column("partial", Boolean, nullable=False, server_default=false()),
    Column("share", Float, nullable=False, server_default="1"),
    Column("reason", String, nullable=False, server_default=""),
    Column("length_s", Float, nullable=False, server_default="0"),
    Column("wall_s", Float, nullable=False, server_default="0"),
    Column("trust", Integer, nullable=False, server_default="0"),
    Index(
        "uq_replica_unit_volunteer",
        "unit_id",
        "volunteer_id",
        unique=True,
        sqlite_where=_holds_place,
        postgresql_where=_holds_place,
    ),
    Index(
        "ix_replica_deadline",
        "deadline",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_replica_leased_host",
        "host_id",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_replica_valid_host",
        "host_id",
        "id",
        sqlite_where=text("state = 'valid'"),
        postgresql_where=text("state = 'valid'"),
    ),
    Index(
        "ix_replica_failed_host",
        "host_id",
        "id",
        sqlite_where=text("state IN ('error', 'expired', 'invalid')"),
        postgresql_where=text("state IN ('error', 'expired', 'invalid')"),
    ),
    Index(
        "ix_replica_reported",
        "volunteer_id",
        sqlite_where=text("state = 'reported'"),
        postgresql_where=text("state = 'reported'"),
    ),
    Index(
        "ix_replica_unjudged",
        "unit_id",
        sqlite_where=text("state = 'reported' AND camp IS NULL"),
        postgresql_where=text("state = 'reported' AND camp IS NULL"),
    ),
)

standing = Table(
    "standing",
    metadata,
    Column("host_id", Id, primary_key=True, autoincrement=False),
    Column("app", String, primary_key=True),
    Column("passed", Float, nullable=False),
    Column("lies", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("due", Float),
    Column("audit", Float, nullable=False, server_default="0"),
    Index("ix_standing_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")),
)
"""What is known of a host's answers for an app version (`dsage_validator.reputation`). `due` is when it was found
lying, until everything was looked at that was accepted on its word. `audit` is the share of its units that is checked
while it is an outlier, 0 otherwise."""

outlying = Table(
    "outlying",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host_id", Id, nullable=False),
    Column("app", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("began", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("ended", Float),
    Column("sentence", String, nullable=False),
    Column("figures", String, nullable=False),
    Index("ix_outlying_host", "host_id", "id"),
    Index(
        "uq_outlying_open",
        "host_id",
        "app",
        "kind",
        unique=True,
        sqlite_where=text("ended IS NULL"),
        postgresql_where=text("ended IS NULL"),
    ),
)
"""What is odd about a host with an app version, or with all of them (`app` is ""), or about an app version on all hosts
(`host_id` is 0): one row from when it was found until it has `ended`, `seen` for the last time at that. `figures` is
JSON."""

_waiting = text("replica_id IS NULL")

known = Table(
    "known",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("unit_id", Id, nullable=False, unique=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("made", Float, nullable=False),
    Column("released", Float),
    Column("replica_id", Id),
    Index("ix_known_waiting", "run_id", sqlite_where=_waiting, postgresql_where=_waiting),
)
"""Units whose answer is known already, sent out once more under another number (`id`, by which its `signed_unit` is
found) to see what a computer says: `replica_id` is the copy that went out so, since `released`."""

_asked = text("unit_id IS NOT NULL")

last_word = Table(
    "last_word",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False, index=True),
    Column("unit_id", Id),
    Index("ix_last_word_waiting", "id", sqlite_where=_asked, postgresql_where=_asked),
)
"""Accepted answers of runs that are done that one more volunteer is asked about; without `unit_id`: those of the run
were chosen."""

answer = Table(
    "answer",
    metadata,
    Column("replica_id", Id, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
    Column("blob", String),
)
"""The answers themselves, apart from the rows that move. Of equal ones only the first of a unit is kept.

A large one is the blob of this hash, and `value` is empty, as no encoded value is."""

printed = Table(
    "printed",
    metadata,
    Column("replica_id", Id, primary_key=True, autoincrement=False),
    Column("output", LargeBinary, nullable=False),
)
"""The end of what a replica printed, for its researcher to read; only of those that printed something."""

run_step = Table(
    "run_step",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("step", Id, primary_key=True, autoincrement=False),
    Column("state", LargeBinary, nullable=False),
)
"""Driver states after some of a run's steps: where it can go back to when a folded answer does not hold."""

discovery = Table(
    "discovery",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("unit_id", Id, nullable=False, index=True),
    Column("title", String, nullable=False),
    Column("facts", String, nullable=False),
    Column("check_line", String, nullable=False),
    Column("state", String, nullable=False),
    Column("step", Id),
    Column("declared", Float, nullable=False),
    Column("confirmed", Float),
    Column("published", Float),
    Column("proven", Boolean, nullable=False, server_default=false()),
    Column("people", String, nullable=False, server_default="[]"),
    Column("reason", String, nullable=False, server_default=""),
    Column("correction", String, nullable=False, server_default=""),
    UniqueConstraint("run_id", "unit_id", "title"),
    Index(
        "ix_discovery_candidate",
        "id",
        sqlite_where=text("state = 'candidate'"),
        postgresql_where=text("state = 'candidate'"),
    ),
    Index(
        "ix_discovery_published",
        "published",
        sqlite_where=text("published IS NOT NULL"),
        postgresql_where=text("published IS NOT NULL"),
    ),
)
"""What authors declared of their units' answers (store/discoveries.py). `step` is the step that declared it; null: it
was taken back. `facts` is JSON; `people` a JSON list of the volunteers whose answers held it, the finder first.
`published` is when it first was; `correction` says why it does not hold any more, or not as it was."""

aside = Table(
    "aside",
    metadata,
    Column("unit_id", Id, primary_key=True, autoincrement=False),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("work", String, nullable=False),
    Index("ix_aside_work", "run_id", "work"),
)
"""Units of steps that their run went back to before: it makes them again if it comes to the same `work`, a hash."""

quota = Table(
    "quota",
    metadata,
    Column("researcher", LargeBinary, primary_key=True),
    Column("runs", BigInteger),
    Column("open_units", BigInteger),
    Column("blob_bytes", BigInteger),
)
"""What one researcher's key may have at a time, where it is not what the server's settings say."""

tally = Table(
    "tally",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("what", String, primary_key=True),
    Column("n", BigInteger, nullable=False),
)
"""Sums that are kept with every commit: `unit.STATE`, `replica.STATE` and `credit` (thousandths) of a run; of its units
`aside.STATE`, those that a replay put aside; and of the
credit that is folded, how many `volunteers` have some, and what those have who are not listed (`unlisted`).

Each server process counts in a slot of its own, so none waits for another; whoever reads adds them up."""

credit_entry = Table(
    "credit_entry",
    metadata,
    Column("id", Id, primary_key=True),
    Column("replica_id", Id),
    Column("volunteer_id", Id, nullable=False),
    Column("host_id", Id),
    Column("run_id", Id, index=True),
    Column("project", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("amount_milli", Id, nullable=False),
    Column("granted", Float, nullable=False),
    Column("app", String, nullable=False, server_default=""),
    Column("team_id", Id),
    Column("house", Boolean, nullable=False, server_default=false()),
    Column("reverses", Id),
    Column("reason", String, nullable=False, server_default=""),
    Column("actor", String, nullable=False, server_default=""),
    UniqueConstraint("replica_id", "kind"),
    Index(
        "uq_credit_entry_reverses",
        "reverses",
        unique=True,
        sqlite_where=text("reverses IS NOT NULL"),
        postgresql_where=text("reverses IS NOT NULL"),
    ),
    Index(
        "ix_credit_entry_taken",
        "volunteer_id",
        "id",
        sqlite_where=text("kind <> 'grant'"),
        postgresql_where=text("kind <> 'grant'"),
    ),
    Index(
        "ix_credit_entry_correction",
        "id",
        sqlite_where=text("kind <> 'grant'"),
        postgresql_where=text("kind <> 'grant'"),
    ),
)
"""The ledger, to which rows are only added: triggers refuse every other change, and note each new row in
`credit_unfolded`.

`kind` is grant, reversal (it `reverses` a grant, whose amount it takes back) or manual (an operator's correction, which
belongs to no copy); `reason` and `actor` are of the last two. `team_id` is the volunteer's team when the grant was
made. `house` credit is in no public sum: a researcher's own computers earned it on the researcher's own run."""

credit_unfolded = Table("credit_unfolded", metadata, Column("entry_id", Id, primary_key=True, autoincrement=False))
"""The ledger's rows that are in no sum yet."""

ledger_span = Table(
    "ledger_span",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_id", Id, primary_key=True, autoincrement=False),
    Column("last_id", Id, nullable=False),
)
"""Which rows were added up in a day of the ledger (`ledger_day`), by the first and the last of consecutive ids. Spans
never overlap, and triggers refuse to change them."""

credit_sum = Table(
    "credit_sum",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("public", Boolean, nullable=False, server_default=false()),
    Index(
        "ix_credit_sum_listed",
        text("score DESC"),
        "volunteer_id",
        sqlite_where=text("public = 1"),
        postgresql_where=text("public"),
    ),
)
"""What each volunteer has earned, nothing included; `public` is the volunteer's, so that the list is an index."""

credit_host = Table(
    "credit_host",
    metadata,
    Column("host_id", Id, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)

credit_team = Table(
    "credit_team",
    metadata,
    Column("team_id", Id, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)

credit_app = Table(
    "credit_app",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("app", String, nullable=False, unique=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)
"""What app versions, by the hash of their manifest, have been worth; corrections that belong to none are under "".
Other sums name an app version by its short `id`."""

credit_daily = Table(
    "credit_daily",
    metadata,
    Column("volunteer_id", Id, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Credit by the UTC day of the grant (days since 1970): what is taken back is taken from the day that had it."""

credit_house = Table(
    "credit_house",
    metadata,
    Column("volunteer_id", Id, primary_key=True, autoincrement=False),
    Column("project", String, primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
)
"""House credit, which is in none of the other sums."""

house_account = Table(
    "house_account",
    metadata,
    Column("researcher", LargeBinary, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
)
"""Volunteers' accounts that belong to a researcher, by the researcher's code key."""

ledger_day = Table(
    "ledger_day",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, nullable=False),
    Column("closed", Float, nullable=False),
    Column("entries", BigInteger),
    Column("amount_milli", BigInteger),
    Column("hash", String),
)
"""The ledger's closed days, numbered from 1, each chained to the one before by `hash` (store/daybook.py): `day` is the
UTC day (since 1970) with whose end it was closed. The rows of the day that is open have the number after the last."""

people_sum = Table(
    "people_sum",
    metadata,
    Column("public", Boolean, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("people", BigInteger, nullable=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)
"""`credit_sum` added up, those who are listed and the others, in slots as `tally`."""

run_credit = Table(
    "run_credit",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", Integer, nullable=False),
    Column("public", Boolean, nullable=False, server_default=false()),
    Index(
        "ix_run_credit_listed",
        "run_id",
        text("amount_milli DESC"),
        "volunteer_id",
        sqlite_where=text("public = 1"),
        postgresql_where=text("public"),
    ),
)
"""Who earned what in a run; folded together with `credit_sum`."""

used_challenge = Table(
    "used_challenge",
    metadata,
    Column("challenge", LargeBinary, primary_key=True),
    Column("expires", Float, nullable=False, index=True),
)

process = Table(
    "process",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("roles", String, nullable=False),
    Column("started", Float, nullable=False),
    Column("seen", Float, nullable=False),
)
"""Server processes on this database: what one of them claimed is free again when it is not seen any more."""

NEWS = ("approved", "cancelled", "corrected", "correction", "discovery", "done", "failed", "submitted")
"""Kinds of events that visitors of the front page may care about: of runs and discoveries, never of units."""
_news = text("kind IN ({})".format(", ".join(f"'{kind}'" for kind in NEWS)))

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id")),
    Column("unit_id", Id),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", String, nullable=False),
    Index("ix_event_run", "run_id", "id"),
    Index("ix_event_news", "id", sqlite_where=_news, postgresql_where=_news),
    Index(
        "ix_event_unit",
        "unit_id",
        "id",
        sqlite_where=text("unit_id IS NOT NULL"),
        postgresql_where=text("unit_id IS NOT NULL"),
    ),
)

blob = Table(
    "blob",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("object", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("last_used", Float, nullable=False, index=True),
)
"""What the blob store holds; `object` is the name of the object there."""

blob_ref = Table(
    "blob_ref",
    metadata,
    Column("sha256", ForeignKey("blob.sha256"), primary_key=True),
    Column("run_id", ForeignKey("run.id"), primary_key=True, index=True),
    Column("kind", String, primary_key=True),
)
"""Which run needs which blob, as what: bundle, input or output. A blob with a row here is never collected."""

blob_upload = Table(
    "blob_upload",
    metadata,
    Column("id", String, primary_key=True),
    Column("sha256", String, nullable=False),
    Column("owner", LargeBinary, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("pieces", Integer, nullable=False),
    Column("touched", Float, nullable=False, index=True),
    UniqueConstraint("owner", "sha256"),
)
"""Uploads that are under way."""

blob_piece = Table(
    "blob_piece",
    metadata,
    Column("upload_id", ForeignKey("blob_upload.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
    Column("object", String, nullable=False, unique=True),
)

archive = Table(
    "archive",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("file", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("replicas", BigInteger, nullable=False),
    Column("volunteers", BigInteger, nullable=False),
    Column("made", Float, nullable=False),
    Column("cleared", Float),
)
"""Runs whose rows lie in a file; they are all gone from the tables once it is `cleared`."""

web_session = Table(
    "web_session",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("how", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Index("ix_web_session_subject", "role", "subject"),
)
"""Browsers that are logged in (visits.py says as whom). What they hold is a token; here is its hash only."""

web_link = Table(
    "web_link",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)
"""Links that log one browser in, once, within a minute."""

passkey = Table(
    "passkey",
    metadata,
    Column("id", Id, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), nullable=False, index=True),
    Column("credential", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float),
)
"""By what volunteers log in besides links: public keys, under the names that their owners gave them."""

recovery = Table(
    "recovery",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("code_hash", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
)
"""Codes that log a volunteer in once, when all else is lost; here is their hash only."""

consent = Table(
    "consent",
    metadata,
    Column("id", Id, primary_key=True),
    Column("volunteer_id", Id, nullable=False),
    Column("what", String, nullable=False),
    Column("given", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("said", String, nullable=False, server_default=""),
    Index("ix_consent_volunteer", "volunteer_id", "id"),
)
"""What volunteers agreed to and took back, in order, with the version of the text they saw; `said` is a country."""

announcement = Table(
    "announcement",
    metadata,
    Column("id", Id, primary_key=True),
    Column("text", String, nullable=False),
    Column("maintenance", Boolean, nullable=False),
    Column("begins", Float, nullable=False),
    Column("ends", Float),
    Column("created", Float, nullable=False),
)
"""What the operator tells all visitors; while one of `maintenance` holds, no work is given out."""

deed = Table(
    "deed",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("about", String, nullable=False),
    Column("detail", String, nullable=False, server_default=""),
)
"""The audit log: what operators and researchers did (approved, paused, cancelled, recalibrated, reversed)."""

api_token = Table(
    "api_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("researcher", LargeBinary, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float),
    Column("revoked", Float),
)
"""Tokens that researchers made for their programs: `scope` is "read" or "write"."""

request = Table(
    "request",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("projects", String, nullable=False),
    Column("words", String, nullable=False),
    Column("made", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("decided", Float),
    Column("answer", String, nullable=False, server_default=""),
)
"""What people ask the operator to sign: that their code `key` is certified under a `name` for `projects` (a JSON list).
The `state` is waiting, approved or refused."""
