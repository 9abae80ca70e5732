"""What people type: arithmetic is read exactly, anything else is refused in one sentence before it costs anything."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage_projects.factor.algebra import Binomial
from dsage_projects.factor.expression import MAX_DEPTH, evaluate, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("  7 ", 7),
        ("11^150+1", 11**150 + 1),
        ("2**10", 1024),
        ("2^3^2", 512),
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("(-2)^3", -8),
        ("2^-0", 1),
        ("0^0", 1),
        ("0^5", 0),
        ("1^99999999999999999999", 1),
        ("(-1)^99999999999999999999", -1),
        ("(-1)^100", 1),
        ("7-2-1", 4),
        ("100/5/2", 10),
        ("2*3+4*5", 26),
        ("--5", 5),
        ("+-5", -5),
        ("-7/7", -1),
        ("(2^61-1)*(2^31-1)", (2**61 - 1) * (2**31 - 1)),
        ("1" * 5000, (10**5000 - 1) // 9),
        ("10^9999", 10**9999),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_arithmetic(text: str, value: int) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("abc", "not arithmetic"),
        ("2x", "not arithmetic"),
        ("__import__('os')", "not arithmetic"),
        ("exp(3)", "not arithmetic"),
        ("1.5", "not arithmetic"),
        ("1e5", "not arithmetic"),
        ("0x10", "not arithmetic"),
        ("٣", "not arithmetic"),
        ("2²", "not arithmetic"),
        ("1//2", "missing before '/'"),
        ("5!", "not arithmetic"),
        ("1 2", "should end before"),
        ("(1", "closing parenthesis"),
        ("1)", "should end before"),
        ("()", "missing before"),
        ("1+", "missing at the end"),
        ("*3", "missing before"),
        ("2***3", "missing before"),
        ("7/2", "remainder"),
        ("7/0", "divides by zero"),
        ("1/(3-3)", "divides by zero"),
        ("2^-1", "negative exponent"),
        ("10^10000", "10,000 digits"),
        ("9^9^9^9", "10,000 digits"),
        ("2^(2^(2^(2^(2^2))))", "10,000 digits"),
        ("(10^9999)*(10^9999)", "10,000 digits"),
        ("(10^9999)*10", "10,000 digits"),
        ("9*10^9999+9*10^9999", "10,000 digits"),
        ("1" * 10_001, "10,000 digits"),
        ("1+" * 11_000 + "1", "characters"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "deep"),
        ("-" * (MAX_DEPTH + 1) + "1", "deep"),
        ("1^" * (MAX_DEPTH + 1) + "1", "deep"),
    ],
    ids=lambda text: text[:30],
)
def test_refusals_name_the_reason_and_cost_nothing(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace("*", r"\*")) as refused:
        evaluate(text)
    assert refused.value.hint
    assert "\n" not in refused.value.message


_TREES = st.recursive(
    st.integers(0, 50).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(inner, st.integers(0, 3)).map(lambda pair: f"({pair[0]})^{pair[1]}"),
    ),
    max_leaves=12,
)


@given(_TREES)
def test_arithmetic_is_pythons(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert evaluate(text) == eval(text.replace("^", "**"))


@given(st.text(alphabet="0123456789+-*/^() x.", max_size=30))
def test_anything_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(evaluate(text), int)


@pytest.mark.parametrize(
    ("text", "binomials"),
    [
        ("11^150+1", [Binomial(11, 1, 150, 1)]),
        ("1-2^90", [Binomial(2, 1, 90, -1)]),
        ("-(2^90)-1", [Binomial(2, 1, 90, 1)]),
        ("-1+2^90", [Binomial(2, 1, 90, -1)]),
        ("(2^3)^30+1", [Binomial(2, 1, 90, 1)]),
        ("8^30+1", [Binomial(2, 1, 90, 1)]),
        ("2^90+27", [Binomial(2**30, 3, 3, 1)]),
        ("3^20-2^30", [Binomial(9, 8, 10, -1)]),
        ("6^10+2^10", [Binomial(3, 1, 10, 1)]),
        ("(11^150+1)/122", [Binomial(11, 1, 150, 1)]),
        ("(2^31-1)*(3^40+1)", [Binomial(2, 1, 31, -1), Binomial(3, 1, 40, 1)]),
        ("2^10-2^10", []),
        ("5+2", []),
        ("1+1", []),
        ("0+2^5", []),
    ],
)
def test_the_structure_is_remembered(text: str, binomials: list[Binomial]) -> None:
    assert list(parse(text).binomials) == binomials
