"""What a researcher's key may have: counted from the tables, and said when it is too much."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, update

from dsage.errors import QuotaExceeded
from dsage_server.allowances import RECOUNT_S, Allowances
from dsage_server.settings import Quota
from dsage_server.store import blobs, quotas
from dsage_server.store.engine import Store
from dsage_server.store.schema import blob, blob_ref, blob_upload, document, run, tally
from dsage_server.store.testing import fresh, kinds

ME, OTHER = b"me", b"other"
DEFAULT = Quota(runs=3, open_units=100, blob_bytes=1000)


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store with three open runs of mine, one that ended, and one of somebody else."""
    store = Store(fresh(tmp_path, request.param))

    def fill(c: Connection) -> None:
        c.execute(insert(document).values(hash="d", kind="manifest", envelope=b"", created=0.0))
        for number, (who, state) in enumerate(
            [(ME, "running"), (ME, "running"), (ME, "paused"), (ME, "done"), (OTHER, "running")], 1
        ):
            c.execute(
                insert(run).values(
                    id=number, run_key=f"k{number}", project="p", title="t", app="d", authorisation="d",
                    researcher=who, params=b"", state=state, fence=0, step=0, driver_state=b"", progress=b"",
                    created=0.0,
                )
            )  # fmt: skip
            for what, n in [("unit.ready", 10), ("unit.comparing", 1), ("unit.valid", 500)]:
                c.execute(insert(tally).values(run_id=number, slot=0, what=what, n=n))
        for name, size in [("a", 300), ("b", 50), ("c", 7)]:
            c.execute(insert(blob).values(sha256=name, bytes=size, object=name, created=0.0, last_used=0.0))
        for name, number, kind in [("a", 1, "input"), ("a", 2, "input"), ("b", 4, "bundle"), ("c", 5, "input")]:
            blobs.refer(c, number, kind, [name], 0.0)
        c.execute(insert(blob_upload).values(id="u", sha256="z", owner=ME, bytes=25, received=0, pieces=0, touched=0.0))

    store.write_now(fill)
    yield store
    store.close()


def left(store: Store, what: str, more: int) -> int:
    """Return what I may have beyond `more`."""
    return store.read_now(lambda c: quotas.check(c, ME, what, more, DEFAULT))


def test_what_is_counted(store: Store) -> None:
    found = {what: store.read_now(lambda c, w=what: quotas.used(c, ME, w)) for what in quotas.WORDS}  # type: ignore[misc]
    assert found == {"runs": 3, "open_units": 33, "blob_bytes": 300 + 50 + 25}


def needed(c: Connection, researcher: bytes) -> int:
    """Return the bytes of what a researcher's runs need, from the references themselves."""
    mine = select(blob_ref.c.sha256).join(run, run.c.id == blob_ref.c.run_id).where(run.c.researcher == researcher)
    return int(c.execute(select(func.sum(blob.c.bytes)).where(blob.c.sha256.in_(mine))).scalar() or 0)


def test_the_bytes_that_are_needed_are_added_up_whatever_comes_and_goes(store: Store) -> None:
    rng = random.Random(5)
    for _ in range(150):
        number, kind = rng.randint(1, 5), rng.choice(["input", "output", "bundle"])
        if rng.random() < 0.6:
            names = rng.sample("abc", rng.randint(1, 3))
            store.write_now(lambda c, n=number, k=kind, s=names: blobs.refer(c, n, k, s, 0.0))  # type: ignore[misc]
        else:
            kinds = [kind, "input"]
            store.write_now(lambda c, n=number, k=kinds: blobs.release(c, n, k))  # type: ignore[misc]
        for who in (ME, OTHER):
            assert store.read_now(lambda c, w=who: blobs.bytes_of(c, w) - needed(c, w)) == 0  # type: ignore[misc]


def test_up_to_the_limit_and_no_further(store: Store) -> None:
    assert left(store, "open_units", 60) == 7
    assert left(store, "open_units", 67) == 0
    with pytest.raises(QuotaExceeded, match="33 units that have not ended, and 68 more would be above the 100") as no:
        left(store, "open_units", 68)
    assert "dsage admin quota" in no.value.hint
    assert (no.value.exit_status, no.value.status) == (10, 403)


