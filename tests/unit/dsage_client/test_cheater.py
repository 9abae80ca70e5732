"""The demo's liar: every answer looks right, none is, and the project's own checks see through each."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dsage import codec
from dsage.function import Limits
from dsage.sandbox import Outcome
from dsage_client.cheater import Liar, lie, pretend
from dsage_client.runner import Work
from dsage_projects.factor import work as factor

N = (10**13 + 37) * (10**60 + 7)
CURVES = {"kind": "ecm", "n": N, "b1": 50, "sigma": (1 << 32) + 5, "curves": 3}
MINUS = {"kind": "minus", "n": N, "b1": 2000}
SIEVE = {"kind": "flint", "n": 10007 * 10009}


def work_on(args: dict[str, Any], seen: list[bytes] | None = None) -> Work:
    unit = SimpleNamespace(args=codec.encode(args))
    on_checkpoint = (seen if seen is not None else []).append
    proven = cast(Any, SimpleNamespace(unit=unit))
    return Work(proven=proven, limits=Limits(), restored=None, on_checkpoint=on_checkpoint, on_cpu=lambda _: None)


def test_made_up_residues_look_right_and_agree_with_nobody() -> None:
    honest = factor.compute(CURVES)
    lies = [codec.decode(lie(work_on(CURVES), codec.encode(honest))) for _ in range(2)]
    for told in lies:
        assert factor.verify(CURVES, told) is None, "it must look like an answer"
        assert not factor.agree(CURVES, honest, told)
    assert not factor.agree(CURVES, *lies)


def test_a_factor_is_hidden() -> None:
    found = {"residues": [], "factor": 10**13 + 37, "curve": 0}
    assert factor.verify(CURVES, found) is True
    told = codec.decode(lie(work_on(CURVES), codec.encode(found)))
    assert told["factor"] == 0
    assert factor.verify(CURVES, told) is None


def test_a_composite_is_called_prime_and_that_disproves_itself() -> None:
    told = codec.decode(lie(work_on(SIEVE), codec.encode(factor.compute(SIEVE))))
    assert told == {"factors": [[SIEVE["n"], 1]]}
    assert factor.verify(SIEVE, told) is False


def test_a_power_is_made_up_too_and_a_stopped_one_shows_as_much_work() -> None:
    honest = factor.compute(MINUS)
    told = codec.decode(lie(work_on(MINUS), codec.encode(honest)))
    assert factor.verify(MINUS, told) is None, "it must look like an answer"
    assert not factor.agree(MINUS, honest, told)
    shown = codec.decode(pretend(work_on(MINUS), codec.encode({"minus": [77, 5]})))
    assert shown["minus"][0] == 77
    assert shown["minus"][1] != 5


@pytest.mark.parametrize("seed", range(4))
def test_what_a_stopped_unit_shows_is_worth_nothing(seed: int) -> None:
    honest = {"residues": factor.compute(CURVES)["residues"][:2]}
    assert factor.partial(CURVES, honest, seed) > 0
    shown = codec.decode(pretend(work_on(CURVES), codec.encode(honest)))
    assert len(shown["residues"]) == 2
    assert factor.partial(CURVES, shown, seed) == 0.0


def test_it_lies_in_answers_and_in_checkpoints() -> None:
    honest = codec.encode(factor.compute(CURVES))
    state = codec.encode({"residues": codec.decode(honest)["residues"][:1]})

    class Honest:
        async def run(self, work: Work) -> Outcome:
            work.on_checkpoint(state)
            return Outcome("done", honest, "", "", 1.0, 1.0)

        async def close(self) -> None:
            pass

    seen: list[bytes] = []
    outcome = asyncio.run(Liar(Honest()).run(work_on(CURVES, seen)))
    assert outcome.status == "done"
    assert outcome.value not in (None, honest)
    assert len(seen) == 1
    assert seen[0] != state
