"""Which files a module takes along, and what a computer must have besides: found by reading, without running."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from dsage.bundle import can_be_packed
from dsage.shipping.refusals import ShipError

PRESENT: Final = frozenset({"dsage", "msgspec"})
"""What every computer has that runs us, besides Python."""
GALLERY: Final = "dsage_projects"
"""Always taken along: volunteers may have another version of it."""
_INSTALLED: Final = ("site-packages", "dist-packages")


def tree(module: str) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the files that importing `module` takes, by relative path, and the names of what must be installed.

    Of a package all its Python files are taken; what must be installed is named by the modules that are really
    imported, except where the import may fail (`try: ... except ImportError`).
    """
    found = _Tree()
    found.visit(module, required=True)
    return found.files, tuple(sorted(found.needs))


def of_source(
    text: str, beside: Path | None = None, *, only_beside: bool = False
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the same for the imports of a text; `beside` is the folder in which it would lie, and if it is
    `only_beside`, the one place from where modules are taken along."""
    found = _Tree(beside, only_beside=only_beside)
    found.read(text, "", is_package=False)
    return found.files, tuple(sorted(found.needs))


def can_be_imported(module: str) -> bool:
    """Say whether a fresh process with this one's path would find the same file under this name."""
    if module in sys.builtin_module_names:
        return True
    here = getattr(sys.modules.get(module), "__file__", None)
    path: list[str] | None = None
    spec = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:depth]), path)
        if spec is None:
            return module in sys.stdlib_module_names
        path = list(spec.submodule_search_locations or [])
    return (
        spec is not None
        and here is not None
        and spec.origin is not None
        and Path(spec.origin).resolve() == Path(here).resolve()
    )


class _Tree:
    """The files and needs found so far; `beside` is a folder that is looked in first."""

    def __init__(self, beside: Path | None = None, *, only_beside: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.needs: set[str] = set()
        self._beside = beside
        self._only_beside = only_beside
        self._seen: set[str] = set()

    def visit(self, module: str, *, required: bool) -> None:
        """Take a module along, or note that it is needed."""
        top = module.partition(".")[0]
        if top in PRESENT or (top in sys.stdlib_module_names and not self._lies_beside(top)):
            return
        root = self._root(top)
        if root is None:
            if required:
                self.needs.add(top)
            return
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            self._take(root, parts[:depth])

    def read(self, text: str, package: str, *, is_package: bool) -> None:
        """Visit what a text imports. `package` is what its relative imports start from."""
        for name, names, level, required in _imports(ast.parse(text)):
            base = name
            if level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - level + 1], *([name] if name else [])])
            if base:
                self.visit(base, required=required)
                for each in names:
                    self._visit_if_module(f"{base}.{each}")

    def _visit_if_module(self, module: str) -> None:
        root = self._root(module.partition(".")[0])
        if root is not None:
            self._take(root, module.split("."))

    def _take(self, root: Path, parts: list[str]) -> None:
        name = ".".join(parts)
        if name in self._seen:
            return
        folder = root.joinpath(*parts)
        path = folder / "__init__.py"
        is_package = path.is_file()
        if not is_package:
            path = folder.with_suffix(".py")
        if not path.is_file():
            return
        self._seen.add(name)
        text = self._keep(root, path)
        if is_package and len(parts) == 1:
            for each in sorted(folder.rglob("*.py")):
                if can_be_packed(each.relative_to(root).as_posix()):
                    self._keep(root, each)
        self.read(text, name if is_package else ".".join(parts[:-1]), is_package=is_package)

    def _keep(self, root: Path, path: Path) -> str:
        name = path.relative_to(root).as_posix()
        if name not in self.files:
            self.files[name] = path.read_bytes()
        try:
            return importlib.util.decode_source(self.files[name])
        except (SyntaxError, UnicodeDecodeError) as error:
            raise ShipError(f"{path.name} is not Python source: {error}") from None

    def _lies_beside(self, top: str) -> bool:
        return self._beside is not None and (
            (self._beside / f"{top}.py").is_file() or (self._beside / top / "__init__.py").is_file()
        )

    def _root(self, top: str) -> Path | None:
        """Return the folder that a module of one's own is imported from; None: it is installed, or not here."""
        if self._lies_beside(top):
            return self._beside
        if self._only_beside or top in sys.stdlib_module_names or top in PRESENT:
            return None
        spec = PathFinder.find_spec(top)
        if spec is None:
            return None
        if spec.origin is None:
            places = list(spec.submodule_search_locations or [])
            return Path(places[0]).parent if places and not _is_installed(Path(places[0])) else None
        path = Path(spec.origin)
        if path.suffix != ".py" or (_is_installed(path) and top != GALLERY):
            return None
        return path.parent.parent if path.name == "__init__.py" else path.parent


def _is_installed(path: Path) -> bool:
    stdlib = sysconfig.get_paths()["stdlib"]
    return any(part in _INSTALLED for part in path.parts) or path.is_relative_to(stdlib)


def _imports(tree: ast.AST) -> Iterator[tuple[str, list[str], int, bool]]:
    """Yield (module, names, level, required) of each import statement that a run of the source may reach."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, required = waiting.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], 0, required
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", [a.name for a in node.names if a.name != "*"], node.level, required
        elif isinstance(node, ast.If) and _never_runs(node.test):
            waiting += [(child, required) for child in node.orelse]
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            waiting += [(child, False) for child in ast.iter_child_nodes(node)]
        else:
            waiting += [(child, required) for child in ast.iter_child_nodes(node)]


def _never_runs(test: ast.expr) -> bool:
    """Say whether this is `if TYPE_CHECKING` or `if __name__ == "__main__"`."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    return not caught or any(word in caught for word in ("ImportError", "ModuleNotFoundError", "Exception"))


def is_loaded_below(module: ModuleType, path: list[str]) -> bool:
    """Say whether this way down from a module leads to a module that has been imported."""
    return ".".join([module.__name__, *path]) in sys.modules
