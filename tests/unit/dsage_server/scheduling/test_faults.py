"""Whose fault failures are: a host's, an app version's, or nobody's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_server.scheduling.faults import APART, HOSTS, MANY, Row, faults, memory
from dsage_validator.outliers import Kind, Sign

APP = "app"


def fleet(n: int, *, app: str = APP, **each: int) -> list[Row]:
    """Hosts of as many volunteers, all alike."""
    return [Row(host=h, volunteer=h, app=app, **({"right": 60, "confirmed": 30} | each)) for h in range(1, n + 1)]


def kinds(rows: list[Row], **apart: int) -> set[tuple[Kind, int, str]]:
    return {(sign.kind, sign.host, sign.app) for sign in faults(rows, apart)}


def test_where_little_fails_nobody_is_at_fault() -> None:
    draw = random.Random(1)
    rows = [
        Row(host=h, volunteer=h, app=APP, right=60, confirmed=20, errors=e, elsewhere=e)
        for h, e in enumerate([draw.choice((0, 0, 0, 1, 2, 3)) for _ in range(1000)])
    ]
    assert kinds(rows) == set()


def test_a_host_that_fails_where_others_answer_is_at_fault() -> None:
    rows = [*fleet(50), Row(host=99, volunteer=99, app=APP, right=20, errors=12, elsewhere=12)]
    assert kinds(rows) == {(Kind.FAILING, 99, "")}
    (sign,) = faults(rows, {})
    assert sign.sentence == "12 of 32 units of one app version failed here, and other computers answered them"


def test_an_app_version_that_fails_on_most_hosts_is_at_fault_and_no_host_is() -> None:
    rows = [*fleet(20, right=20, errors=20, elsewhere=10), *fleet(20, app="other")]
    assert kinds(rows) == {(Kind.BROKEN, 0, APP)}


def test_the_same_on_few_volunteers_computers_is_no_ones_fault_yet() -> None:
    rows = [Row(host=h, volunteer=h % (MANY - 1), app=APP, right=5, errors=5) for h in range(40)]
    assert kinds(rows) == set()


def test_answers_that_differ_on_most_hosts_are_the_app_versions_fault() -> None:
    rows = fleet(20, wrong=2, alone=2)
    assert kinds(rows) == {(Kind.DIFFER, 0, APP)}
    (sign,) = faults(rows, {})
    assert "20 otherwise good volunteers were contradicted, the middle one in 6% of the answers" in sign.sentence
    assert "set agree = close(...)" in sign.sentence


@pytest.mark.parametrize("liars", [1, 5, 9])
def test_liars_do_not_make_an_app_version_look_as_if_its_answers_differ(liars: int) -> None:
    rows = [
        *fleet(20 - liars),
        *[Row(host=h, volunteer=h, app=APP, right=10, confirmed=10, wrong=9) for h in range(30, 30 + liars)],
    ]
    assert kinds(rows) == set()
    always = [Row(host=h, volunteer=h, app=APP, wrong=20) for h in range(100, 130)]
    assert kinds([*rows, *always]) == set(), "who is mostly wrong is not asked"


def test_few_hosts_cannot_say_that_answers_differ() -> None:
    assert kinds(fleet(HOSTS - 1, wrong=5)) == set()
    one = [Row(host=h, volunteer=h % 2, app=APP, right=60, confirmed=30, wrong=3) for h in range(20)]
    assert kinds(one) == set(), "two volunteers are few"


def test_units_that_nobody_agrees_about_are_enough() -> None:
    assert kinds([], app=APART - 1) == set()
    assert kinds([], app=APART) == {(Kind.DIFFER, 0, APP)}


FAULTY = {"right": 60, "wrong": 1, "alone": 1, "crashes": 2, "errors": 2, "elsewhere": 2}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, True),
        ({"wrong": 0, "alone": 0}, False),
        ({"alone": 0}, False),
        ({"wrong": 4, "alone": 4}, False),
        ({"crashes": 1}, False),
        ({"crashes": 100}, False),
        ({"right": 15}, False),
        ({"wrong": 0, "alone": 0, "refuted": 1}, True),
    ],
    ids=["faulty", "never wrong", "as somebody else", "often", "no crashes", "only crashes", "new", "refuted"],
)
def test_faulty_memory_is_rarely_wrong_alone_and_crashes(changed: dict[str, int], found: bool) -> None:
    sign = memory([Row(host=7, volunteer=7, app=APP, **(FAULTY | changed))])
    assert (sign is not None) == found


def test_what_a_host_did_with_all_app_versions_counts_together() -> None:
    rows = [
        Row(host=7, volunteer=7, app="a", right=40, wrong=1, alone=1),
        Row(host=7, volunteer=7, app="b", right=10, errors=2, elsewhere=2, crashes=2),
    ]
    sign = memory(rows)
    assert sign is not None
    assert sign.sentence == (
        "one answer of 51 differed from what everybody else found, each in its own way, and 2 units crashed that other "
        "computers answered: its memory may be faulty"
    )


counts = st.integers(0, 70)


@given(
    st.lists(
        st.builds(
            Row, host=st.integers(1, 5), volunteer=st.integers(1, 5), app=st.sampled_from("ab"), right=counts,
            confirmed=counts, wrong=counts, alone=counts, refuted=counts, errors=counts, elsewhere=counts,
            crashes=counts,
        )
    ),
    st.dictionaries(st.sampled_from("abc"), counts),
)  # fmt: skip
def test_any_table_can_be_read(rows: list[Row], apart: dict[str, int]) -> None:
    found: list[Sign] = faults(rows, apart)
    assert len({(sign.host, sign.app, sign.kind) for sign in found}) == len(found)
