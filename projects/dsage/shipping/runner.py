"""Runs a text: packed beside the text as it stands, so it uses nothing but Python, what every box has of DSage, and
Sage, if asked to."""

from __future__ import annotations

import ast
import importlib
import linecache
import operator
import os
import pkgutil
from fractions import Fraction
from numbers import Rational
from typing import Any

from dsage.running import Hooks


def run(text: str, name: str, variables: dict[str, Any], sage: bool) -> Any:
    """Run `text` with variables; return DSAGE_RESULT if it sets that, else the value of its last expression."""
    _lay_out()
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    if sage:
        scope.update(_sage_names())
        text = str(importlib.import_module("sage.repl.preparse").preparse(text))
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope.update({name: _lifted(thing, scope["Integer"]) if sage else thing for name, thing in variables.items()})
    tree = ast.parse(text, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), scope)
    value = None
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval"), scope)
    value = scope.get("DSAGE_RESULT", value)
    return plain(value) if sage else value


def _lay_out() -> None:
    """Have the input files lie in the folder where the text begins, under their names, unless something else does."""
    for name, place in Hooks.inputs.items():
        if not os.path.lexists(name):
            os.symlink(place, name)


def _sage_names() -> dict[str, Any]:
    """Return the names of Sage, or of those parts of it (passagemath's packages) that are here."""
    try:
        homes = [importlib.import_module("sage.all")]
    except ImportError:
        parts = sorted(found.name for found in pkgutil.iter_modules(importlib.import_module("sage").__path__))
        homes = [part for name in parts if name.startswith("all__") and (part := _part(f"sage.{name}"))]
    found: dict[str, Any] = {}
    for home in homes:
        for name, thing in vars(home).items():
            # A part that lacks Sage's integers has Python's under their name. (Anything else would load what is lazy.)
            if not name.startswith("_") and (name not in found or not (thing is int or thing is float)):
                found[name] = thing
    return found


def _part(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _lifted(value: Any, integer: Any) -> Any:
    """Return a variable with Sage's integers for Python's: of these, `n/2` would be a float."""
    if type(value) is int:
        return integer(value)
    return type(value)(_lifted(item, integer) for item in value) if type(value) in (list, tuple, set) else value


def plain(value: Any) -> Any:
    """Return Sage's value as one of Python's: whole numbers, fractions, floats, containers of them; else as text."""
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes, Fraction):
        return value
    if kind in (list, tuple, set, frozenset):
        return kind(plain(item) for item in value)
    if kind is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    try:
        return operator.index(value)
    except TypeError:
        pass
    if isinstance(value, Rational):
        whole: Any = value
        return Fraction(operator.index(whole.numerator()), operator.index(whole.denominator()))
    return float(value) if kind.__module__.startswith("sage.rings.real") else str(value)
