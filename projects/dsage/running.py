"""What `compute` may call while it runs: keep a checkpoint, get it back, say how far it is, find its input files.

Inside a sandbox these reach the runner on the host; outside one (a unit test that calls `compute` by hand) they
do nothing and there is nothing to resume from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from dsage.errors import UsageError

MAX_SHOWS: Final = 4096
"""What `progress` shows beside the share takes at most so many bytes, encoded; more is left out."""


class Hooks:
    """Where checkpoints and progress go and inputs lie; the sandbox's child sets these before it calls the app."""

    checkpoint: Callable[[Any], None] | None = None
    progress: Callable[..., None] | None = None
    restored: Any = None
    inputs: Mapping[str, str] = {}


def checkpoint(state: Any) -> None:
    """Keep `state` (plain data): a stopped unit resumes from it, a cancelled one is paid by what it shows."""
    if Hooks.checkpoint is not None:
        Hooks.checkpoint(state)


def restored() -> Any:
    """Return the state of this unit's last checkpoint, or None at a fresh start."""
    return Hooks.restored


def progress(fraction: float, **shows: float | str) -> None:
    """Say which share (0..1) of the unit is done.

    `shows` are a few numbers and short words for the picture on the volunteer's screen, such as `curve=12`.
    """
    if Hooks.progress is not None:
        Hooks.progress(fraction, **shows)


def input(name: str) -> Path:
    """Return where the file lies that this unit calls `name`; it can only be read.

    Raises UsageError if the unit has none of that name.
    """
    place = Hooks.inputs.get(name)
    if place is None:
        known = ", ".join(sorted(Hooks.inputs)) or "none at all"
        raise UsageError(
            f"this unit has no input {name!r} (it has: {known})", hint="Name it in Unit(..., inputs={...})."
        )
    return Path(place)
