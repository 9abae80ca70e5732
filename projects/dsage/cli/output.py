"""How commands speak: data on standard output, everything else on standard error."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

import click
import msgspec

NARROW: Final = 20
"""Columns that are too few to wrap text in."""
SIZES: Final = ("bytes", "kB", "MB", "GB", "TB")


def emit(schema: str, data: Any, as_json: bool, text: str = "") -> None:
    """Write a command's result: one document `{"schema": ..., "data": ...}` with --json, else `text`.

    `data` is builtins, dataclasses or msgspec structs; bytes are written as base64.
    """
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"schema": schema, "data": data}), indent=2))
    elif text:
        click.echo(text)


def date(seconds: float) -> str:
    """Return a time as it is printed."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def colour(text: str, name: str) -> str:
    """Return `text` in a colour where standard output is a terminal that has them and nobody asked for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb") or not sys.stdout.isatty()
    return text if plain else click.style(text, fg=name)


def hanging(head: str, text: str) -> str:
    """Return `text` behind `head`; on a terminal its further lines begin where the first one does.

    Escape sequences in `head` take no room.
    """
    indent = len(click.unstyle(head))
    columns = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or columns - indent < NARROW:
        return head + text
    return head + f"\n{'':{indent}}".join(
        wrap(text, columns - indent, break_long_words=False, break_on_hyphens=False) or [""]
    )


def say(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    click.echo(text, err=True)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return rows as aligned columns under their headings."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def line(data: Any) -> None:
    """Write one object of a stream, on a line of its own."""
    click.echo(msgspec.json.encode(data))


def count(number: int, what: str) -> str:
    """Return a number of things: "1 unit", "2 units"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Return a number of bytes for people, in powers of a thousand: `12.3 kB`."""
    if number == 1:
        return "1 byte"
    power = 0
    while number >= 1000 and power < len(SIZES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.0f} {SIZES[power]}" if not power or number >= 100 else f"{number:.1f} {SIZES[power]}"
