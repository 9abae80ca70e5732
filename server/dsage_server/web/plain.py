"""Values of runs and units as people and JSON readers get them: bounded, and numbers of any size in full."""

from __future__ import annotations

import math
from typing import Any, Final

import gmpy2
import msgspec

from dsage import codec
from dsage.codec import Value
from dsage.errors import CodecError

MAX_VALUE_ITEMS: Final = 10_000
MAX_VALUE_BYTES: Final = 256 << 10
"""Larger arguments and answers are named on pages by their size only."""
SAFE_INTEGER: Final = 2**53
"""Beyond this, readers of JSON that use doubles would silently round."""
MAX_ABOUT: Final = 60
"""Characters of a run's parameters beside its title."""
MAX_DECIMAL_BITS: Final = 70_000
"""About 21,000 digits: more are written in hexadecimal, which costs no time."""


class Opened(msgspec.Struct, frozen=True):
    """A decoded value; `note` says in a sentence why there is none to show."""

    value: Value = None
    note: str = ""


def opened(data: bytes | None, where: str, elsewhere: int = 0) -> Opened:
    """Decode a value for a page; `where` names the command that fetches what is too large for one.

    `elsewhere` is how many bytes a value has that is not at hand.
    """
    size = elsewhere or len(data or b"")
    if not data and not size:
        return Opened()
    if not data or size > MAX_VALUE_BYTES:
        return Opened(note=f"{size:,} bytes are too many for a page: {where} fetches them")
    try:
        return Opened(_simple(codec.decode(data, max_items=MAX_VALUE_ITEMS)))
    except CodecError as error:
        return Opened(note=f"it cannot be read ({error.message})")


def _simple(value: Any) -> Value:
    """Return a value as what pages and JSON know: sets and arrays as lists, other keys and numbers as text."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(item) for item in value]
    if hasattr(value, "tolist"):
        if value.size > MAX_VALUE_ITEMS:
            raise CodecError(f"an array of {value.size:,} numbers is too large for a page")
        return _simple(value.tolist())
    return str(value)


def mapping(value: Value) -> dict[str, Value]:
    """Return a value that should be a dict as one; anything else is kept under the name "value"."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def fraction(value: Value) -> float | None:
    """Return a share of 0..1, or None for what is not one."""
    number = finite(value)
    return None if number is None else min(max(number, 0.0), 1.0)


def finite(value: Value) -> float | None:
    """Return a number as a float, or None for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def about(params: Value) -> str:
    """Return a run's parameters in a few words, if they are that few."""
    if not isinstance(params, dict):
        return ""
    parts = [f"{name} = {value}" for name, value in params.items() if _is_short(value)]
    text = ", ".join(parts)
    return text if len(text) <= MAX_ABOUT else ""


def digits_in(number: int) -> int:
    """Return how many decimal digits an integer has (exact to one for very large ones)."""
    if number.bit_length() <= MAX_DECIMAL_BITS:
        return len(decimal(abs(number)))
    return int(number.bit_length() * math.log10(2)) + 1


def decimal(number: int) -> str:
    """Return an integer's digits: in decimal, or in hexadecimal (0x) when there are very many."""
    if number.bit_length() <= MAX_DECIMAL_BITS:
        return str(gmpy2.mpz(number))
    return hex(number)


def to_json(schema: str, document: msgspec.Struct) -> bytes:
    """Return a page's document as JSON: big integers as text, bytes as base64, NaN as null."""
    data = _exact(msgspec.to_builtins(document, builtin_types=(bytes,)))
    return msgspec.json.encode({"schema": schema, "data": data})


def _is_short(value: Value) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= MAX_ABOUT * 3
    return isinstance(value, float | str)


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        return decimal(value)
    return value
