"""Globals that are plain data, as Python text."""

from __future__ import annotations

import math
from typing import Any, Final

MAX_CHARACTERS: Final = 1 << 14
"""Longer constants are data, and data belongs into arguments."""


def written(value: Any) -> str | None:
    """Return the text that makes `value` again, the same for equal values in every process; None if it is no
    small plain data."""
    try:
        text = _text(value, 0)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_CHARACTERS else None


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if kind is complex:
        return f"complex({_text(value.real, depth)}, {_text(value.imag, depth)})"
    if depth > 16:
        raise ValueError("too deep")
    if kind is tuple:
        items = ", ".join(_text(item, depth + 1) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if kind is list:
        return f"[{', '.join(_text(item, depth + 1) for item in value)}]"
    if kind in (set, frozenset):
        items = ", ".join(sorted(_text(item, depth + 1) for item in value))
        return f"{kind.__name__}([{items}])"
    if kind is dict:
        pairs = (f"{_text(key, depth + 1)}: {_text(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ValueError("not data")
