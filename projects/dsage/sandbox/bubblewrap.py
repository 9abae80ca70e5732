"""The bubblewrap box as an argument list: what is mounted, what is cut off."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dsage.sandbox.runtime import SYSTEM, SYSTEM_FILES, Runtime

PROGRAM: Final = "bwrap"
APP: Final = "/app"
SLOT: Final = "/slot"
"""The one writable place, and /tmp leads to it: libraries such as FLINT write there whatever TMPDIR says. Where the
runtime itself lies below /tmp, /tmp is a second, equally small place that the runtime is mounted into."""

INPUTS: Final = "/inputs"

ENVIRONMENT: Final = {
    "HOME": SLOT,
    "TMPDIR": SLOT,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    # One unit is one core's work, and a warm parent with threads cannot fork safely.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def arguments(
    runtime: Runtime,
    app_dir: str,
    *,
    inputs: str,
    disk_bytes: int,
    filter_fd: int,
    sources: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    start: str = SLOT,
) -> list[str]:
    """Return bubblewrap's options (they go through `--args`, so that no host path shows in /proc/1/cmdline).

    `inputs` is the folder of the calls' input files. `sources` says where a folder's content really lies when that is
    not at its own path. `environment` is added to the one that all boxes have. Another folder to
    `start` in than the slot is writable too, and not tidied after a call.
    """
    where = sources or {}
    options = ["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--uid", "65534", "--gid", "65534", "--hostname", "dsage", "--cap-drop", "ALL", "--clearenv"]
    for name, value in {**ENVIRONMENT, **(environment or {})}.items():
        options += ["--setenv", name, value]
    options += _system(SYSTEM)
    for path in SYSTEM_FILES:
        options += ["--ro-bind-try", path, path]
    crowded = _crowded(runtime)
    if crowded:
        options += ["--size", str(disk_bytes), "--tmpfs", "/tmp"]
    for folder in runtime.folders:
        options += ["--ro-bind", where.get(folder, folder), folder]
    options += ["--ro-bind", where.get(app_dir, app_dir), APP]
    options += ["--ro-bind", inputs, INPUTS]
    options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    options += ["--dev", "/dev", "--remount-ro", "/dev"]
    for folder in dict.fromkeys((SLOT, start)):
        options += ["--size", str(disk_bytes), "--tmpfs", folder]
    if not crowded:
        options += ["--symlink", SLOT[1:], "/tmp"]
    options += ["--remount-ro", "/", "--chdir", start, "--seccomp", str(filter_fd)]
    return options


def reach(runtime: Runtime, start: str = SLOT) -> dict[str, list[str]]:
    """Return what Landlock leaves to code in the box: a second keeper of what the mounts already withhold."""
    return {
        "read": [*SYSTEM, *SYSTEM_FILES, *runtime.folders, APP, INPUTS, "/proc"],
        "write": list(dict.fromkeys([SLOT, start, *(["/tmp"] if _crowded(runtime) else [])])),
    }


def _crowded(runtime: Runtime) -> bool:
    return any(folder.startswith("/tmp/") for folder in runtime.folders)


def _system(folders: Iterable[str]) -> list[str]:
    """Bind the system's folders; where /bin and the like are links into /usr, make the same links."""
    options: list[str] = []
    for folder in folders:
        if os.path.islink(folder):
            options += ["--symlink", os.readlink(folder), folder]
        elif Path(folder).is_dir():
            options += ["--ro-bind", folder, folder]
    return options
