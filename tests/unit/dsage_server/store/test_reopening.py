"""Runs in the real tables whose drivers die, whose volunteers lie, and whose answers are refused at any time."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from dsage import DistributedFunction, Unit, codec, wire
from dsage.driver import Driver, Ended
from dsage.errors import Conflict, NotFound
from dsage.states import RunState
from dsage.testing import Died, Fault, FaultyApi
from dsage.trust.documents import Authorisation, Manifest, SignedResult, UnitDocument
from dsage.trust.envelope import hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage_server.signing import sign_units
from dsage_server.store import (
    control,
    events,
    hosts,
    leases,
    looking,
    reopening,
    runs,
    steps,
    tallies,
    unfolded,
    units,
    views,
)
from dsage_server.store.engine import Store
from dsage_server.store.schema import answer, aside, replica, run, run_step, signed_unit, unit
from dsage_server.store.testing import POSTGRESQL, fresh
from dsage_validator import issuing

KEY = PrivateKey.generate()
PEOPLE = 12
DEPTH = 3


def draw(*what: Any) -> int:
    """Return a number that looks random and is the same each time."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big")


class Growing(DistributedFunction):
    """Each answer says which units come next: a lie grows other branches than the truth."""

    seed: int
    width: int

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.seen: list[list[Any]] = []

    def units(self) -> Iterator[Unit]:
        for i in range(self.width):
            yield Unit(f"{self.seed}/{i}", quorum=1)

    @staticmethod
    def compute(path: str) -> int:
        return draw(path) % 100

    def process_result(self, unit: Unit, value: int) -> None:
        self.seen.append([unit.args, value])
        for child in children(unit.args, value):
            self.submit(Unit(child, quorum=1))
        self.result = sorted(self.seen)


class TakesBack(Growing):
    """Branches do not depend on the answers, and each has its key: what is taken back can be folded again."""

    def process_result(self, unit: Unit, value: int) -> None:
        assert unit.args not in [path for path, _ in self.seen], "folded twice"
        self.seen.append([unit.args, value])
        for child in children(unit.args, draw(unit.args)):
            self.submit(Unit(child, key=child, quorum=1))
        self.result = sorted(self.seen)

    def retract(self, unit: Unit, value: int) -> None:
        self.seen.remove([unit.args, value])
        self.result = sorted(self.seen)


class Enough(Growing):
    """It is done as soon as one answer is a multiple of three."""

    def process_result(self, unit: Unit, value: int) -> None:
        super().process_result(unit, value)
        self.done = self.done or value % 3 == 0


def children(path: str, value: int) -> list[str]:
    return [f"{path}.{i}:{value}" for i in range(value % 3 if path.count(".") < DEPTH else 0)]


def truth(function: Growing) -> list[list[Any]]:
    """Return what one computer would have found."""
    found, left = [], [f"{function.seed}/{i}" for i in range(function.width)]
    while left:
        path = left.pop()
        value = draw(path) % 100
        found.append([path, value])
        left += children(path, draw(path) if isinstance(function, TakesBack) else value)
    return sorted(found)


