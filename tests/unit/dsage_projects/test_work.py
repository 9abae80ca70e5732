"""Judging answers: what proves itself, what agrees, what a stopped unit is paid, and what a hostile client may send."""

from __future__ import annotations

import math
from typing import Any

import gmpy2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import codec
from dsage.running import Hooks
from dsage_projects.factor import work
from dsage_projects.factor.curve import residue

P = 10000000000037
Q = int(gmpy2.next_prime(10**50))
N = P * Q
ARGS = {"kind": "ecm", "n": N, "b1": 50, "sigma": 1000, "curves": 6}
SIEVE = {"kind": "flint", "n": 3 * 3 * 7 * P}


def residues(count: int) -> list[bytes]:
    return [residue(N, 50, 1000 + i) for i in range(count)]


def answer(count: int = 6, factor: int = 0, **more: Any) -> dict[str, Any]:
    return {"residues": residues(count), "factor": factor, "curve": count, **more}


def test_an_answer_without_a_factor_needs_a_second_opinion() -> None:
    value = work.compute(ARGS)
    assert value == answer()
    assert work.verify(ARGS, value) is None
    assert codec.decode(codec.encode(value)) == value


def test_a_unit_stops_at_its_first_factor_which_proves_itself() -> None:
    args = {**ARGS, "b1": 2000, "curves": 400}
    value = work.compute(args)
    assert value["factor"] in (P, Q)
    assert len(value["residues"]) == value["curve"] < 400
    assert work.verify(args, value) is True


@pytest.mark.parametrize("factor", [1, -1, -P, N, 2, P + 2, 2 * N, 0, True, float(P), str(P), None])
def test_a_factor_that_is_none_is_a_lie(factor: Any) -> None:
    assert work.verify(ARGS, answer(3, factor)) is False


def test_agreement_is_on_residues_alone() -> None:
    assert work.agree(ARGS, answer(), answer())
    assert work.agree(ARGS, answer(4, P), answer())
    assert work.agree(ARGS, answer(), answer(2, Q))
    assert work.agree(ARGS, answer(4, P), answer(1, Q))
    wrong = answer()
    wrong["residues"][1] = bytes(len(wrong["residues"][1]))
    assert not work.agree(ARGS, answer(), wrong)
    assert not work.agree(ARGS, wrong, answer(4, P))
    assert work.agree(ARGS, wrong, answer(1, P)), "only what both did is compared"
    assert not work.agree(ARGS, answer(4, P + 1), answer()), "a partner that lies about a factor agrees with nobody"


BAD: list[Any] = [
    None,
    True,
    0,
    "x",
    b"x",
    [],
    [1, 2],
    {},
    {"residues": None, "factor": 0, "curve": 6},
    {"residues": [], "factor": 0, "curve": 0},
    {"residues": [], "factor": 0, "curve": 6},
    {"residues": {}, "factor": 0, "curve": 6},
    {"residues": [1] * 6, "factor": 0, "curve": 6},
    {"residues": [b""] * 6, "factor": 0, "curve": 6},
    {"residues": [b"\xff" * 32] * 6, "factor": 0, "curve": 6},
    {"residues": [b"\xff" * 26] * 6, "factor": 0, "curve": 6},
    {"residues": ["\x00" * 27] * 6, "factor": 0, "curve": 6},
    {"residues": [b"\x00" * 27] * 10**4, "factor": 0, "curve": 10**4},
    {"residues": residues(5), "factor": 0, "curve": 6},
    {"residues": residues(5), "factor": 0, "curve": 5},
    {"residues": residues(6), "factor": P, "curve": 6},
    {"residues": residues(3), "factor": P, "curve": 2},
    {"residues": residues(3), "factor": P, "curve": "3"},
    {"residues": residues(6), "factor": False, "curve": 6},
    {"residues": residues(6), "factor": 0, "curve": 6.0},
    {"residues": residues(6), "factor": 0},
    {"residues": residues(6), "factor": 0, "curve": 6, "more": 1},
    {"factors": [[P, 1]]},
    {"factors": [[3, 1], [7, 1], [P, 1]]},
    {"factors": [[3, 2], [7, 1], [P, 1], [1, 5]]},
    {"factors": [[3, 2], [7, 1], [P, 1], [2, 0]]},
    {"factors": [[-3, 2], [7, 1], [P, 1]]},
    {"factors": [[3, 2], [7, 1], [P, True]]},
    {"factors": [[3, 2.0], [7, 1], [P, 1]]},
    {"factors": [["3", 2], [7, 1], [P, 1]]},
    {"factors": [[3], [7, 1], [P, 1]]},
    {"factors": [3, 3, 7, P]},
    {"factors": [[3, 10**30]]},
    {"factors": [[10**3000, 1]]},
    {"factors": {}},
    {"factors": []},
    {"factors": None},
]


