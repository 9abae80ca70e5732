"""A sandbox for code that strangers wrote: no network, no files but its own, limits, and an end that is certain.

The names are imported when they are first used, because the code inside a box imports from this package too and
needs next to nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsage.sandbox.box import Box
    from dsage.sandbox.level import Level, Outcome, Report
    from dsage.sandbox.selftest import self_test, strongest

__all__ = ["Box", "Level", "Outcome", "Report", "self_test", "strongest"]

_HOMES = {
    "Box": "box",
    "Level": "level",
    "Outcome": "level",
    "Report": "level",
    "self_test": "selftest",
    "strongest": "selftest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
