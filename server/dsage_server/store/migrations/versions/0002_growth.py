"""Room to grow: answers apart from replicas, sums kept with every commit, what is known of hosts, several processes"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = {
    "host": {"offers": "[]", "tags": "[]", "record": ""},
    "run": {"platforms": "[]", "tags": "[]"},
}


def upgrade() -> None:
    op.add_column("host", sa.Column("disk_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    for table, columns in _TEXT.items():
        for name, default in columns.items():
            op.add_column(table, sa.Column(name, sa.String(), nullable=False, server_default=default))
    op.drop_index("ix_unit_ready", "unit")
    op.drop_index("ix_unit_open", "unit")
    _part_units()
    ready = sa.text("state = 'ready'")
    op.create_index("ix_unit_ready", "unit", ["run_id", "id"], sqlite_where=ready, postgresql_where=ready)
    _free_rows()
    op.execute("UPDATE replica SET length_s = (SELECT deadline_s FROM unit WHERE unit.id = replica.unit_id)")
    unjudged = sa.text("state = 'reported' AND camp IS NULL")
    op.drop_index("ix_replica_unjudged", "replica")
    op.create_index("ix_replica_unjudged", "replica", ["unit_id"], sqlite_where=unjudged, postgresql_where=unjudged)
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("unit", "replica"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 80)")
    for name in ("replica", "proof", "batch"):
        op.execute(
            f"INSERT INTO meta SELECT 'next_{name}', CAST(max(id) + 1 AS VARCHAR) FROM {name} HAVING max(id) > 0"
        )
    op.execute("INSERT INTO answer SELECT id, value FROM replica WHERE value IS NOT NULL")
    with op.batch_alter_table("replica") as batch:
        batch.drop_column("value")
    op.execute("INSERT INTO tally SELECT run_id, 0, 'unit.' || state, count(*) FROM unit GROUP BY run_id, state")
    op.execute(
        "INSERT INTO tally SELECT u.run_id, 0, 'replica.' || r.state, count(*) FROM replica r "
        "JOIN unit u ON u.id = r.unit_id GROUP BY u.run_id, r.state"
    )
    op.execute("INSERT INTO tally SELECT run_id, 0, 'credit', sum(amount_milli) FROM credit_entry GROUP BY run_id")
    op.execute(
        "INSERT INTO run_credit SELECT run_id, volunteer_id, sum(amount_milli), count(*) FROM credit_entry "
        "WHERE folded GROUP BY run_id, volunteer_id"
    )


def _part_units() -> None:
    """What is signed leaves the row that moves, and the row says what the unit needs."""
    op.create_table(
        "signed_unit",
        sa.Column("unit_id", _ID, nullable=False, autoincrement=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", _ID, nullable=False),
        sa.Column("leaf_index", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_signed_unit")),
    )
    op.execute("INSERT INTO signed_unit SELECT id, document, batch_id, leaf_index, path FROM unit")
    with op.batch_alter_table("unit") as batch:
        batch.add_column(sa.Column("claimed_by", sa.Integer()))
        batch.add_column(sa.Column("claimed_until", sa.Float()))
        for name in ("memory_bytes", "disk_bytes", "output_bytes"):
            batch.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("wall_s", sa.Float(), nullable=False, server_default="0"))
        batch.drop_constraint("fk_unit_batch_id", type_="foreignkey")
        for name in ("document", "batch_id", "leaf_index", "path"):
            batch.drop_column(name)
    connection = op.get_bind()
    for number, document in connection.execute(sa.text("SELECT unit_id, document FROM signed_unit")).all():
        said = json.loads(bytes(document))
        limits = {name: said.get(name, 0) for name in ("memory_bytes", "disk_bytes", "output_bytes", "wall_s")}
        connection.execute(_LIMITS, {"number": number, **limits})


_LIMITS = sa.text(
    "UPDATE unit SET memory_bytes = :memory_bytes, disk_bytes = :disk_bytes, output_bytes = :output_bytes, "
    "wall_s = :wall_s WHERE id = :number"
)


def _free_rows() -> None:
    """Rows that are written for every copy lose their foreign keys; leases learn how long they are."""
    keys = {
        "proof": ("host_id",),
        "replica": ("unit_id", "host_id", "volunteer_id", "proof_id"),
        "credit_entry": ("volunteer_id", "host_id", "run_id"),
    }
    for table, columns in keys.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_constraint(f"fk_{table}_{column}", type_="foreignkey")
            if table == "replica":
                batch.add_column(sa.Column("length_s", sa.Float(), nullable=False, server_default="0"))


def _tables() -> None:
    op.create_table(
        "answer",
        sa.Column("replica_id", _ID, nullable=False, autoincrement=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_answer")),
    )
    op.create_table(
        "tally",
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_tally_run_id")),
        sa.PrimaryKeyConstraint("run_id", "slot", "what", name=op.f("pk_tally")),
    )
    op.create_table(
        "run_credit",
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("volunteer_id", _ID, nullable=False),
        sa.Column("amount_milli", sa.BigInteger(), nullable=False),
        sa.Column("valid", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_credit_run_id")),
        sa.ForeignKeyConstraint(["volunteer_id"], ["volunteer.id"], name=op.f("fk_run_credit_volunteer_id")),
        sa.PrimaryKeyConstraint("run_id", "volunteer_id", name=op.f("pk_run_credit")),
    )
    op.create_table(
        "used_challenge",
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("challenge", name=op.f("pk_used_challenge")),
    )
    op.create_index("ix_used_challenge_expires", "used_challenge", ["expires"])
    op.create_table(
        "process",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("roles", sa.String(), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
    )
