"""Mersenne and Proth numbers: known primes and no others, and a computer whose bits flip."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import gmpy2
import pytest

from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.running import Hooks
from dsage.testing import MemoryServer
from dsage_projects import prp
from dsage_projects.prp import Prp, chain, number

MERSENNE = [2, 3, 5, 7, 13, 17, 19, 31, 61, 89, 107, 127, 521, 607, 1279, 2203, 2281]
"""Source: OEIS A000043, up to 3000."""
PROTH = {
    1: (300, [2, 4, 8, 16]),
    3: (600, [2, 5, 6, 8, 12, 18, 30, 36, 41, 66, 189, 201, 209, 276, 353, 408, 438, 534]),
    5: (200, [3, 7, 13, 15, 25, 39, 55, 75, 85, 127]),
}
"""Exponents e of primes k 2^e + 1. Source: OEIS A002253 and A002254, and Fermat's primes, from 2^e above k on."""

SQUARED = prp.squared


def result(function: Prp) -> Any:
    return asyncio.run(Driver(function, MemoryServer(function), 1).drive()).result


def test_mersenne_primes() -> None:
    assert result(Prp(last=1300)) == [e for e in MERSENNE if e <= 1300]
    tested = {unit.args[1]: Prp.compute(unit.args)["prime"] for unit in Prp(first=2100, last=3000).units()}
    assert [e for e, prime in tested.items() if prime] == [2203, 2281]


@pytest.mark.parametrize("k", PROTH)
def test_proth_primes(k: int) -> None:
    last, exponents = PROTH[k]
    assert result(Prp(k=k, last=last)) == exponents


@pytest.mark.parametrize(
    ("k", "last", "title", "digits"),
    [(0, 1280, "2^1279 - 1 is a probable prime", "386"), (5, 1950, "5*2^1947 + 1 is prime", "587")],
)
def test_a_large_prime_is_a_discovery_that_anybody_can_check(
    k: int, last: int, title: str, digits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = MemoryServer(function := Prp(k=k, first=last - 10, last=last))
    asyncio.run(Driver(function, server, 1).drive())
    (found,) = [each for step in server.steps for each in step.discoveries]
    assert (found.title, found.facts["digits"]) == (title, digits)
    exec(found.check, {})
    assert capsys.readouterr().out == "True\n"


@pytest.mark.parametrize("k", [0, 1, 3, 5, 7, 9, 15, 225])
def test_small_numbers_are_what_gmp_says(k: int) -> None:
    for e in range(max(k.bit_length(), 2), 50):
        assert Prp.compute([k, e])["prime"] == gmpy2.is_prime(number(k, e)), (k, e)


@pytest.mark.parametrize("steps", [1, 2, 99, 100, 101, 4_999, 5_000, 5_001, 12_345])
def test_a_chain_is_a_power(steps: int) -> None:
    n = 2**89 - 1
    assert chain(3, steps, n) == pow(3, pow(2, steps, n - 1), n)


class Flip:
    """A processor that gets one bit wrong in some calls of `squared`."""

    def __init__(self, calls: set[int], bit: int) -> None:
        self.calls, self.bit, self.made = calls, bit, 0

    def __call__(self, x: int, times: int, n: int) -> int:
        self.made += 1
        return SQUARED(x, times, n) ^ (1 << self.bit if self.made in self.calls else 0)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_caught_and_rolled_back(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    n, steps = number(0, 521), 12_345
    right = chain(3, steps, n)
    clean = Flip(set(), 0)
    monkeypatch.setattr(prp, "squared", clean)
    assert chain(3, steps, n) == right
    kept: list[list[int]] = []
    monkeypatch.setattr(Hooks, "checkpoint", kept.append)
    flip = Flip({rng.randrange(1, clean.made + 1)}, rng.randrange(520))
    monkeypatch.setattr(prp, "squared", flip)
    assert chain(3, steps, n) == right
    assert flip.made > clean.made, "a stretch was done again"
    assert flip.made <= clean.made + 2 * prp.STRETCH + 1, "and only that one"
    assert [done for done, _, _ in kept] == [5_000, 10_000], "no wrong value was ever kept"
    assert all(value == pow(3, 2**done, n) for done, value, _ in kept)


def test_without_the_check_the_same_flip_gives_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    n = number(0, 521)
    at, flip = 3, Flip({40}, 7)
    for _ in range(60):
        at = flip(at, 100, n)
    assert at != pow(3, 2**6000, n)
    monkeypatch.setattr(prp, "squared", Flip({40}, 7))
    assert chain(3, 6000, n) == pow(3, 2**6000, n)


def test_a_computer_that_cannot_calculate_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prp, "squared", Flip(set(range(0, 100_000, 20)), 3))
    with pytest.raises(ArithmeticError, match="calculated wrong"):
        chain(3, 12_345, number(0, 521))


def test_a_stopped_unit_goes_on_at_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    n = number(0, 521)
    kept: list[list[int]] = []
    monkeypatch.setattr(Hooks, "checkpoint", kept.append)
    right = chain(3, 12_345, n)
    first, second = kept
    counted = Flip(set(), 0)
    monkeypatch.setattr(prp, "squared", counted)
    monkeypatch.setattr(Hooks, "restored", second)
    assert chain(3, 12_345, n) == right
    assert counted.made < 60, "only the last stretch was done"
    monkeypatch.setattr(Hooks, "restored", [first[0], first[1] ^ 4, first[2]])
    with pytest.raises(ArithmeticError):
        chain(3, 12_345, n)


def test_a_prime_of_proths_form_proves_itself_and_a_false_one_is_a_lie() -> None:
    right = Prp.compute([3, 534])
    assert right["prime"]
    assert Prp.verify([3, 534], right) is True
    assert Prp.verify([3, 535], {"prime": True, "residue": number(3, 535) % 2**64 - 1}) is False
    assert Prp.verify([3, 534], right | {"residue": 1}) is False
    assert Prp.verify([3, 535], Prp.compute([3, 535])) is None
    assert Prp.verify([0, 521], Prp.compute([0, 521])) is None
    assert Prp.verify([3, prp.CHEAP + 1], right) is None, "too long for the server: another volunteer must agree"
    for lie in (None, {}, right | {"prime": 1}, right | {"residue": -1}, right | {"residue": 2**64}, right | {"a": 1}):
        assert Prp.verify([3, 534], lie) is False


def test_only_candidates_become_units_and_credit_grows_with_the_work() -> None:
    assert [unit.args[1] for unit in Prp(last=31).units()] == [2, 3, 5, 7, 11, 13, 17, 19, 31]
    short, long = (next(iter(Prp(first=e, last=e, k=3).units())) for e in (438, 534))
    assert long.credit / short.credit == pytest.approx((536 / 440) ** 2.6, rel=1e-3)
    assert long.limits.cpu_s <= Prp.limits.cpu_s
    for wrong in (-1, 4):
        with pytest.raises(UsageError):
            Prp(k=wrong)
