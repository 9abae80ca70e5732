"""numpy arrays as bytes that are the same on every machine, and back; imported only where there is an array.

An array is [its kind, its shape, its content]: little-endian, in C order, without padding, with one form of NaN. The
kind is numpy's own short text ("<f8", "|S3", "<M8[ns]") or, for records, a list of [name, kind, shape]. No object
arrays, and no long doubles: their bits differ between machines.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dsage.errors import CodecError

if TYPE_CHECKING:
    import numpy

MAX_DIMENSIONS: Final = 32
MAX_LENGTH: Final = 1 << 48
"""Of one dimension."""
MAX_FIELDS: Final = 1024
MAX_RECORD_DEPTH: Final = 8
_SIMPLE: Final = re.compile(
    r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<c8|<c16|\|[SV][1-9]\d{0,9}|<U[1-9]\d{0,8}"
    r"|<[mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"
)

Kind: TypeAlias = Any
"""Text, or a list of [name, kind, shape]."""


def packed(array: numpy.ndarray[Any, Any]) -> tuple[Kind, list[int], bytes]:
    """Return the kind, the shape and the content of an array. Raises CodecError for one that cannot travel."""
    import numpy as np

    if isinstance(array, np.ma.MaskedArray):
        raise CodecError(
            "is a masked array, which would lose its mask", hint="Send array.filled(...), or its data and mask."
        )
    dtype, kind = _plain(array.dtype, 0)
    plain = np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)
    if _may_have_nan(plain):
        plain = plain.copy()
        _one_nan(plain)
    return kind, list(array.shape), plain.tobytes()


def unpacked(kind: Kind, shape: Any, content: Any) -> numpy.ndarray[Any, Any]:
    """Return the array: its own memory, writable. Raises CodecError if this is not what `packed` gives."""
    try:
        import numpy as np
    except ImportError:
        raise CodecError(
            "this value is a numpy array, and numpy is not installed here",
            hint='Install numpy here, or name it in the class: needs = ("numpy",).',
        ) from None
    dtype = np.dtype(_parsed(kind, 0))
    if type(content) is not bytes or _elements(shape) * dtype.itemsize != len(content):
        raise CodecError("an array whose content is not as long as its shape says")
    array = np.empty(shape, dtype)
    if content:
        array[...] = np.frombuffer(content, dtype).reshape(shape)
    return array


def _elements(shape: Any) -> int:
    if type(shape) is not list or len(shape) > MAX_DIMENSIONS:
        raise CodecError("an array whose shape is none")
    if any(type(length) is not int or not 0 <= length <= MAX_LENGTH for length in shape):
        raise CodecError("an array whose shape is none")
    if math.prod(filter(None, shape)) > MAX_LENGTH:
        raise CodecError("an array that is too large")
    return math.prod(shape)


def _plain(dtype: Any, depth: int) -> tuple[Any, Kind]:
    """Return a dtype without padding and in little-endian order, and its kind."""
    import numpy as np

    if depth > MAX_RECORD_DEPTH:
        raise CodecError(f"has records nested deeper than {MAX_RECORD_DEPTH}")
    if dtype.names is not None:
        if not 0 < len(dtype.names) <= MAX_FIELDS:
            raise CodecError(f"has records of {len(dtype.names)} fields; 1 to {MAX_FIELDS} can travel")
        fields = [(name, *_field(dtype.fields[name][0], depth)) for name in dtype.names]
        return np.dtype([(name, one, shape) for name, one, _, shape in fields]), [
            [name, kind, list(shape)] for name, _, kind, shape in fields
        ]
    plain = dtype.newbyteorder("<")
    if not _SIMPLE.fullmatch(plain.str):
        raise CodecError(
            f"is an array of dtype {dtype}, which cannot travel",
            hint="Use numbers, fixed-length text or bytes, dates, or records of them; at most 64 bits a float.",
        )
    return plain, plain.str


def _field(dtype: Any, depth: int) -> tuple[Any, Kind, tuple[int, ...]]:
    base, shape = dtype.subdtype or (dtype, ())
    plain, kind = _plain(base, depth + 1)
    return plain, kind, shape


def _parsed(kind: Kind, depth: int) -> Any:
    """Return what `numpy.dtype` makes this kind of."""
    if type(kind) is str and _SIMPLE.fullmatch(kind):
        return kind
    if type(kind) is not list or not 0 < len(kind) <= MAX_FIELDS or depth > MAX_RECORD_DEPTH:
        raise CodecError("an array of no kind that is known")
    fields = []
    for field in kind:
        if type(field) is not list or len(field) != 3 or type(field[0]) is not str:
            raise CodecError("an array of no kind that is known")
        _elements(field[2])
        fields.append((field[0], _parsed(field[1], depth + 1), tuple(field[2])))
    return fields


def _may_have_nan(array: Any) -> bool:
    import numpy as np

    if array.dtype.names is not None:
        return any(_may_have_nan(array[name]) for name in array.dtype.names)
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())


def _one_nan(array: Any) -> None:
    """Write every NaN in the same way."""
    import numpy as np

    if array.dtype.names is not None:
        for name in array.dtype.names:
            _one_nan(array[name])
    elif array.dtype.kind == "c":
        _one_nan(array.real)
        _one_nan(array.imag)
    elif array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
