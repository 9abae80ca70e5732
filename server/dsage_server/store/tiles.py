"""A picture that the units of a run paint, put together from the accepted answers of those that are over.

A unit paints a tile if its arguments say so: `width` and `height` of the picture, the tile's rows from `top` to before
`bottom`, and if it is narrower its columns from `left` to before `right`. The answer is its pixels: rows of red, green
and blue bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, literal_column, select

from dsage import codec
from dsage.codec import Value
from dsage.errors import CodecError
from dsage.states import UnitState
from dsage.trust.documents import UnitDocument
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.over import over
from dsage_server.store.schema import among, answer, credit_sum, replica, signed_unit, unit, volunteer

MOST_TILES: Final = 1000
MOST_PIXELS: Final = 4_000_000
EMPTY: Final = 0xE4
"""The grey of what nobody has painted."""


class Tile(msgspec.Struct, kw_only=True):
    """A rectangle in pixels from the top left; `maker` is the name of a listed volunteer, or empty."""

    unit: int
    left: int
    top: int
    width: int
    height: int
    maker: str = ""


class Picture(msgspec.Struct, kw_only=True):
    """A picture of `width` x `height` pixels, with the tiles that are there, by unit; `kept` says that the units that
    painted it have left the tables."""

    width: int
    height: int
    tiles: list[Tile]
    kept: bool = False


def picture(connection: Connection, run: int, now: float) -> Picture | None:
    """Return the picture of a run, if its units paint one, as far as they are over (Unix seconds)."""
    found = whole(connection, run)
    if found is not None:
        shown = over(connection, [tile.unit for tile in found.tiles], now)
        found.tiles = [tile for tile in found.tiles if tile.unit in shown]
    return found


def whole(connection: Connection, run: int) -> Picture | None:
    """Return the same with all that has an accepted answer; not for others to see while the run's units are there."""
    rows = connection.execute(_PAINTED, {"run": run, "start": 0, "most": 1}).all()
    if not rows or _placed(rows[0]) is None:
        return None
    rows = connection.execute(_PAINTED, {"run": run, "start": 0, "most": MOST_TILES}).all()
    placed = [each for each in map(_placed, rows) if each is not None]
    (width, height), _ = placed[0]
    return Picture(width=width, height=height, tiles=[tile for size, tile in placed if size == (width, height)])


def of_units(connection: Connection, units: Iterable[int]) -> dict[int, Picture]:
    """Return the pictures that some accepted units paint parts of, with these parts alone, by run."""
    found: dict[int, Picture] = {}
    for row in connection.execute(_OF_UNITS, {"ids": numbers(connection, units)}):
        placed = _placed(row)
        if placed is not None:
            (width, height), tile = placed
            of = found.setdefault(row.run_id, Picture(width=width, height=height, tiles=[]))
            if (of.width, of.height) == (width, height):
                of.tiles.append(tile)
    return found


def painted(connection: Connection, found: Picture) -> NDArray[np.uint8]:
    """Return the pixels of a picture, height x width x 3 (red, green, blue)."""
    pixels = np.full((found.height, found.width, 3), EMPTY, dtype=np.uint8)
    ids = {"ids": numbers(connection, (tile.unit for tile in found.tiles))}
    answers = {row.id: row.value for row in connection.execute(_ANSWERS, ids)}
    for tile in found.tiles:
        rows = _pixels(answers.get(tile.unit, b""), tile)
        if rows is not None:
            pixels[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = rows
    return pixels


def place(args: Value) -> tuple[tuple[int, int], tuple[int, int, int, int]] | None:
    """Return the size of the picture, and left, top, width and height of the tile that arguments ask for; None if they
    ask for something else."""
    if not isinstance(args, dict):
        return None
    asked = [args.get(name) for name in ("width", "height", "top", "bottom")]
    asked += [args.get("left", 0), args.get("right", args.get("width"))]
    width, height, top, bottom, left, right = (side if type(side) is int else -1 for side in asked)
    if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
        return None
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        return None
    return (width, height), (left, top, right - left, bottom - top)


def _placed(row: Any) -> tuple[tuple[int, int], Tile] | None:
    try:
        found = place(codec.decode(msgspec.json.decode(row.document, type=UnitDocument).args))
    except CodecError:
        return None
    if found is None:
        return None
    size, (left, top, width, height) = found
    maker = row.pseudonym if row.public else ""
    return size, Tile(unit=row.id, left=left, top=top, width=width, height=height, maker=maker)


def _pixels(data: bytes, tile: Tile) -> NDArray[np.uint8] | None:
    """Return the pixels of an answer, or None if it is none, or lies elsewhere because it is large."""
    try:
        value = codec.decode(data) if data else None
    except CodecError:
        return None
    if not isinstance(value, bytes) or len(value) != 3 * tile.width * tile.height:
        return None
    return np.frombuffer(value, dtype=np.uint8).reshape(tile.height, tile.width, 3)


_MADE: Final = (
    select(unit.c.id, unit.c.run_id, signed_unit.c.document, volunteer.c.pseudonym, credit_sum.c.public)
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .join(replica, replica.c.id == unit.c.canonical_id)
    .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
    .outerjoin(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
)
"""Whoever brought the accepted answer painted the tile."""
_OF_UNITS: Final = _MADE.where(among_ids(unit.c.id)).order_by(unit.c.id)
_PAINTED: Final = (
    _MADE.where(unit.c.run_id == bindparam("run"), unit.c.id >= bindparam("start"))
    .where(among(unit.c.state, [UnitState.VALID, UnitState.CANCELLED]), unit.c.state == literal_column("'valid'"))
    .order_by(unit.c.id)
    .limit(bindparam("most"))
)
_ANSWERS: Final = (
    select(unit.c.id, answer.c.value)
    .join(answer, answer.c.replica_id == unit.c.canonical_id)
    .where(among_ids(unit.c.id))
)
