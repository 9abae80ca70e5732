"""Discoveries are declared with the step that folds their answer; what no certificate could show is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dsage import DistributedFunction, Unit, codec
from dsage.discoveries import declared, kept_here
from dsage.errors import UsageError
from dsage.function import MAX_WAITING
from dsage.stepping import Position, next_step
from dsage.wire import MAX_FACTS, Answer, Answers, Discovered, DiscoveryView


class Finder(DistributedFunction):
    often = 1

    def units(self) -> Iterator[Any]:
        yield 1

    @staticmethod
    def compute(i: int) -> int:
        return i

    def process_result(self, unit: Unit, value: int) -> None:
        if value < 0:
            raise ValueError(value)
        if value:
            self.discover(unit, title=f"found {value}", facts={"value": value}, check=f"{value} > 0")


def heard(*values: int) -> Answers:
    answers = [
        Answer(unit=n, key=f"k{n}", group="", args=codec.encode(n), value=codec.encode(value))
        for n, value in enumerate(values, 1)
    ]
    return Answers(answers=answers, open_units=len(values))


def test_a_discovery_goes_with_the_step_that_folds_its_answer_and_only_with_that() -> None:
    function = Finder()
    at = Position(1, 1, function.dump_state(), dry=True)
    step, _ = next_step(function, at, heard(0, 7))
    assert step is not None
    assert step.discoveries == [Discovered(unit=2, title="found 7", facts={"value": "7"}, check="7 > 0")]
    step, _ = next_step(function, at, heard(0))
    assert step is not None
    assert step.discoveries == []
    assert b"found" not in function.dump_state()


def test_a_step_that_fails_the_run_declares_nothing() -> None:
    function = Finder()
    step, _ = next_step(function, Position(1, 1, function.dump_state()), heard(7, -1))
    assert step is not None
    assert step.failed
    assert step.discoveries == []


def test_a_step_folds_no_more_answers_than_it_can_take_discoveries_of() -> None:
    function = Finder()
    step, _ = next_step(function, Position(1, 1, function.dump_state()), heard(*range(1, MAX_WAITING + 10)))
    assert step is not None
    assert len(step.discoveries) == len(step.folded) == MAX_WAITING


@pytest.mark.parametrize(
    ("unit", "title", "facts", "check", "words"),
    [
        (0, "t", {}, "", "no answer yet"),
        (1, " ", {}, "", "one line"),
        (1, "a\nb", {}, "", "one line"),
        (1, "a\x00b", {}, "", "one line"),
        (1, "t" * 201, {}, "", "200 characters"),
        (1, "t", {"a": [1]}, "", "text or numbers"),
        (1, "t", {"": 1}, "", "the name of a fact"),
        (1, "t", {"n": 10**5000}, "", "too many digits"),
        (1, "t", {"n": 10**3000}, "", "2000 characters"),
        (1, "t", {str(n): n for n in range(MAX_FACTS + 1)}, "", "at most 32"),
        (1, "t", {}, "a\nb", "one line"),
    ],
)
def test_what_no_certificate_could_show_is_refused(
    unit: int, title: str, facts: dict[str, Any], check: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        declared(unit, title, facts, check)


def test_one_s_own_computers_keep_each_discovery_once() -> None:
    known: dict[tuple[int, str], DiscoveryView] = {}
    kept_here(known, [Discovered(unit=1, title="a"), Discovered(unit=2, title="a")], 5, 1.0)
    kept_here(known, [Discovered(unit=1, title="a", facts={"n": "2"})], 5, 2.0)
    assert [(each.id, each.unit, each.declared, each.state) for each in known.values()] == [
        (1, 1, 1.0, "candidate"),
        (2, 2, 1.0, "candidate"),
    ]
    assert known[1, "a"].facts == {"n": "2"}