class Tables:
    """One run in the tables, with volunteers who lie about a unit as often as `lies` says; a `StepApi`."""

    def __init__(
        self, folder: Path, function: DistributedFunction, *, kind: str = "", lies: int = 0, pace: int = 3
    ) -> None:
        self.store = Store(fresh(folder, kind))
        self.lies, self.pace, self.now = lies, pace, 1000.0
        code = self.store.write_now(lambda c: hosts.make_invite(c, PEOPLE, 60.0, 0.0))
        self.callers = [self._joined(code) for _ in range(PEOPLE)]
        manifest = Manifest(project="p", title="T", entry="m:T", bundle="0" * 64, bundle_bytes=1)
        app = seal(manifest, KEY)
        self.authorisation = Authorisation(
            server_id="s", project="p", run_key="r", app=hash_of(app), issued=0.0, expires=1e9, cpu_s=1e6, wall_s=1e6,
            memory_bytes=1 << 40, disk_bytes=1 << 40, output_bytes=1 << 40,
        )  # fmt: skip
        sealed = seal(self.authorisation, KEY)
        self.run_hash, self.app = hash_of(sealed), hash_of(app)
        request = wire.SubmitRun(manifest=app, authorisation=sealed, params=b"", state=function.dump_state())
        self.run = self.store.write_now(lambda c: runs.create(c, request, manifest, "r", KEY.public, 0.0)).run

    def _joined(self, code: str) -> leases.Caller:
        key = secrets.token_bytes(32)
        known = self.store.write_now(lambda c: hosts.enrol(c, key, code, wire.Privacy(), 0.0))
        return leases.Caller(host=known.host, volunteer=known.volunteer, key=key)

    # -- what a driver asks ---------------------------------------------------------------------------------------

    async def drive(self, run: int) -> wire.Drive:
        return self.store.write_now(lambda c: runs.drive(c, run, KEY.public, self.now))

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> wire.Answers:
        self.store.read_now(lambda c: runs.check_driver(c, run, KEY.public, fence))
        found = self.store.read_now(lambda c: unfolded.answers(c, run))
        if wait_s and not found.answers and not found.retracted:
            self.work(self.pace)
            found = self.store.read_now(lambda c: unfolded.answers(c, run))
        found.hungry = max(0, 3 - found.open_units)
        return found

    async def step(self, run: int, step: wire.Step) -> wire.StepReply:
        first = self.store.write_now(lambda c: c.info["ids"].take(c, "unit", max(1, len(step.units)))).start
        signed = sign_units(KEY, self.authorisation, self.run_hash, first, step.units, self.now) if step.units else None
        self.now += 1.0
        self.store.write_now(lambda c: runs.commit_step(c, run, KEY.public, step, signed, self.now))
        return wire.StepReply(step=step.step, hungry=0)

    async def replay(self, run: int, *, fence: int) -> wire.Drive:
        return self.store.write_now(lambda c: reopening.replay(c, run, KEY.public, fence, self.now))[0]

    async def upload(self, path: Path) -> str:
        raise NotFound("no files here")

    # -- volunteers -----------------------------------------------------------------------------------------------

    def work(self, count: int) -> None:
        """Let volunteers compute up to `count` units, the youngest first; a paused run has been so for long enough."""
        self.turn(control.resume)
        query = select(unit.c.id).where(unit.c.state == "ready").order_by(unit.c.id.desc()).limit(count)
        for number in self.store.read_now(lambda c: list(c.execute(query).scalars())):
            book = self.store.read_now(functools.partial(units.Book.of, wanted=[number], lock=False))
            current = book.now[number]
            caller = next(each for each in self.callers if issuing.may_take(current, each.volunteer))
            got = self._serve(leases.Call(caller=caller, chosen={number: 100.0})).leased[0]
            path = codec.decode(_signed(got.document).args)
            tried = len(current.replicas)
            wrong = self.lies and tried < draw("lies", path) % (self.lies + 1)
            value = codec.encode(draw(path) % 100 + (1 + tried if wrong else 0))
            signed = SignedResult(
                replica=got.replica, lease=got.lease, unit=number, status="done", app=self.app,
                value=codec.digest(value),
            )  # fmt: skip
            said = [(signed, wire.Report(replica=got.replica, value=value))]
            assert self._serve(leases.Call(caller=caller, results=said, envelope=b"proof")).acks[0].code == "ok"

    def _serve(self, call: leases.Call) -> leases.Applied:
        served = self.store.write_now(lambda c: leases.serve(c, [call], self.now, lambda run: False)).calls[0]
        assert isinstance(served, leases.Applied), served
        return served

    # -- what a test looks at -------------------------------------------------------------------------------------

    def rows(self, *, aside_too: bool = False) -> list[Any]:
        """Return the units of the run, with their arguments and answers."""
        query = (
            select(unit, signed_unit.c.document)
            .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
            .where(unit.c.id.not_in(select(aside.c.unit_id)) if not aside_too else True)  # type: ignore[arg-type]
        )
        return self.store.read_now(lambda c: list(c.execute(query).all()))

    def wrong(self) -> list[int]:
        """Return the units whose accepted answers are lies."""
        bad = []
        for row in [row for row in self.rows() if row.state == "valid"]:
            value = self.store.read_now(functools.partial(units_value, copy=row.canonical_id))
            if value != draw(path_of(row)) % 100:
                bad.append(row.id)
        return bad

    def reopen(self, numbers: Sequence[int]) -> None:
        self.now += 1.0
        self.store.write_now(lambda c: reopening.reopen(c, self.run, numbers, self.now))

    def pages(self) -> set[int]:
        """Return the units that the run's researcher sees."""
        page, _ = self.store.read_now(lambda c: looking.unit_page(c, self.run, 0, looking.MAX_UNITS, ""))
        return {seen.unit for seen in page.units}

    def turn(self, change: Any) -> None:
        """Pause the run or let it go on, if it has not ended."""
        if self.view().state in ("running", "paused"):
            self.store.write_now(lambda c: change(c, self.run, KEY.public, self.now))

    def view(self) -> wire.RunView:
        return self.store.read_now(lambda c: views.run_view(c, self.run, self.now))


