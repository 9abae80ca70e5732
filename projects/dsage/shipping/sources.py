"""The source text of a function or class, as it stands now: of a file, or of the newest notebook cell."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
import types
from typing import Any

from dsage.shipping.refusals import ShipError


def of(thing: Any) -> tuple[str, dict[str, Any]]:
    """Return a definition's text, without our own decorators, and the globals that its names stand for.

    Raises ShipError if there is no source, as for what is typed at a plain prompt.
    """
    if isinstance(thing, type):
        text, scope = _class_text(thing), _class_scope(thing)
    else:
        inner = inspect.unwrap(thing)
        text, scope = _function_text(inner), inner.__globals__
    return _without_ours(textwrap.dedent(text), scope), scope


def _function_text(function: types.FunctionType) -> str:
    linecache.checkcache(function.__code__.co_filename)
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        raise _none(function) from None


def _class_text(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        pass
    for lines in _newest_texts(kind):
        try:
            nodes = ast.walk(ast.parse("".join(lines)))
        except SyntaxError:
            continue
        for node in nodes:
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno])
    raise ShipError(
        f"the class statement of {kind.__name__} cannot be found",
        hint=f"Write it as `class {kind.__name__}...` at the top of a file or cell (a namedtuple: typing.NamedTuple).",
    )


def _newest_texts(kind: type) -> list[list[str]]:
    """Return the lines of what was typed in this process, newest first; first of all, of where its methods are."""
    codes = [each.__code__.co_filename for each in vars(kind).values() if isinstance(each, types.FunctionType)]
    typed = [name for name, entry in reversed(linecache.cache.items()) if len(entry) == 4 and entry[1] is None]
    return [linecache.getlines(name) for name in dict.fromkeys([*codes, *typed])]


def _class_scope(kind: type) -> dict[str, Any]:
    for each in vars(kind).values():
        if isinstance(each, types.FunctionType) and each.__module__ == kind.__module__:
            return each.__globals__
    import sys

    return vars(sys.modules[kind.__module__])


def _without_ours(text: str, scope: dict[str, Any]) -> str:
    """Return the definition without decorators of this package (`@grid.parallel`) and without @staticmethod."""
    node = ast.parse(text).body[0]
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        raise ShipError(f"no definition of its own: {text.splitlines()[0][:60]}", hint="Define it with def.")
    lines = text.splitlines()
    kept = [
        "@" + (ast.get_source_segment(text, each) or "") for each in node.decorator_list if not _is_ours(each, scope)
    ]
    return "\n".join([*kept, *lines[node.lineno - 1 : node.end_lineno]])


def _is_ours(decorator: ast.expr, scope: dict[str, Any]) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    root = call
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    if root.id == "staticmethod":
        return True
    thing = scope.get(root.id)
    name = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
    kind = type(thing).__module__
    return any(str(each).partition(".")[0] == "dsage" for each in (name, kind))


def _none(thing: Any) -> ShipError:
    return ShipError(
        f"the source of {thing.__name__} cannot be found",
        hint="Save it in a file, or use IPython or a notebook: a plain prompt does not keep what is typed.",
    )
