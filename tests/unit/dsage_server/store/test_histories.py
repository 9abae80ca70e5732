"""Random histories against the real tables, beside the pure model: after each step both must say the same."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from sqlalchemy import Connection, insert, select

from dsage import codec, wire
from dsage.errors import Conflict, DSageError
from dsage.states import FINAL_UNITS, HOLDS_PLACE, UnitState
from dsage.states import ReplicaState as R
from dsage.trust.documents import Authorisation, Manifest, SignedResult
from dsage.trust.envelope import hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage_server.scheduling.terms import ReadyUnit, RunTerms
from dsage_server.signing import sign_units
from dsage_server.store import (
    checking,
    control,
    credit,
    deadlines,
    hosts,
    leases,
    runs,
    tallies,
    unfolded,
    units,
    views,
)
from dsage_server.store.engine import Store
from dsage_server.store.ids import reserve
from dsage_server.store.ready import ready_units
from dsage_server.store.schema import answer, credit_entry, credit_sum, credit_unfolded, host, replica, run_credit, unit
from dsage_server.store.testing import POSTGRESQL, fresh
from dsage_validator import issuing, life
from dsage_validator.checks import Verdict
from dsage_validator.unit import Replica, Unit

T = TypeVar("T")
KEY = PrivateKey.generate()
VALUES = {word: codec.encode([word]) for word in ("right", "wrong", "odd")} | {"garbage": b"\xc1 no value"}
DEADLINE_S = 20.0
WORD = st.sampled_from(["right", "right", "right", "wrong", "odd", "garbage"])


@dataclass(frozen=True)
class Run:
    """A run as the test knows it."""

    number: int
    app: str
    authorisation: Authorisation
    run_hash: str
    checked: bool


@dataclass(frozen=True)
class Lease:
    """What a host got."""

    caller: leases.Caller
    unit: int
    token: bytes


class Tables(RuleBasedStateMachine):
    """Hosts, a driver, a checker and a clock work on the tables; crashes come at any time."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.where = fresh(self.folder, self.kind)
        self.store = Store(self.where)
        self.now = 1000.0
        self.model: dict[int, Unit] = {}
        self.run_of: dict[int, Run] = {}
        self.worth: dict[int, int] = {}
        self.leases: dict[int, Lease] = {}
        self.kept: dict[int, bytes] = {}
        self.steps: Counter[int] = Counter()
        self.folded: dict[int, int] = {}
        self.over: set[int] = set()
        self.failed: dict[int, list[int]] = {}
        self.paused: set[int] = set()
        self.cases: dict[int, checking.Case] = {}
        self.group: dict[int, str] = {}
        self.cpu: dict[int, float] = defaultdict(float)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def do(self, change: Callable[[Connection], T]) -> T:
        return self.store.write_now(change)

    # -- the world -----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        code = self.do(lambda c: hosts.make_invite(c, 6, 60.0, self.now))
        self.callers = [self.joined(code, n % 2 == 0) for n in range(5)]
        first = self.callers[0]
        second = self.do(
            lambda c: c.execute(
                insert(host).values(volunteer_id=first.volunteer, key=b"second", created=0.0).returning(host.c.id)
            ).scalar_one()
        )
        self.callers.append(leases.Caller(host=second, volunteer=first.volunteer, key=b"second"))
        self.runs = [self.submitted(checked) for checked in (False, True)]
        for which in (0, 1):
            self.step(which, [1, 2, 3], False, 0, False, "")

    def joined(self, code: str, public: bool) -> leases.Caller:
        key = secrets.token_bytes(32)
        known = self.do(
            lambda c: hosts.enrol(c, key, code, wire.Privacy(leaderboard=public, discoveries=public), self.now)
        )
        return leases.Caller(host=known.host, volunteer=known.volunteer, key=key)

    def submitted(self, checked: bool) -> Run:
        manifest = Manifest(
            project="p",
            title="T",
            entry="m:T",
            bundle="0" * 64,
            bundle_bytes=1,
            has_verify=checked,
            has_partial=checked,
        )
        app = seal(manifest, KEY)
        limits = {"cpu_s": 1e6, "wall_s": 1e6, "memory_bytes": 1 << 40, "disk_bytes": 1 << 40, "output_bytes": 1 << 40}
        authorisation = Authorisation(
            server_id="s", project="p", run_key=secrets.token_hex(4), app=hash_of(app), issued=0.0, expires=1e9,
            **limits,  # type: ignore[arg-type]
        )  # fmt: skip
        sealed = seal(authorisation, KEY)
        request = wire.SubmitRun(manifest=app, authorisation=sealed, params=b"", state=b"")
        made = self.do(lambda c: runs.create(c, request, manifest, authorisation.run_key, KEY.public, self.now))
        again = self.do(lambda c: runs.create(c, request, manifest, authorisation.run_key, KEY.public, self.now))
        assert (made.created, again.created, again.run) == (True, False, made.run)
        self.do(lambda c: runs.drive(c, made.run, KEY.public, self.now))
        return Run(made.run, hash_of(app), authorisation, hash_of(sealed), checked)

    # -- the driver ----------------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1), quorums=st.lists(st.integers(1, 3), min_size=1, max_size=3), fold=st.booleans(),
        cancel=st.sampled_from([0, 0, 0, 1]), again=st.booleans(),
        ends=st.sampled_from([""] * 16 + ["done"] + ["failed"] * 3),
    )  # fmt: skip
    def step(self, which: int, quorums: list[int], fold: bool, cancel: int, again: bool, ends: str) -> None:
        run = self.runs[which]
        number = self.steps[run.number] + 1
        new = [
            wire.NewUnit(
                key=f"{number}.{i}", args=codec.encode(i), group=f"g{i}", quorum=quorum, deadline_s=DEADLINE_S,
                credit_milli=1000 * quorum + i,
            )
            for i, quorum in enumerate(quorums)
        ]  # fmt: skip
        heard = self.do(lambda c: unfolded.answers(c, run.number)).answers if fold else []
        step = wire.Step(
            fence=1, step=number, units=new, cancel_groups=["g0"] * cancel, state=b"%d" % number,
            finished=ends == "done", failed="it broke" * (ends == "failed"),
            folded=[answer.unit for answer in heard], result=b"r" if ends == "done" else None,
        )  # fmt: skip
        if run.number in self.over:
            with pytest.raises(Conflict):
                self.commit(run, step)
            return
        self.commit(run, step)
        if again:
            assert self.commit(run, step) == []
        self.steps[run.number] = number
        self.folded |= dict.fromkeys(step.folded, number)
        called_off = [n for n, r in self.run_of.items() if cancel and r is run and self.group[n] == "g0"]
        open_before = [n for n, r in self.run_of.items() if r is run and not self.model[n].final]
        if ends != "failed":
            self.folded |= {n: number for n in called_off if n in open_before}
        self.cancelled(run, called_off.__contains__)
        rows = self.do(lambda c: c.execute(select(unit).where(unit.c.run_id == run.number)).all())
        for row in (row for row in rows if row.id not in self.model):
            self.model[row.id] = life.created(row.id, row.quorum)
            self.run_of[row.id], self.group[row.id], self.worth[row.id] = run, row.grp, row.credit_milli
        assert len(rows) == sum(r is run for r in self.run_of.values())
        if ends:
            self.over.add(run.number)
            self.paused.discard(run.number)
            if ends == "failed":
                made = [n for n, r in self.run_of.items() if r is run and not self.model[n].final]
                self.failed[run.number] = sorted({*open_before, *made})
            self.cancelled(run, lambda n: True)

    @rule(which=st.integers(0, 1), to=st.sampled_from(["pause", "resume", "resume"]))
    def pause_and_resume(self, which: int, to: str) -> None:
        number = self.runs[which].number
        change = control.pause if to == "pause" else control.resume
        if number in self.over:
            with pytest.raises(Conflict, match=r"is (done|failed)"):
                self.do(lambda c: change(c, number, KEY.public, self.now))
            return
        self.do(lambda c: change(c, number, KEY.public, self.now))
        (self.paused.add if to == "pause" else self.paused.discard)(number)

    @rule(which=st.integers(0, 1), pick=st.integers(0, 30))
    def try_again(self, which: int, pick: int) -> None:
        """What failed is tried again: one unit, or all that no step has folded."""
        run = self.runs[which]
        number = run.number
        failed = [n for n, r in self.run_of.items() if r is run and self.model[n].state is UnitState.FAILED]
        chosen = failed[pick % len(failed) :][:1] if failed and pick % 3 == 0 else []
        if number in self.over and number not in self.failed:
            with pytest.raises(Conflict, match="is done"):
                self.do(lambda c: control.retry(c, number, KEY.public, chosen, self.now))
            return
        self.do(lambda c: control.retry(c, number, KEY.public, chosen, self.now))
        for n in [*(chosen or set(failed) - self.folded.keys()), *self.failed.pop(number, [])]:
            self.model[n] = life.retried(self.model[n])
            self.folded.pop(n, None)
        self.over.discard(number)

    def cancelled(self, run: Run, which: Callable[[int], bool]) -> None:
        for n, r in self.run_of.items():
            if r is run and which(n):
                self.model[n] = life.cancel(self.model[n], checked=run.checked)

    def commit(self, run: Run, step: wire.Step) -> list[units.Changed]:
        first = self.do(lambda c: reserve(c, "unit", max(1, len(step.units))))
        signed = sign_units(KEY, run.authorisation, run.run_hash, first, step.units, self.now) if step.units else None
        return self.do(lambda c: runs.commit_step(c, run.number, KEY.public, step, signed, self.now))

    @rule(which=st.integers(0, 1), wrong=st.sampled_from(["fence", "step", "key", "fold"]))
    def a_step_that_may_not_be_changes_nothing(self, which: int, wrong: str) -> None:
        run = self.runs[which]
        number = self.steps[run.number] + 1
        old = [n for n, r in self.run_of.items() if r is run and (n in self.folded or not self.model[n].final)]
        step = wire.Step(
            fence=0 if wrong == "fence" else 1, step=number + (wrong == "step"), state=b"x",
            folded=old[:1] or [10**6] if wrong == "fold" else [], cancel_groups=["g0", "g1", "g2"],
        )  # fmt: skip
        who = b"somebody else" if wrong == "key" else KEY.public
        with pytest.raises(DSageError):
            self.do(lambda c: runs.commit_step(c, run.number, who, step, None, self.now))

    # -- hosts ---------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 5), want=st.integers(1, 4))
    def fetch(self, who: int, want: int) -> None:
        self.fetch_together([who], want)

    @rule(order=st.permutations(range(6)), want=st.integers(1, 4))
    def fetch_together(self, order: list[int], want: int) -> None:
        """Hosts that share a commit get what they would have got one after the other."""
        ready = [n for n in sorted(self.model) if self.model[n].state is UnitState.READY][:want]
        wishes = dict.fromkeys(ready, DEADLINE_S)
        callers = [self.callers[who] for who in order]
        served = self.serve(*[leases.Call(caller=caller, chosen=wishes) for caller in callers])
        for caller, applied in zip(callers, served, strict=True):
            mine = [
                n
                for n in ready
                if self.model[n].unsent
                and self.run_of[n].number not in self.paused
                and issuing.may_take(self.model[n], caller.volunteer)
            ]
            got = [msgspec.json.decode(a.document)["unit"] for a in applied.leased]
            assert got == mine
            for number, assignment in zip(got, applied.leased, strict=True):
                copy = Replica(
                    id=assignment.replica, volunteer=caller.volunteer, host=caller.host,
                    deadline=self.now + DEADLINE_S, hard_deadline=self.now + leases.MIN_HARD_S,
                )  # fmt: skip
                self.model[number] = life.lease(self.model[number], copy)
                self.leases[copy.id] = Lease(caller, number, assignment.lease)

    def serve(self, *calls: leases.Call) -> list[leases.Applied]:
        """Serve calls in one group; what the server is told of them is how the units stand."""
        has_check = {run.number: run.checked for run in self.runs}.__getitem__

        def change(c: Connection) -> leases.Served:
            served = leases.serve(c, calls, self.now, has_check)
            told = {entry.unit.id: entry.unit for entry in served.changed}
            assert units.Book.of(c, told).now == told
            return served

        done = [part for part in self.do(change).calls if isinstance(part, leases.Applied)]
        assert len(done) == len(calls)
        return done

    @rule(turns=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), WORD), min_size=2, max_size=5))
    def work(self, turns: list[tuple[int, int, str]]) -> None:
        """Hosts fetch and report, one after the other."""
        for who, want, word in turns:
            self.fetch(who, want)
            mine = [n for n, lease in self.leases.items() if lease.caller is self.callers[who] and n not in self.kept]
            if mine:
                self.report_these(mine, word, "done", "")

    @precondition(lambda self: self.leases)
    @rule(
        picks=st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True),
        word=WORD,
        status=st.sampled_from(["done"] * 6 + ["failed", "returned", "aborted"]),
        forged=st.sampled_from(["", "", "", "", "lease", "unit", "app", "replica"]),
    )
    def report(self, picks: list[int], word: str, status: str, forged: str) -> None:
        """A host reports several copies at once, its own and others'; the first may be forged."""
        among = sorted(self.leases)
        self.report_these(list(dict.fromkeys(among[pick % len(among)] for pick in picks)), word, status, forged)

    def report_these(self, chosen: list[int], word: str, status: str, forged: str) -> None:
        caller = self.leases[chosen[0]].caller
        value = VALUES[word] if status in ("done", "aborted") else None
        results = []
        for number in chosen:
            lease = self.leases[number]
            forge = forged if number == chosen[0] else ""
            signed = SignedResult(
                replica=10**9 if forge == "replica" else number, lease=b"guess" if forge == "lease" else lease.token,
                unit=lease.unit + (forge == "unit"), status=status, reason="",
                app="0" if forge == "app" else self.run_of[lease.unit].app,
                value="" if value is None else codec.digest(value),
            )  # fmt: skip
            results.append((signed, wire.Report(replica=signed.replica, value=value, cpu_s=1.0)))
        (applied,) = self.serve(leases.Call(caller=caller, results=results, envelope=b"proof"))
        expected = [self.expect(number, caller, value, status, forged * (number == chosen[0])) for number in chosen]
        assert [ack.code for ack in applied.acks] == expected
        self.judge_plain({self.leases[number].unit for number in chosen})

    def expect(self, number: int, caller: leases.Caller, value: bytes | None, status: str, forged: str) -> str:
        lease = self.leases[number]
        copy = self.model[lease.unit].replica(number)
        if forged in ("replica", "unit") or lease.caller.host != caller.host:
            return "unknown"
        if forged:
            return "refused"
        if number in self.kept:
            return "ok" if value == self.kept[number] else "refused"
        if copy.state not in (R.LEASED, R.EXPIRED) or (copy.state is R.EXPIRED and status != "done"):
            return "late"
        current = self.model[lease.unit]
        partial = status == "aborted" and current.final
        try:
            if status == "done" or (partial and value):
                late = current.state is UnitState.CANCELLED
                self.model[lease.unit] = life.report(current, number, partial=partial or late)
                assert value is not None
                self.kept[number] = value
            else:
                state = R.ERROR if status == "failed" else R.ABORTED if partial else R.RETURNED
                self.model[lease.unit] = life.give_up(current, number, state)
        except Conflict:
            return "late"
        return "ok"

    def judge_plain(self, numbers: set[int]) -> None:
        for number in numbers:
            if not self.run_of[number].checked:
                for copy in life.unjudged(self.model[number]):
                    self.model[number] = self.verdict(self.model[number], copy)

    def verdict(self, current: Unit, copy: Replica) -> Unit:
        value = self.kept[copy.id]
        proof = False if value == VALUES["garbage"] else None
        alike = [c for c in life.centres(current) if self.kept[c] == value]
        lonely = copy.partial or current.state is UnitState.CANCELLED
        share = (0.5 if self.run_of[current.id].checked else 0.0) if lonely else 1.0
        camp = alike[0] if alike and proof is None else copy.id
        return life.judge(current, copy.id, camp=camp, proof=proof, share=share)

    @rule(who=st.integers(0, 5), more=st.booleans(), forged=st.booleans(), suspended=st.booleans())
    def renew(self, who: int, more: bool, forged: bool, suspended: bool) -> None:
        caller = self.callers[who]
        held = [n for n, lease in self.leases.items() if forged or lease.caller is caller]
        progress = self.now if more else 0.0
        said = [wire.Holding(replica=n, lease=self.leases[n].token, cpu_s=progress, suspended=suspended) for n in held]
        (applied,) = self.serve(leases.Call(caller=caller, holding=said))
        stop = []
        for n in held:
            lease, current = self.leases[n], self.model[self.leases[n].unit]
            copy = current.replica(n)
            if lease.caller is not caller or copy.state not in (R.LEASED, R.EXPIRED) or current.final:
                stop.append(n)
            elif copy.state is R.LEASED and (suspended or progress > self.cpu[n]):
                longer = min(self.now + DEADLINE_S, copy.hard_deadline)
                if longer - copy.deadline > leases.RENEWAL_GAIN * DEADLINE_S:
                    self.cpu[n] = progress
                    copies = tuple(replace(r, deadline=longer) if r.id == n else r for r in current.replicas)
                    self.model[lease.unit] = replace(current, replicas=copies)
        assert applied.abort == stop

    @rule(who=st.integers(0, 5), lost=st.booleans())
    def start_again(self, who: int, lost: bool) -> None:
        """A host starts and says what it still knows of."""
        caller = self.callers[who]
        mine = [n for n, lease in self.leases.items() if lease.caller is caller]
        known = mine[: len(mine) // 2] if lost else mine
        self.serve(leases.Call(caller=caller, known=frozenset(known)))
        for n in set(mine) - set(known):
            current = self.model[self.leases[n].unit]
            if current.replica(n).state is R.LEASED:
                self.model[current.id] = life.give_up(current, n, R.RETURNED)

    # -- the server's own tasks -------------------------------------------------------------------------------------

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 30), early=st.booleans())
    def check(self, pick: int, early: bool) -> None:
        """The checker reads a unit; its verdicts come at once, or whenever the next ones of this unit are due."""
        number = sorted(self.model)[pick % len(self.model)]
        case = self.cases.pop(number, None) or self.do(lambda c: checking.case(c, number))
        if case is None:
            assert not life.unjudged(self.model[number])
            return
        if early:
            self.cases[number] = case
            return
        done = self.model[number]
        dropped = case.cancelled != (done.state is UnitState.CANCELLED)
        verdicts = []
        for candidate in case.candidates:
            copy = done.replica(candidate.replica)
            assert self.kept[copy.id] == candidate.value
            if not dropped:
                done = self.verdict(done, copy)
                judged = next(r for r in done.replicas if r.id == copy.id)
                camp = judged.camp or copy.id
                verdicts.append(Verdict(replica=copy.id, camp=camp, proof=judged.proof, share=judged.share))
            else:
                verdicts.append(Verdict(replica=copy.id, camp=copy.id, proof=True, share=1.0))
        self.do(lambda c: checking.apply(c, case, verdicts, self.now))
        self.model[number] = done

    @rule(seconds=st.floats(-10, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

        def change(c: Connection) -> None:
            book = units.Book.of(c, deadlines.expired(c, self.now))
            book.now = {n: life.expire(u, self.now) for n, u in book.now.items()}
            book.write(self.now)

        self.do(change)
        self.model = {n: life.expire(u, self.now) for n, u in self.model.items()}

    @rule(seconds=st.floats(0, 100))
    def outage(self, seconds: float) -> None:
        self.do(lambda c: deadlines.extend_leases(c, seconds))
        for n, current in self.model.items():
            copies = tuple(
                replace(r, deadline=r.deadline + seconds, hard_deadline=r.hard_deadline + seconds)
                if r.state is R.LEASED
                else r
                for r in current.replicas
            )
            self.model[n] = replace(current, replicas=copies)

    @rule()
    def fold_credit(self) -> None:
        while self.do(credit.fold):
            pass

    @rule(halfway=st.booleans(), who=st.integers(0, 5))
    def crash(self, halfway: bool, who: int) -> None:
        """The server dies, perhaps in the middle of a transaction."""
        caller = self.callers[who]

        def change(c: Connection) -> None:
            calls = [
                leases.Call(caller=caller, chosen=dict.fromkeys(sorted(self.model), DEADLINE_S)),
                leases.Call(caller=caller, known=frozenset()),
            ]
            leases.serve(c, calls, self.now, lambda number: False)
            runs.cancel_groups(c, self.runs[0].number, None, self.now)
            raise Crash

        if halfway:
            with pytest.raises(Crash):
                self.do(change)
        self.store.close()
        self.store = Store(self.where)

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        self.do(self.look)

    def look(self, c: Connection) -> None:
        self.the_tables_say_what_the_model_says(c)
        self.no_acknowledged_answer_is_lost_and_none_is_made_up(c)
        self.the_driver_is_offered_what_it_has_not_folded(c)
        self.credit_is_paid_once_and_for_valid_copies_only(c)
        self.nobody_has_two_places_in_a_unit(c)
        self.the_tallies_are_what_one_would_count(c)

    def the_tables_say_what_the_model_says(self, c: Connection) -> None:
        found = units.Book.of(c, self.model).now
        assert found == self.model, [(found[n], self.model[n]) for n in found if found[n] != self.model[n]]
        rows = c.execute(select(unit)).all()
        assert {row.id: row.folded_step for row in rows if row.folded_step is not None} == self.folded
        assert all((row.finished is not None) == (row.state in FINAL_UNITS) for row in rows)
        waiting = {n for n, u in self.model.items() if u.state is UnitState.READY}
        assert {entry.unit for run in self.runs for entry in self.ready(c, run)} == waiting
        unjudged = {n for n, u in self.model.items() if life.unjudged(u)}
        assert set(units.unjudged(c)) == unjudged
        assert all(self.run_of[n].checked for n in unjudged)

    def ready(self, c: Connection, run: Run) -> list[ReadyUnit]:
        terms = RunTerms(run=run.number, project="p", researcher=KEY.public)
        found, complete = ready_units(c, terms, 0, 1000)
        assert complete
        return found

    def no_acknowledged_answer_is_lost_and_none_is_made_up(self, c: Connection) -> None:
        rows = c.execute(select(replica).where(replica.c.value_hash.is_not(None))).all()
        assert {row.id: row.value_hash for row in rows} == {n: codec.digest(value) for n, value in self.kept.items()}
        assert all(row.proof_id for row in rows)
        values = {row.replica_id: row.value for row in c.execute(select(answer))}
        assert values.items() <= self.kept.items()
        for number, unit_ in self.model.items():
            wanted = {r.id for r in unit_.replicas if r.id in self.kept and (r.camp == r.id or r.camp is None)}
            if self.run_of[number].checked:
                wanted |= {r.id for r in unit_.replicas if r.id in self.kept}
            assert wanted <= values.keys()

    def the_driver_is_offered_what_it_has_not_folded(self, c: Connection) -> None:
        for run in self.runs:
            mine = {n: self.model[n] for n, r in self.run_of.items() if r is run}
            heard = unfolded.answers(c, run.number)
            ended = {n for n, u in mine.items() if u.state in (UnitState.VALID, UnitState.FAILED)}
            assert {a.unit for a in heard.answers} == ended - self.folded.keys()
            assert heard.open_units == sum(not u.final for u in mine.values())
            for said in heard.answers:
                canonical = mine[said.unit].canonical
                assert said.value == (self.kept[canonical] if canonical else None)
                assert said.failed == mine[said.unit].reason

    def credit_is_paid_once_and_for_valid_copies_only(self, c: Connection) -> None:
        rows = c.execute(select(credit_entry)).all()
        due = {
            r.id: (r.volunteer, round(self.worth[u.id] * r.share))
            for u in self.model.values()
            for r in u.replicas
            if r.state is R.VALID
        }
        assert {row.replica_id: (row.volunteer_id, row.amount_milli) for row in rows} == due
        assert len(rows) == len(due)
        sums: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        unfolded = set(c.execute(select(credit_unfolded.c.entry_id)).scalars())
        for row in rows:
            if row.id not in unfolded:
                amount, valid = sums[row.volunteer_id]
                sums[row.volunteer_id] = (amount + row.amount_milli, valid + 1)
        stored = c.execute(select(credit_sum)).all()
        assert {row.volunteer_id: (row.amount_milli, row.valid) for row in stored if row.valid} == dict(sums)
        for listed, together in views.everybody(c).items():
            theirs = [row for row in stored if row.public is listed]
            assert together.people == len(theirs)
            assert together.amount_milli == sum(row.amount_milli for row in theirs)
            assert together.valid == sum(row.valid for row in theirs)
            assert together.score == pytest.approx(sum(row.score for row in theirs))

    def the_tallies_are_what_one_would_count(self, c: Connection) -> None:
        for run in self.runs:
            mine = [u for n, u in self.model.items() if self.run_of[n] is run]
            counted = Counter("unit." + u.state for u in mine)
            counted.update("replica." + r.state for u in mine for r in u.replicas)
            counted["credit"] = sum(
                round(self.worth[u.id] * r.share) for u in mine for r in u.replicas if r.state is R.VALID
            )
            earned = c.execute(select(run_credit).where(run_credit.c.run_id == run.number)).all()
            counted["volunteers"] = len(earned)
            counted["unlisted"] = sum(row.amount_milli for row in earned if not row.public)
            assert tallies.of(c, run.number) == +counted

    def nobody_has_two_places_in_a_unit(self, c: Connection) -> None:
        rows = c.execute(select(replica.c.unit_id, replica.c.volunteer_id, replica.c.state)).all()
        assert len(rows) == len(self.leases)
        places = Counter((row.unit_id, row.volunteer_id) for row in rows if row.state in HOLDS_PLACE)
        assert all(count == 1 for count in places.values())


class Crash(Exception):
    """The server dies here."""


class TablesOnPostgreSQL(Tables):
    """The same on the other database."""

    kind = POSTGRESQL


TestTables: Any = Tables.TestCase
TestTables.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestTablesOnPostgreSQL: Any = TablesOnPostgreSQL.TestCase
TestTablesOnPostgreSQL.settings = settings(max_examples=8, stateful_step_count=30, deadline=None)
