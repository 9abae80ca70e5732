"""How a result is shown: the first shape that fits its data names the template; no project is named here.

To show another kind of result, add a shape and `templates/results/<name>.html`, which gets `made`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from dsage.codec import Value
from dsage_server.web.plain import decimal, digits_in, finite

MAX_CHECK_DIGITS: Final = 20_000
"""Longer numbers get no line to paste: shells and prompts refuse it."""
MAX_PYTHON_DIGITS: Final = 4000
"""Python reads decimal literals of at most 4300 digits; longer ones are written in hexadecimal."""
MOST_BARS: Final = 60
MOST_SIGNALS: Final = 500
"""Longer lists are shown as they are."""
MOST_SIZE: Final = 1e15
"""Larger numbers are no sizes that people compare."""
PLOT_WIDTH: Final = 400
PLOT_HEIGHT: Final = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """A form that results may have, the units whose finders it names, and what its template gets."""

    name: str
    fits: Callable[[Value], bool]
    units: Callable[[Value], list[int]]
    make: Callable[[Value, Mapping[int, str]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One factor of a factorisation: `finder` is empty if no unit of work found it."""

    value: int
    power: int
    unit: int | None = None
    finder: str = ""

    @property
    def digits(self) -> int:
        """Decimal digits of one copy."""
        return digits_in(self.value)


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The elliptic curve (Suyama's, by its `sigma`) that found a factor at a bound; `sigma` is 0 for Pollard's p-1."""

    unit: int
    n: int
    factor: int
    b1: int
    sigma: int = 0

    @property
    def check(self) -> str:
        """A line of Python that checks the factor; empty if it would be too long."""
        if digits_in(self.n) > MAX_CHECK_DIGITS:
            return ""
        return f"print({_literal(self.n)} % {_literal(self.factor)} == 0)"

    @property
    def again(self) -> str:
        """The command that runs GMP-ECM on the same curve; empty for p-1, or if it would be too long."""
        if not self.sigma or digits_in(self.n) > MAX_PYTHON_DIGITS:
            return ""
        return f"echo {decimal(self.n)} | ecm -sigma 0:{self.sigma} {self.b1}"


def curve_of(unit: int, args: Value, answer: Value) -> Curve | None:
    """Return how the answer of a unit found a factor, if it tells: the unit has a `kind` ("ecm", "minus"), a number
    `n`, a bound `b1` and, of curves, the first `sigma`; the answer has a `factor` and the number of its `curve`."""
    if not isinstance(args, dict) or not isinstance(answer, dict) or args.get("kind") not in ("ecm", "minus"):
        return None
    told = (args.get("n"), args.get("b1"), args.get("sigma", 0), answer.get("factor"), answer.get("curve", 0))
    if not all(type(each) is int for each in told):
        return None
    n, b1, sigma, factor, curve = (each for each in told if isinstance(each, int))
    if not 1 < factor < n or n % factor:
        return None
    return Curve(unit=unit, n=n, factor=factor, b1=b1, sigma=sigma + curve if args["kind"] == "ecm" else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorisation:
    """A number, its prime factors, and the composite parts that nobody split."""

    n: int
    primes: list[Factor]
    rest: list[Factor] = field(default_factory=list)

    @property
    def digits(self) -> int:
        """Decimal digits of the number."""
        return digits_in(self.n)

    @property
    def check(self) -> str:
        """Lines of Python that check the product, and each prime by Fermat's test; empty if too long."""
        if self.digits > MAX_CHECK_DIGITS or not self.primes:
            return ""
        lines = ["from math import prod", f"primes = {_literal_dict(self.primes)}"]
        product = "prod(p**k for p, k in primes.items())"
        if self.rest:
            lines.append(f"rest = {_literal_dict(self.rest)}")
            product += " * prod(c**k for c, k in rest.items())"
        lines.append(f"print({product} == {_literal(self.n)})")
        lines.append("print(all(pow(2, p - 1, p) == 1 for p in primes if p > 2))")
        return "\n".join(lines)


def shape_of(value: Value) -> Shape:
    """Return the shape that a result is shown in."""
    return next(shape for shape in SHAPES if shape.fits(value))


def _fits_factorisation(value: Value) -> bool:
    return (
        isinstance(value, dict)
        and _is_integer(value.get("n"))
        and _are_pairs(value.get("factors"))
        and _are_pairs(value.get("found_by", []))
        and _are_pairs(_pairs(value.get("unfinished")))
    )


def _factorisation_units(value: Value) -> list[int]:
    return sorted({unit for _, unit in value.get("found_by", []) if 0 < unit < 2**63})


def _factorisation(value: Value, finders: Mapping[int, str]) -> Factorisation:
    found = {prime: unit for prime, unit in value.get("found_by", []) if 0 < unit < 2**63}
    primes = [
        Factor(value=prime, power=power, unit=found.get(prime), finder=finders.get(found.get(prime, 0), ""))
        for prime, power in sorted(value["factors"])
    ]
    rest = [Factor(value=part, power=power) for part, power in _pairs(value.get("unfinished"))]
    return Factorisation(n=value["n"], primes=primes, rest=rest)


def _pairs(value: Value) -> Any:
    """Return bare numbers as pairs with the power 1; False and None are an empty list."""
    if not isinstance(value, list):
        return [] if value is None or value is False else None
    return [[item, 1] if _is_integer(item) else item for item in value]


def _are_pairs(value: Value) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, list) and len(item) == 2 and all(_is_integer(part) for part in item) for item in value
    )


