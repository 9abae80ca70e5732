"""The rule `close`: numbers with a fraction may differ a little, everything else is the same."""

from __future__ import annotations

import cmath
import math
from typing import Any, Final, Literal

from dsage import codec
from dsage.agreement.rule import Rule, Unfit, amount, declared

HUGE: Final = 1e300
"""Beyond it the distance of two complex numbers may overflow, and infinity is near to everything."""
SMALLER: Final = 2.0**-4
NANS: Final = "holds a NaN, which agrees with nothing here"


class Close(Rule, frozen=True, tag="close"):
    """Floats and complex numbers, alone or in arrays, are near; see `close`."""

    rtol: float
    atol: float
    nan: Literal["same", "never"]

    def __post_init__(self) -> None:
        amount("rtol", self.rtol, below=1.0)
        amount("atol", self.atol)
        if not self.rtol and not self.atol:
            raise ValueError("rtol=0 and atol=0 leave nothing to tolerate: without a rule, equal bytes are asked for")
        if self.nan not in ("same", "never"):
            raise ValueError(f'nan={self.nan!r} cannot be: it is "same" or "never"')

    def read(self, value: Any) -> Any:
        """Return the answer itself. Raises Unfit if no NaN may be in it, and one is."""
        if self.nan == "never" and _has_nan(value):
            raise Unfit(NANS)
        return value

    def same(self, a: Any, b: Any) -> bool:
        """Compare type by type, member by member."""
        kind = type(a)
        if kind is not type(b):
            return False
        if kind is float:
            return self._floats(a, b)
        if kind is list:
            return len(a) == len(b) and all(map(self.same, a, b))
        if kind is dict:
            a, b = _by_key(a), _by_key(b)
            return a.keys() == b.keys() and all(self.same(item, b[key]) for key, item in a.items())
        if kind is complex:
            return self._complexes(a, b)
        if hasattr(a, "dtype"):
            return self._arrays(a, b)
        return codec.encode(a) == codec.encode(b)

    def _floats(self, a: float, b: float) -> bool:
        if a != a or b != b:
            return a != a and b != b
        return math.isclose(a, b, rel_tol=self.rtol, abs_tol=self.atol)

    def _complexes(self, a: complex, b: complex) -> bool:
        if not (cmath.isfinite(a) and cmath.isfinite(b)):
            return self._floats(a.real, b.real) and self._floats(a.imag, b.imag)
        scale = SMALLER if max(abs(part) for x in (a, b) for part in (x.real, x.imag)) > HUGE else 1.0
        return cmath.isclose(a * scale, b * scale, rel_tol=self.rtol, abs_tol=self.atol * scale)

    def _arrays(self, a: Any, b: Any) -> bool:
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.names is not None:
            return all(self._arrays(a[name], b[name]) for name in a.dtype.names)
        if a.dtype.kind not in "fc":
            return bool(a.tobytes() == b.tobytes())
        return self._numbers(a, b)

    def _numbers(self, a: Any, b: Any) -> bool:
        """Compare two arrays of floats or complex numbers: as above, all at once."""
        import numpy as np

        with np.errstate(all="ignore"):
            if a.dtype.kind == "f":
                a, b = a.astype(np.float64), b.astype(np.float64)
                near = np.abs(a - b) <= np.maximum(self.rtol * np.maximum(np.abs(a), np.abs(b)), self.atol)
                usual = np.isfinite(a) & np.isfinite(b)
                return bool(np.where(usual, near, (a == b) | (np.isnan(a) & np.isnan(b))).all())
            a, b = a.astype(np.complex128), b.astype(np.complex128)
            usual = np.isfinite(a) & np.isfinite(b)
            if not usual.all() and not self._parts(a[~usual], b[~usual]):
                return False
            a, b = a[usual], b[usual]
            huge = any((np.abs(part) > HUGE).any() for x in (a, b) for part in (x.real, x.imag))
            scale = SMALLER if huge else 1.0
            a, b = a * scale, b * scale
            within = np.maximum(self.rtol * np.maximum(np.abs(a), np.abs(b)), self.atol * scale)
            return bool((np.abs(a - b) <= within).all())

    def _parts(self, a: Any, b: Any) -> bool:
        return self._numbers(a.real, b.real) and self._numbers(a.imag, b.imag)


def close(*, rtol: float = 1e-9, atol: float = 0.0, nan: Literal["same", "never"] = "same") -> Close:
    """Return the rule that two answers are the same if their floats and complex numbers are near.

    Near is `|a - b| <= max(rtol * max(|a|, |b|), atol)`, as `math.isclose` has it. An infinity is near to itself only,
    0.0 to -0.0. A NaN is the same as a NaN; with nan="never" an answer that holds one is refused. Everything else is
    compared exactly: types, lengths, keys, shapes and dtypes, integers, text, bytes, and what sets hold.
    Raises UsageError for an rtol outside 0 <= rtol < 1, an atol that is negative or not finite, and for both zero.
    """
    found: Close = declared(Close, rtol=rtol, atol=atol, nan=nan)
    return found


def _by_key(value: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dict by keys of which 1, 1.0 and True are three, and a NaN is itself."""
    if all(type(key) is str for key in value):
        return value
    return {key if type(key) is str else codec.encode(key): item for key, item in value.items()}


def _has_nan(value: Any) -> bool:
    kind = type(value)
    if kind is float or kind is complex:
        return bool(value != value)
    if kind is list or kind is set or kind is tuple or kind is frozenset:
        return any(map(_has_nan, value))
    if kind is dict:
        return any(map(_has_nan, value)) or any(map(_has_nan, value.values()))
    return hasattr(value, "dtype") and _array_has_nan(value)


def _array_has_nan(array: Any) -> bool:
    if array.dtype.names is not None:
        return any(_array_has_nan(array[name]) for name in array.dtype.names)
    return bool(array.dtype.kind in "fc" and (array != array).any())