def units_value(connection: Any, copy: int) -> int:
    """Return the value that a copy brought."""
    return int(codec.decode(connection.execute(select(answer.c.value).where(answer.c.replica_id == copy)).scalar_one()))


def _signed(document: bytes) -> UnitDocument:
    return msgspec.json.decode(document, type=UnitDocument)


def path_of(row: Any) -> str:
    return str(codec.decode(_signed(row.document).args))


class Meddled(FaultyApi):
    """Before each call something may happen at the server: an answer refused, a driver elsewhere."""

    def __init__(self, tables: Tables, faults: Iterator[Fault], events: Iterator[tuple[str, int]]) -> None:
        super().__init__(tables, faults)
        self.tables = tables
        self.events = events

    async def _suffer(self, call: Any) -> Any:
        what, pick = next(self.events, ("", 0))
        if what == "takeover":
            await self.tables.drive(self.tables.run)
        if what == "pause":
            self.tables.turn(control.pause)
        if what == "work":
            self.tables.work(1)
        if what == "reopen":
            rows = self.tables.rows(aside_too=True)
            copies = Counter(self.tables.store.read_now(lambda c: list(c.execute(select(replica.c.unit_id)).scalars())))
            valid = [row.id for row in rows if row.state == "valid" and copies[row.id] < PEOPLE - 4]
            if valid:
                self.tables.reopen([valid[pick % len(valid)]])
        return await super()._suffer(call)


async def no_sleep(seconds: float) -> None:
    pass


def to_its_end(
    function: DistributedFunction, tables: Tables, faults: list[Fault], events: list[tuple[str, int]]
) -> Ended:
    """Start drivers, one after the other, until the run has ended on no lie."""
    left, more = iter(faults), iter(events)
    for _ in range(500):
        try:
            ended = asyncio.run(Driver(function, Meddled(tables, left, more), tables.run, sleep=no_sleep).drive())
        except (Died, Conflict):
            continue
        if ended.state is RunState.DONE and tables.wrong():
            tables.reopen(tables.wrong())
        if tables.view().state == RunState.DONE:
            return ended
    raise AssertionError("the run does not end")


