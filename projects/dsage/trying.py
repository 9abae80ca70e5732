"""Trying a few units of a function on this computer, in the sandbox that volunteers' computers use, without a server.

`first_units` takes the units that a run would make first, by the driver's own decision. `Trial` computes them; `twice`
computes each in two boxes that differ in all that a computation must not depend on, and says where answers differ.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dsage import bundle as bundles
from dsage import codec, perturbing
from dsage.bundle import Bundle
from dsage.errors import DSageError, UsageError
from dsage.function import DistributedFunction, Limits
from dsage.inputs import is_hash
from dsage.sandbox import Box, Level, Outcome, strongest
from dsage.stepping import AuthorError, Position, next_step
from dsage.wire import Answers, NewUnit

A_STEP: Final = 256
OTHER_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "4711",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
    "LANG": "C",
    "OMP_NUM_THREADS": "3",
}
"""What the second computation finds: another order of sets, zone (5 h 45 min off), locale and number of threads.
Libraries that start threads when they are imported keep one, as everywhere in a box."""
OTHER_FOLDER: Final = "/elsewhere"


class CheckFailed(DSageError):
    """The code runs, but did not pass a check that its answers depend on."""

    code = "check"
    status = 400
    exit_status = 5
    default_hint = "Mend what is said above, then check again."


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two values part: `path` as in Python (`answer["x"][3]`), and both sides in one line."""

    path: str
    first: Any
    second: Any


def first_units(function: DistributedFunction, most: int) -> tuple[list[NewUnit], bool]:
    """Return up to `most` units that a run of `function` makes before it has any answer, and whether that is all.

    `function` is left as it is. Raises AuthorError where the author's code raises.
    """
    own = copy.deepcopy(function)
    own.load_state(function.dump_state())
    found: list[NewUnit] = []
    at, dry = Position(0, 0, own.dump_state()), False
    while len(found) < most and not dry:
        heard = Answers(hungry=min(A_STEP, most - len(found)), open_units=len(found))
        step, dry = next_step(own, at, heard)
        if step is None or step.finished:
            return found, True
        if step.failed:
            raise AuthorError(step.failed)
        found += step.units
        at = Position(0, step.step, step.state, dry)
    return found, dry


def limits_of(unit: NewUnit) -> Limits:
    """Return what a unit may use."""
    return Limits(
        cpu_s=unit.cpu_s,
        wall_s=unit.wall_s,
        memory_bytes=unit.memory_bytes,
        disk_bytes=unit.disk_bytes,
        output_bytes=unit.output_bytes,
    )


class Trial:
    """An app unpacked on this computer, with a sandbox of `level` for it. Use `opened`."""

    def __init__(self, packed: Bundle, folder: Path, level: Level) -> None:
        self.level = level
        self._packed = packed
        self._folder = folder

    @classmethod
    @asynccontextmanager
    async def opened(cls, packed: Bundle) -> AsyncIterator[Trial]:
        """Find the strongest sandbox that holds here. Raises SandboxRefused if none does."""
        folder = Path(tempfile.mkdtemp(prefix="dsage-try-"))
        os.chmod(folder, 0o755)
        try:
            bundles.unpack(packed.data, folder / "app", expected_sha256=packed.sha256)
            report = await strongest(folder / "boxes", strangers=False)
            yield cls(packed, folder, report.level or Level.LANDLOCK)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def box(self, *, other: bool = False) -> AsyncIterator[Box]:
        """Open a box as volunteers have it or, with `other`, one that differs in what nothing may depend on.

        Raises UnitFailed if the app cannot be loaded there.
        """
        environment: Mapping[str, str] = OTHER_ENVIRONMENT if other else {}
        start = OTHER_FOLDER if other and self.level is Level.BUBBLEWRAP else ""
        box = await Box.open(
            self.level,
            self._folder / "app",
            self._packed.entry,
            self._folder / "boxes",
            environment=environment,
            start=start,
        )
        try:
            yield box
        finally:
            await box.close()

    async def compute(self, box: Box, unit: NewUnit, seed: int | None = None) -> Outcome:
        """Compute one unit; with a `seed` as one copy of it, perturbed and restored."""
        function, args = perturbing.call(unit.args, seed)
        return await box.call(function, args, limits_of(unit), inputs=files_of(unit))

    async def twice(self, unit: NewUnit) -> tuple[Outcome, Outcome | None]:
        """Compute a unit as volunteers would, and once more in a box that differs; only once if it fails."""
        async with self.box() as box:
            first = await self.compute(box, unit)
        if first.value is None:
            return first, None
        async with self.box(other=True) as box:
            return first, await self.compute(box, unit)

    async def perturbed(self, unit: NewUnit, seeds: Sequence[int]) -> list[Outcome]:
        """Compute copies of a unit with these seeds."""
        async with self.box() as box:
            return [await self.compute(box, unit, seed) for seed in seeds]

    async def says(self, what: str, unit: NewUnit, *values: bytes) -> Outcome:
        """Ask one of the app's own functions about a unit and, for `verify` and `agree`, its answers."""
        async with self.box() as box:
            return await box.call(what, (unit.args, *values), limits_of(unit))


def files_of(unit: NewUnit) -> dict[str, Path]:
    """Return the input files of a unit. Raises UsageError for one that only a server has."""
    for name, place in unit.inputs.items():
        if is_hash(place):
            raise UsageError(
                f"the unit {unit.key} reads {name!r} by its hash, and that file is on a server",
                hint="Name a path instead to try it here.",
            )
        if not Path(place).is_file():
            raise UsageError(f"the unit {unit.key} reads {place}, and there is no such file")
    return {name: Path(place).resolve() for name, place in unit.inputs.items()}


def difference(
    first: Any, second: Any, path: str = "answer", same: Callable[[Any, Any], bool] | None = None
) -> Difference | None:
    """Return the first place, in order, where two values that were decoded differ; None if they are the same.

    `same` compares what is neither a list nor a dict; without it, equal bytes are asked for.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return _in_dicts(first, second, path, same)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        pairs = zip(first, second, strict=False)
        inside = (difference(a, b, f"{path}[{i}]", same) for i, (a, b) in enumerate(pairs))
        found = next(filter(None, inside), None)
        if found is None and len(first) != len(second):
            return Difference(f"len({path})", len(first), len(second))
        return found
    return None if (same or _same)(first, second) else Difference(path, first, second)


def sample(units: list[NewUnit], count: int) -> Iterator[NewUnit]:
    """Yield up to `count` units spread evenly over all of them, the first and the last among them."""
    if len(units) <= count:
        yield from units
        return
    for i in range(count):
        yield units[i * (len(units) - 1) // max(1, count - 1)]


def _in_dicts(
    first: dict[Any, Any], second: dict[Any, Any], path: str, same: Callable[[Any, Any], bool] | None
) -> Difference | None:
    for key in first:
        if key not in second:
            return Difference(f"{path}[{key!r}]", first[key], "(not there)")
        if found := difference(first[key], second[key], f"{path}[{key!r}]", same):
            return found
    extra = next((key for key in second if key not in first), None)
    return None if extra is None else Difference(f"{path}[{extra!r}]", "(not there)", second[extra])


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first) and math.isnan(second):
        return True
    return codec.encode(first) == codec.encode(second)
