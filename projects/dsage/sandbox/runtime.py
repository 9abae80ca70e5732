"""Which Python the box gets, and which folders of the host that needs: the whole of what is visible inside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES: Final = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/povray")
"""What the system's programs and libraries read besides; POV-Ray looks there for what it may do and include."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A Python interpreter, where it imports from, and the folders beyond the system's own that this takes."""

    python: str
    import_path: tuple[str, ...]
    folders: tuple[str, ...]

    def moved(self, sources: Mapping[str, str]) -> Runtime:
        """Return the same runtime with each folder in `sources` where it says, for a box without mounts."""

        def place(path: str) -> str:
            for folder, source in sources.items():
                if path == folder or path.startswith(folder + "/"):
                    return source + path[len(folder) :]
            # Of the folder that a checkout's `dsage` lies in, only the package is among the sources.
            package = sources.get(os.path.join(path, "dsage"))
            return os.path.dirname(package) if package else path

        return Runtime(
            python=place(self.python),
            import_path=tuple(place(path) for path in self.import_path),
            folders=tuple(place(path) for path in self.folders),
        )


def current() -> Runtime:
    """Return the runtime that this very program uses: its interpreter, its packages and `dsage`."""
    package = Path(__file__).resolve().parent.parent
    packages = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages") and os.path.isdir(p)]
    prefixes = [os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)]
    return Runtime(
        python=os.path.realpath(sys.executable),
        import_path=tuple(dict.fromkeys([str(package.parent), *packages])),
        folders=outermost([str(package), *packages, *prefixes]),
    )


def outermost(folders: Iterable[str], covered: tuple[str, ...] = SYSTEM) -> tuple[str, ...]:
    """Return the folders that lie neither in a `covered` one nor in one another, sorted."""
    kept: list[str] = []
    for folder in sorted({os.path.normpath(folder) for folder in folders}):
        if not any(folder == root or folder.startswith(root + "/") for root in (*covered, *kept)):
            kept.append(folder)
    return tuple(kept)