def the_end_is_that_of_the_truth(
    kind: type[Growing],
    place: str,
    seed: int,
    width: int,
    faults: list[Fault],
    events: list[tuple[str, int]],
    lies: int,
) -> None:
    function = kind(seed=seed, width=width)
    folder = Path(tempfile.mkdtemp())
    tables = Tables(folder, function, kind=place, lies=lies)
    try:
        ended = to_its_end(function, tables, faults, events)
        rows = tables.rows()
        state = tables.store.read_now(lambda c: c.execute(select(run.c.driver_state)).scalar_one())
        seen = codec.decode(state)["seen"]
        assert ended.result == (sorted(seen) or None)
        assert sorted(path for path, _ in seen) == sorted(path_of(row) for row in rows if row.folded_step)
        assert all(value == draw(path) % 100 for path, value in seen)
        assert len({path_of(row) for row in rows}) == len(rows), "a unit was made twice"
        assert all(row.refused_id is None for row in rows)
        if not any(value % 3 == 0 for _, value in seen) or kind is not Enough:
            assert all(row.folded_step and row.state == "valid" for row in rows), "it ended too early"
            assert sorted(seen) == truth(function)
        assert tables.view().units == Counter(row.state for row in rows)
        assert tables.pages() == {row.id for row in rows}
        assert tables.store.read_now(lambda c: tallies.of(c, tables.run)).get("unit.valid", 0) == sum(
            row.state == "valid" for row in tables.rows(aside_too=True)
        )
    finally:
        tables.store.close()
        shutil.rmtree(folder)


HISTORY = {
    "seed": st.integers(0, 10**6),
    "width": st.integers(1, 4),
    "faults": st.lists(st.sampled_from(list(Fault)), max_size=40),
    "events": st.lists(
        st.tuples(st.sampled_from(["", "reopen", "reopen", "work", "takeover", "pause"]), st.integers(0, 50)),
        max_size=40,
    ),
    "lies": st.integers(0, 2),
}


@pytest.mark.parametrize("kind", [Growing, TakesBack, Enough])
@settings(max_examples=8, deadline=None)
@given(**HISTORY)
def test_the_end_is_that_of_the_truth(kind: type[Growing], **history: Any) -> None:
    the_end_is_that_of_the_truth(kind, "", **history)


@pytest.mark.skipif(not POSTGRESQL, reason="PostgreSQL's programs are not here")
@pytest.mark.parametrize("kind", [Growing, TakesBack])
@settings(max_examples=2, deadline=None)
@given(**HISTORY)
def test_the_same_in_postgresql(kind: type[Growing], **history: Any) -> None:
    the_end_is_that_of_the_truth(kind, "postgresql", **history)


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """A run that grows."""
    made = Tables(tmp_path, Growing(seed=5, width=3))
    yield made
    made.store.close()


def kept(tables: Tables) -> list[int]:
    query = select(run_step.c.step).order_by(run_step.c.step)
    return tables.store.read_now(lambda c: list(c.execute(query).scalars()))


