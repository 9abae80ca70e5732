"""A module written from a function of a script or notebook, and from all of its neighbours that it uses.

Helper functions and classes come along as their source, imports as imports, and globals that are plain data as their
values. What a name stands for is looked up in the function's globals at this moment.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from typing import Any, Final

from dsage.shipping import constants, imports, sources
from dsage.shipping.names import Used, used_names
from dsage.shipping.refusals import ShipError

MODULE: Final = "dsage_functions"
HEAD: Final = '"""Functions of a script or notebook, with what they use."""\n\nfrom __future__ import annotations\n'


def module_of(function: Any) -> tuple[str, dict[str, bytes], tuple[str, ...]]:
    """Return a module's text that defines `function` and all it uses, the files it imports, and what it needs.

    Raises ShipError for what cannot be written down, with the fix.
    """
    writer = _Writer()
    writer.define(function.__name__, function)
    text = writer.text()
    files, needs = imports.of_source(text)
    return text, files, needs


class _Writer:
    """The lines of the module so far: imports, values, then definitions, each after what it uses where it can be."""

    def __init__(self) -> None:
        self._imports: set[str] = set()
        self._values: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._objects: dict[str, Any] = {}

    def text(self) -> str:
        """Return the whole module."""
        parts = [HEAD]
        if self._imports:
            parts.append("\n".join(sorted(self._imports)) + "\n")
        if self._values:
            parts.append("\n".join(f"{name} = {self._values[name]}" for name in sorted(self._values)) + "\n")
        parts += ["\n" + text + "\n" for text in self._definitions.values()]
        return "\n".join(parts)

    def define(self, name: str, thing: Any) -> None:
        """Write a function or class of one's own, and what it uses before it."""
        if not self._is_new(name, thing):
            return
        _refuse_closure(name, thing)
        text, scope = sources.of(thing)
        for used in used_names(text):
            if used.name != name:
                self._use(used, scope, thing)
        self._definitions[name] = text
        if name != thing.__name__:
            self._definitions[name] += f"\n\n\n{name} = {thing.__name__}"

    def _use(self, used: Used, scope: dict[str, Any], by: Any) -> None:
        from dsage.shipping.functions import importable, undecorated

        name = used.name
        if name.startswith("__") and name.endswith("__"):
            return
        if name not in scope:
            if used.runs and not hasattr(builtins, name):
                raise ShipError(
                    f"{by.__name__} uses {name!r}, which is not defined", hint="Define it, or pass it as an argument."
                )
            return
        thing = undecorated(scope[name])
        if isinstance(thing, types.ModuleType):
            self._import_module(name, thing, used)
            return
        place = importable(thing) if callable(thing) and hasattr(thing, "__name__") else None
        if place is not None and place[0] != "builtins" and "." not in place[1]:
            module, path = place
            self._imports.add(f"from {module} import {path}" + (f" as {name}" if path != name else ""))
        elif place is not None and place == ("builtins", name):
            return
        elif isinstance(thing, types.FunctionType | type) or hasattr(thing, "__wrapped__"):
            self.define(name, thing)
        else:
            self._value(used, thing, by)

    def _value(self, used: Used, thing: Any, by: Any) -> None:
        text = constants.written(thing)
        if text is not None:
            if self._is_new(used.name, thing):
                self._values[used.name] = text
        elif used.runs:
            raise ShipError(
                f"{by.__name__} uses the global {used.name!r}, a {type(thing).__module__}.{type(thing).__qualname__}"
                " that is not plain data",
                hint=f"Pass {used.name} as an argument, or make it inside the function.",
            )

    def _import_module(self, name: str, module: types.ModuleType, used: Used) -> None:
        real = module.__name__
        if real == "__main__":
            raise ShipError(f"the module {name!r} is this very program", hint="Use the function's own name.")
        if "." not in real:
            self._imports.add(f"import {real}" + (f" as {name}" if real != name else ""))
        elif name == real.partition(".")[0]:
            self._imports.add(f"import {real}")
        else:
            self._imports.add(f"import {real} as {name}")
        for below in used.attributes:
            parts = below.split(".")
            for depth in range(1, len(parts) + 1):
                deeper = ".".join([real, *parts[:depth]])
                if imports.is_loaded_below(module, parts[:depth]):
                    self._imports.add(f"import {deeper}")

    def _is_new(self, name: str, thing: Any) -> bool:
        if name in self._objects and self._objects[name] is not thing:
            raise ShipError(
                f"two different things are called {name!r}", hint="Give them different names in what travels together."
            )
        new = name not in self._objects
        self._objects[name] = thing
        return new


def _refuse_closure(name: str, thing: Any) -> None:
    if isinstance(thing, type):
        return
    inner = inspect.unwrap(thing)
    if inner.__name__ == "<lambda>":
        raise ShipError(f"{name!r} is a lambda, which cannot travel", hint=f"Write it as def {name}(...): return ...")
    free = [each for each in inner.__code__.co_freevars if each != "__class__"]
    if free:
        names = " and ".join(f"`{each}`" for each in free)
        raise ShipError(
            f"{name} is a closure: it uses {names} of the function around it",
            hint=f"Pass {names} as an argument, and define {name} at the top of the file.",
        )
    ast.parse(f"{inner.__name__} = 0")
