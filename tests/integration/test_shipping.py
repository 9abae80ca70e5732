"""Shipped functions and texts in real boxes, unpacked from what is signed, with annotated arguments as their types."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from dsage import bundle, codec
from dsage.bundle import Bundle
from dsage.function import Limits
from dsage.sandbox import Box, Level, landlock
from dsage.shipping import ship_file, ship_function, ship_source

Call: TypeAlias = Callable[..., Awaitable[Any]]


@pytest.fixture(params=list(Level))
async def call(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Call]:
    """Unpack a bundle, open a box on it and call one of its functions."""
    if request.param is Level.LANDLOCK and landlock.version() < 6:
        pytest.skip("signals are not confined by this kernel's Landlock")
    boxes: dict[str, Box] = {}

    async def called(packed: Bundle, function: str, *args: Any) -> Any:
        folder = tmp_path / packed.sha256
        bundle.unpack(packed.data, folder, expected_sha256=packed.sha256)
        if packed.sha256 not in boxes:
            boxes[packed.sha256] = await Box.open(request.param, folder, packed.entry, tmp_path / "work")
        outcome = await boxes[packed.sha256].call(function, tuple(map(codec.encode, args)), Limits())
        return outcome.detail if outcome.value is None else codec.decode(outcome.value)

    yield called
    for box in boxes.values():
        await box.close()


@dataclasses.dataclass
class Disc:
    centre: tuple[float, float]
    radius: float

    @property
    def area(self) -> float:
        return math.pi * self.radius**2


def grown(disc: Disc, by: float = 1.0, *others: Disc) -> Disc:
    assert type(disc.centre) is tuple
    return Disc(disc.centre, disc.radius + by + sum(other.radius for other in others))


async def test_a_function_s_arguments_are_what_it_asks_for(call: Call) -> None:
    discs = [Disc((0.0, 1.0), 2.0), Disc((0.0, 0.0), 1.0)]
    answers = await call(ship_function(grown), "compute", [[[discs[0]], {}], [[discs[0], 2, discs[1]], {}]])
    assert answers == [[{"centre": [0.0, 1.0], "radius": 3.0}], [{"centre": [0.0, 1.0], "radius": 5.0}]]
    ((none, why),) = await call(ship_function(grown), "compute", [[[{"centre": [0], "radius": 1}], {}]])
    assert none is None
    assert "disc.centre does not fit its annotation" in why


SOURCE = """
from dataclasses import dataclass
from dsage import DistributedFunction
import numpy as np

@dataclass
class Disc:
    radius: float

class Discs(DistributedFunction[Disc, tuple[Disc, int]]):
    @staticmethod
    def compute(disc, /):
        return type(disc).__name__, np.arange(3) * disc.radius

    @staticmethod
    def verify(disc, value, /):
        return [type(disc) is Disc, type(value) is tuple, type(value[0]) is Disc]

    @staticmethod
    def agree(disc, a, b, /):
        return a == b
"""


async def test_the_functions_of_a_class_get_their_types(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "discs.py"
    path.write_text(SOURCE)
    packed = bundle.pack(str(path))
    name, array = await call(packed, "compute", {"radius": 2})
    assert name == "Disc"
    assert np.array_equal(array, [0.0, 2.0, 4.0])
    assert await call(packed, "verify", {"radius": 2}, [{"radius": 1}, 5]) == [True, True, True]
    assert await call(packed, "agree", {"radius": 2}, [{"radius": 1.0}, 5], [{"radius": 1}, 5]) is True
    assert "args.radius does not fit its annotation" in await call(packed, "compute", {"radius": "x"})


async def test_texts_and_files_run_in_the_box(call: Call, tmp_path: Path) -> None:
    assert await call(ship_source("2+2"), "compute", [[[], {}]]) == [[4]]
    packed = ship_source("print('hello')\nsum(values)", names=("values",))
    assert await call(packed, "compute", [[[], {"values": {1, 2}}]]) == [[3]]
    (tmp_path / "helper.py").write_text("def f(x): return x * 2\n")
    (tmp_path / "main.py").write_text("import helper\nhelper.f(n)\n")
    assert await call(ship_file(tmp_path / "main.py"), "compute", [[[], {"n": 21}]]) == [[42]]
