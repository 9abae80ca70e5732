"""Hosted runs in the tables: claimed by one living process, taken over and given back by their researcher alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dsage.errors import Conflict, NotAllowed, NotFound
from dsage.states import RunState
from dsage_server.store import events, hosting, processes, runs
from dsage_server.store.engine import Store
from dsage_server.store.processes import GONE_S
from dsage_server.store.schema import meta, run
from dsage_server.store.testing import fresh, kinds
from dsage_server.web.testing import World

NOW = 1_800_000_000.0


@pytest.fixture(params=kinds())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store = Store(fresh(tmp_path, request.param))
    yield World(store, NOW)
    store.close()


def test_a_run_has_one_living_process_to_drive_it(world: World) -> None:
    write = world.store.write_now
    one, two = (write(lambda c: processes.join(c, "hosting", NOW)) for _ in range(2))
    assert write(lambda c: hosting.claim(c, [1, 2], one, NOW)) == {1, 2}
    assert write(lambda c: hosting.free(c, [1, 2, 3], two, NOW)) == [3]
    assert write(lambda c: hosting.free(c, [1, 2, 3], one, NOW)) == [1, 2, 3]
    assert write(lambda c: hosting.claim(c, [1, 2, 3], two, NOW)) == {3}
    assert write(lambda c: hosting.claim(c, [1, 2, 3], one, NOW)) == {1, 2}
    write(lambda c: hosting.release(c, one, 1))
    write(lambda c: hosting.release(c, two, 2))
    assert write(lambda c: hosting.claim(c, [1, 2, 3], two, NOW)) == {1, 3}
    later = NOW + GONE_S + 1.0
    write(lambda c: processes.refresh(c, two, later))
    assert write(lambda c: hosting.free(c, [1, 2, 3], two, later)) == [1, 2, 3]
    assert write(lambda c: hosting.claim(c, [1, 2, 3], two, later)) == {1, 2, 3}
    write(lambda c: hosting.release(c, two))
    assert write(lambda c: list(c.execute(select(meta.c.name).where(meta.c.name.startswith(hosting.CLAIM))))) == []


def test_a_process_that_got_the_number_of_one_that_is_gone_has_not_its_claims(world: World) -> None:
    write = world.store.write_now
    one = write(lambda c: processes.join(c, "hosting", NOW))
    assert write(lambda c: hosting.claim(c, [1], one, NOW)) == {1}
    later = NOW + GONE_S + 1.0
    two, three = (write(lambda c: processes.join(c, "hosting", later)) for _ in range(2))
    assert two.slot == one.slot
    assert write(lambda c: hosting.claim(c, [1], three, later)) == {1}
    assert write(lambda c: hosting.claim(c, [1], two, later)) == set()


def test_a_run_is_hosted_until_its_researcher_drives_it_and_again_when_asked(world: World) -> None:
    write = world.store.write_now
    number = world.submit("Sum")
    key = write(lambda c: c.execute(select(run.c.researcher).where(run.c.id == number)).scalar_one())
    assert write(hosting.hosted) == []
    for _ in range(2):
        write(lambda c: hosting.host(c, number, key, NOW))
    assert [(each.run, each.researcher) for each in write(hosting.hosted)] == [(number, key)]
    write(lambda c: hosting.taken_over(c, number, by_server=True, now=NOW))
    assert [each.run for each in write(hosting.hosted)] == [number]
    for _ in range(2):
        write(lambda c: hosting.taken_over(c, number, by_server=False, now=NOW))
    assert write(hosting.hosted) == []
    with pytest.raises(Conflict, match="not hosted any more"):
        write(lambda c: hosting.taken_over(c, number, by_server=True, now=NOW))
    kinds_told = [each.kind for each in write(lambda c: events.since(c, 0, run=number))]
    assert kinds_told[-2:] == ["hosted", "unhosted"]
    assert kinds_told.count("hosted") == 1


def test_what_is_no_run_of_ones_own_that_goes_on_cannot_be_hosted(world: World) -> None:
    write = world.store.write_now
    number = world.submit("Sum")
    key = write(lambda c: c.execute(select(run.c.researcher).where(run.c.id == number)).scalar_one())
    with pytest.raises(NotFound):
        write(lambda c: hosting.host(c, number + 1, key, NOW))
    with pytest.raises(NotAllowed):
        write(lambda c: hosting.host(c, number, b"o" * 32, NOW))
    write(lambda c: c.execute(update(run).where(run.c.id == number).values(hosted=True)))
    write(lambda c: runs.end(c, number, RunState.DONE, "", NOW, b"\xc0"))
    assert write(hosting.hosted) == []
    with pytest.raises(Conflict, match="is done"):
        write(lambda c: hosting.host(c, number, key, NOW))
