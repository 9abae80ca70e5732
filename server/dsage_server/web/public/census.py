"""Which computers work here, and from which countries, as counted once an hour."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage_server.store import census
from dsage_server.store.credit import recent_average
from dsage_server.web import atlas
from dsage_server.web.page import Asked, Document, Page

HOUR_S: Final = 600.0
"""For how long these pages are good; they are counted anew once an hour."""


class Row(msgspec.Struct, kw_only=True):
    """A group; `name` is "*" for all that are too few to stand alone. `recent` is in credits a day."""

    name: str
    people: int
    hosts: int
    credit: float
    recent: float
    valid: int


class Hardware(Document, kw_only=True):
    """Computers that were here within 30 days; `counted` is when. `cores` are named by the most of each group ("0":
    more than the largest), `clients` by their version."""

    schema: ClassVar[str] = "dsage.hardware/1"
    counted: float
    platforms: list[Row]
    cores: list[Row]
    clients: list[Row]
    floor: int = census.FLOOR


class Countries(Document, kw_only=True):
    """Volunteers by the country that they told, as ISO 3166 codes; "": those who told none. `steps` are the fewest
    people of each shade of the map."""

    schema: ClassVar[str] = "dsage.countries/1"
    counted: float
    countries: list[Row]
    steps: list[int]
    floor: int = census.FLOOR


def hardware(connection: Connection, asked: Asked) -> Hardware:
    """Return the computers."""
    found = census.kept(connection)
    return Hardware(
        counted=found.at, platforms=_rows(found.platforms, asked.now),
        cores=_rows(sorted(found.cores, key=_size), asked.now), clients=_rows(found.clients, asked.now),
    )  # fmt: skip


def countries(connection: Connection, asked: Asked) -> Countries:
    """Return the countries."""
    found = census.kept(connection)
    most = max(
        (group.people for group in found.countries if group.name not in ("", census.OTHERS)), default=census.FLOOR
    )
    return Countries(
        counted=found.at, countries=_rows(found.countries, asked.now), steps=atlas.steps(census.FLOOR, most)
    )  # fmt: skip


def _size(group: census.Group) -> float:
    """Return what a group of processors is ordered by: how many cores they have at most; all others come last."""
    return int(group.name) or census.CORES[-1] + 1 if group.name != census.OTHERS else math.inf


def _rows(groups: list[census.Group], now: float) -> list[Row]:
    return [
        Row(
            name=group.name, people=group.people, hosts=group.hosts, credit=group.amount_milli / 1000,
            recent=recent_average(group.score, now), valid=group.valid,
        )
        for group in groups
    ]  # fmt: skip


PAGES: Final = (
    Page(template="hardware", route="/hardware", load=hardware, document=Hardware, period_s=HOUR_S),
    Page(template="countries", route="/countries", load=countries, document=Countries, period_s=HOUR_S),
)
