"""The things that somebody's computers made: units that were found right, and tiles of pictures."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection

from dsage_server.store import paintings, profiles, tiles
from dsage_server.store.tiles import Picture

MOST_MADE: Final = 36
MOST_KEPT: Final = 12
"""Pictures of archived runs."""


class MadeUnit(msgspec.Struct, kw_only=True):
    """A unit whose accepted answer one of their computers had."""

    unit: int
    reported: float | None


class Made(msgspec.Struct, kw_only=True):
    """What their computers made for a run: the last of its `units`, if it is not archived, and their tiles of its
    `picture`, if it paints one."""

    run: int
    title: str
    project: str
    units: list[MadeUnit]
    picture: Picture | None = None


def made_by(connection: Connection, number: int, now: float) -> list[Made]:
    """Return what a volunteer's computers made lately, run by run (Unix seconds)."""
    found: dict[int, Made] = {}
    for unit, reported in profiles.made(connection, number, now, MOST_MADE):
        run = found.setdefault(
            unit.run_id, Made(run=unit.run_id, title=unit.title or unit.project, project=unit.project, units=[])
        )
        run.units.append(MadeUnit(unit=unit.id, reported=reported))
    for of, picture in tiles.of_units(connection, (each.unit for run in found.values() for each in run.units)).items():
        found[of].picture = picture
    return list(found.values()) + [
        Made(run=run.run_id, title=run.title or run.project, project=run.project, units=[], picture=picture)
        for run, picture in paintings.of_volunteer(connection, number)[:MOST_KEPT]
    ]
