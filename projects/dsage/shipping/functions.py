"""A function made into an app whose units are calls of it.

A function that this process imported from a file travels with its modules. One that was typed in a script or a
notebook, or that has one of our decorators on it, is written into a module of its own with all it uses.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, Final

from dsage import typed
from dsage.bundle import Bundle
from dsage.shipping import imports, written
from dsage.shipping.packing import packed
from dsage.shipping.refusals import ShipError

ENTRY: Final = '''"""Calls of {title}: a unit is a list of them, each as [arguments, named arguments]."""

from dsage.calls import Calls, each
{fitted}import {module} as source

function = {function}


class Shipped(Calls):
    title = {title!r}
    needs = {needs!r}

    @staticmethod
    def compute(calls):
        return each(function, calls)
'''


def ship_function(function: Callable[..., Any]) -> Bundle:
    """Return an app that calls `function`: a `dsage.calls.Calls` whose `compute` takes a list of [args, kwargs].

    The same source gives the same bytes in every process. Raises ShipError for what is no function of its own, with
    the fix.
    """
    refuse(function)
    plain = undecorated(function)
    place = importable(plain)
    if place is None:
        if not isinstance(plain, types.FunctionType | type) and not _is_decorated(plain):
            raise _no_source(plain)
        text, files, needs = written.module_of(plain)
        module, path = written.MODULE, plain.__name__
        files = {**files, f"{module}.py": text.encode()}
    else:
        module, path = place
        files, needs = imports.tree(module)
    fits = typed.fitted(plain) is not plain
    entry = ENTRY.format(
        title=plain.__name__,
        module=module,
        function=f"fitted(source.{path})" if fits else f"source.{path}",
        fitted="from dsage.typed import fitted\n" if fits else "",
        needs=needs,
    )
    return packed(files, entry, "Shipped", in_place=place is not None, what=plain.__name__)


def undecorated(function: Any) -> Any:
    """Return what one of our own decorators (`grid.parallel`) was put on; anything else as it is."""
    while type(function).__module__.partition(".")[0] == "dsage" and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__dsage_wrapped__", function)


def importable(function: Any) -> tuple[str, str] | None:
    """Return the module and the name in it under which any process can import `function`, if there are such."""
    module = getattr(function, "__module__", None) or type(function).__module__
    path = getattr(function, "__qualname__", None) or getattr(function, "__name__", "")
    found: Any = sys.modules.get(module)
    if module == "__main__" or not path or not imports.can_be_imported(module):
        return None
    for part in path.split("."):
        found = getattr(found, part, None)
    return (module, path) if found is function else None


def refuse(function: Any) -> None:
    """Raise ShipError for everything callable that is no function which could be called elsewhere."""
    if isinstance(function, functools.partial):
        raise ShipError(
            f"functools.partial of {_name(function.func)} cannot travel",
            hint="Give the function itself, and the arguments that partial holds to each call.",
        )
    if not callable(function):
        raise ShipError(f"a {type(function).__name__} is not a function", hint="Give the function's name, not a call.")
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        raise ShipError(
            f"{_name(function)} is bound to a {type(owner).__name__}, which would have to travel with it",
            hint="Write a function that takes what it needs as arguments.",
        )
    plain = undecorated(function)
    if isinstance(plain, types.FunctionType):
        _refuse_kinds(plain)
    elif isinstance(plain, type | types.BuiltinFunctionType) or _is_decorated(plain):
        return
    elif importable(plain) is None:
        raise ShipError(
            f"a {type(plain).__name__} object cannot travel, although it can be called",
            hint="Write a function that takes what it needs as arguments.",
        )


def _is_decorated(function: Any) -> bool:
    """Say whether somebody's decorator (`functools.cache`) made this object of a function, which it remembers."""
    return isinstance(getattr(function, "__wrapped__", None), types.FunctionType)


def _refuse_kinds(function: types.FunctionType) -> None:
    inner = inspect.unwrap(function)
    if function.__name__ == "<lambda>":
        raise ShipError("a lambda cannot travel", hint="Give it a name: def f(x): return ...")
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise ShipError(f"{function.__name__} is async", hint="Write it as an ordinary function (def).")
    if inspect.isgeneratorfunction(inner):
        raise ShipError(f"{function.__name__} yields its values", hint="Have it return a list of them.")


def _no_source(function: Any) -> ShipError:
    return ShipError(f"{_name(function)} has no source that could travel", hint="Wrap it: def f(x): return ...")


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or getattr(function, "__name__", type(function).__name__))
