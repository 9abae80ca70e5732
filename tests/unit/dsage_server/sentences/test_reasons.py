"""Reasons that are said elsewhere: the table has the very words of the validator, of drivers and of the keys."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsage import DistributedFunction, codec
from dsage.states import ReplicaState
from dsage.stepping import Position, next_step
from dsage.trust import inventory
from dsage.wire import Answer, Answers
from dsage_server.hosting import stepping
from dsage_server.sentences import reasons
from dsage_server.sentences.found import find
from dsage_server.sentences.sentence import Sentence
from dsage_server.web.researchers import failing
from dsage_validator import boxes, checks, life
from dsage_validator.unit import Replica, Unit


def leased(unit: Unit, number: int, volunteer: int) -> Unit:
    """Lease a copy of a unit."""
    return life.lease(unit, Replica(id=number, volunteer=volunteer, deadline=10.0, hard_deadline=40.0))


def failed(reason: str, detail: str = "", *, people: int = 1, **asks: Any) -> str:
    """Return why a unit is given up whose copies all fail, two of each volunteer."""
    unit, number = life.created(1, 1, **asks), 0
    while not unit.final:
        number += 1
        unit = life.give_up(leased(unit, number, 1 + number % people), number, ReplicaState.ERROR, reason, detail)
    return unit.reason


def refused(*wrong: bool) -> str:
    """Return why a unit is given up whose answers, each another one, are found wrong or not, over and over."""
    unit = life.created(1, 2)
    for number in itertools.count(1):
        if unit.final:
            return unit.reason
        proof = False if wrong[number % len(wrong)] else None
        unit = life.judge(life.report(leased(unit, number, number), number), number, camp=number, proof=proof)
    raise AssertionError


@pytest.mark.parametrize(
    "reason",
    [
        failed("cpu", splits=True), failed("crash", retries=0), failed("crash", "killed by SIGSEGV", retries=2),
        failed("crash", people=2), failed("", people=2), refused(True), refused(False), refused(True, False),
        refused(True, False, *[True] * 9), "7 answers were found wrong; answers in 1 camps, none of them 2 strong",
    ],
)  # fmt: skip
def test_why_the_validator_gives_a_unit_up(reason: str) -> None:
    for part in reason.split("; "):
        known = find(part)
        assert known is not None, part
        assert known.sentence in reasons.OF_UNITS
        last = known.values.get("why", "")
        assert last in ("", "crash", "crash: killed by SIGSEGV") or find(last) is not None


class Sum(DistributedFunction):
    """Adds; one answer is too much for it."""

    def process_result(self, unit: Any, value: int) -> None:
        """Fold."""
        raise ValueError("no more")


@pytest.mark.parametrize(("value", "why"), [(None, "an error"), (3, "")])
def test_why_a_driver_ends_its_run(value: int | None, why: str) -> None:
    data = None if value is None else codec.encode(value)
    answer = Answer(unit=1, key="3.1", group="", args=codec.encode(1), value=data, failed=why)
    step, _ = next_step(Sum(), Position(1, 1, b""), Answers(answers=[answer]))
    assert step is not None
    known = find(step.failed)
    assert known is not None, step.failed
    assert known.sentence in reasons.OF_DRIVERS


def forms(node: ast.AST) -> list[str]:
    """Return every text that an expression of the code can give, with 7 for what differs."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.FormattedValue):
        return forms(node.value)
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in itertools.product(*map(forms, node.values))]
    if isinstance(node, ast.IfExp):
        return [*forms(node.body), *forms(node.orelse)]
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return ["", *forms(node.values[-1])]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return ["".join(parts) for parts in itertools.product(forms(node.left), forms(node.right))]
    return ["7"]


def texts(module: ModuleType, call: str) -> Iterator[str]:
    """Yield what a module gives to a function as its first argument."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == call:
            yield from forms(node.args[0])


def warnings(module: ModuleType) -> Iterator[str]:
    """Yield what is said about keys that are not certified, or not for long."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.JoinedStr):
            yield from (text for text in forms(node) if "certified" in text or "expire" in text)


def reasons_of(module: ModuleType, function: str) -> Iterator[str]:
    """Yield the words that a function returns."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for each in ast.walk(node):
                if isinstance(each, ast.Return) and isinstance(each.value, ast.Constant):
                    yield str(each.value.value)


@pytest.mark.parametrize(
    ("said", "table", "least"),
    [
        ([*texts(checks, "NoOpinion"), *texts(boxes, "NoOpinion")], reasons.OF_CHECKS, 6),
        (list(texts(stepping, "Misstep")), reasons.OF_DRIVERS, 10),
        (list(warnings(inventory)), reasons.OF_KEYS, 3),
        (list(reasons_of(failing, "_reason")), reasons.OF_COPIES, 2),
    ],
    ids=["checks", "hosted drivers", "keys", "copies"],
)
def test_the_table_has_the_words_of_the_code(said: list[str], table: tuple[Sentence, ...], least: int) -> None:
    assert len(said) >= least
    known = {text: find(text) for text in said}
    assert [text for text, found in known.items() if found is None or found.sentence not in table] == []
