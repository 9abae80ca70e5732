"""What annotations say: data that arrives as the types that `compute` and its neighbours ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def fitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that its arguments arrive as its annotations say; itself if they say nothing."""
    return function
