"""Packed source brought to life in this process: each bundle in a world of its own.

The modules of a bundle are imported below a package that is named by the bundle's hash, and their absolute imports
of one another lead there too. So two bundles may both hold a `helper`, and neither is mistaken for the `helper` of the
program that loads them.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from dsage import bundle, codec
from dsage.errors import BundleError
from dsage.function import DistributedFunction

PREFIX: Final = "dsage_source_"
HASH_CHARACTERS: Final = 24
"""Of the SHA-256: enough that no two bundles in a process meet."""


def load(data: bytes, entry: str, *, folder: str = "") -> type[DistributedFunction]:
    """Return the class `entry` ("module.path:Class") of a packed bundle. Raises BundleError if there is none.

    `folder` is where the bundle lies unpacked, if it does: for its modules' `__file__` and for tracebacks.
    """
    return class_in(bundle.files_in(data), codec.digest(data), entry, folder=folder)


def class_in(files: Mapping[str, bytes], digest: str, entry: str, *, folder: str = "") -> type[DistributedFunction]:
    """Return a class of these source files. Raises BundleError if they cannot be imported or have no such class.

    `digest` stands for the files: the same files always come with the same, others never.
    """
    world = _world(files, PREFIX + digest[:HASH_CHARACTERS], folder)
    name, _, path = entry.partition(":")
    try:
        found: Any = importlib.import_module(f"{world.name}.{name}")
    except Exception as error:
        raise BundleError(f"the source of {entry} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        found = getattr(found, part, None)
    if not bundle.is_function(found) or not found.__module__.startswith(world.name + "."):
        raise BundleError(f"the source has no {entry} of its own")
    return found


class _World(importlib.abc.InspectLoader):
    """Loads the modules of one bundle, below the package `name`."""

    def __init__(self, name: str, files: Mapping[str, bytes], folder: str) -> None:
        self.name = name
        self._files = files
        self._folder = folder or f"<{name}>"
        self._tops = {path.partition("/")[0].removesuffix(".py") for path in files}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def spec(self, fullname: str) -> ModuleSpec | None:
        """Say where a module of this world is, if it has it."""
        file, is_package = self._file(fullname)
        if not file and not is_package:
            return None
        spec = ModuleSpec(fullname, self, origin=f"{self._folder}/{file}" if file else None, is_package=is_package)
        spec.has_location = bool(file)
        return spec

    def get_source(self, fullname: str) -> str:
        """Return a module's text."""
        file, _ = self._file(fullname)
        return importlib.util.decode_source(self._files[file]) if file else ""

    def is_package(self, fullname: str) -> bool:
        """Say whether this is a folder."""
        return self._file(fullname)[1]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Have the ordinary kind of module made."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's source, with an `import` that looks in this world first."""
        file, _ = self._file(module.__name__)
        if file:
            module.__dict__["__builtins__"] = self._builtins
            code = compile(self._files[file], f"{self._folder}/{file}", "exec", dont_inherit=True)
            exec(code, module.__dict__)

    def _file(self, fullname: str) -> tuple[str, bool]:
        """Return the file of a module ("" if it has none), and whether it is a package."""
        path = fullname[len(self.name) + 1 :].replace(".", "/")
        if not path:
            return "", True
        if f"{path}/__init__.py" in self._files:
            return f"{path}/__init__.py", True
        if f"{path}.py" in self._files:
            return f"{path}.py", False
        return "", any(name.startswith(path + "/") for name in self._files)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in self._tops:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        here = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist or (), 0)
        return here if fromlist else sys.modules[f"{self.name}.{top}"]


class _Finder(importlib.abc.MetaPathFinder):
    """Leads imports to the worlds that there are."""

    def __init__(self) -> None:
        self.worlds: dict[str, _World] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say where a module of a world is; anything else is none of its business."""
        world = self.worlds.get(fullname.partition(".")[0])
        return None if world is None else world.spec(fullname)


_finder = _Finder()


def _world(files: Mapping[str, bytes], name: str, folder: str) -> _World:
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    return _finder.worlds.setdefault(name, _World(name, dict(files), folder))
