"""The search tree: the tables of totally real fields come out, whatever is split, stopped or committed on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from flint import fmpz_poly

from dsage import Unit, codec
from dsage.bundle import pack
from dsage.driver import Driver, Ended
from dsage.errors import UsageError
from dsage.running import Hooks
from dsage.states import RunState
from dsage.testing import Died, Fault, FaultyApi, MemoryServer
from dsage_projects.search import Search, function
from dsage_projects.search.fields import index_at, polynomial, real_field, same_field
from dsage_projects.search.function import merged, seconds, text
from dsage_projects.search.tree import Shape, children, holds, leaves

SEXTIC = [300125, 371293, 434581, 453789, 485125, 592661, 703493, 722000]
QUINTIC = [14641, 24217, 36497, 38569, 65657, 70601, 81509, 81589, 89417, 101833]


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    yield
    Hooks.checkpoint = Hooks.progress = Hooks.restored = None


def drive(search: Search, faults: list[Fault] | None = None) -> Ended:
    async def until_it_ends() -> Ended:
        server, left = MemoryServer(search), iter(faults or [])
        while True:
            try:
                return await Driver(search, FaultyApi(server, left), 1, sleep=lambda s: asyncio.sleep(0)).drive()
            except Died:
                continue

    ended = asyncio.run(until_it_ends())
    assert ended.state is RunState.DONE, ended.reason
    return ended


def found(result: Any) -> list[int]:
    return [discriminant for discriminant, _ in result["fields"]]


@pytest.mark.parametrize(
    ("degree", "bound", "reach", "discriminants"),
    [
        (2, 33, 1, [5, 8, 12, 13, 17, 21, 24, 28, 29, 33]),
        (3, 473, 1, [49, 81, 148, 169, 229, 257, 316, 321, 361, 404, 469, 473]),
        (4, 2525, 2, [725, 1125, 1600, 1957, 2000, 2048, 2225, 2304, 2525]),
        (5, 101833, 1, QUINTIC),
        (6, 735_091, 1, SEXTIC),
        (6, 300_124, 1, []),
    ],
)
def test_the_tables_come_out(degree: int, bound: int, reach: int, discriminants: list[int]) -> None:
    """Source: the LMFDB's totally real fields of least discriminant, and Voight's tables."""
    result = drive(Search(degree, bound, reach=reach)).result
    assert found(result) == discriminants
    assert all(real_field(polynomial(f), bound) == d for d, f in result["fields"])
    assert len(result["summary"].splitlines()) == max(len(discriminants), 1)


def test_two_fields_of_one_discriminant_are_two() -> None:
    """3969 is the least discriminant of several totally real cubic fields. Source: the LMFDB."""
    fields = drive(Search(3, 3969)).result["fields"]
    assert [d for d, _ in fields].count(3969) == 2


def test_fields_with_subfields_need_a_longer_reach() -> None:
    """As the theorem says; the sextic fields of the table have subfields too, and are found all the same."""
    assert 1600 not in found(drive(Search(4, 2525)).result)


@pytest.mark.parametrize("seed", range(4))
def test_any_branch_may_be_split_and_answers_come_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    search = Search(5, 101_833)
    pool, splits = list(search.units()), 0
    while pool:
        unit = pool.pop(rng.randrange(len(pool)))
        if len(unit.args["prefix"]) < 4 and rng.random() < 0.4:
            pool += search.split(unit)
            splits += 1
        else:
            search.process_result(unit, codec.decode(codec.encode(Search.compute(unit.args))))
        if rng.random() < 0.2:
            state = search.dump_state()
            search = Search(2, 1)
            search.load_state(state)
    assert splits > 0
    assert found(search.result) == QUINTIC
    assert search.result == drive(Search(5, 101_833)).result
    assert search.progress()["fraction"] == pytest.approx(1.0)


def test_splitting_ends() -> None:
    search = Search(3, 100)
    with pytest.raises(UsageError, match="one polynomial takes more"):
        search.split(search.unit([-1, -2]))


def test_the_parts_of_a_branch_are_paid_like_the_branch() -> None:
    search = Search()
    whole = search.unit([-3, -4])
    assert sum(unit.credit for unit in search.split(whole)) == pytest.approx(whole.credit)
    assert all(unit.credit > 0 for unit in search.units())


def test_a_stopped_branch_goes_on_at_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    kept: list[Any] = []
    shares: list[float] = []

    def keep(state: Any) -> None:
        kept.append(codec.decode(codec.encode(state)))
        if len(kept) % 97 == 0:
            raise Stopped

    monkeypatch.setattr(function, "CHECKPOINT_S", 0.0)
    args = Search(5, 101_833).unit([-2, -5]).args
    whole = Search.compute(args)
    Hooks.checkpoint, Hooks.progress = keep, shares.append
    for _ in range(100):
        try:
            assert Search.compute(args) == whole
            break
        except Stopped:
            Hooks.restored = kept[-1]
    assert len(kept) > 97
    assert [leaf for leaf, _ in kept] == list(leaves(Shape(5, 101_833), [-2, -5], []))
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize("seed", range(3))
def test_the_driver_may_die(seed: int) -> None:
    faults = random.Random(seed).choices(list(Fault), [6, 1, 1, 1, 1], k=40)
    assert found(drive(Search(5, 40_000), faults).result) == [14641, 24217, 36497, 38569]


def test_an_answer_is_looked_at() -> None:
    args = Search(5, 101_833).unit([-2, -3]).args
    answer = Search.compute(args)
    assert answer
    discriminant, f = answer[0]
    assert Search.verify(args, answer) is None, "nothing shows that none is missing"
    assert Search.verify(args, []) is None
    lies: list[Any] = [
        None, 7, {}, [None], [[]], [[discriminant]], [[discriminant, None]], [[discriminant, f[:-1]]],
        [[discriminant + 1, f]], [[True, f]], [[str(discriminant), f]], [[discriminant, [*f[:-1], 10**400]]],
        [[discriminant, [-1, *f[1:]]]], [[discriminant, [*f[:-1], 1.0]]], [[0, [-2, -3, 0, 0, 0]]],
    ]  # fmt: skip
    for lie in lies:
        assert Search.verify(args, lie) is False, lie


@pytest.mark.parametrize(
    ("coefficients", "p", "index"),
    [
        ([0, -8], 2, 2),
        ([0, -5], 2, 2),
        ([0, -50], 5, 5),
        ([-1, -2, -8], 2, 2),
        ([0, 0, -16], 2, 8),
        ([-3, -27, 27, 81], 3, 729),
    ],
)
def test_the_index_of_an_order(coefficients: list[int], p: int, index: int) -> None:
    """The fourth is Dedekind's; the last has three times the roots of one of discriminant 725."""
    f = polynomial(coefficients)
    found = index_at(f, p)
    assert found == index
    rest = int(f.discriminant()) // found**2
    assert rest * found**2 == f.discriminant()


