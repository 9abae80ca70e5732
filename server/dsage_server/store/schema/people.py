"""Volunteers, their teams, and what they agreed to."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, String, Table, false, text

from dsage_server.store.schema.base import Id, metadata

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

membership = Table(
    "membership",
    metadata,
    Column("id", Id, primary_key=True),
    Column("team_id", Id, nullable=False),
    Column("volunteer_id", Id, nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float),
    Column("founded", Boolean, nullable=False, server_default=false()),
    Index("ix_membership_team", "team_id", "id"),
    Index("ix_membership_volunteer", "volunteer_id", "id"),
    Index(
        "ix_membership_left",
        "team_id",
        "until",
        sqlite_where=text("until IS NOT NULL"),
        postgresql_where=text("until IS NOT NULL"),
    ),
    Index(
        "uq_membership_open",
        "volunteer_id",
        unique=True,
        sqlite_where=text("until IS NULL"),
        postgresql_where=text("until IS NULL"),
    ),
)
"""Who was in which team, and is (without `until`: then `volunteer.team_id` says it too); who `founded` it was its first
member."""

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