def _is_integer(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _literal(number: int) -> str:
    return decimal(number) if digits_in(number) <= MAX_PYTHON_DIGITS else hex(number)


def _literal_dict(factors: list[Factor]) -> str:
    return "{" + ", ".join(f"{_literal(factor.value)}: {factor.power}" for factor in factors) + "}"


def _no_units(value: Value) -> list[int]:
    return []


def _as_it_is(value: Value, finders: Mapping[int, str]) -> Value:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A list of numbers, none of them negative, as bars; `most` is the largest."""

    values: list[float]
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A detection: where it is, by two numbers, and how strong; `x`, `y` and `r` are places in the plot."""

    row: float
    column: float
    strength: float
    x: float
    y: float
    r: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Detections, the strongest first; `rows` and `columns` are what the plot's sides span."""

    signals: list[Signal]
    rows: tuple[float, float]
    columns: tuple[float, float]

    @property
    def best(self) -> Signal:
        """The strongest."""
        return self.signals[0]


def _fits_bars(value: Value) -> bool:
    return isinstance(value, list) and 3 <= len(value) <= MOST_BARS and all(_is_size(item) for item in value)


def _bars(value: Value, finders: Mapping[int, str]) -> Bars:
    return Bars(values=value, most=max(float(item) for item in value) or 1.0)


def _is_size(value: Value) -> bool:
    number = finite(value)
    return number is not None and 0 <= number < MOST_SIZE


def _fits_detections(value: Value) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MOST_SIGNALS and all(_is_signal(row) for row in value)


def _is_signal(row: Value) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and all(isinstance(item, float) and abs(item) < MOST_SIZE for item in row)
    )


def _detections(value: Value, finders: Mapping[int, str]) -> Detections:
    rows, columns = _span([row[0] for row in value]), _span([row[1] for row in value])
    strongest = max(abs(row[2]) for row in value) or 1.0
    signals = [
        Signal(
            row=row, column=column, strength=strength, x=PLOT_WIDTH * _share(column, columns),
            y=PLOT_HEIGHT * (1 - _share(row, rows)), r=3 + 7 * abs(strength) / strongest,
        )
        for row, column, strength in value
    ]  # fmt: skip
    return Detections(signals=sorted(signals, key=lambda each: -each.strength), rows=rows, columns=columns)


def _span(numbers: list[float]) -> tuple[float, float]:
    """Return what an axis spans, with some room on both sides."""
    low, high = min(numbers), max(numbers)
    room = (high - low) * 0.08 or 1.0
    return low - room, high + room


def _share(number: float, span: tuple[float, float]) -> float:
    return (number - span[0]) / (span[1] - span[0])


SHAPES: Final = (
    Shape("factorisation", _fits_factorisation, _factorisation_units, _factorisation),
    Shape("detections", _fits_detections, _no_units, _detections),
    Shape("bars", _fits_bars, _no_units, _bars),
    Shape("value", lambda value: True, _no_units, _as_it_is),
)
