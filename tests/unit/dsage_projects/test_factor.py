"""The driver: right answers whatever dies and in whatever order answers come, and one clear sentence for bad input."""

from __future__ import annotations

import ast
import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import flint
import gmpy2
import pytest

from dsage import Unit, codec
from dsage.bundle import pack, unpack
from dsage.driver import Driver, Ended
from dsage.errors import UsageError
from dsage.states import RunState, UnitState
from dsage.testing import Died, Fault, FaultyApi, MemoryServer
from dsage_projects.factor import FUNCTION, Factor, function, ladder, work
from dsage_projects.factor.expression import evaluate
from dsage_projects.factor.groundwork import MAX_PROOF_DIGITS, product
from dsage_projects.factor.misses import PHI_300_11

ELEVEN = [
    *(2, 61, 13, 1117, 212601841, 46329453543600481, 101, 2248313994601, 1993099906542710819727884501),
    *(7884604271247668072701, 25979746658107161913187074671032833320672752745552382077035701),
]


def prime(digits: int, seed: int = 0) -> int:
    rng = random.Random(f"{digits} {seed}")
    return int(gmpy2.next_prime(rng.randrange(10 ** (digits - 1), 10**digits)))


def check(result: Any, n: int) -> None:
    assert result["n"] == n
    assert result["complete"] is True
    assert result["unfinished"] == []
    assert product(result["factors"]) == n
    assert result["factors"] == sorted(result["factors"])
    assert len({p for p, _ in result["factors"]}) == len(result["factors"])
    assert all(p == -1 or flint.fmpz(p).is_prime() for p, _ in result["factors"])
    assert {p for p, _ in result["found_by"]} <= {p for p, _ in result["factors"]}


def alone(n: int | str, **params: Any) -> Factor:
    """Run what the driver does before any unit."""
    factor = Factor(n, **params)
    assert factor.next_job() is None
    assert factor.done
    return factor


class Loop:
    """Volunteers and a driver in one process: units wait in a pool; answers come in any order, also late ones."""

    def __init__(self, factor: Factor, *, seed: int, volunteers: int = 4) -> None:
        self.factor = factor
        self.rng = random.Random(seed)
        self.volunteers = volunteers
        self.pool: list[Unit] = []
        self.keys: list[str] = []
        self.made = 0

    def run(self, *, late_answers: bool) -> Any:
        while not self.factor.done:
            self.maybe_die()
            if len(self.pool) < self.volunteers and (unit := self.factor.next_job()) is not None:
                self.made += 1
                self.keys.append(unit.key)
                args = codec.decode(codec.encode(unit.args))
                self.pool.append(Unit(args, key=unit.key, group=unit.group, quorum=unit.quorum, id=self.made))
            elif self.pool:
                unit = self.pool.pop(self.rng.randrange(len(self.pool)))
                self.fold(unit)
            units, groups = self.factor.take_outbox()
            assert units == []
            if groups and not late_answers:
                self.pool = [unit for unit in self.pool if unit.group not in groups]
        assert len(set(self.keys)) == len(self.keys)
        return self.factor.result

    def fold(self, unit: Unit) -> None:
        value = codec.decode(codec.encode(work.compute(unit.args)))
        assert work.verify(unit.args, value) is (True if value.get("factor", 1) else None)
        assert work.agree(unit.args, value, value)
        self.factor.process_result(unit, value)

    def maybe_die(self) -> None:
        if self.rng.random() < 0.3:
            state = self.factor.dump_state()
            self.factor = Factor(1)
            self.factor.load_state(state)
            assert self.factor.dump_state() == state
            codec.encode(self.factor.progress())


