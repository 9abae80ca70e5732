"""Values between people and programs: parameters as typed, answers as JSON or as readable text.

Integers go through gmpy2, whose conversions have no limit of digits and take less than quadratic time: answers of
ten thousand digits are ordinary here.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

import gmpy2
import msgspec

from dsage.errors import UsageError

MAX_EXACT: Final = 2**53
"""Integers beyond it are not exact in every JSON reader, so they travel as decimal strings (RFC 8259, section 6)."""

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


def parse_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return `name=value` pairs as a dict: a value is an integer if it looks like one, else text."""
    params: dict[str, Any] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not _NAME.fullmatch(name):
            raise UsageError(f"the parameter {shown(pair, 60)!r} is not of the form name=value")
        if name in params:
            raise UsageError(f"the parameter {name!r} is given twice")
        params[name] = int(gmpy2.mpz(value, 10)) if _INTEGER.fullmatch(value) else value
    return params


def decimal(number: int) -> str:
    """Return an integer of any size in decimal."""
    return str(gmpy2.mpz(number).digits())


def as_json(value: Any) -> Any:
    """Return `value` for JSON: integers beyond 2^53 as decimal strings, fractions as "n/d", complex numbers as pairs,
    arrays as lists, sets as sorted lists, keys as text; the rest as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -MAX_EXACT <= value <= MAX_EXACT else decimal(value)
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _compact(key): as_json(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((as_json(item) for item in value), key=repr)
    if isinstance(value, Fraction):
        return f"{decimal(value.numerator)}/{decimal(value.denominator)}"
    if isinstance(value, complex):
        return [value.real, value.imag]
    return as_json(value.tolist()) if hasattr(value, "tolist") else value


def as_text(value: Any) -> str:
    """Return an answer as people read it: a dict by its `summary` if it has that text, else by its entries, a list by
    its items, one a line; of bytes only how many they are."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        summary = value.get("summary")
        if isinstance(summary, str):
            return "\n".join(map(_printable, summary.split("\n")))
        return "\n".join(f"{name}: {_compact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(_compact, value))
    return _compact(value)


def shown(value: Any, most: int) -> str:
    """Return `value` in one line of at most `most` characters that no terminal takes for a command."""
    text = f"{value:.4g}" if isinstance(value, float) else _compact(value)
    text = _printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _compact(value: Any) -> str:
    """Return a value in one line: numbers and text bare, lists and dicts in brackets."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_compact, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_compact(item)}' for name, item in value.items())}}}"
    return msgspec.json.encode(as_json(value)).decode()
