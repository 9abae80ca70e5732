"""The first example of 2007, with what was wrong in it put right."""

from __future__ import annotations

import asyncio

import pytest

from dsage import DistributedFunction
from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.researcher import construct
from dsage.testing import MemoryServer
from dsage_projects.squares import Squares
from dsage_projects.sum import Sum


def result(function: DistributedFunction) -> object:
    return asyncio.run(Driver(function, MemoryServer(function), 1).drive()).result


@pytest.mark.parametrize("n", [-3, 0, 1, 5, 100])
def test_the_sum_is_the_closed_form(n: int) -> None:
    assert result(Sum(n)) == max(n, 0) * (n + 1) // 2


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="does not take these parameters"):
        construct(Sum, {"n": "many"})


def test_squares_come_in_the_order_of_the_numbers() -> None:
    assert result(Squares()) == [625, 144, 625, 1024, 144]
    assert result(Squares([2**100, -3])) == [2**200, 9]
    assert result(Squares(7)) == [49]


def test_a_wrong_square_is_a_lie() -> None:
    assert Squares.verify(12, 144)
    assert not any(Squares.verify(1, lie) for lie in (2, "1", 1.0, True, None, [1]))
