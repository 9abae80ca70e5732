"""What annotations say: data arrives as the types that an author's functions ask for.

Between computers everything is plain data (see `dsage.codec`). A class says what its arguments and answers are, by the
annotations of `compute` (else of its neighbours, else by `DistributedFunction[A, V]`): a dataclass, a msgspec struct,
a namedtuple, an Enum, a tuple, or lists and dicts of them. They then arrive as such in `compute`, `perturb`, `restore`,
`verify`, `agree`, `partial`, `process_result`, `retract`, `split` and `unit_failed`. Other annotations, and none, leave
data as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
import weakref
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from dsage.errors import CodecError

ARGUMENT: Final = "args"
VALUE: Final = "value"
POSITIONS: Final = {
    "compute": (ARGUMENT,),
    "perturb": (ARGUMENT,),
    "restore": (ARGUMENT, VALUE),
    "verify": (ARGUMENT, VALUE),
    "agree": (ARGUMENT, VALUE, VALUE),
    "partial": (ARGUMENT, VALUE),
}
"""What the static functions of a class take, in order; what follows is no data of the author's."""

_known: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()


def prepare(kind: type) -> dict[str, Any]:
    """Read a class's annotations, once: the type of its "args" and "value", without those that change nothing."""
    found = _known.get(kind)
    if found is None:
        found = {what: hint for what, hint in _said(kind).items() if changes(hint)}
        _known[kind] = found
    return found


def argument(kind: type, args: Any) -> Any:
    """Return a unit's decoded arguments as `compute` takes them. Raises CodecError if they do not fit."""
    hints = prepare(kind)
    return fit(args, hints[ARGUMENT], ARGUMENT) if ARGUMENT in hints else args


def value(kind: type, answer: Any) -> Any:
    """Return a decoded answer as `compute` gives it. Raises CodecError if it does not fit."""
    hints = prepare(kind)
    return fit(answer, hints[VALUE], VALUE) if VALUE in hints else answer


def arguments(kind: type, function: str, values: Sequence[Any]) -> list[Any]:
    """Return the decoded arguments of one of a class's static functions. Raises CodecError if they do not fit."""
    hints = prepare(kind)
    whats = POSITIONS.get(function, ()) if hints else ()
    fitting = [
        fit(each, hints[what], what) if what in hints else each for what, each in zip(whats, values, strict=False)
    ]
    return [*fitting, *values[len(fitting) :]]


def fitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that its arguments arrive as its annotations say; itself if they change nothing."""
    if not isinstance(function, types.FunctionType):
        return function
    parameters = list(inspect.signature(function).parameters.values())
    hints = {each.name: hint for each in parameters if changes(hint := _hint(function, each.name))}
    if not hints:
        return function
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    rest = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "")
    named = next((each.name for each in parameters if each.kind is each.VAR_KEYWORD), "")
    taken = {each.name for each in parameters}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        positions = [*names, *[rest] * (len(args) - len(names))]
        fitting = [_fit_one(each, hints, name) for name, each in zip(positions, args, strict=False)]
        by_name = {name: _fit_one(each, hints, name if name in taken else named) for name, each in kwargs.items()}
        return function(*fitting, **by_name)

    return call


def returning(function: Callable[..., Any]) -> Callable[[Any], Any] | None:
    """Return what makes a decoded answer of a plain function the type that it is annotated with; None: nothing does.

    What it returns raises CodecError for an answer that does not fit.
    """
    hint = _hint(function, "return")
    return functools.partial(fit, hint=hint, name=VALUE) if changes(hint) else None


def fit(data: Any, hint: Any, name: str) -> Any:
    """Return decoded data as the type `hint`. Raises CodecError, naming the place within `name`, if it does not fit."""
    try:
        return msgspec.convert(data, hint, dec_hook=_as_it_is)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `")
        raise CodecError(
            f"{name}{place.rstrip('`').removeprefix('$')} does not fit its annotation: {reason}",
            hint="Make the annotation and the data agree.",
        ) from None
    except TypeError as error:
        raise CodecError(
            f"the annotation of {name} cannot be followed: {error}",
            hint="Use one type, or msgspec structs with tags; or leave the annotation out.",
        ) from None


def changes(hint: Any) -> bool:
    """Say whether data that arrives as plain data becomes something else under this annotation."""
    return any(map(_is_made, _within(hint, set())))


def _is_made(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct | Enum | frozenset):
        return True
    return issubclass(kind, tuple)


def _within(hint: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the types that an annotation is made of; an array's are its own affair."""
    kind: Any = typing.get_origin(hint) or hint
    if id(hint) in seen or getattr(kind, "__module__", "") == "numpy":
        return
    seen.add(id(hint))
    yield kind
    for part in typing.get_args(hint):
        yield from _within(part, seen)
    if typing.is_typeddict(hint):
        for part in typing.get_type_hints(kind).values():
            yield from _within(part, seen)


def _fit_one(data: Any, hints: dict[str, Any], name: str) -> Any:
    return fit(data, hints[name], name) if name in hints else data


def _as_it_is(kind: type, data: Any) -> Any:
    """Take what msgspec does not know (arrays, fractions, complex numbers) as it was decoded."""
    wanted = typing.get_origin(kind) or kind
    if wanted is Any or isinstance(data, wanted):
        return data
    if wanted is complex and isinstance(data, int | float):
        return complex(data)
    numbers = getattr(wanted, "__module__", "") == "numpy" or wanted.__name__ == "Fraction"
    if numbers and isinstance(data, int | float | complex | str | bytes):
        return wanted(data)
    raise ValueError(f"Expected `{wanted.__name__}`, got `{type(data).__name__}`")


def _said(kind: type) -> dict[str, Any]:
    """Return what a class says of its "args" and "value", however it says it."""
    places: dict[str, list[tuple[str, int | str]]] = {
        ARGUMENT: [("compute", 0), ("verify", 0), ("agree", 0), ("partial", 0)],
        VALUE: [("compute", "return"), ("verify", 1), ("agree", 1), ("partial", 1)],
    }
    base = _generic_parameters(kind)
    found: dict[str, Any] = {}
    for position, (what, ways) in enumerate(places.items()):
        hints = [_hint_at(kind, function, place) for function, place in ways]
        hints.append(base[position] if position < len(base) else None)
        found[what] = next((hint for hint in hints if hint is not None), None)
    return found


def _hint_at(kind: type, function: str, place: int | str) -> Any:
    found = getattr(kind, function, None)
    if not isinstance(found, types.FunctionType) or found.__module__.startswith("dsage."):
        return None
    if isinstance(place, str):
        return _hint(found, place)
    names = found.__code__.co_varnames[: found.__code__.co_argcount]
    return _hint(found, names[place]) if place < len(names) else None


def _hint(function: Callable[..., Any], name: str) -> Any:
    """Return an annotation, or None if there is none or its names mean nothing here."""
    annotation = getattr(function, "__annotations__", {}).get(name)
    if annotation is None:
        return None
    holder = type("Holder", (), {"__annotations__": {name: annotation}})
    try:
        return typing.get_type_hints(holder, getattr(inspect.unwrap(function), "__globals__", {}))[name]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return None


def _generic_parameters(kind: type) -> tuple[Any, ...]:
    """Return A and V of the nearest `DistributedFunction[A, V]` among the bases of a class."""
    unknown = (typing.TypeVar, typing.ForwardRef, str)
    for each in kind.__mro__:
        for base in getattr(each, "__orig_bases__", ()):
            parts = typing.get_args(base)
            if parts and hasattr(typing.get_origin(base), "process_result"):
                return tuple(None if isinstance(part, unknown) else part for part in parts)
    return ()