@pytest.mark.parametrize(
    "n",
    [
        prime(15) * prime(16),
        prime(20) * prime(20, 1),
        prime(10) * prime(11) * prime(12) * prime(13),
        prime(16) ** 2 * prime(18),
        (prime(17) * prime(18)) ** 2,
        prime(12) ** 3 * prime(15),
        prime(25) * prime(26),
        prime(7) * prime(8) * prime(40),
        prime(14) * prime(40),
        2**10 * 3**5 * prime(19) * prime(20) * prime(5),
        10**55 + 9,
        2**193 - 1,
        (10**53 - 1) // 9,
        -(prime(20) * prime(21)),
        prime(11) * prime(12) * prime(13) * prime(35),
        prime(13) * prime(13, 1) * prime(52),
        prime(12) ** 2 * prime(50),
        (prime(12) * prime(51)) ** 2,
    ],
)
@pytest.mark.parametrize("late_answers", [False, True])
def test_numbers_fall_whatever_dies(n: int, late_answers: bool) -> None:
    check(Loop(Factor(n), seed=len(str(n))).run(late_answers=late_answers), n)


def test_the_headline() -> None:
    """The curves begin near one that is known to hit the C84 at B1 = 11,000: see `misses`."""
    loop = Loop(Factor("11^150+1", sigma=(1 << 32) + 360), seed=1, volunteers=2)
    result = loop.run(late_answers=True)
    check(result, 11**150 + 1)
    assert sorted(ELEVEN) == [p for p, _ in result["factors"]]
    found = {p for p, _ in result["found_by"]}
    assert found == set(ELEVEN[-4:])
    assert all(1 <= unit <= loop.made for _, unit in result["found_by"])


def drive(server: MemoryServer, factor: Factor, faults: list[Fault]) -> Ended:
    async def until_it_ends() -> Ended:
        left = iter(faults)
        while True:
            try:
                return await Driver(factor, FaultyApi(server, left), 1, sleep=lambda s: asyncio.sleep(0)).drive()
            except Died:
                continue

    return asyncio.run(until_it_ends())


@pytest.mark.parametrize("seed", range(6))
def test_the_real_driver_through_faults(seed: int) -> None:
    n = prime(12, seed) * prime(13, seed) * prime(50, seed)
    factor = Factor(n)
    server = MemoryServer(factor)
    faults = random.Random(seed).choices(list(Fault), [6, 1, 1, 1, 1], k=60)
    ended = drive(server, factor, faults)
    assert ended.state is RunState.DONE
    check(server.result, n)
    assert ended.result == server.result


