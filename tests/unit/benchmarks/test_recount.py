"""The independent recount finds what a kill could leave behind: each fault here is one that was put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fleet.recount import EPOCH, WEEK_S, Copy, Entry, Noted, Tables, Unit, caught, faults, on_liars, wrong

DAY = EPOCH // 86400


def sound() -> Tables:
    """Return a world in order: unit 1 was accepted, fell, and was accepted again; unit 2 was given up."""
    return Tables(
        units={
            1: Unit(1, 1, "valid", 12, 1000, "", True),
            2: Unit(2, 1, "failed", None, 1000, "given up", False),
        },
        copies={
            10: Copy(10, 1, 100, 1000, "invalid", 1.0, False, 10, False, "lie"),
            11: Copy(11, 1, 200, 2000, "valid", 1.0, False, 12, None, "true"),
            12: Copy(12, 1, 300, 3000, "valid", 0.5, False, 12, None, "true"),
            20: Copy(20, 2, 100, 1000, "error", 1.0, False, None, None, None),
        },
        entries=[
            Entry(1, 10, 1000, 100, 1, "app", "grant", 1000, EPOCH, None),
            Entry(2, 11, 2000, 200, 1, "app", "grant", 1000, EPOCH, None),
            Entry(3, 10, 1000, 100, 1, "app", "reversal", -1000, EPOCH + 5, 1),
            Entry(4, 12, 3000, 300, 1, "app", "grant", 500, EPOCH, None),
        ],
        sums={
            "credit_sum": {1000: (0, 0, 0.0), 2000: (1000, 1, 1.0), 3000: (500, 1, 0.5)},
            "credit_host": {200: (1000, 1, 1.0), 300: (500, 1, 0.5)},
            "credit_app": {"app": (1500, 2, 1.5)},
            "credit_daily": {(2000, DAY, "app"): (1000, 1), (3000, DAY, "app"): (500, 1)},
            "run_credit": {(1, 2000): (1000, 1), (1, 3000): (500, 1)},
        },
        passed={100: [(0.0, 1)], 200: [(30.0, 0)]},
        kept={(1, "lie"), (1, "true")},
    )


JOURNAL = [Noted(10, 1, "lie", lie=True), Noted(11, 1, "true", lie=False), Noted(12, 1, "true", lie=False)]


def test_a_world_in_order_has_no_faults() -> None:
    assert faults(sound(), JOURNAL) == []
    assert wrong(sound(), {each.replica: each for each in JOURNAL}) == []


def entry(number: int, **other: object) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, entries=[e._replace(**other) if e.id == number else e for e in was.entries])


def copy(number: int, **other: object) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, copies=was.copies | {number: was.copies[number]._replace(**other)})


def unit(number: int, **other: object) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, units=was.units | {number: was.units[number]._replace(**other)})


def more(*row: object) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, entries=[*was.entries, Entry(*row)])  # type: ignore[arg-type]


def without(number: int) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, entries=[e for e in was.entries if e.id != number])


def total(table: str, key: object, value: tuple[float, ...]) -> Callable[[Tables], Tables]:
    return lambda was: replace(was, sums=was.sums | {table: was.sums[table] | {key: value}})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (more(5, 11, 2000, 200, 1, "app", "grant", 1000, EPOCH, None), "do not warrant: copy 11"),
        (more(5, 10, 1000, 100, 1, "app", "reversal", -1000, EPOCH, 1), "do not warrant: copy 10"),
        (more(5, 11, 2000, 200, 1, "app", "reversal", -1000, EPOCH, 2), "do not warrant: copy 11"),
        (more(5, 99, 2000, 200, 1, "app", "grant", 1000, EPOCH, None), "of no copy"),
        (without(2), "do not warrant: copy 11"),
        (without(1), "do not warrant: copy 10"),
        (entry(2, amount=999), "volunteer 2000 earned 1000, the ledger says 999"),
        (entry(2, volunteer=3000), "do not warrant: copy 11"),
        (entry(3, reverses=2), "do not warrant: copy 10"),
        (total("credit_sum", 2000, (2000, 2, 2.0)), "credit_sum 2000"),
        (total("credit_sum", 2000, (1000, 1, 0.9)), "credit_sum 2000"),
        (total("credit_host", 100, (1000, 1, 1.0)), "credit_host 100"),
        (total("credit_app", "app", (1000, 1, 1.0)), "credit_app app"),
        (total("credit_daily", (2000, DAY, "app"), (0, 0)), "credit_daily"),
        (total("run_credit", (1, 3000), (0, 0)), "run_credit"),
        (unit(2, state="ready"), "have not ended, or ended without a reason: unit 2"),
        (unit(2, reason=""), "have not ended, or ended without a reason: unit 2"),
        (unit(1, canonical=None), "unit 1 is valid and has the accepted copy None"),
        (unit(1, canonical=10), "accepts copy 10, which is not a valid one"),
        (copy(12, camp=11), "has another valid answer"),
        (copy(11, state="expired"), "acknowledged answers that are lost: copy 11"),
        (copy(11, said="another"), "acknowledged answers that are lost: copy 11"),
        (lambda was: replace(was, copies={n: c for n, c in was.copies.items() if n != 11}), "lost: copy 11"),
        (lambda was: replace(was, kept={(1, "lie")}), "the answer of copy 11 is not kept"),
        (lambda was: replace(was, passed={200: [(0.0, 1)], 300: [(39.0, 1)]}), "unit 1 rests on [200, 300]"),
    ],
)  # fmt: skip
def test_each_fault_is_found(change: Callable[[Tables], Tables], told: str) -> None:
    assert told in "\n".join(faults(change(sound()), JOURNAL))


def test_a_copy_that_went_out_under_another_number_is_the_one_that_was_answered_under_it() -> None:
    journal = [each._replace(unit=7) if each.replica == 11 else each for each in JOURNAL]
    assert "lost: copy 11" in "\n".join(faults(sound(), journal))
    disguised = replace(sound(), disguised={11: 7})
    assert faults(disguised, journal) == []
    assert "lost: copy 11" in "\n".join(faults(disguised, JOURNAL))


def cleared(was: Tables) -> Tables:
    """Copy 10 was no lie after all, and its credit was given back, a week later."""
    given = Entry(5, 10, 1000, 100, 1, "app", "manual", 1000, EPOCH + WEEK_S, None)
    sums = {
        "credit_sum": was.sums["credit_sum"] | {1000: (1000, 0, 2.0)},
        "credit_host": was.sums["credit_host"] | {100: (1000, 0, 2.0)},
        "credit_app": {"app": (2500, 2, 3.5)},
        "credit_daily": was.sums["credit_daily"] | {(1000, DAY + 7, "app"): (1000, 0)},
        "run_credit": was.sums["run_credit"] | {(1, 1000): (1000, 0)},
    }
    return replace(copy(10, said="true")(was), entries=[*was.entries, given], sums=sums)


TRUE = [each._replace(said="true", lie=False) for each in JOURNAL]


def test_credit_that_was_given_back_counts_and_is_no_answer_found_right() -> None:
    assert faults(cleared(sound()), TRUE) == []
    for table in sound().sums:
        assert table in "\n".join(
            faults(replace(cleared(sound()), sums=cleared(sound()).sums | {table: sound().sums[table]}), TRUE)
        )
    twice = cleared(cleared(sound()))
    assert "do not warrant: copy 10" in "\n".join(faults(twice, TRUE))


def test_credit_is_given_back_only_for_what_is_accepted_and_taken_again_once_if_it_is_not_any_more() -> None:
    lie = copy(10, said="lie")(cleared(sound()))
    assert "do not warrant: copy 10" in "\n".join(faults(lie, JOURNAL))
    row = (6, 10, 1000, 100, 1, "app", "retaken", -1000, EPOCH + WEEK_S)
    for said, noted in (("lie", JOURNAL), ("true", TRUE)):
        again = replace(more(*row, 5)(copy(10, said=said)(cleared(sound()))), sums=sound().sums)
        assert faults(again, noted) == []
        assert "do not warrant: copy 10" in "\n".join(faults(more(7, *row[1:], 5)(again), noted))
    assert "do not warrant: copy 10" in "\n".join(faults(replace(more(*row, 1)(lie), sums=sound().sums), JOURNAL))
    assert "do not warrant: copy 10" in "\n".join(faults(more(*row, 5)(sound()), JOURNAL))


def test_who_has_made_up_for_a_lie_stands_for_an_answer_again() -> None:
    redeemed = replace(sound(), passed={200: [(0.0, 1)], 300: [(40.0, 1)]})
    assert caught(redeemed) == {200}
    assert faults(redeemed, JOURNAL) == []


def test_a_fixed_quorum_of_liars_is_counted_and_no_fault() -> None:
    liars = replace(unit(1, adaptive=False)(sound()), passed={200: [(0.0, 1)], 300: [(0.0, 2)]})
    assert faults(liars, JOURNAL) == []
    assert on_liars(liars, adaptive=False) == {1: [200, 300]}


def test_an_accepted_lie_is_counted() -> None:
    assert wrong(sound(), {12: Noted(12, 1, "true", lie=True)}) == [1]
