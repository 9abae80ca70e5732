"""Data arrives as the types that annotations name."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from dsage import DistributedFunction, Unit, codec, typed
from dsage.errors import CodecError
from dsage.stepping import Position, next_step
from dsage.wire import Answer, Answers

if TYPE_CHECKING:
    from nowhere import Unknown


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    where: tuple[float, float] = (0.0, 0.0)
    colour: Colour = Colour.RED


class Struct(msgspec.Struct, tag="struct"):
    points: list[Point]
    big: int = 2**100
    data: npt.NDArray[np.float64] | None = None
    part: Fraction = Fraction(1, 3)
    z: complex = 1j


class Pair(NamedTuple):
    left: Point
    right: dict[str, frozenset[int]]


def travelled(value: Any) -> Any:
    return codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Point, Point(1, (2.0, 3.0))),
        (list[Point], [Point(1), Point(2)]),
        (Struct, Struct([Point(3)])),
        (Pair, Pair(Point(1), {"a": frozenset({1, 2})})),
        (tuple[int, Point], (2**80, Point(1))),
        (tuple[int, ...], (1, 2, 3)),
        (tuple, (1, [2])),
        (dict[str, Colour], {"a": Colour.RED}),
        (dict[int, Point], {1: Point(2)}),
        (Point | None, None),
        (Point | None, Point(5)),
        (set[tuple[int, int]], {(1, 2)}),
        (frozenset[int], frozenset({1})),
    ],
)
def test_data_arrives_as_what_it_was(hint: Any, value: Any) -> None:
    assert typed.changes(hint)
    back = typed.fit(travelled(value), hint, "args")
    assert back == value
    assert type(back) is type(value)


def test_arrays_inside_are_left_alone() -> None:
    back = typed.fit(travelled(Struct([], data=np.arange(3.0))), Struct, "args")
    assert back.data.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "hint", [None, Any, int, float, str, list, dict[str, int], list[list[int]], np.ndarray, npt.NDArray[np.int64]]
)
def test_other_annotations_change_nothing(hint: Any) -> None:
    assert not typed.changes(hint)


@pytest.mark.parametrize(
    ("hint", "data", "words"),
    [
        (Point, {"x": "1"}, "args.x does not fit its annotation: Expected `int`, got `str`"),
        (Point, {}, "args does not fit its annotation: Object missing required field `x`"),
        (list[Point], [{"x": 1}, 5], "args[1] does not fit"),
        (dict[str, Colour], {"a": "blue"}, "args[...] does not fit its annotation: Invalid enum value 'blue'"),
        (tuple[int, int], [1], "args does not fit its annotation: Expected `array` of length 2"),
        (Struct, {"type": "struct", "points": [], "part": []}, "args.part does not fit"),
        (Point | Pair | tuple[int, int], {}, "the annotation of args cannot be followed"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(hint: Any, data: Any, words: str) -> None:
    with pytest.raises(CodecError) as caught:
        typed.fit(data, hint, "args")
    assert words in caught.value.message


class ByCompute(DistributedFunction):
    @staticmethod
    def compute(point: Point) -> tuple[int, int]:
        return point.x, 1


class ByVerify(DistributedFunction):
    @staticmethod
    def compute(point):
        return point

    @staticmethod
    def verify(point: Point, value: Pair) -> bool:
        return True


class ByParameters(DistributedFunction[Point, list[Point]]):
    @staticmethod
    def compute(args, /):
        return [args]


class Below(ByParameters):
    pass


class Untyped(DistributedFunction):
    @staticmethod
    def compute(args: int | Unknown) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    ("kind", "hints"),
    [
        (ByCompute, {"args": Point, "value": tuple[int, int]}),
        (ByVerify, {"args": Point, "value": Pair}),
        (ByParameters, {"args": Point, "value": list[Point]}),
        (Below, {"args": Point, "value": list[Point]}),
        (Untyped, {}),
        (DistributedFunction, {}),
    ],
)
def test_a_class_says_what_it_takes_and_gives(kind: type, hints: dict[str, Any]) -> None:
    assert typed.prepare(kind) == hints


def test_the_functions_of_a_class_get_what_they_take() -> None:
    point, value = travelled(Point(4)), travelled((1, 2))
    assert typed.arguments(ByCompute, "compute", [point]) == [Point(4)]
    assert typed.arguments(ByCompute, "verify", [point, value]) == [Point(4), (1, 2)]
    assert typed.arguments(ByCompute, "agree", [point, value, value]) == [Point(4), (1, 2), (1, 2)]
    assert typed.arguments(ByCompute, "partial", [point, value, 7]) == [Point(4), (1, 2), 7]
    assert typed.arguments(ByCompute, "other", [point]) == [point]
    assert typed.arguments(Untyped, "compute", [point]) == [point]
    assert typed.argument(ByCompute, point) == Point(4)
    assert typed.value(ByCompute, value) == (1, 2)


def test_a_plain_function_gets_what_it_takes() -> None:
    def move(point: Point, by, *more: Point, scale: Colour = Colour.RED, **named: Point) -> Point:
        return (point, by, more, scale, named)  # type: ignore[return-value]

    p = travelled(Point(1))
    call = typed.fitted(move)
    assert call(p, p, p, p, scale="red", q=p) == (Point(1), p, (Point(1), Point(1)), Colour.RED, {"q": Point(1)})
    assert call(point=p, by=0)[0] == Point(1)
    given = typed.returning(move)
    assert given is not None
    assert given(p) == Point(1)
    with pytest.raises(CodecError, match="value does not fit"):
        given(5)
    with pytest.raises(CodecError, match="point"):
        call(5, 6)
    assert typed.fitted(travelled) is travelled
    assert typed.fitted(len) is len
    assert typed.returning(travelled) is None
    assert typed.returning(len) is None


class Walk(DistributedFunction[Point, Pair]):
    """Each of its functions asks for its own types."""

    def units(self) -> Iterator[Point]:
        yield Point(1)

    @staticmethod
    def compute(point: Point, /) -> Pair:
        assert type(point) is Point
        return Pair(point, {})

    def process_result(self, unit: Unit[Point], value: Pair, /) -> None:
        assert (type(unit.args), type(value), type(value.left)) == (Point, Pair, Point)
        self.result = value.left.x


def heard(**changes: Any) -> Answers:
    answer = Answer(unit=1, key="1.0", group="", args=codec.encode(Point(1)), value=None, **changes)
    return Answers(answers=[answer], open_units=1)


def test_the_driver_hands_out_types() -> None:
    for answers, step in (
        (heard(), "unit_failed"),
        (Answers(retracted=heard().answers, open_units=1), "retract"),
    ):
        asked: list[Any] = []
        kind = type("Asked", (Walk,), {step: lambda self, unit, last, asked=asked: asked.append(unit.args)})
        for answer in answers.answers + answers.retracted:
            answer.value = None if step == "unit_failed" else codec.encode(Pair(Point(2), {}))
        next_step(kind(), Position(1, 1, b""), answers)
        assert asked == [Point(1)]
    told = heard()
    told.answers[0].value = codec.encode(Pair(Point(7), {}))
    function = Walk()
    step_, _ = next_step(function, Position(1, 1, b"", dry=True), told)
    assert step_ is not None
    assert (function.result, step_.failed) == (7, "")
    told.answers[0].value = codec.encode([{"x": "seven"}, {}])
    step_, _ = next_step(Walk(), Position(1, 1, b""), told)
    assert step_ is not None
    assert "value[0].x does not fit its annotation" in step_.failed