@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:60])
@pytest.mark.parametrize("args", [ARGS, SIEVE], ids=["ecm", "flint"])
def test_garbage_is_refused_without_an_exception(args: dict[str, Any], value: Any) -> None:
    right = work.compute(args)
    assert work.verify(args, value) is False
    assert work.agree(args, value, right) is False
    assert work.agree(args, right, value) is False
    assert work.agree(args, value, value) is False
    assert work.partial(args, value, 3) in (0.0, 5 / 6, 0.5, 1.0)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["residues", "factor", "curve", "factors", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(_ANYTHING, st.integers(0, 2**64))
def test_whatever_a_client_sends_is_judged(value: Any, seed: int) -> None:
    for args in (ARGS, SIEVE):
        assert work.verify(args, value) is False
        assert work.agree(args, value, value) is False
        assert work.partial(args, value, seed) == 0.0


def test_a_sieve_unit_proves_itself() -> None:
    value = work.compute(SIEVE)
    assert sorted(value["factors"]) == [[3, 2], [7, 1], [P, 1]]
    assert work.verify(SIEVE, value) is True
    assert work.agree(SIEVE, value, {"factors": value["factors"][::-1]})
    assert work.verify(SIEVE, {"factors": [[9, 1], [7, 1], [P, 1]]}) is False
    assert work.verify(SIEVE, {"factors": [[3, 1], [7, 1], [3, 1], [P, 1]]}) is True


def test_a_stopped_unit_is_paid_by_the_curve() -> None:
    assert work.partial(ARGS, {"residues": residues(3)}, 17) == 0.5
    assert work.partial(ARGS, {"residues": []}, 17) == 0.0
    half_right = residues(2) + [bytes(27)] * 2
    paid = [work.partial(ARGS, {"residues": half_right}, seed) for seed in range(4)]
    assert sorted(paid) == [0.0, 0.0, 4 / 6, 4 / 6]
    assert work.partial(SIEVE, work.compute(SIEVE), 1) == 0.0


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    states: list[Any] = []
    monkeypatch.setattr(work, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(Hooks, "checkpoint", lambda state: states.append(codec.encode(state)))
    return states


def test_a_unit_resumes_where_it_was_stopped(kept: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work.compute(ARGS)
    assert [len(codec.decode(state)["residues"]) for state in kept] == [1, 2, 3, 4, 5, 6]
    for state in list(kept):
        kept.clear()
        monkeypatch.setattr(Hooks, "restored", codec.decode(state))
        assert work.compute(ARGS) == whole
        assert len(kept) == 6 - len(codec.decode(state)["residues"])


@pytest.mark.parametrize("state", [None, {}, {"residues": 5}, {"residues": [b"x"]}, {"residues": [bytes(27)] * 7}, 3])
def test_a_damaged_checkpoint_is_a_fresh_start(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hooks, "restored", state)
    assert work.compute(ARGS) == answer()


def test_p_minus_1_finds_a_prime_whose_neighbour_is_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = 2 * 3**4 * 10007 * 19997 * 19891 + 1, 10**40 + 121
    p = next(c for c in range(p, p * 50, p - 1) if gmpy2.is_prime(c))
    args = {"kind": "minus", "n": p * q, "b1": 40_001}
    kept: list[Any] = []
    monkeypatch.setattr(work, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(Hooks, "checkpoint", kept.append)
    answer = work.compute(args)
    assert answer["factor"] == p
    assert work.verify(args, answer) is True
    assert [done for state in kept for done in state["minus"][:1]] == [20_000, 40_000, 40_001]
    for state in kept:
        monkeypatch.setattr(Hooks, "restored", codec.decode(codec.encode(state)))
        assert work.compute(args) == answer


def test_p_minus_1_without_luck_takes_a_second_opinion() -> None:
    n = (10**40 + 121) * (10**42 + 63)
    args = {"kind": "minus", "n": n, "b1": 5_000}
    answer = work.compute(args)
    exponent = math.lcm(*range(1, 5_001))
    assert answer == {"residue": pow(3, exponent, n).to_bytes((n.bit_length() + 7) // 8, "big"), "factor": 0}
    assert work.verify(args, answer) is None
    assert work.agree(args, answer, answer)
    assert not work.agree(args, answer, {**answer, "residue": bytes(len(answer["residue"]))})
    assert work.partial(args, answer, 1) == 0.0
    lies: list[Any] = [
        None, {}, {"residue": b""}, {**answer, "factor": 1}, {**answer, "factor": n}, {**answer, "factor": 7},
        {**answer, "factor": "0"}, {**answer, "residue": b"\xff" * len(answer["residue"])}, {**answer, "residue": b""},
    ]  # fmt: skip
    for lie in lies:
        assert work.verify(args, lie) is False
        assert not work.agree(args, answer, lie)
