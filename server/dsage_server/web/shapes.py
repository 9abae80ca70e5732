"""How a result is shown: the first shape that fits its data names the template; no project is named here.

To show another kind of result, add a shape and `templates/results/<name>.html`, which gets `made`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dsage.codec import Value
from dsage_server.web.plain import decimal, digits_in

MAX_CHECK_DIGITS: Final = 20_000
"""Longer numbers get no line to paste: shells and prompts refuse it."""
MAX_PYTHON_DIGITS: Final = 4000
"""Python reads decimal literals of at most 4300 digits; longer ones are written in hexadecimal."""


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


SHAPES: Final = (
    Shape("factorisation", _fits_factorisation, _factorisation_units, _factorisation),
    Shape("value", lambda value: True, _no_units, _as_it_is),
)
