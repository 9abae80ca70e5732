"""Judging: a declared rule without a sandbox, an app's own functions that fail, lie or say nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dsage import codec
from dsage.agreement import Agreement, close, detections, image
from dsage.errors import UnitFailed
from dsage.trust.documents import Manifest
from dsage_validator.camps import Standing
from dsage_validator.checks import LARGE, Candidate, NoOpinion, Verdict, judge


def manifest(rule: Agreement | None = None, **has: bool) -> Manifest:
    made = Manifest(project="p", title="T", entry="m:T", bundle="0" * 64, bundle_bytes=1, **has)  # type: ignore[arg-type]
    return made if rule is None else msgspec.structs.replace(made, agreement=rule)


def candidates(*values: Any, partial: bool = False, alone: bool = False) -> list[Candidate]:
    return [
        Candidate(replica=number, value=codec.encode(value), partial=partial, alone=alone)
        for number, value in enumerate(values, 1)
    ]


class Author:
    """An app's functions as the box would call them."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.functions = functions
        self.asked: list[tuple[Any, ...]] = []

    async def ask(self, function: str, *args: bytes) -> Any:
        values = [codec.decode(each) for each in args]
        self.asked.append((function, *values[1:]))
        try:
            return self.functions[function](*values)
        except ArithmeticError as error:
            raise NoOpinion(f"{function} failed (exception): {error!r}") from None


def by_id(verdicts: list[Verdict]) -> dict[int, tuple[int, bool | None]]:
    return {each.replica: (each.camp, each.proof) for each in verdicts}


def troubles(verdicts: list[Verdict]) -> list[str]:
    return [each.trouble for each in verdicts if each.trouble]


async def test_a_rule_is_followed_without_a_sandbox() -> None:
    said = await judge(None, manifest(close(rtol=1e-6)), codec.encode(0), [], candidates(1.0, 1.0 + 1e-7, 2.0))
    assert by_id(said) == {1: (1, None), 2: (1, None), 3: (3, None)}
    assert not troubles(said)


async def test_so_it_is_for_large_answers() -> None:
    one = [1.0] * LARGE
    said = await judge(None, manifest(close()), b"", [], candidates(one, [*one[:-1], 1.0 + 1e-12], [*one[:-1], 2.0]))
    assert by_id(said) == {1: (1, None), 2: (1, None), 3: (3, None)}


async def test_an_answer_that_is_none_under_the_rule_is_refused_with_the_reason() -> None:
    strict = manifest(close(nan="never"))
    said = await judge(None, strict, b"", [], candidates(math.nan, math.nan, 1.0))
    assert by_id(said) == {1: (1, False), 2: (2, False), 3: (3, None)}
    assert troubles(said) == [f"by the rule {strict.rule}, the answer holds a NaN, which agrees with nothing here"] * 2
    found = manifest(detections(threshold=5.0, tolerance=1.0))
    said = await judge(None, found, b"", [], candidates([[1.0, 9.0]], [[1.5, 9.0]], "nothing"))
    assert by_id(said) == {1: (1, None), 2: (1, None), 3: (3, False)}
    assert "the answer is a str, where a list of detections belongs" in troubles(said)[0]


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\xcd\x00\x01", b"\xc4\x01", codec.encode(1.0) + b"\0"])
async def test_bytes_that_are_no_value_are_refused_by_every_rule(value: bytes) -> None:
    bad = Candidate(replica=1, value=value, partial=False)
    for rule in (None, close(), detections(threshold=5.0, tolerance=1.0)):
        said = await judge(None, manifest(rule), b"", [], [bad])
        assert by_id(said) == {1: (1, False)}
        assert "no value" in troubles(said)[0]


async def test_an_answer_in_between_brings_those_together_that_stood_apart() -> None:
    before = [Standing(replica=n, value=codec.encode(v)) for n, v in ((1, 0.0), (2, 2.0))]
    new = Candidate(replica=3, value=codec.encode(1.0), partial=False)
    said = await judge(None, manifest(close(rtol=0.0, atol=1.0)), b"", before, [new])
    assert by_id(said) == {1: (3, None), 2: (3, None), 3: (3, None)}