@pytest.mark.parametrize(
    ("n", "factors"),
    [
        (1, []),
        ("1", []),
        (-1, [[-1, 1]]),
        (2, [[2, 1]]),
        (-12, [[-1, 1], [2, 2], [3, 1]]),
        ("-(2^3)", [[-1, 1], [2, 3]]),
        (2**61 - 1, [[2**61 - 1, 1]]),
        (999983 * 1000003, [[999983, 1], [1000003, 1]]),
        (1000003**2, [[1000003, 2]]),
        ("10^9999", [[2, 9999], [5, 9999]]),
        ("(2^89-1)^7", [[2**89 - 1, 7]]),
        (2**521 - 1, [[2**521 - 1, 1]]),
        ("(2^19-1)*(2^31-1)*(2^127-1)^2", [[2**19 - 1, 1], [2**31 - 1, 1], [2**127 - 1, 2]]),
        (prime(9) * prime(10) * prime(11), [[prime(9), 1], [prime(10), 1], [prime(11), 1]]),
    ],
)
def test_the_driver_alone_answers_what_needs_no_units(n: int | str, factors: list[list[int]]) -> None:
    factor = alone(n)
    check(factor.result, evaluate(n) if isinstance(n, str) else n)
    assert factor.result["factors"] == factors
    assert factor.result["found_by"] == []


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 has no factorisation"),
        ("5-5", "0 has no factorisation"),
        ("abc", "not arithmetic"),
        ("9^9^9^9", "10,000 digits"),
        (10**10_000, "10,000 digits"),
        (-(10**10_000), "10,000 digits"),
        ("10^9999+7", "digits remains; at most 1,000"),
        (2**4423 - 1, "digits remains; at most 1,000"),
        (2**2203 - 1, "probable prime of 664 digits"),
        (1.5, "not an integer"),
        (True, "not an integer"),
        (None, "not an integer"),
        ([15], "not an integer"),
        (b"15", "not an integer"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) else "int",
)
def test_bad_input_gets_one_sentence(n: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        Factor(n)
    assert refused.value.exit_status == 2
    assert refused.value.hint


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"budget_s": -1}, "budget_s must be"),
        ({"budget_s": "soon"}, "budget_s must be"),
        ({"budget_s": float("nan")}, "budget_s must be"),
        ({"budget_s": None}, "budget_s must be"),
        ({"quorum": 0}, "quorum must be"),
        ({"b1": 100}, "go together"),
        ({"curves": 100}, "go together"),
        ({"sigma": "x"}, "sigma must be"),
    ],
)
def test_bad_parameters_get_one_sentence(params: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Factor(15, **params)


def test_text_parameters_of_the_command_line() -> None:
    factor = Factor("15", budget_s="60", b1="11000", curves="400", sigma="5000", quorum="1")  # type: ignore[arg-type]
    assert (factor.budget_s, factor.b1, factor.curves, factor.sigma, factor.quorum) == (60.0, 11000, 400, 5000, 1)


def test_sigmas_never_repeat_and_are_not_small() -> None:
    factor = Factor(prime(40) * prime(41))
    seen: set[int] = set()
    for _ in range(40):
        args = factor.next_job().args  # type: ignore[union-attr]
        if args["kind"] == "minus":
            continue
        sigmas = set(range(args["sigma"], args["sigma"] + args["curves"]))
        assert not seen & sigmas
        assert min(sigmas) >= 1 << 32
        seen |= sigmas
    assert Factor(prime(40) * prime(41)).next_job() == Factor(prime(40) * prime(41)).next_job()
    assert {Factor(prime(40) * prime(41)).next_job().args["b1"]} == {2000}  # type: ignore[union-attr]


def test_the_ladder_is_climbed_and_its_top_repeated() -> None:
    factor = Factor(prime(40) * prime(41))
    units = [factor.next_job() for _ in range(1200)]
    bounds = [unit.args["b1"] for unit in units if unit and unit.args["kind"] == "ecm"]
    assert bounds == sorted(bounds)
    assert bounds[0] == 2000
    assert len(set(bounds)) >= 6
    assert bounds[-1] == bounds[-2]


def test_a_hit_cancels_its_composite_and_goes_on_with_the_cofactors() -> None:
    p, q, r = prime(30), prime(31), prime(32)
    factor = Factor(p * q * r)
    first, second = factor.next_job(), factor.next_job()
    assert first is not None
    assert second is not None
    none = {"residues": [b""] * 25, "factor": 0, "curve": 25}
    factor.process_result(first, none)
    assert factor.take_outbox() == ([], [])
    factor.process_result(second, {"residues": [], "factor": q, "curve": 0})
    assert factor.take_outbox() == ([], [first.group])
    assert factor.primes == [[q, 1, 0]]
    assert [composite["n"] for composite in factor.composites] == [p * r]
    later = factor.next_job()
    assert later is not None
    assert later.args["n"] == p * r
    assert later.group != first.group


def test_a_late_answer_of_a_split_number_splits_its_cofactor() -> None:
    p, q, r = prime(30), prime(31), prime(32)
    factor = Factor(p * q * r)
    units = [factor.next_job() for _ in range(3)]
    assert all(units)
    factor.process_result(units[0], {"residues": [], "factor": q, "curve": 0})  # type: ignore[arg-type]
    factor.process_result(units[1], {"residues": [], "factor": q, "curve": 0})  # type: ignore[arg-type]
    assert len(factor.composites) == 1
    factor.process_result(units[2], {"residues": [], "factor": p * q, "curve": 0})  # type: ignore[arg-type]
    check(factor.result, p * q * r)
    assert factor.done


def test_curves_on_a_number_count_for_its_cofactor() -> None:
    p, q, r = prime(30), prime(31), prime(52)
    factor = Factor(p * q * r)
    unit = factor.next_job()
    assert unit is not None
    factor.process_result(unit, {"residues": [b""] * 20, "factor": q, "curve": 20})
    (left,) = factor.composites
    assert left["passed"] == [left["issued"]] == [20]
    assert factor.curves_done == 21


def test_failed_units_are_done_without_until_too_many() -> None:
    factor = Factor(prime(20) * prime(30))
    sieve = factor.next_job()
    assert sieve is not None
    assert sieve.args["kind"] == "flint"
    assert factor.next_job() is None
    factor.unit_failed(sieve, "out of memory")
    curves = factor.next_job()
    assert curves is not None
    assert curves.args["kind"] == "ecm"
    for _ in range(function.MAX_FAILURES - 2):
        factor.unit_failed(curves, "no luck")
    with pytest.raises(UsageError, match="25 units failed in a row"):
        factor.unit_failed(curves, "no luck")


def test_p_minus_1_is_tried_once_and_its_hit_counts_like_any_other() -> None:
    p, q, r = prime(30), prime(31), prime(52)
    factor = Factor(p * q * r)
    units = [unit for unit in (factor.next_job() for _ in range(40)) if unit]
    (minus,) = [unit for unit in units if unit.args["kind"] == "minus"]
    assert units[0].args["kind"] == "ecm", "the shortest factors are looked for before"
    assert 1.5 < 60 * minus.credit < 5
    factor.process_result(minus, {"residue": b"", "factor": r})
    assert factor.take_outbox()[1] == [minus.group]
    (rest,) = factor.composites
    assert (rest["n"], rest["minus"]) == (p * q, "done")
    assert factor.result["factors"] == [[r, 1]]


def test_p_minus_1_that_was_cancelled_is_tried_on_the_cofactor() -> None:
    p, q, r = prime(30), prime(31), prime(52)
    factor = Factor(p * q * r)
    units = [unit for unit in (factor.next_job() for _ in range(3)) if unit]
    factor.process_result(units[0], {"residues": [], "factor": p, "curve": 0})
    kinds = [unit.args["kind"] for unit in (factor.next_job() for _ in range(40)) if unit]
    assert kinds.count("minus") == 1


def test_a_sieve_goes_stale_while_others_run_curves_beside_it() -> None:
    p, q, r = prime(20), prime(21), prime(22)
    factor = Factor(p * q * r)
    units: list[Unit] = []
    while not units or units[-1].args["kind"] != "flint":
        units.append(factor.next_job())  # type: ignore[arg-type]
    sieve = units[-1]
    beside = factor.next_job()
    assert beside is not None
    assert beside.args["kind"] == "ecm"
    assert "quadratic sieve" in factor.progress()["phase"]
    factor.process_result(beside, {"residues": [], "factor": q, "curve": 0})
    assert factor.take_outbox()[1] == [sieve.group] == [beside.group]
    smaller = factor.next_job()
    assert smaller is not None
    assert smaller.args == {"kind": "flint", "n": p * r}
    assert smaller.group != sieve.group
    factor.process_result(smaller, work.compute(smaller.args))
    check(factor.result, p * q * r)


@pytest.mark.parametrize(
    ("n", "found"),
    [
        ("2^125-1", [31, 601, 1801, 269089806001, 4710883168879506001]),
        ("2^67-1", [193707721, 761838257287]),
        ("2^128+1", [59649589127497217, 5704689200685129054721]),
        ("2^2*3^3*(10^18+9)^2*(10^19+51)", [2, 3, 10**18 + 9, 10**19 + 51]),
    ],
)
def test_numbers_whose_factors_are_known(n: str, found: list[int]) -> None:
    """Sources: the ancestor's tutorial; Cole 1903; Morrison and Brillhart 1970."""
    result = Loop(Factor(n), seed=3).run(late_answers=False)
    check(result, evaluate(n))
    assert [p for p, _ in result["factors"]] == found


def test_the_budget_outlives_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("dsage_projects.factor.function.time.time", lambda: now)
    n = 6 * PHI_300_11
    factor = Factor(n, budget_s=60)
    now += 500
    unit = factor.next_job()
    assert unit is not None, "the budget runs from the first unit on"
    now += 59
    state = factor.dump_state()
    factor = Factor(1)
    factor.load_state(state)
    assert factor.next_job() is not None
    now += 2
    assert factor.next_job() is None
    assert factor.done
    assert factor.take_outbox()[1] == [unit.group]
    assert factor.result["complete"] is False
    assert factor.result["factors"] == [[2, 1], [3, 1]]
    assert factor.result["unfinished"] == [[PHI_300_11, 1]]
    assert "budget" in factor.progress()["phase"]


def test_a_fixed_number_of_curves() -> None:
    factor = Factor(PHI_300_11, b1=50, curves=100, sigma=5000, quorum=1)
    server = MemoryServer(factor)
    ended = drive(server, factor, [])
    assert ended.state is RunState.DONE
    assert ended.result["unfinished"] == [[PHI_300_11, 1]]
    assert ended.result["complete"] is False
    sigmas: list[int] = []
    for unit in server.units.values():
        assert unit.state is UnitState.VALID
        assert unit.new.quorum == 1
        args = codec.decode(unit.new.args)
        assert args["b1"] == 50
        sigmas += range(args["sigma"], args["sigma"] + args["curves"])
    assert sorted(sigmas) == list(range(5000, 5100))


def test_the_benchmarks_units_are_even() -> None:
    factor = Factor(PHI_300_11, b1=11_000, curves=400, quorum=1)
    sizes = []
    while (unit := factor.next_job()) is not None:
        sizes.append(unit.args["curves"])
    assert sum(sizes) == 400
    assert len(sizes) % 2 == 0
    assert max(sizes) - min(sizes) <= 4


def test_a_probable_prime_too_long_to_prove_is_labelled() -> None:
    p, q = prime(25), int(gmpy2.next_prime(10**MAX_PROOF_DIGITS))
    factor = Factor(p * q)
    unit = factor.next_job()
    assert unit is not None
    factor.process_result(unit, {"residues": [], "factor": p, "curve": 0})
    assert factor.done
    assert factor.result["unfinished"] == [[q, 1]]
    assert factor.result["factors"] == [[p, 1]]
    assert factor.result["complete"] is False


def test_progress_tells_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("dsage_projects.factor.function.time.time", lambda: now)
    factor = Factor("11^150+1")
    assert factor.progress()["fraction"] == 0.0
    units = [factor.next_job() for _ in range(3)]
    shown = factor.progress()
    assert "84 digits" in shown["phase"]
    assert "B1=2,000" in shown["phase"] or "B1=11,000" in shown["phase"]
    assert [view["digits"] for view in shown["composites"]] == [40, 84]
    assert shown["eta_s"] is None
    assert "seconds_left_on_this_level" not in shown
    now += 3
    before = shown["fraction"]
    for unit in units:
        if unit is not None:
            factor.process_result(unit, codec.decode(codec.encode(work.compute(unit.args))))
    shown = factor.progress()
    assert before < shown["fraction"] < 1
    assert shown["seconds_left_on_this_level"] > 0
    assert shown["eta_s"] is None, "nobody knows when a curve will be lucky"
    assert shown["curves_done"] > 0
    assert ["1993099906542710819727884501", 1] in shown["factors"]
    codec.encode(shown)


def test_progress_tells_the_level_whose_answers_are_awaited_not_the_one_given_out() -> None:
    factor = Factor(PHI_300_11)
    units = [factor.next_job() for _ in range(12)]
    assert len({unit.args["b1"] for unit in units if unit}) > 1
    assert "B1=2,000" in factor.progress()["phase"]
    last = next(unit for unit in units if unit is not None and unit.args["b1"] == 11_000)
    factor.process_result(last, {"residues": [], "factor": 0, "curve": last.args["curves"]})
    assert "B1=2,000" in factor.progress()["phase"]
    assert factor.progress()["composites"][0]["curves_done"] == 0
    for unit in units:
        if unit is not None and unit.args["b1"] == 2000:
            factor.process_result(unit, {"residues": [], "factor": 0, "curve": unit.args["curves"]})
    shown = factor.progress()
    assert "B1=11,000" in shown["phase"]
    assert shown["composites"][0]["curves_done"] == last.args["curves"]


def test_the_time_left_is_known_when_only_sieves_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("dsage_projects.factor.function.time.time", lambda: now)
    factor = Factor(prime(28) * prime(30))
    assert factor.next_job() is not None
    now += 2
    factor.work_s = 2.0
    shown = factor.progress()
    assert shown["eta_s"] == shown["seconds_left_on_this_level"] == round(ladder.sieve_s(factor.n))


def test_a_unit_that_was_given_up_does_not_hold_a_level_open() -> None:
    factor = Factor(PHI_300_11)
    unit = factor.next_job()
    while unit is not None and unit.args["b1"] == 2000:
        factor.unit_failed(unit, "no luck")
        unit = factor.next_job()
    assert "B1=11,000" in factor.progress()["phase"]


def test_a_cofactor_goes_on_where_the_answers_are_in() -> None:
    p, q, r = prime(30), prime(31), prime(52)
    factor = Factor(p * q * r)
    units = [unit for unit in (factor.next_job() for _ in range(12)) if unit]
    high = next(unit for unit in units if unit.args["b1"] == 11_000)
    factor.process_result(high, {"residues": [], "factor": 0, "curve": high.args["curves"]})
    factor.process_result(units[0], {"residues": [], "factor": q, "curve": 0})
    later: list[int] = []
    while (unit := factor.next_job()) is not None and (unit.args["kind"] == "minus" or unit.args["b1"] <= 11_000):
        later += [unit.args["curves"]] if unit.args["b1"] == 11_000 else []
    assert sum(later) == ladder.LADDER[1].curves - high.args["curves"]


@pytest.mark.parametrize(
    ("n", "summary"),
    [
        (1, "1 has no prime factors"),
        (7, "7 is prime"),
        (-12, "-12 = -1 · 2^2 · 3"),
        ("10^2*3^5", "24300 = 2^2 · 3^5 · 5^2"),
    ],
)
def test_the_answer_in_words(n: int | str, summary: str) -> None:
    factor = Factor(n)
    assert factor.next_job() is None
    assert factor.result["summary"] == summary


def test_an_unfinished_answer_in_words() -> None:
    factor = Factor(6 * PHI_300_11, b1=50, curves=1)
    unit = factor.next_job()
    assert unit is not None
    factor.process_result(unit, {"residues": [], "factor": 0, "curve": 1})
    head, tail = factor.result["summary"].splitlines()
    assert head == f"{6 * PHI_300_11} = 2 · 3 · {PHI_300_11}"
    assert tail == f"unfinished, of 84 digits: {PHI_300_11}"
    assert factor.progress()["summary"] == "1 curve done; 2 prime factors known"


def test_the_bundle_is_all_that_a_volunteer_needs(tmp_path: Path) -> None:
    assert FUNCTION is Factor
    bundle = pack("factor")
    assert bundle.entry == "dsage_projects.factor.function:Factor"
    unpack(bundle.data, tmp_path / "app", expected_sha256=bundle.sha256)
    imported: set[str] = set()
    for source in (tmp_path / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"dsage", "dsage_projects", *Factor.needs}


def test_units_stay_below_the_limits_that_the_run_is_signed_for() -> None:
    n = 10**999 + 7
    for level in ladder.levels(n):
        curves = ladder.curves_a_unit(n, level)
        limits = ladder.curves_unit(n, level.b1, 1, curves, group="g", quorum=2).limits
        assert limits.cpu_s <= Factor.limits.cpu_s
        assert limits.wall_s <= Factor.limits.wall_s