def test_the_discriminant_belongs_to_the_field_not_to_the_polynomial() -> None:
    """Each field is generated by many numbers; all of them must give one discriminant."""
    f = polynomial([-1, -3, 1, 1])
    x = fmpz_poly([0, 1])
    for number in ([0, 2], [1, 3, 0], [0, 5, 1], [2, 0, 4], [1, -6, 0, 2]):
        powers = [(fmpz_poly(number) ** k) % f for k in range(5)]
        assert powers[1] != x
        minimal = characteristic(number, f)
        assert real_field(minimal, 725) == 725
        assert same_field(minimal, f)


def characteristic(number: list[int], f: fmpz_poly) -> fmpz_poly:
    from flint import fmpz_mat

    n = f.degree()
    rows = [[int(((fmpz_poly(number) * fmpz_poly([0] * i + [1])) % f)[j]) for j in range(n)] for i in range(n)]
    return fmpz_mat(rows).charpoly()


def test_fields_that_are_not_the_same() -> None:
    f, g = polynomial([-1, -3, 1, 1]), polynomial([0, -4, 0, 1])
    assert same_field(f, f)
    assert same_field(g, g)
    assert not same_field(f, g)
    assert not same_field(polynomial([0, -2]), polynomial([0, -3]))
    assert same_field(polynomial([0, -2]), polynomial([-2, -7]))


@pytest.mark.parametrize("coefficients", [[0, 0, 0, 1], [0, 0, -2], [0, -5, 0, 4], [0, -2, 0, 1], [0, 1], [0, 0, 0, 0]])
def test_what_is_no_totally_real_field(coefficients: list[int]) -> None:
    assert real_field(polynomial(coefficients), 10**9) == 0


def test_of_two_polynomials_the_simpler_is_kept() -> None:
    plain, shifted = [0, -2], [-2, -7]
    one = merged(merged([], 8, shifted), 8, plain)
    assert one == merged(merged([], 8, plain), 8, shifted) == [[8, plain]]


def test_the_tree_holds_its_leaves_and_no_others() -> None:
    shape = Shape(4, 725)
    all_leaves = list(leaves(shape, [], []))
    assert all_leaves == sorted(all_leaves)
    assert all(holds(shape, leaf[:2], leaf) for leaf in all_leaves)
    assert not holds(shape, [], [0, 0, 0, 0, 0])
    assert not holds(shape, [-1], all_leaves[0])
    assert sum(len(list(leaves(shape, child, []))) for child in children(shape, [])) == len(all_leaves)
    assert list(leaves(shape, [], all_leaves[7])) == all_leaves[8:]


@pytest.mark.parametrize(
    "params",
    [{"degree": 1}, {"degree": 8}, {"bound": 0}, {"reach": 0}, {"unit_s": 0.5}, {"unit_s": 10**6}],
)
def test_bad_parameters_get_one_sentence(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="the degree is 2 to 7"):
        Search(**params)


def test_text_and_estimates() -> None:
    assert text([-1, 0, 2, -1]) == "x^4 - x^3 + 2x - 1"
    assert seconds(Shape(6, 735_091), [-3, -4]) == pytest.approx(0.28, rel=0.5)
    units = list(Search().units())
    assert len({unit.key for unit in units}) == len(units)
    assert all(isinstance(unit, Unit) for unit in units)


def test_it_is_in_the_gallery() -> None:
    assert pack("search").function is Search
