"""Sentences for a terminal: wrapped between words there, left whole in a pipe, numbers never broken."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

WIDEST: Final = 110
LABEL: Final = "  "
INDENT: Final = 15
"""Lines that begin with a label go on below what follows it."""


def width_of(console: Console) -> int:
    """Return how many columns prose may take: 0 for no limit."""
    return min(console.width, WIDEST) if console.is_terminal else 0


def wrapped(line: str, width: int) -> str:
    """Return `line` in lines of at most `width` columns, or as it is if `width` is 0."""
    if not width or len(line) <= width:
        return line
    indent = " " * INDENT if line.startswith(LABEL) else ""
    lines = textwrap.wrap(
        line,
        width,
        drop_whitespace=True,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