def test_units_that_were_made_and_cancelled_over_and_over_are_too_many_some_time(store: Store) -> None:
    store.write_now(lambda c: c.execute(insert(tally).values(run_id=1, slot=0, what="unit.cancelled", n=4 * 50 + 3)))
    store.write_now(lambda c: c.execute(insert(tally).values(run_id=4, slot=0, what="unit.cancelled", n=1000)))
    assert left(store, "open_units", 17) == 0
    with pytest.raises(QuotaExceeded, match="83 units that have not ended"):
        left(store, "open_units", 18)


def test_a_run_that_ended_and_is_to_go_on_is_as_good_as_a_new_one(store: Store) -> None:
    again = functools.partial(quotas.check_again, researcher=ME)
    more = Quota(runs=4, open_units=100, blob_bytes=1000)
    store.read_now(lambda c: again(c, 1, default=DEFAULT))
    store.read_now(lambda c: again(c, 4, default=more))
    with pytest.raises(QuotaExceeded, match="3 open runs"):
        store.read_now(lambda c: again(c, 4, default=DEFAULT))
    store.write_now(lambda c: c.execute(insert(tally).values(run_id=4, slot=0, what="unit.cancelled", n=68)))
    with pytest.raises(QuotaExceeded, match="and 68 more"):
        store.read_now(lambda c: again(c, 4, default=more))


async def test_steps_at_the_same_time_are_not_each_let_have_all_that_is_left(store: Store) -> None:
    allowances = Allowances(store, lambda: 100.0, DEFAULT)
    committed = asyncio.Event()

    async def step() -> None:
        async with allowances.taking(ME, "open_units", 20):
            await committed.wait()

    steps = [asyncio.create_task(step()) for _ in range(5)]
    done, going_on = await asyncio.wait(steps, return_when=asyncio.FIRST_EXCEPTION)
    while len(done) < 2:
        more, going_on = await asyncio.wait(going_on, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert len(going_on) == 3, "67 were left"
    assert all(isinstance(each.exception(), QuotaExceeded) for each in done)
    committed.set()
    await asyncio.gather(*going_on)
    await allowances.take(ME, "open_units", 67)


async def test_a_step_that_makes_nothing_is_never_too_much(store: Store) -> None:
    allowances = Allowances(store, lambda: 100.0, Quota(runs=0, open_units=0, blob_bytes=0))
    async with allowances.taking(ME, "open_units", 0):
        pass


def test_a_run_that_is_there_already_is_not_one_too_many(store: Store) -> None:
    store.read_now(lambda c: quotas.check_run(c, "k1", ME, DEFAULT))
    with pytest.raises(QuotaExceeded, match="3 open runs"):
        store.read_now(lambda c: quotas.check_run(c, "new", ME, DEFAULT))
    store.read_now(lambda c: quotas.check_run(c, "new", OTHER, DEFAULT))


def test_one_key_may_have_limits_of_its_own(store: Store) -> None:
    store.write_now(lambda c: quotas.change(c, ME, {"runs": 10}))
    store.write_now(lambda c: quotas.change(c, ME, {"blob_bytes": 400}))
    mine = store.read_now(lambda c: quotas.allowed(c, ME, DEFAULT))
    assert mine == Quota(runs=10, open_units=100, blob_bytes=400)
    assert store.read_now(lambda c: quotas.allowed(c, OTHER, DEFAULT)) == DEFAULT
    assert left(store, "blob_bytes", 25) == 0
    store.write_now(lambda c: quotas.clear(c, ME))
    assert store.read_now(lambda c: quotas.allowed(c, ME, DEFAULT)) == DEFAULT


async def test_the_tables_are_asked_now_and_then_and_when_it_matters(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    allowances = Allowances(store, lambda: now[0], DEFAULT)
    asked: list[int] = []
    count = quotas.check

    def counted(c: Connection, researcher: bytes, what: str, more: int, default: Quota) -> int:
        asked.append(more)
        return count(c, researcher, what, more, default)

    monkeypatch.setattr(quotas, "check", counted)
    for more in (10, 20, 30):
        await allowances.take(ME, "open_units", more)
    assert asked == [10]
    with pytest.raises(QuotaExceeded):
        await allowances.take(ME, "open_units", 68)
    store.write_now(lambda c: c.execute(update(tally).values(n=0)))
    await allowances.take(ME, "open_units", 68)
    assert asked == [10, 68, 68]
    now[0] += RECOUNT_S + 1.0
    await allowances.take(ME, "open_units", 1)
    assert asked == [10, 68, 68, 1]
