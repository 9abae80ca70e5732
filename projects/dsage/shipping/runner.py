"""Runs a text: packed beside the text as it stands, so it uses nothing but Python itself (and Sage, if asked to)."""

from __future__ import annotations

import ast
import importlib
import linecache
from fractions import Fraction
from typing import Any

SAGE_HOMES = ("sage.all", "sage.all__sagemath_standard_no_symbolics", "sage.all__sagemath_schemes",
              "sage.all__sagemath_modules", "sage.all__sagemath_categories", "sage.all__sagemath_objects")  # fmt: skip
"""Where Sage's names are, whole or in parts (passagemath): the first that is there."""


def run(text: str, name: str, variables: dict[str, Any], sage: bool) -> Any:
    """Run `text` with variables; return DSAGE_RESULT if it sets that, else the value of its last expression."""
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


def _sage_names() -> dict[str, Any]:
    for home in SAGE_HOMES:
        try:
            module = importlib.import_module(home)
        except ImportError:
            continue
        return {name: thing for name, thing in vars(module).items() if not name.startswith("_")}
    raise ImportError("Sage is not on this computer")


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
    if hasattr(value, "__index__"):
        return int(value)
    above, below = getattr(value, "numerator", None), getattr(value, "denominator", None)
    if callable(above) and callable(below) and hasattr(above(), "__index__") and hasattr(below(), "__index__"):
        return Fraction(int(above()), int(below()))
    return float(value) if hasattr(value, "__float__") and "real" in kind.__module__ else str(value)
