"""The census: everybody is counted once, and nobody stands in a group of fewer than five."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from dsage_server.store import census
from dsage_server.store.census import FLOOR, OTHERS, Group, _floored
from dsage_server.store.engine import Store
from dsage_server.store.schema import host, volunteer
from dsage_server.store.testing import fresh, kinds
from dsage_server.web.testing import World

NOW = 1_800_000_000.0


@pytest.fixture(params=kinds())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty world on each database."""
    store = Store(fresh(tmp_path, request.param))
    yield World(store, NOW)
    store.close()


def tell(world: World, people: int, country: str, platform: str, cores: int) -> None:
    """Some people join from a country, each with one computer of a kind."""
    for number in range(people):
        caller = world.join(f"{country or 'none'}-{number}")
        world.store.write_now(
            lambda c, v=caller.volunteer: c.execute(  # type: ignore[misc]
                update(volunteer).where(volunteer.c.id == v).values(country=country)
            )
        )
        world.store.write_now(
            lambda c, h=caller.host: c.execute(  # type: ignore[misc]
                update(host).where(host.c.id == h).values(platform=platform, cores=cores)
            )
        )


def test_small_groups_are_counted_together_and_who_told_nothing_apart(world: World) -> None:
    tell(world, 7, "NZ", "linux-x86_64", 8)
    tell(world, 4, "CH", "linux-aarch64", 4)
    tell(world, 2, "FR", "linux-riscv64", 64)
    tell(world, 3, "", "linux-x86_64", 200)
    found = world.store.read_now(lambda c: census.count(c, NOW))
    assert [(group.name, group.people) for group in found.countries] == [("NZ", 7), (OTHERS, 6), ("", 3)]
    assert [(group.name, group.hosts) for group in found.platforms] == [("linux-x86_64", 10), (OTHERS, 6)]
    assert [(group.name, group.people) for group in found.cores] == [("8", 7), (OTHERS, 9)]
    world.store.write_now(lambda c: census.keep(c, found))
    assert world.store.read_now(census.kept) == found


def test_computers_that_were_not_here_for_long_are_not_counted(world: World) -> None:
    tell(world, 6, "NZ", "linux-x86_64", 8)
    later = NOW + census.HERE_S + 1
    assert world.store.read_now(lambda c: census.count(c, later)).platforms == []


def test_nothing_counted_yet_is_an_empty_census(world: World) -> None:
    assert world.store.read_now(census.kept) == census.Census()


@given(st.lists(st.integers(1, 12), max_size=12))
def test_every_row_has_five_people_or_is_all_there_is_and_the_sum_stays(sizes: list[int]) -> None:
    groups = [Group(name=str(number), people=size, hosts=size) for number, size in enumerate(sizes)]
    shown = _floored(groups)
    assert sum(group.people for group in shown) == sum(sizes)
    assert sum(group.hosts for group in shown) == sum(sizes)
    assert all(group.people >= FLOOR for group in shown) or len(shown) <= 1
