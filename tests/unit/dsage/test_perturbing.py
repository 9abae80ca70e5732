"""Copies of a unit that differ: their seeds, what each of the author's functions gets, and what comes out."""

from __future__ import annotations

import dataclasses
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import DistributedFunction, codec, perturbing
from dsage.errors import CodecError

SEED = 2**64 - 1


@dataclasses.dataclass
class Signal:
    samples: list[int]
    names: tuple[str, ...] = ()


class Peak(DistributedFunction[list[int], int]):
    """Where a signal that goes round in a circle is largest."""

    @staticmethod
    def perturb(args: list[int], seed: int) -> list[int]:
        by = seed % len(args)
        args[:] = args[by:] + args[:by]
        return args

    @staticmethod
    def compute(args: list[int]) -> int:
        return args.index(max(args))

    @staticmethod
    def restore(args: list[int], value: int, seed: int) -> int:
        return (value + seed) % len(args)


class Typed(DistributedFunction):
    @staticmethod
    def perturb(args: Signal, seed: int) -> Signal:
        assert isinstance(args, Signal)
        return Signal(args.samples[::-1], (*args.names, "backwards"))

    @staticmethod
    def compute(args: Signal) -> Signal:
        assert args.names == ("backwards",)
        return args

    @staticmethod
    def restore(args: Signal, value: Signal, seed: int) -> Signal:
        assert isinstance(value, Signal)
        assert args.names == ()
        return Signal(value.samples[::-1])


class Chance(DistributedFunction[int, float]):
    """An estimate that needs no restoring."""

    @staticmethod
    def perturb(args: int, seed: int) -> int:
        return args ^ seed

    @staticmethod
    def compute(args: int) -> float:
        return random.Random(args).random()


class NoData(Peak):
    @staticmethod
    def compute(args: list[int]) -> int:
        return object()  # type: ignore[return-value]


@given(st.lists(st.integers(), min_size=1, unique=True), st.integers(0, SEED))
def test_a_restored_answer_is_the_answer_whatever_the_seed(samples: list[int], seed: int) -> None:
    given_ = list(samples)
    assert Peak.compute_perturbed(samples, seed) == Peak.compute(given_)
    assert samples == given_, "what perturb did to its argument stays with it"


def test_data_arrives_as_annotations_say() -> None:
    assert Typed.compute_perturbed({"samples": [1, 2, 3], "names": []}, 7) == Signal([1, 2, 3])


def test_without_restore_the_answer_is_as_it_is() -> None:
    assert Chance.compute_perturbed(5, 9) == Chance.compute(5 ^ 9) != Chance.compute(5)


def test_what_is_no_data_is_an_error_wherever_it_comes_from() -> None:
    with pytest.raises(CodecError):
        NoData.compute_perturbed([1], 1)


def test_a_copy_has_one_seed_and_no_two_copies_have_the_same() -> None:
    leases = [os.urandom(16) for _ in range(1000)]
    seeds = [perturbing.seed_of(lease) for lease in leases]
    assert seeds == [perturbing.seed_of(lease) for lease in leases]
    assert len(set(seeds)) == len(leases)
    assert all(0 <= seed <= SEED for seed in seeds)
    assert len({seed >> 63 for seed in seeds}) == 2, "all bits are used"
    # docs/protocol.md says how, for clients that are not ours.
    assert perturbing.seed_of(bytes(16)) == 0xFB639F0914841206


def test_a_unit_is_called_for_with_a_seed_or_without() -> None:
    args = codec.encode([1])
    assert perturbing.call(args, None) == ("compute", (args,))
    assert perturbing.call(args, 0) == ("compute_perturbed", (args, codec.encode(0)))
    assert 0 <= perturbing.any_seed() <= SEED