def test_states_are_kept_more_sparsely_the_older_they_are(tables: Tables) -> None:
    """However long a run, few states are kept, and there is always one not much further back than was asked for."""

    def change(connection: Any) -> None:
        for step in range(5000):
            steps.keep(connection, tables.run, step, b"%d" % step)
            if step % 500 == 499:
                found = list(connection.execute(select(run_step.c.step).order_by(run_step.c.step)).scalars())
                assert len(found) <= 1 + steps.NEWEST * step.bit_length()
                assert found[0] == 0
                assert found[-steps.NEWEST // 2 :] == list(range(step - steps.NEWEST // 2 + 1, step + 1))
                for back in range(1, step):
                    at, state = steps.kept_before(connection, tables.run, step - back + 1)
                    assert state == b"%d" % at
                    assert step - at <= 2 * back or at == 0

    tables.store.write_now(change)


@pytest.mark.parametrize("size", [100 << 10, 1 << 20])
def test_heavy_states_have_a_bound_together(tables: Tables, size: int) -> None:
    def change(connection: Any) -> None:
        for step in range(1200):
            steps.keep(connection, tables.run, step, bytes(size))
        found = connection.execute(select(run_step.c.step)).scalars().all()
        assert (len(found) - 1) * size <= steps.MOST_BYTES + steps.WEIGHED * steps.LIGHT_BYTES
        assert 0 in found
        assert max(found) >= 1200 - 16 * 4

    tables.store.write_now(change)


def test_a_run_that_kept_no_states_cannot_go_back_and_says_so(tables: Tables) -> None:
    """It began under an older version."""
    function = Growing(seed=5, width=3)
    to_its_end(function, tables, [], [])
    tables.store.write_now(lambda c: c.execute(run_step.delete()))
    tables.reopen([min(row.id for row in tables.rows())])
    with pytest.raises(Conflict, match="cannot go back"):
        asyncio.run(Driver(function, tables, tables.run, sleep=no_sleep).drive())


def test_a_replay_computes_only_what_was_refused(tables: Tables) -> None:
    """The units of the later steps come back with their answers when the run makes them again."""
    function = Growing(seed=5, width=3)
    to_its_end(function, tables, [], [])
    before = {row.id: path_of(row) for row in tables.rows()}
    copies = tables.store.read_now(lambda c: len(c.execute(select(replica.c.id)).all()))
    tables.reopen([min(before)])
    assert tables.view().state == "running"

    ended = to_its_end(function, tables, [], [])

    assert ended.result == truth(function)
    assert {row.id: path_of(row) for row in tables.rows()} == before
    assert tables.store.read_now(lambda c: len(c.execute(select(replica.c.id)).all())) == copies + 1
    kinds = [each.kind for each in tables.store.read_now(lambda c: events.since(c, 0, run=tables.run))]
    assert kinds.count("replayed") == 1
    assert "correcting" in kinds


def test_a_replay_forgets_the_states_that_rest_on_what_does_not_hold(tables: Tables) -> None:
    to_its_end(Growing(seed=5, width=3), tables, [], [])
    first = min(tables.rows(), key=lambda row: row.folded_step)
    assert max(kept(tables)) > first.folded_step
    tables.reopen([first.id])

    fence = asyncio.run(tables.drive(tables.run)).fence
    asyncio.run(tables.replay(tables.run, fence=fence))

    assert max(kept(tables)) < first.folded_step
    assert all(row.folded_step is None and row.made_step < first.folded_step for row in tables.rows())
    assert any(row.folded_step == steps.ASIDE_STEP for row in tables.rows(aside_too=True))


def test_units_put_aside_are_not_counted_shown_or_tried_again(tables: Tables) -> None:
    to_its_end(Growing(seed=5, width=3), tables, [], [])
    inner = sorted(tables.rows(), key=lambda row: row.folded_step)[3]
    total = sum(tables.view().units.values())
    tables.reopen([inner.id])
    fence = asyncio.run(tables.drive(tables.run)).fence
    asyncio.run(tables.replay(tables.run, fence=fence))

    put_aside = [row for row in tables.rows(aside_too=True) if row.folded_step == steps.ASIDE_STEP]
    left = tables.rows()
    one, other = [row.id for row in put_aside if row.state == "valid"][:2]
    assert left
    assert len(left) + len(put_aside) == total
    assert tables.view().units == Counter(row.state for row in left)
    assert tables.pages() == {row.id for row in left}
    tables.reopen([one])
    assert tables.view().units == Counter(row.state for row in left), "nobody waits for it: it is not asked again"
    tables.store.write_now(lambda c: c.execute(update(unit).where(unit.c.id == other).values(state="failed")))
    with pytest.raises(Conflict, match="no failed unit"):
        tables.store.write_now(lambda c: control.retry(c, tables.run, KEY.public, [other], tables.now))


def test_other_limits_are_other_work() -> None:
    new = wire.NewUnit(key="a", args=b"x", inputs={"f": "0" * 64})
    assert steps.work_of(new) == steps.work_of(msgspec.structs.replace(new, key="b", group="g"))
    others: list[dict[str, Any]] = [
        {"args": b"y"}, {"quorum": 3}, {"cpu_s": 1.0}, {"inputs": {}}, {"splits": True}, {"credit_milli": 2}
    ]  # fmt: skip
    for other in others:
        assert steps.work_of(new) != steps.work_of(msgspec.structs.replace(new, **other))
