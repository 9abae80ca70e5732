"""What science work finds in a box on this computer, by the names that apps give in `needs`.

A name is that of a Python module, of something known by several (`sage`, `pari`), of a program, or `cpu:` with a set
of instructions. What counts is what a box sees, which is less than what this computer has: a module or program that
lies where no box can look is not there.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from dsage.sandbox import bubblewrap, reach, runtime
from dsage.sandbox.launch import dropped_user

SCIENCE: Final[dict[str, tuple[str, ...]]] = {"sage": ("sage.all", "sage.repl"), "pari": ("cypari2", "cypari")}
"""Names that are true with any one of these modules: Sage is a whole, or the wheels of passagemath."""
MODULES: Final = (
    "Bio", "PIL", "astropy", "cvxpy", "cypari", "cypari2", "flint", "galois", "gmpy2", "h5py", "healpy", "highspy",
    "jax", "llvmlite", "mpmath", "networkx", "numba", "numpy", "ortools", "pandas", "polars", "pyarrow", "pysat",
    "rdkit", "scipy", "shapely", "skimage", "sklearn", "sympy", "torch", "xarray", "z3",
)  # fmt: skip
"""Modules that are told to servers; any other that can be imported serves an app too that comes here."""
PROGRAMS: Final = ("Singular", "cadical", "ecm", "gap", "gp", "kissat", "maxima", "povray")
INSTRUCTIONS: Final = {
    "avx": "avx", "avx2": "avx2", "avx512f": "avx512f", "bmi2": "bmi2", "fma": "fma", "neon": "asimd", "sve": "sve",
}  # fmt: skip
"""Sets of instructions, and what Linux calls them in /proc/cpuinfo."""
CPU: Final = "cpu:"

_FLAGS: Final = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)


def offered() -> list[str]:
    """Return what this computer offers of all that is told to servers."""
    names = (*SCIENCE, *MODULES, *PROGRAMS, *(CPU + name for name in INSTRUCTIONS))
    return [name for name in names if available(name)]


def available(name: str) -> bool:
    """Say whether work in a box here finds what an app calls `name`; nothing is imported or run."""
    if name.startswith(CPU):
        return INSTRUCTIONS.get(name.removeprefix(CPU), "") in instructions()
    if name in SCIENCE:
        return any(_module(each) for each in SCIENCE[name])
    return (name in PROGRAMS and program(name) is not None) or (name.isidentifier() and _module(name))


def program(name: str) -> str | None:
    """Return where a program lies that can be run in a box, or None."""
    places = [*bubblewrap.ENVIRONMENT["PATH"].split(":"), os.path.dirname(os.path.realpath(sys.executable))]
    found = (shutil.which(name, path=place) for place in places)
    return next((path for path in found if path is not None and _seen(os.path.realpath(path))), None)


@functools.cache
def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags that all of this computer's processors have, as Linux calls them."""
    try:
        lists = [set(flags.split()) for flags in _FLAGS.findall(cpuinfo.read_text())]
    except OSError:
        return frozenset()
    return frozenset(set.intersection(*lists)) if lists else frozenset()


def _module(name: str) -> bool:
    """Say whether a box can import a module, which may be one of a package."""
    top, *rest = name.split(".")
    if top in sys.stdlib_module_names or top == "dsage":
        return importlib.util.find_spec(top) is not None
    where = [path for path in runtime.current().import_path if _seen(path)]
    for part in (top, *rest):
        if PathFinder.find_spec(part, where) is None:
            return False
        where = [os.path.join(path, part) for path in where]
    return True


def _seen(path: str) -> bool:
    """Say whether a file or folder lies where a box looks, and may be read there."""
    folders = runtime.current().folders
    below_system = any(path.startswith(folder + "/") for folder in runtime.SYSTEM)
    if not below_system:
        return any(path == folder or path.startswith(folder + "/") for folder in folders)
    return dropped_user() is None or reach.reachable(path)
