"""How commands speak: data on standard output, everything else on standard error."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def emit(schema: str, data: Any, as_json: bool, text: str = "") -> None:
    """Write a command's result: one document `{"schema": ..., "data": ...}` with --json, else `text`.

    `data` is builtins, dataclasses or msgspec structs; bytes are written as base64.
    """
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"schema": schema, "data": data}), indent=2))
    elif text:
        click.echo(text)


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
