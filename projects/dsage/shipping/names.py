"""Which global names a piece of source uses, read without running it."""

from __future__ import annotations

import ast
import symtable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Used:
    """A global name in a source: `runs` unless only annotations use it; `attributes` are the dotted ways below it."""

    name: str
    runs: bool
    attributes: tuple[str, ...]


def used_names(text: str) -> list[Used]:
    """Return the global names that a definition refers to, in a fixed order."""
    everywhere = ast.parse(text)
    all_names = _globals(ast.unparse(everywhere)) | _in_text_annotations(everywhere)
    running = _globals(ast.unparse(_Bare().visit(ast.parse(text))))
    below: dict[str, set[str]] = {}
    for node in ast.walk(everywhere):
        name, _, rest = _dotted(node).partition(".")
        if rest:
            below.setdefault(name, set()).add(rest)
    return [Used(name, name in running, tuple(sorted(below.get(name, ())))) for name in sorted(all_names)]


def _globals(text: str) -> set[str]:
    found: set[str] = set()
    top = symtable.symtable(text, "<source>", "exec")
    own = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        for symbol in table.get_symbols():
            is_global = symbol.is_global() or (table is top and symbol.is_referenced())
            if is_global and symbol.get_name() not in own:
                found.add(symbol.get_name())
    return found


def _in_text_annotations(tree: ast.AST) -> set[str]:
    """Return names in annotations that are written as text."""
    found: set[str] = set()
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                inner = ast.parse(annotation.value, mode="eval")
            except SyntaxError:
                continue
            found |= {each.id for each in ast.walk(inner) if isinstance(each, ast.Name)}
    return found


def _dotted(node: ast.AST) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) and parts else ""


class _Bare(ast.NodeTransformer):
    """Takes annotations away."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(0)
        return self.generic_visit(node)
