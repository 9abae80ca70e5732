"""Whose fault failures look like, by a two-way table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dsage_server.store.looking import Sent
from dsage_server.web.researchers.failing import REASONS, ROWS, failures


def sent(unit: int, host: int, state: str = "valid", platform: str = "linux", code: str = "") -> Sent:
    """A copy that was sent."""
    return Sent(unit=unit, host=host, platform=platform, state=state, code=code)


def good(hosts: Sequence[int], each: int = 10, platform: str = "linux") -> list[Sent]:
    """Copies that went well: so many of each host."""
    return [sent(1000 + 100 * host + n, host, platform=platform) for host in hosts for n in range(each)]


def bad(units: Sequence[int], host: int, platform: str = "linux") -> list[Sent]:
    """Copies of units that failed on a host."""
    return [sent(unit, host, "error", platform, "exception") for unit in units]


@pytest.mark.parametrize(
    ("copies", "verdict", "about"),
    [
        ([], "none", ""),
        (good([1, 2]), "none", ""),
        ([*good([1, 2]), *bad([1, 2], 1)], "few", ""),
        ([*good([1, 2, 3]), *bad(range(9), 4)], "computer", "#4"),
        ([*good([1, 2, 3], 2), *bad(range(9), 4), *good([4], 20)], "spread", ""),
        ([*bad([1, 2], 1), *bad([1, 2], 2)], "units", ""),
        ([*good([1, 2, 3], 40), *bad([1], 1), *bad([1], 2), *bad([1], 3)], "units", ""),
        (
            [*good([1, 2]), *(each for host in range(5, 11) for each in bad([host], host, "darwin"))],
            "platform",
            "darwin",
        ),
        ([*good([1, 2]), *(each for host in range(5, 11) for each in bad([host], host))], "spread", ""),
    ],
)
def test_whose_fault_it_looks_like(copies: list[Sent], verdict: str, about: str) -> None:
    found = failures(copies, lambda host: f"#{host}")
    assert (found.verdict, found.about) == (verdict, about)


def test_both_ways_add_up() -> None:
    copies = [
        *good([1, 2]),
        sent(1, 1, "error", "linux", "exception"), sent(1, 2, "invalid", "win32"), sent(2, 2, "expired", "win32"),
        sent(3, 2, "error", "win32"), sent(4, 3, "returned"),
    ]  # fmt: skip
    found = failures(copies, str)
    assert (found.copies, found.bad, found.shared) == (25, 4, 1)
    assert [(row.name, row.error, row.wrong, row.late, row.units) for row in found.computers] == [
        ("2", 1, 1, 1, 3), ("1", 1, 0, 0, 1),
    ]  # fmt: skip
    assert found.platforms_named == ["win32", "linux"]
    assert {each.reason: each.counts for each in found.reasons} == {
        "exception": [0, 1], "wrong answer": [1, 0], "no answer in time": [1, 0], "error": [1, 0],
    }  # fmt: skip
    assert sum(sum(each.counts) for each in found.reasons) == found.bad


def test_many_computers_and_reasons_are_cut_and_counted() -> None:
    copies = [sent(n, n, "error", "linux", f"reason {n % (REASONS + 3)}") for n in range(ROWS + 5)]
    found = failures(copies, str)
    assert (len(found.computers), found.more_computers) == (ROWS, 5)
    assert [each.reason for each in found.reasons][-1] == "others"
    assert len(found.reasons) == REASONS + 1
    assert sum(sum(each.counts) for each in found.reasons) == found.bad