async def test_a_dear_rule_is_asked_in_the_box() -> None:
    app = manifest(image(tolerance=1))
    assert app.needs_box
    with pytest.raises(UnitFailed, match="in a sandbox only"):
        await judge(None, app, b"", [], candidates(b"a", b"b"))
    author = Author(agree=lambda args, a, b: a[:1] == b[:1])
    said = await judge(author, app, codec.encode(0), [], candidates(b"a1", b"b1", b"a2"))
    assert by_id(said) == {1: (1, None), 2: (2, None), 3: (1, None)}


async def test_equal_answers_need_no_question() -> None:
    author = Author(agree=lambda *_: pytest.fail("nobody needs to be asked"))
    said = await judge(author, manifest(has_agree=True), codec.encode(0), [], candidates(1, 1, 1))
    assert by_id(said) == {1: (1, None), 2: (1, None), 3: (1, None)}


async def test_an_agree_that_depends_on_the_order_is_asked_one_way_only() -> None:
    for order in ([1, 2], [2, 1]):
        author = Author(agree=lambda args, a, b: a < b)
        first = Standing(replica=order[0], value=codec.encode(order[0]))
        new = Candidate(replica=order[1], value=codec.encode(order[1]), partial=False)
        said = await judge(author, manifest(has_agree=True), codec.encode(0), [first], [new])
        assert by_id(said) == {1: (1, None), 2: (1, None)}
        assert author.asked == [("agree", 1, 2)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda *_: 1 // 0, "agree failed (exception): ZeroDivisionError"),
        (lambda *_: "yes", "agree gave 'yes', where True or False belongs"),
        (lambda *_: None, "agree gave None"),
        (lambda *_: 1, "agree gave 1"),
        (lambda *_: "y" * 10_000, "agree gave 'yyy"),
    ],
)
async def test_an_agree_that_fails_or_says_nonsense_says_no_and_is_told(answer: Any, told: str) -> None:
    said = await judge(Author(agree=answer), manifest(has_agree=True), codec.encode(0), [], candidates(1, 2))
    assert by_id(said) == {1: (1, None), 2: (2, None)}
    assert len(troubles(said)) == 1
    assert told in troubles(said)[0]
    assert len(troubles(said)[0]) < 300


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda *_: 1 // 0, "verify failed (exception): ZeroDivisionError"),
        (lambda *_: "yes", "verify gave 'yes', where True, False or None belongs"),
        (lambda *_: 0.5, "verify gave 0.5"),
    ],
)
async def test_so_does_a_verify(answer: Any, told: str) -> None:
    said = await judge(Author(verify=answer), manifest(has_verify=True), codec.encode(0), [], candidates(1, 2))
    assert by_id(said) == {1: (1, False), 2: (2, False)}
    assert all(told in each for each in troubles(said))


async def test_a_verify_that_calls_all_right_is_believed_and_the_first_leads() -> None:
    author = Author(verify=lambda *_: True)
    said = await judge(author, manifest(close(), has_verify=True), codec.encode(0), [], candidates(1.0, 2.0))
    assert by_id(said) == {1: (1, True), 2: (2, True)}


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf, "all", None])
async def test_a_share_that_is_none_is_worth_nothing_and_is_told(share: Any) -> None:
    author = Author(partial=lambda *_: share)
    said = await judge(author, manifest(has_partial=True), codec.encode(0), [], candidates(1, alone=True))
    assert [(each.share, each.proof) for each in said] == [(0.0, None)]
    assert "partial gave" in troubles(said)[0]


async def test_part_of_an_answer_and_one_that_is_alone_get_their_share_and_no_camp() -> None:
    author = Author(partial=lambda args, value, seed: value)
    for kind in ({"partial": True}, {"alone": True}):
        said = await judge(author, manifest(close(), has_partial=True), codec.encode(0), [], candidates(0.5, **kind))
        assert [(each.camp, each.share) for each in said] == [(1, 0.5)]
