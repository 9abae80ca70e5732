"""The first unit of a new computer: quick to compute, quicker to check, and always another ready."""

from __future__ import annotations

import asyncio

import gmpy2
import pytest

from dsage.driver import Driver
from dsage.testing import MemoryServer
from dsage_projects.welcome import BITS, Welcome, factor_of, is_prime, number


def test_the_numbers_are_products_of_two_primes_and_split() -> None:
    for k in range(4):
        factor = factor_of(number(k))
        other = number(k) // factor
        assert gmpy2.is_prime(factor)
        assert gmpy2.is_prime(other)
        assert (factor * other, factor.bit_length(), other.bit_length()) == (number(k), BITS, BITS)
        assert Welcome.verify(k, factor)
        assert Welcome.verify(k, other)


def test_primes_are_told_from_the_rest() -> None:
    assert all(is_prime(n) == gmpy2.is_prime(n) for n in range(2, 5000))
    assert not is_prime(3_215_031_751)


@pytest.mark.parametrize("lie", [0, 1, -1, 2, True, None, "3", 3.0, [3]])
def test_what_does_not_divide_is_a_lie(lie: object) -> None:
    assert not Welcome.verify(0, lie)
    assert not Welcome.verify(0, number(0))


def test_each_unit_that_is_folded_makes_room_for_another() -> None:
    function = Welcome(ready=3)
    assert [unit.args for unit in function.units()] == [0, 1, 2]
    function.process_result(function.unit(1), 3)
    function.unit_failed(function.unit(0), "cpu")
    assert [unit.args for unit in function.take_outbox()[0]] == [3, 4]
    assert function.progress() == {"summary": "1 welcomed"}


def test_so_many_times_and_no_more() -> None:
    function = Welcome(times=3, ready=2)
    done = asyncio.run(Driver(function, MemoryServer(function), 1).drive())
    assert done.result == 3
