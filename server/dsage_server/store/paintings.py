"""The pictures of runs as they are shown: put together from answers, or kept when these left with an archived run."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select

from dsage.errors import NotFound
from dsage_server.png import png
from dsage_server.store import tiles
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import credit_sum, painted_tile, painting, replica, run, unit, volunteer
from dsage_server.store.tiles import Picture, Tile

MOST_KEPT: Final = 1_000_000
"""Pixels of a picture that is kept, three bytes each at most; a larger one is made smaller."""
MOST_OF_ONE: Final = 300
"""Tiles of one volunteer that are looked at."""


class Painting(NamedTuple):
    """A picture to be kept: who painted each of its units, and its file."""

    picture: Picture
    makers: dict[int, int]
    png: bytes


def picture(connection: Connection, number: int, now: float) -> Picture | None:
    """Return the picture of a run, if there is one to show (Unix seconds)."""
    return _kept(connection, number) or tiles.picture(connection, number, now)


def file(connection: Connection, number: int, now: float) -> bytes:
    """Return a run's picture as a PNG file; raises NotFound if its units paint none, or nothing of it is there."""
    kept = connection.execute(select(painting.c.png).where(painting.c.run_id == number)).scalar()
    if kept is not None:
        return bytes(kept)
    found = tiles.picture(connection, number, now)
    if found is None or not found.tiles:
        raise NotFound(f"run {number} has no picture to show")
    return png(tiles.painted(connection, found))


def gather(connection: Connection, number: int) -> Painting | None:
    """Return what is to be kept of the picture of a run whose units are about to leave the tables: no answer to them
    can be held against another any more, so all of it may be seen from then on."""
    found = tiles.whole(connection, number)
    if found is None:
        return None
    makers = connection.execute(_MAKERS, {"ids": numbers(connection, (tile.unit for tile in found.tiles))})
    return Painting(found, {row.id: row.volunteer_id for row in makers}, png(_small(tiles.painted(connection, found))))


def keep(connection: Connection, number: int, found: Painting) -> None:
    """Keep the picture of a run."""
    made = found.picture
    connection.execute(insert(painting).values(run_id=number, width=made.width, height=made.height, png=found.png))
    rows = [
        {
            "run_id": number, "unit_id": tile.unit, "volunteer_id": found.makers[tile.unit], "x": tile.left,
            "y": tile.top, "width": tile.width, "height": tile.height,
        }
        for tile in made.tiles
    ]  # fmt: skip
    connection.execute(insert(painted_tile), rows)


def of_volunteer(connection: Connection, number: int) -> list[tuple[Any, Picture]]:
    """Return the archived runs whose pictures a volunteer's computers painted parts of, the newest first: run, title
    and project, and the picture with these parts alone."""
    rows = connection.execute(_OF_VOLUNTEER.where(painted_tile.c.volunteer_id == number)).all()
    found: dict[int, tuple[Any, Picture]] = {}
    for row in rows:
        empty = Picture(width=row.across, height=row.down, tiles=[], kept=True)
        found.setdefault(row.run_id, (row, empty))[1].tiles.append(_tile(row))
    return list(found.values())


def _kept(connection: Connection, number: int) -> Picture | None:
    size = connection.execute(select(painting.c.width, painting.c.height).where(painting.c.run_id == number)).first()
    if size is None:
        return None
    rows = connection.execute(_TILES.where(painted_tile.c.run_id == number)).all()
    return Picture(width=size.width, height=size.height, tiles=[_tile(row) for row in rows], kept=True)


def _tile(row: Any) -> Tile:
    maker = row.pseudonym if row.public else ""
    return Tile(unit=row.unit_id, left=row.x, top=row.y, width=row.width, height=row.height, maker=maker)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture halved, by the mean of four pixels each, until it has no more than may be kept."""
    while pixels.shape[0] * pixels.shape[1] > MOST_KEPT:
        height, width = (max(side // 2, 1) for side in pixels.shape[:2])
        down, across = (min(side, 2) for side in pixels.shape[:2])
        whole = pixels[: height * down, : width * across].reshape(height, down, width, across, 3)
        pixels = whole.mean(axis=(1, 3)).astype(np.uint8)
    return pixels


def _named(*columns: Any) -> Any:
    return (
        select(
            *(painted_tile.c[name] for name in ("run_id", "unit_id", "x", "y", "width", "height")),
            volunteer.c.pseudonym, credit_sum.c.public, *columns,
        )
        .join(volunteer, volunteer.c.id == painted_tile.c.volunteer_id)
        .outerjoin(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
    )  # fmt: skip


_TILES: Final = _named().order_by(painted_tile.c.unit_id)
_OF_VOLUNTEER: Final = (
    _named(run.c.title, run.c.project, painting.c.width.label("across"), painting.c.height.label("down"))
    .join(painting, painting.c.run_id == painted_tile.c.run_id)
    .join(run, run.c.id == painted_tile.c.run_id)
    .order_by(painted_tile.c.run_id.desc(), painted_tile.c.unit_id)
    .limit(MOST_OF_ONE)
)
_MAKERS: Final = (
    select(unit.c.id, replica.c.volunteer_id)
    .join(replica, replica.c.id == unit.c.canonical_id)
    .where(among_ids(unit.c.id))
)
